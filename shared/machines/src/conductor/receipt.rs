//! The receipt of the rotation that has just ended, signed.

use crypto::domain;
use protocol::Digest;
use protocol::audit::Phase;
use protocol::receipt::{AuditHead, ManifestName, RotationReceipt};

use super::Conductor;
use crate::receipt::receipt_hash;
use crate::rotation::Lacking;
use crate::trust::manifest_digest;

impl Conductor {
    /// Makes the receipt of the rotation that has ended well, once; none if there is nothing to be
    /// made. `audit` is the end of the audit log, `previous` the hash of the instance's last receipt.
    ///
    /// Its hash is noted in the rotation's record: both are to be saved together.
    pub fn make_receipt(
        &mut self,
        audit: AuditHead,
        previous: Option<Digest>,
    ) -> Option<Result<RotationReceipt, Lacking>> {
        let rotation = self.rotation.as_ref()?;
        let record = rotation.record();
        // One that recovers a unit re-wraps nothing: the audit log tells of it.
        let is_recovery = rotation.recovery().is_some();
        if record.phase() != Phase::Done || record.receipt.is_some() || is_recovery {
            return None;
        }
        // That of the order, or the last one that has amended the rotation; one that came after the
        // rotation is not the one that it ran under.
        let serial = rotation.manifest_serial();
        let signed = self.trust.chain().get(usize::try_from(serial).ok()?.checked_sub(1)?)?;
        let manifest = ManifestName { serial, digest: manifest_digest(&signed.bytes) };
        let made = rotation.receipt(manifest, self.id, audit, previous).map(|mut receipt| {
            let message = receipt.signed_bytes();
            receipt.signature = self.identity.sign(domain::ROTATION_RECEIPT, &message);
            receipt
        });
        if let (Ok(receipt), Some(rotation)) = (&made, self.rotation.as_mut()) {
            rotation.set_receipt(receipt_hash(receipt));
        }
        Some(made)
    }
}
