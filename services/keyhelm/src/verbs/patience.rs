//! Waiting for what is not there yet: said once, looked for again and again, for as long as somebody wants
//! to wait.

use std::time::Duration;

use tokio::time::Instant;

use crate::app::App;
use crate::cli::rotation::WatchArgs;

/// What is left of it.
pub struct Patience {
    begun: Instant,
    most: Duration,
    pause: Duration,
    is_told: bool,
}

impl Patience {
    /// As much as the command line says, with a pause between two looks.
    pub fn of(watch: &WatchArgs, pause: Duration) -> Self {
        let most = Duration::from_secs(u64::from(watch.patience));
        Self { begun: Instant::now(), most, pause, is_told: false }
    }

    /// How long it lasts in all.
    pub const fn most(&self) -> Duration {
        self.most
    }

    /// Whether it is used up.
    pub fn is_over(&self) -> bool {
        self.begun.elapsed() >= self.most
    }

    /// Whether it lasts for one more pause.
    pub fn lasts(&self) -> bool {
        self.begun.elapsed() + self.pause < self.most
    }

    /// Waits until the next look.
    pub async fn pause(&self) {
        tokio::time::sleep(self.pause).await;
    }

    /// The same; the first time it is said why.
    pub async fn pause_for(&mut self, app: &App, why: &str) {
        if !std::mem::replace(&mut self.is_told, true) {
            app.note(why);
        }
        self.pause().await;
    }
}
