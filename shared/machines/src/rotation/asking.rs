//! Whom to ask what now: what was never asked, or not answered for long enough; and who has been silent
//! for too long.

use std::collections::BTreeMap;

use protocol::report::Refusal;
use protocol::{ProcessId, UnixMillis};

use super::desired::Desired;
use super::{Effects, Rotation};

/// What somebody was asked last, and has not done yet.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) name: &'static str,
    pub(super) first_at: UnixMillis,
    pub(super) last_at: UnixMillis,
    pub(super) tries: u32,
    pub(super) refusal: Option<Refusal>,
}

impl Rotation {
    /// Sends what was never asked, was asked as something else, or has waited long enough.
    pub(super) fn send_due(&mut self, now: UnixMillis, found: Desired, effects: &mut Effects) {
        let mut still = BTreeMap::new();
        for wanted in found.wanted {
            let (who, name) = (wanted.to(), wanted.name());
            let before = self.asked.remove(&who).filter(|asked| asked.name == name);
            let is_due = before
                .as_ref()
                .is_none_or(|asked| now.since(asked.last_at) >= self.retry_ms(asked));
            let mut asked = before.unwrap_or(Asked {
                name,
                first_at: now,
                last_at: now,
                tries: 0,
                refusal: None,
            });
            if is_due {
                asked.last_at = now;
                asked.tries += 1;
                self.unanswered.entry(who).or_insert(now);
                effects.send.push(wanted);
            }
            still.insert(who, asked);
        }
        self.asked = still;
    }

    pub(super) fn retry_ms(&self, asked: &Asked) -> u64 {
        let doublings = asked.tries.saturating_sub(1).min(16);
        (self.limits.first_retry_ms << doublings).min(self.limits.max_retry_ms)
    }

    /// Whether nothing was heard of somebody for too long since it was asked.
    pub(super) fn is_silent(&self, who: ProcessId) -> bool {
        let since = self.unanswered.get(&who);
        since.is_some_and(|since| self.now.since(*since) >= self.limits.silence_abort_ms)
    }

    pub(super) fn judge_silence(&mut self, now: UnixMillis, effects: &mut Effects) {
        if !self.may_abort() {
            return;
        }
        let silent = self.asked.iter().find(|(who, _)| self.is_silent(**who));
        if let Some((who, asked)) = silent {
            let (name, command) = (self.name_of(*who), asked.name);
            let seconds = self.limits.silence_abort_ms / 1000;
            let because = format!("{name} has not answered {command} for {seconds} s");
            self.ask_abort(now, because, effects);
        }
    }
}
