//! Ctrl-C, for the whole process. From its first use on a signal ends nothing by itself, so one task
//! listens from the beginning: it tells whoever has something to say before the end, and ends the process
//! where nobody has.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::failure::{Exit, Failure};

/// How many have something to say.
static HANDLING: AtomicUsize = AtomicUsize::new(0);
/// Tells one of them.
static CAUGHT: Notify = Notify::const_new();

/// Listens until the process ends.
pub fn listen(is_json: bool) {
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            match HANDLING.load(Ordering::SeqCst) {
                0 => end(is_json),
                _ => CAUGHT.notify_one(),
            }
        }
    });
}

/// As long as there is one, Ctrl-C does not end the process.
pub struct Handling(());

impl Handling {
    /// From now on.
    pub fn begin() -> Self {
        HANDLING.fetch_add(1, Ordering::SeqCst);
        Self(())
    }

    /// Waits for Ctrl-C.
    pub async fn caught(&self) {
        CAUGHT.notified().await;
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        HANDLING.fetch_sub(1, Ordering::SeqCst);
    }
}

fn end(is_json: bool) {
    let failure = Failure::new(Exit::Interrupted, "interrupted", "interrupted");
    failure.tell(is_json);
    std::process::exit(Exit::Interrupted as i32);
}
