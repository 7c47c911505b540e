//! Whether a process can do its work, for `/readyz`, the `health` verb and the log.

use telemetry::metric;
use tokio::sync::watch;

/// What a process that has just started still needs.
const STARTING: &str = "it has just started";

/// Shared by everything in a process that knows something of it.
#[derive(Clone, Debug)]
pub struct Status {
    known: watch::Sender<Known>,
}

/// What keeps the process from its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    /// As it says of itself.
    own: Option<&'static str>,
    /// As whoever watches its broker says: that comes first, and ends by itself.
    cut_off: Option<&'static str>,
}

impl Known {
    fn because(self) -> Option<&'static str> {
        self.cut_off.or(self.own)
    }
}

impl Default for Status {
    fn default() -> Self {
        Self { known: watch::Sender::new(Known { own: Some(STARTING), cut_off: None }) }
    }
}

impl Status {
    /// It does its work.
    pub fn ready(&self) {
        self.set(None);
    }

    /// It cannot, for a reason that a person can act on.
    pub fn not_ready(&self, because: &'static str) {
        self.set(Some(because));
    }

    /// Ready if the process has a manifest.
    pub fn ready_with(&self, manifest_serial: u64) {
        match manifest_serial {
            0 => self.not_ready("it has no manifest: run keyhelm auto-init"),
            _ => self.ready(),
        }
    }

    /// Why it is not ready; none if it is.
    pub fn because(&self) -> Option<&'static str> {
        self.known.borrow().because()
    }

    /// The process is cut off, for a reason that a person can act on, or no longer is. Whatever else is said
    /// of it meanwhile counts when that is over.
    pub fn cut_off(&self, because: Option<&'static str>) {
        self.change(|known| known.cut_off = because);
    }

    fn set(&self, because: Option<&'static str>) {
        self.change(|known| known.own = because);
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let (mut before, mut after) = (None, None);
        self.known.send_modify(|known| {
            before = known.because();
            change(known);
            after = known.because();
        });
        metric::gauge(metric::READY, &[], f64::from(u8::from(after.is_none())));
        match after {
            None if before.is_some() => tracing::info!("ready"),
            Some(because) if before != after => tracing::info!(because, "not ready"),
            _ => {}
        }
    }
}
