//! What a rotation that has ended well leaves behind as proof: its receipt, out of what its
//! coordinator holds.

use protocol::audit::Phase;
use protocol::keystore::{KeystoreRow, KeystoreStanding};
use protocol::manifest::Manifest;
use protocol::receipt::{
    self, AuditHead, KeystoreProof, ManifestName, RotationReceipt, TYPE, UnitProof, VERSION,
};
use protocol::report::KeystoreReport;
use protocol::{Digest, KeystoreId, ProcessId, Role, Signature};

use super::{Rotation, view};
use crate::certificate::{Reached, reached};
use crate::envelope;

/// What keeps a receipt from being made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lacking {
    /// The rotation runs, or was aborted.
    #[error("the rotation has not ended well")]
    NotDone,
    /// Another manifest came between, which does not merely amend the rotation: the order holds under
    /// the older one, the units that are left are those of the newer one.
    #[error("manifest {newest} came during the rotation and does not merely amend it")]
    OlderManifest {
        /// Its serial.
        newest: u64,
    },
    /// A unit's cleared report is not at hand.
    #[error("there is no cleared report of {0} at hand")]
    Unit(String),
    /// A keystore's flipped report is not at hand, or lacks the root of its keys.
    #[error("there is no flipped report of keystore {0} with the root of its keys at hand")]
    Keystore(KeystoreId),
}

impl Rotation {
    /// Keeps the *flipped* report: at the end there is only a later one. Where a keystore was beyond
    /// that when it was first heard of, its word for *dropped* says the same.
    pub(super) fn note_flipped(&mut self, report: &KeystoreReport, envelope: &[u8]) {
        let Some(row) = &report.row else { return };
        let Some(standing) = self.standing_in(row) else { return };
        // A reencryptor that was replaced since, maybe while this rotation was only a record: its successor
        // says the same anew.
        let manifest = &self.manifest;
        self.record.flipped.retain(|(_, envelope)| is_by_member(manifest, envelope));
        let held = self.record.flipped.iter_mut().find(|(keystore, _)| *keystore == row.keystore);
        match (standing, held) {
            (KeystoreStanding::Flipped, Some((_, held))) => envelope.clone_into(held),
            (KeystoreStanding::Flipped | KeystoreStanding::Dropped, None) => {
                self.record.flipped.push((row.keystore, envelope.to_vec()));
            }
            _ => {}
        }
    }

    fn standing_in(&self, row: &KeystoreRow) -> Option<KeystoreStanding> {
        let found = row.rotation.as_ref()?;
        (found.order() == self.reference).then_some(found.standing)
    }

    /// Notes that the receipt with this hash is made.
    pub const fn set_receipt(&mut self, hash: Digest) {
        self.record.receipt = Some(hash);
    }

    /// The receipt, without the coordinator's signature.
    pub(crate) fn receipt(
        &self,
        manifest: ManifestName,
        coordinator: ProcessId,
        audit: AuditHead,
        previous: Option<Digest>,
    ) -> Result<RotationReceipt, Lacking> {
        let (record, order) = (&self.record, &self.order);
        let (Phase::Done, Some(finished_at), Some(to)) =
            (record.phase(), record.finished_at, record.to)
        else {
            return Err(Lacking::NotDone);
        };
        if !self.is_only_amended() {
            return Err(Lacking::OlderManifest { newest: self.manifest.serial });
        }
        let units = self.unit_proofs()?;
        let keystores = self.keystore_proofs()?;
        Ok(RotationReceipt {
            kind: TYPE.to_owned(),
            version: VERSION,
            instance: order.instance,
            instance_name: self.manifest.name.clone(),
            rotation: order.rotation,
            purpose: order.purpose,
            order: record.signed_order.clone(),
            order_digest: self.reference.digest,
            manifest,
            from: order.from,
            to,
            phases: record.phases.clone(),
            finished_at,
            gate_closed_ms: view::gate_closed_ms(record),
            key_versions: keystores.iter().map(|proof| proof.key_versions).sum(),
            units,
            keystores,
            audit,
            previous,
            note: receipt::note(order.from),
            coordinator,
            signature: Signature([0; 64]),
        })
    }

    fn unit_proofs(&self) -> Result<Vec<UnitProof>, Lacking> {
        let proof = |unit: &protocol::manifest::Member| {
            // One that lost its master key since then proves nothing any more.
            let is_cleared = |held: &&super::Held<_>| {
                let (found, to) = (reached(&held.report, &self.reference), self.record.to);
                found.is_some_and(|(reached, held)| reached == Reached::Cleared && held == to)
            };
            let held = self.units.get(&unit.id).filter(is_cleared);
            let held = held.ok_or_else(|| Lacking::Unit(unit.name.clone()))?;
            let (name, report) = (unit.name.clone(), held.envelope.clone());
            Ok(UnitProof { unit: unit.id, name, report })
        };
        self.manifest.crypto_units().map(proof).collect()
    }

    fn keystore_proofs(&self) -> Result<Vec<KeystoreProof>, Lacking> {
        let proof = |keystore: &KeystoreId| {
            let said = |(id, envelope): &&(KeystoreId, Vec<u8>)| {
                id == keystore && is_by_member(&self.manifest, envelope)
            };
            let held = self.record.flipped.iter().find(said);
            let proof = held.and_then(|(_, envelope)| keystore_proof(*keystore, envelope));
            proof.ok_or(Lacking::Keystore(*keystore))
        };
        self.manifest.keystores.iter().map(proof).collect()
    }
}

/// A receipt takes the word of members only.
fn is_by_member(manifest: &Manifest, envelope: &[u8]) -> bool {
    let said = envelope::unverified::<KeystoreReport>(envelope);
    said.is_some_and(|report| manifest.names(report.reencryptor, Role::Reencryptor))
}

/// Read out of the very envelope that goes into the receipt, so that they cannot differ.
fn keystore_proof(keystore: KeystoreId, envelope: &[u8]) -> Option<KeystoreProof> {
    let row = envelope::unverified::<KeystoreReport>(envelope)?.row?;
    let active = row.active?;
    Some(KeystoreProof {
        keystore,
        key_versions: active.set_count,
        quarantined_count: active.quarantined_count,
        key_root: row.rotation?.key_root?,
        report: envelope.to_vec(),
    })
}
