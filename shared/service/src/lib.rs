//! What every process does alike: the clock, the log, its settings, how it starts, waits for what
//! it needs, serves HTTP and stops.

pub mod http;
pub mod process;
pub mod secret_text;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod wait;

use std::time::{SystemTime, UNIX_EPOCH};

use protocol::UnixMillis;

pub use secret_text::SecretText;
pub use settings::{Entry, Settings, SettingsError};
pub use shutdown::Shutdown;

/// The system's clock. Machines take this as an argument and never ask for it.
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(since.as_millis() as u64)
}
