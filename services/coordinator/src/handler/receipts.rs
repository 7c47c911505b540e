//! The receipt of a rotation: made before anything is told of its end, saved with its record.

use ledger::{Records, RecordsError};
use machines::receipt::receipt_hash;
use protocol::api::AuditView;
use protocol::receipt::{AuditHead, RotationReceipt};
use protocol::{Digest, InstanceId};

use super::Coordinator;

/// What an instance's next receipt names. Nobody else writes while this process holds the lease, so
/// that it need not be read again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    audit: AuditHead,
    receipt: Option<Digest>,
}

impl Default for Before {
    /// Of an instance that nothing has been saved of.
    fn default() -> Self {
        Self { audit: AuditHead { seq: 0, hash: Digest([0; 32]) }, receipt: None }
    }
}

impl Before {
    /// As it was saved.
    pub(super) async fn load(records: &Records, id: InstanceId) -> Result<Self, RecordsError> {
        let audit = records.audit_head(id).await?;
        Ok(Self { audit, receipt: records.last_receipt(id).await? })
    }

    /// A receipt has been saved.
    pub(super) fn note_receipt(&mut self, receipt: &RotationReceipt) {
        self.receipt = Some(receipt_hash(receipt));
    }

    /// An entry has been written to the audit log.
    pub(super) const fn note(&mut self, entry: &AuditView) {
        self.audit = AuditHead { seq: entry.seq, hash: entry.hash };
    }
}

impl Coordinator {
    /// Makes the receipt, if the record that is about to be saved is that of a rotation which has
    /// just ended well. A rotation without one has ended all the same.
    pub(super) fn make_receipt(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let Before { audit, receipt: previous } = instance.before;
        match instance.conductor.make_receipt(audit, previous) {
            None => {}
            Some(Ok(receipt)) => _ = self.unsaved.receipts.insert(id, receipt),
            Some(Err(error)) => {
                tracing::error!(instance = %instance.name, %error, "there will be no receipt");
            }
        }
    }
}
