//! How an abort is asked for, and judged once whoever has promoted, or flipped, could say so.

use protocol::audit::Phase;
use protocol::command::KeystoreCommand;
use protocol::keystore::KeystoreStanding;
use protocol::report::Standing;
use protocol::{ProcessId, UnixMillis};

use super::desired::{Desired, Wanted};
use super::record::Verdict;
use super::{Effects, Event, Rotation, numbers};

/// Why a rotation is not aborted, in a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is decided, or shows itself to have been.
    Decided(&'static str),
    /// A keystore has not been heard that may have flipped.
    KeystoreSilent(&'static str),
}

impl Refused {
    const fn text(self) -> &'static str {
        match self {
            Self::Decided(text) | Self::KeystoreSilent(text) => text,
        }
    }
}

/// An abort that is asked for, and not yet judged.
#[derive(Clone, Debug)]
pub(super) struct PendingAbort {
    pub(super) because: String,
    pub(super) since: UnixMillis,
}

impl Rotation {
    /// An abort begins with an inspect round at a new epoch: whoever has promoted says so, and a keystore
    /// that has flipped. It is not asked for before every keystore was heard that may have flipped.
    pub(super) fn ask_abort(&mut self, now: UnixMillis, because: String, effects: &mut Effects) {
        match &self.record.verdict {
            Verdict::Aborted { .. } => {}
            Verdict::Decided => {
                let text = "the rotation is decided: it only goes forward";
                effects.abort_refused = Some(Refused::Decided(text));
            }
            Verdict::Open if self.pending_abort.is_some() => {}
            Verdict::Open => {
                if let Some(silent @ Refused::KeystoreSilent(_)) = self.refused() {
                    effects.abort_refused = Some(silent);
                    return;
                }
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
        if !all_heard && now.since(pending.since) < self.limits.abort_grace_ms {
            return;
        }
        let because = pending.because.clone();
        if let Some(refused) = self.refused() {
            self.refuse_abort(refused, effects);
            // Who has aborted and who has promoted keep each other from an end: that is for the
            // administrators. Else it is decided, whatever became of the record in which that was saved.
            if matches!(refused, Refused::Decided(_)) && !self.sides().is_mixed() {
                self.decide(effects);
            }
            return;
        }
        effects.events.push(Event { phase: Phase::Aborting, text: because.clone() });
        self.pending_abort = None;
        self.reach(Verdict::Aborted { because }, effects);
        self.asked.clear();
    }

    /// What a keystore has flipped all had promoted: it is decided, whatever became of the record in which
    /// that was saved, and whoever has aborted it since.
    pub(super) fn judge_flip(&mut self, effects: &mut Effects) {
        if self.record.verdict != Verdict::Open || !self.view().has_flipped() {
            return;
        }
        if self.pending_abort.is_some() {
            let why = Refused::Decided("a keystore has flipped: the rotation only goes forward");
            self.refuse_abort(why, effects);
        }
        self.decide(effects);
    }

    fn refuse_abort(&mut self, why: Refused, effects: &mut Effects) {
        effects.abort_refused = Some(why);
        let text = format!("it is not aborted: {}", why.text());
        effects.events.push(Event { phase: self.record.phase(), text });
        self.pending_abort = None;
        // Whoever is silent is waited for once more, before it is asked about again.
        self.unanswered.clear();
    }

    /// Why it cannot be aborted as everybody stands, if it cannot; what has flipped is decided before.
    fn refused(&self) -> Option<Refused> {
        let view = self.view();
        let decided = match self.recovery() {
            Some(recovery) => {
                view.has_recovered(recovery).then_some("the unit holds the master key already")
            }
            None => (!view.sides().promoted.is_empty())
                .then_some("a unit has promoted: the rotation only goes forward"),
        };
        let silent = || {
            let text = "a keystore has not been heard yet, which may have flipped: it must answer \
                        first";
            self.is_flip_unknown().then_some(Refused::KeystoreSilent(text))
        };
        decided.map(Refused::Decided).or_else(silent)
    }

    /// Reencryptors that have not said how their keystore stands since the abort was asked for.
    fn unheard_keystores(&self, since: UnixMillis) -> Vec<ProcessId> {
        if self.recovery().is_some() {
            return Vec::new();
        }
        // One that cannot read its database says so, and nothing of how it stands.
        let is_unheard = |id: &ProcessId| {
            let held = self.keystores.get(id).filter(|held| held.report.row.is_some());
            held.is_none_or(|held| held.heard_at < since)
        };
        self.view().reencryptors().into_iter().filter(is_unheard).collect()
    }

    /// Whether something is under the new master key, or may be.
    pub(super) fn may_have_flipped(&self) -> bool {
        self.view().has_flipped() || self.is_flip_unknown()
    }

    /// Whether a keystore may have flipped that has not been heard since this process took the rotation up,
    /// or since it was decided.
    fn is_flip_unknown(&self) -> bool {
        let view = self.view();
        match self.record.verdict {
            _ if self.recovery().is_some() => false,
            // What it said before it was to flip says nothing any more, unless it can flip no more.
            Verdict::Decided => view.reencryptors().into_iter().any(|id| {
                let found = view.keystore_rotation(id).map(|found| found.standing);
                found != Some(KeystoreStanding::Aborted) && !view.has_spent(id)
            }),
            _ => !self.manifest.keystores.iter().all(|id| self.surveyed.contains(id)),
        }
    }

    /// Whoever must say first how it stands is asked, besides what is lacking.
    pub(super) fn asking_keystores(&self, mut found: Desired) -> Desired {
        if self.record.verdict == Verdict::Open && self.is_flip_unknown() {
            let view = self.view();
            let is_unheard = |id: &ProcessId| {
                view.row(*id).is_none_or(|row| !self.surveyed.contains(&row.keystore))
            };
            let unheard = view.reencryptors().into_iter().filter(is_unheard).collect();
            survey(unheard, &mut found.wanted);
        }
        found
    }

    /// While an abort is judged, only what asks everybody how they stand is gone on with.
    pub(super) fn judging(&self, pending: &PendingAbort, found: Desired) -> Desired {
        let mut wanted = match found.phase {
            Phase::Inspect => found.wanted,
            _ => Vec::new(),
        };
        survey(self.unheard_keystores(pending.since), &mut wanted);
        Desired::new(self.record.phase(), wanted)
    }

    /// Whether the rotation may ask for its own end: a mixed end is for the administrators.
    pub(super) fn may_abort(&self) -> bool {
        self.record.verdict == Verdict::Open
            && self.pending_abort.is_none()
            && !self.is_flip_unknown()
            && (self.recovery().is_some() || !self.sides().is_mixed())
    }

    /// What one unit has ended can only be ended in all of them.
    pub(super) fn judge_ended(&mut self, now: UnixMillis, effects: &mut Effects) {
        let has_recovered = self.recovery().is_some_and(|it| self.view().has_recovered(it));
        let ended = self.view().unit_ids().find(|unit| {
            let found = self.units.get(unit).and_then(|held| held.report.in_order(&self.reference));
            found.is_some_and(|found| found.standing == Standing::Aborted)
        });
        let Some(unit) = ended.filter(|_| !has_recovered && self.may_abort()) else { return };
        let because = format!("{} has ended the rotation", self.name_of(unit));
        self.ask_abort(now, because, effects);
    }
}

/// Asks those of whom nothing else is wanted how their keystores stand.
fn survey(reencryptors: Vec<ProcessId>, wanted: &mut Vec<Wanted>) {
    for id in reencryptors {
        if wanted.iter().all(|asked| asked.to() != id) {
            wanted.push(Wanted::Keystore(id, KeystoreCommand::Survey));
        }
    }
}
