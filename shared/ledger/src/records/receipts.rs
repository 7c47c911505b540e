//! Receipts: saved with the end of their rotation or not at all, and never changed.

use machines::rotation::record::Record;
use protocol::receipt::{AuditHead, RotationReceipt};
use protocol::{Digest, InstanceId, RotationId};

use super::{Batch, Records, RecordsError, Store};

impl Records {
    /// Saves the record of a rotation that has ended well, and its receipt, both or neither. A
    /// rotation that has a receipt keeps it.
    pub async fn save_with_receipt(
        &self,
        instance: InstanceId,
        record: &Record,
        receipt: &RotationReceipt,
    ) -> Result<(), RecordsError> {
        let mut batch = Batch::default();
        batch.record(instance, record, Some(receipt))?;
        self.save_all(batch).await.map(drop)
    }

    /// A rotation's receipt, as it was saved: JSON.
    pub async fn receipt(&self, rotation: RotationId) -> Result<Option<String>, RecordsError> {
        on!(self.receipt(rotation))
    }

    /// Hash of an instance's last receipt, which its next one names; none if there is none.
    pub async fn last_receipt(&self, instance: InstanceId) -> Result<Option<Digest>, RecordsError> {
        let hash: Option<[u8; 32]> = on!(self.last_receipt(instance))?;
        Ok(hash.map(Digest))
    }

    /// The end of the audit log as it was last written; nothing of it is verified.
    pub async fn audit_head(&self, instance: InstanceId) -> Result<AuditHead, RecordsError> {
        let head = on!(self.audit_head(instance))?;
        Ok(AuditHead { seq: head.seq, hash: Digest(head.hash) })
    }
}
