//! How an abort is asked for, and judged once whoever has promoted, or flipped, could say so.

use protocol::audit::Phase;
use protocol::command::KeystoreCommand;
use protocol::{ProcessId, UnixMillis};

use super::desired::{Desired, Wanted};
use super::record::Verdict;
use super::{Effects, Event, Rotation, numbers};

/// An abort that is asked for, and not yet judged.
#[derive(Clone, Debug)]
pub(super) struct PendingAbort {
    pub(super) because: String,
    pub(super) since: UnixMillis,
}

impl Rotation {
    /// An abort begins with an inspect round at a new epoch: whoever has promoted says so, and a keystore
    /// that has flipped.
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
        let all_heard = self.view().unit_ids().all(is_heard)
            && self.unheard_keystores(pending.since).is_empty();
        // Whether all had promoted once, a keystore may know alone: it is waited for.
        let is_over = now.since(pending.since) >= self.limits.abort_grace_ms;
        if !all_heard && (!is_over || self.is_flip_unknown()) {
            return;
        }
        let because = pending.because.clone();
        if let Some(refused) = self.only_forward() {
            effects.abort_refused = Some(refused.to_owned());
            let text = format!("it is not aborted: {refused}");
            effects.events.push(Event { phase: self.record.phase(), text });
            self.pending_abort = None;
            // Whoever is silent is waited for once more, before it is asked about again.
            self.unanswered.clear();
            // Who has aborted and who has promoted keep each other from an end: that is for the
            // administrators. Else it is decided, whatever became of the record in which that was saved.
            if self.view().has_flipped() || !self.sides().is_mixed() {
                self.decide(effects);
            }
            return;
        }
        effects.events.push(Event { phase: Phase::Aborting, text: because.clone() });
        self.pending_abort = None;
        self.reach(Verdict::Aborted { because }, effects);
        self.asked.clear();
    }

    /// Why it cannot be aborted, if it cannot.
    fn only_forward(&self) -> Option<&'static str> {
        let view = self.view();
        match self.recovery() {
            Some(recovery) => {
                view.has_recovered(recovery).then_some("the unit holds the master key already")
            }
            None if !view.sides().promoted.is_empty() => {
                Some("a unit has promoted: the rotation only goes forward")
            }
            None => view
                .has_flipped()
                .then_some("a keystore has flipped: the rotation only goes forward"),
        }
    }

    /// Keystores that have not said how they stand since the abort was asked for.
    fn unheard_keystores(&self, since: UnixMillis) -> Vec<ProcessId> {
        if self.recovery().is_some() {
            return Vec::new();
        }
        let is_unheard =
            |id: &ProcessId| self.keystores.get(id).is_none_or(|held| held.heard_at < since);
        self.view().reencryptors().into_iter().filter(is_unheard).collect()
    }

    /// Whether a keystore has not been heard that may have flipped, as another process has driven this.
    pub(super) fn is_flip_unknown(&self) -> bool {
        !self.is_begun_here && !self.unheard_keystores(UnixMillis(0)).is_empty()
    }

    /// While an abort is judged, only what asks everybody how they stand is gone on with.
    pub(super) fn judging(&self, pending: &PendingAbort, found: Desired) -> Desired {
        let mut wanted = match found.phase {
            Phase::Inspect => found.wanted,
            _ => Vec::new(),
        };
        for id in self.unheard_keystores(pending.since) {
            if wanted.iter().all(|asked| asked.to() != id) {
                wanted.push(Wanted::Keystore(id, KeystoreCommand::Survey));
            }
        }
        Desired::new(self.record.phase(), wanted)
    }

    /// Whether an abort may be asked for; a mixed end is for the administrators.
    pub(super) fn may_abort(&self) -> bool {
        self.record.verdict == Verdict::Open
            && self.pending_abort.is_none()
            && !self.sides().is_mixed()
    }
}
