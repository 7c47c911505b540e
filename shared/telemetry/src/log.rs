//! The log: to standard error, filtered by `KEYHELM_LOG` (default `warn` in the embedded cluster,
//! `info` in a service). No secret has a `Display` or `Debug` that shows it.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::UtcTime;

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text where standard error is a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line: `timestamp`, `level`, `target`, `message` and the event's fields.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("a log is auto, text or json, not {other}")),
        }
    }
}

/// Starts the log. A second call in one process does nothing.
pub fn start(default_filter: &str, format: Format) {
    let filter =
        EnvFilter::try_from_env("KEYHELM_LOG").unwrap_or_else(|_| EnvFilter::new(default_filter));
    let is_terminal = std::io::stderr().is_terminal();
    let wants_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_timer(UtcTime::rfc_3339())
        .with_ansi(wants_colour && is_terminal);
    let is_json = format == Format::Json || (format == Format::Auto && !is_terminal);
    let _ = match is_json {
        true => log.json().flatten_event(true).with_current_span(false).try_init(),
        false => log.try_init(),
    };
}
