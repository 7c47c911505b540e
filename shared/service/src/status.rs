//! Whether a process can do its work, for `/readyz`, the `health` verb and the log.

use telemetry::metric;
use tokio::sync::watch;

/// What a process that has just started still needs.
const STARTING: &str = "it has just started";

/// Shared by everything in a process that knows something of it.
#[derive(Clone, Debug)]
pub struct Status {
    because: watch::Sender<Option<&'static str>>,
}

impl Default for Status {
    fn default() -> Self {
        Self { because: watch::Sender::new(Some(STARTING)) }
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
        *self.because.borrow()
    }

    fn set(&self, because: Option<&'static str>) {
        let is_changed = self.because.send_replace(because) != because;
        metric::gauge(metric::READY, &[], f64::from(u8::from(because.is_none())));
        match because {
            None if is_changed => tracing::info!("ready"),
            Some(because) if is_changed => tracing::info!(because, "not ready"),
            _ => {}
        }
    }
}
