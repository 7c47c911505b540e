//! How an abort is asked for, and judged once whoever has promoted could say so.

use protocol::UnixMillis;
use protocol::audit::Phase;

use super::record::Verdict;
use super::{Effects, Event, Rotation, numbers};

/// An abort that is asked for, and not yet judged.
#[derive(Clone, Debug)]
pub(super) struct PendingAbort {
    pub(super) because: String,
    pub(super) since: UnixMillis,
}

impl Rotation {
    /// An abort begins with an inspect round at a new epoch: whoever has promoted says so.
    pub(super) fn ask_abort(&mut self, now: UnixMillis, because: String, effects: &mut Effects) {
        match &self.record.verdict {
            Verdict::Aborted { .. } => {}
            Verdict::Decided => {
                let refused = "the rotation is decided: it only goes forward".to_owned();
                effects.abort_refused = Some(refused);
            }
            Verdict::Open if self.pending_abort.is_some() => {}
            Verdict::Open => {
                self.record.epoch = numbers::after(self.record.epoch, self.manifest.serial);
                self.asked.clear();
                self.pending_abort = Some(PendingAbort { because, since: now });
                effects.save = true;
            }
        }
    }

    pub(super) fn judge_abort(&mut self, now: UnixMillis, effects: &mut Effects) {
        let Some(pending) = &self.pending_abort else { return };
        if self.record.verdict != Verdict::Open {
            return;
        }
        let epoch = self.record.epoch;
        let is_heard = |unit| self.units.get(&unit).is_some_and(|it| it.report.epoch == epoch);
        let all_heard = self.view().unit_ids().all(is_heard);
        if !all_heard && now.since(pending.since) < self.limits.abort_grace_ms {
            return;
        }
        let refused = match self.recovery() {
            Some(recovery) if self.view().has_recovered(recovery) => {
                Some("the unit holds the master key already")
            }
            None if !self.view().sides().promoted.is_empty() => {
                Some("a unit has promoted: the rotation only goes forward")
            }
            None if self.view().is_flipped() => {
                Some("the keystore has flipped: the rotation only goes forward")
            }
            _ => None,
        };
        if let Some(refused) = refused {
            effects.abort_refused = Some(refused.to_owned());
            self.pending_abort = None;
            // Whoever is silent is waited for once more, before it is asked about again.
            self.unanswered.clear();
            return;
        }
        let because = pending.because.clone();
        effects.events.push(Event { phase: Phase::Aborting, text: because.clone() });
        self.reach(Verdict::Aborted { because }, effects);
        self.asked.clear();
    }

    pub(super) fn may_abort(&self) -> bool {
        self.record.verdict == Verdict::Open && self.pending_abort.is_none()
    }
}
