//! What the latest reports show, as far as this epoch has heard of them.

use protocol::certificate::Certificate;
use protocol::command::{Command, SignedOffer, Step};
use protocol::keystore::{KeystoreRotation, KeystoreRow, KeystoreStanding};
use protocol::report::UnitReport;
use protocol::{Epoch, Pattern, ProcessId};

use super::desired::{View, Wanted};
use crate::certificate::{Reached, reached};

impl View<'_> {
    /// Units that take part: all of them, or the two of an order to recover.
    pub(super) fn unit_ids(&self) -> impl Iterator<Item = ProcessId> {
        let takes_part = |id: &ProcessId| self.order.purpose.involves(*id);
        self.manifest.crypto_units().map(|unit| unit.id).filter(takes_part)
    }

    /// The report of a unit, as far as this epoch has heard of it.
    pub(super) fn heard(&self, unit: ProcessId) -> Option<&UnitReport> {
        let report = &self.units.get(&unit)?.report;
        (report.epoch == self.epoch).then_some(report)
    }

    /// Whether a unit knows itself to be set back: what it says then proves nothing.
    pub(super) fn is_set_back(&self, unit: ProcessId) -> bool {
        self.heard(unit).is_some_and(|report| report.set_back_from.is_some())
    }

    pub(super) fn reached(&self, unit: ProcessId) -> Option<(Reached, Option<Pattern>)> {
        let report = self.heard(unit)?;
        let has_cleared = || report.has_spent(self.reference) && self.is_flipped();
        reached(report, self.reference)
            .or_else(|| has_cleared().then_some((Reached::Cleared, None)))
    }

    /// Units that have taken another order since and never take this one again. Where the keystore has
    /// flipped in it they had promoted, and could take another one only once they had cleared.
    pub(super) fn gone_on(&self) -> impl Iterator<Item = ProcessId> {
        let has_gone_on =
            |unit: &ProcessId| self.heard(*unit).is_some_and(|it| it.has_spent(self.reference));
        self.unit_ids().filter(has_gone_on)
    }

    /// Whether every keystore has flipped in this order.
    pub(super) fn is_flipped(&self) -> bool {
        !self.reencryptors().is_empty()
            && self.keystores_short_of(KeystoreStanding::Switched).is_empty()
    }

    /// Whether some keystore has flipped in this order: all units had promoted, and something is under the
    /// new master key.
    pub(super) fn has_flipped(&self) -> bool {
        self.flipped_to().is_some()
    }

    /// The pattern that a keystore has flipped to in this order.
    pub(super) fn flipped_to(&self) -> Option<Pattern> {
        let found = self.reencryptors().into_iter().find_map(|id| {
            self.keystore_rotation(id)
                .filter(|found| found.standing.has_reached(KeystoreStanding::Switched))
        });
        found.map(|found| found.to)
    }

    /// Whether every keystore has been heard, and not all have flipped in this order.
    pub(super) fn is_before_flip(&self) -> bool {
        let is_heard = |id: &ProcessId| self.row(*id).is_some();
        self.reencryptors().iter().all(is_heard) && !self.is_flipped()
    }

    /// Units that have not come as far as `needed`.
    pub(super) fn units_short_of(&self, needed: Reached) -> Vec<ProcessId> {
        let is_short =
            |unit: &ProcessId| self.reached(*unit).is_none_or(|(reached, _)| reached < needed);
        self.unit_ids().filter(is_short).collect()
    }

    /// The pattern that any unit has shown for this order.
    pub fn to_pattern(&self) -> Option<Pattern> {
        let generator = self.order.generator;
        let shown = |unit| self.reached(unit).and_then(|(_, pattern)| pattern);
        shown(generator).or_else(|| self.unit_ids().find_map(shown))
    }

    pub(super) fn step(&self, unit: ProcessId, step: Step) -> Wanted {
        Wanted::Unit(unit, Command::Step { order: *self.reference, step })
    }

    pub(super) fn inspect(&self, unit: ProcessId) -> Wanted {
        Wanted::Unit(unit, Command::Inspect { order: self.signed_order.clone() })
    }

    pub(super) fn offer(&self, unit: ProcessId) -> Option<&SignedOffer> {
        self.heard(unit)?.in_order(self.reference)?.offer.as_ref()
    }

    /// The keystore's rotation, if it is this one.
    pub(super) fn keystore_rotation(&self, reencryptor: ProcessId) -> Option<&KeystoreRotation> {
        self.row(reencryptor)?.rotation.as_ref().filter(|found| found.is_of(self.reference))
    }

    /// Whether the keystore can never open this order: it has gone on to a later one, or to another of
    /// the same number.
    pub(super) fn has_spent(&self, reencryptor: ProcessId) -> bool {
        let found = self.row(reencryptor).and_then(|row| row.rotation.as_ref());
        found.is_some_and(|found| {
            found.order_digest != self.reference.digest && found.number >= self.reference.number
        })
    }

    pub(super) fn row(&self, reencryptor: ProcessId) -> Option<&KeystoreRow> {
        self.keystores.get(&reencryptor)?.report.row.as_ref()
    }

    pub(super) fn is_closed(&self, reencryptor: ProcessId) -> bool {
        self.row(reencryptor).is_some_and(|row| row.open.is_none())
    }

    pub(super) fn keystore_epoch(&self, reencryptor: ProcessId) -> Option<Epoch> {
        Some(self.row(reencryptor)?.epoch)
    }

    /// One reencryptor for each keystore of the manifest: the one that reported it, else any.
    pub fn reencryptors(&self) -> Vec<ProcessId> {
        let members: Vec<_> =
            self.manifest.of_role(protocol::Role::Reencryptor).map(|member| member.id).collect();
        let serves = |id: &ProcessId, keystore| {
            let row = self.keystores.get(id).and_then(|held| held.report.row.as_ref());
            row.is_some_and(|row| row.keystore == keystore)
        };
        let mut asked = Vec::new();
        for keystore in &self.manifest.keystores {
            let known = members.iter().find(|id| serves(id, *keystore));
            let these = known.map_or(members.as_slice(), std::slice::from_ref);
            for id in these {
                if !asked.contains(id) {
                    asked.push(*id);
                }
            }
        }
        asked
    }

    pub(super) fn keystores_short_of(&self, needed: KeystoreStanding) -> Vec<ProcessId> {
        let is_short = |id: &ProcessId| {
            self.keystore_rotation(*id).is_none_or(|found| !found.standing.has_reached(needed))
        };
        self.reencryptors().into_iter().filter(is_short).collect()
    }

    /// The units' envelopes, as a certificate.
    pub(super) fn unit_certificate(&self) -> Certificate {
        let of_unit = |unit| self.units.get(&unit).map(|held| held.envelope.clone());
        Certificate {
            envelopes: self.unit_ids().filter_map(of_unit).collect(),
            manifests: self.amendments.to_vec(),
        }
    }

    pub(super) fn keystore_certificate(&self) -> Certificate {
        let of_one = |id| self.keystores.get(&id).map(|held| held.envelope.clone());
        Certificate {
            envelopes: self.reencryptors().into_iter().filter_map(of_one).collect(),
            manifests: self.amendments.to_vec(),
        }
    }
}
