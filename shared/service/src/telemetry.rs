//! The log: text for people, to standard error, filtered by `KEYHELM_LOG` (default `warn` in the
//! embedded cluster, `info` in a service). No secret has a `Display` or `Debug` that shows it.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts the log. A second call in one process does nothing.
pub fn start(default_filter: &str) {
    let filter =
        EnvFilter::try_from_env("KEYHELM_LOG").unwrap_or_else(|_| EnvFilter::new(default_filter));
    let wants_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let is_coloured = wants_colour && std::io::stderr().is_terminal();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_coloured)
        .try_init();
}
