//! What every process does alike: the clock, the log, and the way it stops.

pub mod shutdown;
pub mod telemetry;

use std::time::{SystemTime, UNIX_EPOCH};

use protocol::UnixMillis;

pub use shutdown::Shutdown;

/// The system's clock. Machines take this as an argument and never ask for it.
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(since.as_millis() as u64)
}
