//! Waiting for what is not there yet, and saying so.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use crate::Shutdown;

/// Longest pause between two tries.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Tries until it succeeds; none if the process is to stop first. `what` is told in the log.
pub async fn until_there<T, E: Display, F: Future<Output = Result<T, E>>>(
    what: &str,
    shutdown: &Shutdown,
    mut attempt: impl FnMut() -> F,
) -> Option<T> {
    let mut pause = Duration::from_millis(200);
    loop {
        let tried = tokio::select! {
            () = shutdown.requested() => return None,
            tried = attempt() => tried,
        };
        match tried {
            Ok(there) => return Some(there),
            Err(error) => tracing::warn!(%error, "waiting for {what}"),
        }
        tokio::select! {
            () = shutdown.requested() => return None,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(MAX_PAUSE);
    }
}
