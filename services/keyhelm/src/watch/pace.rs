//! How fast keys are re-encrypted: over the last seconds while it runs, over all of it afterwards.

use std::collections::VecDeque;

use protocol::api::RotationView;
use protocol::audit::Phase;
use protocol::{RotationId, UnixMillis};

/// The rate is that of so many milliseconds.
const WINDOW_MS: u64 = 10_000;
/// Over less than this the rate of what still runs means nothing, in milliseconds.
const SHORTEST_MS: u64 = 200;

/// Counts of re-encrypted keys, and when they were heard of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    rotation: Option<RotationId>,
    heard: VecDeque<(UnixMillis, u64)>,
}

impl Pace {
    /// Hears how a rotation stands.
    pub fn hear(&mut self, view: &RotationView, now: UnixMillis) {
        if self.rotation != Some(view.rotation) || view.phase != Phase::Reencrypt {
            self.heard.clear();
            self.rotation = Some(view.rotation);
        }
        if view.phase != Phase::Reencrypt {
            return;
        }
        self.heard.push_back((now, view.keys_done));
        // The oldest that stays is the newest that is a window old.
        while self.heard.get(1).is_some_and(|(at, _)| now.since(*at) >= WINDOW_MS) {
            self.heard.pop_front();
        }
    }

    /// Keys a second; none where nothing can be said.
    pub fn rate(&self, view: &RotationView) -> Option<u64> {
        if view.phase != Phase::Reencrypt {
            return whole_rate(view);
        }
        let ((from, before), (until, after)) = (self.heard.front()?, self.heard.back()?);
        let ms = until.since(*from);
        (ms >= SHORTEST_MS).then(|| per_second(after.saturating_sub(*before), ms))
    }

    /// Milliseconds until all keys are re-encrypted; none where nothing can be said.
    pub fn left_ms(&self, view: &RotationView) -> Option<u64> {
        let left = view.keys_total.saturating_sub(view.keys_done);
        match self.rate(view) {
            Some(rate) if rate > 0 && view.phase == Phase::Reencrypt => Some(left * 1000 / rate),
            _ => None,
        }
    }
}

/// The rate of a re-encryption that is over.
fn whole_rate(view: &RotationView) -> Option<u64> {
    let at = view.phases.iter().position(|(phase, _)| *phase == Phase::Reencrypt)?;
    let ((_, from), (_, until)) = (view.phases.get(at)?, view.phases.get(at + 1)?);
    (view.keys_done > 0).then(|| per_second(view.keys_done, until.since(*from)))
}

fn per_second(keys: u64, ms: u64) -> u64 {
    keys.saturating_mul(1000) / ms.max(1)
}
