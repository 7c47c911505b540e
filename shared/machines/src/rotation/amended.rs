//! A manifest that was amended while the rotation runs.

use protocol::ProcessId;
use protocol::audit::Phase;
use protocol::command::Command;
use protocol::manifest::{Manifest, SignedManifest};

use super::desired::{Desired, View, Wanted};
use super::record::Verdict;
use super::{Effects, Event, Rotation, Sides};
use crate::amendment::Binding;

/// Before a master key is drawn, everybody takes the amendments: the holder's report in them shows
/// none yet, and whoever holds one wants to see it there.
pub(super) fn amending(view: &View<'_>) -> Option<Desired> {
    if view.amendments.is_empty() || view.to_pattern().is_some() {
        return None;
    }
    let serial = view.manifest.serial;
    let lacks = |unit: &ProcessId| view.heard(*unit).is_some_and(|it| it.manifest_serial < serial);
    let take = |unit| {
        let chain = view.amendments.to_vec();
        Wanted::Unit(unit, Command::TakeManifest { chain })
    };
    let wanted: Vec<_> = view.unit_ids().filter(lacks).map(take).collect();
    Desired::lacking(Phase::Inspect, wanted)
}

impl Rotation {
    /// Goes on with whoever is left.
    pub(super) fn amend(
        &mut self,
        manifest: Manifest,
        since: Vec<SignedManifest>,
        effects: &mut Effects,
    ) {
        self.manifest = manifest;
        self.amendments = since;
        let manifest = &self.manifest;
        self.units.retain(|id, _| manifest.member(*id).is_some());
        self.keystores.retain(|id, _| manifest.member(*id).is_some());
        self.asked.retain(|id, _| manifest.member(*id).is_some());
        self.transfers.retain(|id, _| manifest.member(*id).is_some());
        let text = format!("manifest {} amends this rotation", self.manifest.serial);
        effects.events.push(Event { phase: self.record.phase(), text });
        effects.save = true;
    }

    /// What an amendment is judged by: as the strictest of the units that stay would, as far as they
    /// have been heard since this coordinator took over.
    pub fn binding(&self, who: ProcessId, new: &Manifest) -> Binding {
        let shown = || self.view().to_pattern().or_else(|| self.view().flipped_to());
        let to = self.record.to.or_else(shown);
        let heard = |unit| self.units.get(&unit).map(|held| &held.report);
        let mut binding = Binding::of_units(self.reference, (self.order.from, to), who, new, heard);
        // Whoever has aborted does not hold what a keystore is under, or may be.
        binding.is_promoted |= self.may_have_flipped();
        binding
    }

    /// Serial of the manifest that it goes by.
    pub const fn manifest_serial(&self) -> u64 {
        self.manifest.serial
    }

    /// Whether every manifest since the order's amends the rotation.
    pub(super) fn is_only_amended(&self) -> bool {
        self.amended_to() == self.manifest.serial
    }

    /// Serial of the last manifest of those that follow the order's and amend the rotation.
    pub(super) const fn amended_to(&self) -> u64 {
        self.order.number.manifest_serial + self.amendments.len() as u64
    }

    /// Who has ended the rotation how.
    pub fn sides(&self) -> Sides {
        self.view().sides()
    }

    /// The record holds one verdict, and under which manifest it was reached.
    pub(super) fn reach(&mut self, verdict: Verdict, effects: &mut Effects) {
        self.record.verdict = verdict;
        self.record.verdict_under = Some(self.manifest.serial);
        effects.save = true;
        // Everybody is asked for something else from here.
        self.unanswered.clear();
    }

    /// After an amendment those who are left decide: it may have taken one side of a mixed end away,
    /// and with it what the record had come to. Once for each amendment: a verdict is turned only by
    /// administrators.
    pub(super) fn rejudge(&mut self, effects: &mut Effects) {
        let has_all = self.manifest.crypto_units().all(|unit| self.units.contains_key(&unit.id));
        let reached_under = self.record.verdict_under.unwrap_or_default();
        let is_newer = self.manifest.serial > reached_under;
        if self.amendments.is_empty() || self.recovery().is_some() || !has_all || !is_newer {
            return;
        }
        let Some(verdict) = self.sides().verdict() else { return };
        let is_unchanged = match (&verdict, &self.record.verdict) {
            (Verdict::Aborted { .. }, Verdict::Aborted { .. }) => true,
            // All had promoted, or may have: whoever says less was set back.
            (Verdict::Aborted { .. }, _) => self.may_have_flipped(),
            (ours, saved) => ours == saved,
        };
        if is_unchanged {
            return;
        }
        if verdict == Verdict::Decided {
            self.record.phases.retain(|(phase, _)| *phase != Phase::Aborting);
        }
        self.pending_abort = None;
        self.asked.clear();
        self.reach(verdict, effects);
    }
}
