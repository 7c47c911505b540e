//! Waiting longer after each failure, with jitter, up to a limit.

use std::time::Duration;

/// Exponential back-off. Randomness is an argument.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first_ms: u64,
    most_ms: u64,
    failures: u32,
}

impl Backoff {
    /// Starts at `first_ms` and never waits longer than `most_ms`; `first_ms` is at least 1.
    pub fn new(first_ms: u64, most_ms: u64) -> Self {
        Self { first_ms: first_ms.max(1), most_ms: most_ms.max(first_ms), failures: 0 }
    }

    /// How long to wait after one more failure; `jitter` in 0.0..1.0 takes up to half of it away.
    pub fn next(&mut self, jitter: f64) -> Duration {
        let doubled = self.first_ms.saturating_mul(1 << self.failures.min(20));
        self.failures += 1;
        let full = doubled.min(self.most_ms) as f64;
        Duration::from_millis((full * (1.0 - jitter.clamp(0.0, 1.0) / 2.0)) as u64)
    }

    /// After a success.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}
