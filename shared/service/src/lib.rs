//! What every process does alike: the clock, its settings, how it starts, opens and waits for what it
//! needs, serves HTTP, says how it is, and stops.

pub mod common;
pub mod http;
pub mod observe;
pub mod outage;
pub mod process;
pub mod secret_text;
pub mod settings;
pub mod shutdown;
pub mod status;
pub mod wait;

use std::time::{SystemTime, UNIX_EPOCH};

use protocol::UnixMillis;

pub use common::{Common, Database, Pinned, Served};
pub use secret_text::SecretText;
pub use settings::{Entry, Settings, SettingsError};
pub use shutdown::Shutdown;
pub use status::Status;

/// The system's clock. Machines take this as an argument and never ask for it.
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(since.as_millis() as u64)
}
