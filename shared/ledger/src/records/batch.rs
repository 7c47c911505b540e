//! Everything that one step of a coordinator has to save, in one transaction: all of it is durable
//! at once, or nothing of it.

use machines::rotation::record::Record;
use protocol::api::AuditView;
use protocol::codec;
use protocol::manifest::SignedManifest;
use protocol::order::SignedStandingOrder;
use protocol::receipt::RotationReceipt;
use protocol::{InstanceId, RotationId, UnixMillis};

use super::audit::{self, AuditRow, Entry};
use super::rows::{ReceiptRow, RotationRow, request_key, storable};
use super::{MANIFESTS, Records, RecordsError, STANDING_ORDER, Store};

/// What is saved together, in this order: documents, records, answers, entries of the audit log.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) documents: Vec<DocumentRow>,
    pub(super) records: Vec<(RotationRow, Option<ReceiptRow>)>,
    pub(super) answers: Vec<AnswerRow>,
    pub(super) entries: Vec<(InstanceId, Entry)>,
}

/// What has been saved of it.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Entries of the audit log, as they are written.
    pub entries: Vec<AuditView>,
    /// Rotations that have got their receipt: those whose record was written, and that had none.
    pub receipts: Vec<RotationId>,
}

/// The same as a store has it.
#[derive(Debug)]
pub(super) struct SavedRows {
    pub(super) entries: Vec<AuditRow>,
    pub(super) receipts: Vec<RotationId>,
}

/// A document of an instance.
#[derive(Debug)]
pub(super) struct DocumentRow {
    pub(super) instance: InstanceId,
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// What a request was answered.
#[derive(Debug)]
pub(super) struct AnswerRow {
    pub(super) request: String,
    pub(super) at: UnixMillis,
    pub(super) answer: String,
}

impl Batch {
    /// What administrators have signed: the chain of manifests and the standing order. A standing
    /// order that was saved before stays where none is given.
    pub fn documents(
        &mut self,
        instance: InstanceId,
        name: String,
        chain: &[SignedManifest],
        standing: Option<&SignedStandingOrder>,
    ) {
        let name = storable(name);
        let chain = (MANIFESTS, codec::encode(&chain.to_vec()));
        let standing = standing.map(|standing| (STANDING_ORDER, codec::encode(standing)));
        for (kind, bytes) in [Some(chain), standing].into_iter().flatten() {
            self.documents.push(DocumentRow { instance, name: name.clone(), kind, bytes });
        }
    }

    /// A rotation's record, and the receipt of one that has ended well. A rotation that has a
    /// receipt keeps it.
    pub fn record(
        &mut self,
        instance: InstanceId,
        record: &Record,
        receipt: Option<&RotationReceipt>,
    ) -> Result<(), RecordsError> {
        let receipt = receipt.map(ReceiptRow::new);
        self.records.push((RotationRow::new(instance, record)?, receipt));
        Ok(())
    }

    /// The first answer to a request; the oldest are forgotten beyond [`super::MAX_REQUESTS`].
    pub fn answer(&mut self, request: String, at: UnixMillis, answer: String) {
        let (request, answer) = (request_key(request), storable(answer));
        self.answers.push(AnswerRow { request, at, answer });
    }

    /// An entry of the audit log. Each one's hash covers the one before it.
    pub fn entry(
        &mut self,
        instance: InstanceId,
        at: UnixMillis,
        actor: String,
        action: String,
        details: &serde_json::Value,
    ) {
        let (actor, action) = (storable(actor), storable(action));
        self.entries.push((instance, Entry { at, actor, action, details: details.to_string() }));
    }
}

impl Records {
    /// Saves all of it, or nothing.
    pub async fn save_all(&self, batch: Batch) -> Result<Saved, RecordsError> {
        let held = self.held();
        let SavedRows { entries, receipts } = on!(self.save_all(held, batch))?;
        let entries = entries.into_iter().map(audit::view).collect::<Result<_, _>>()?;
        Ok(Saved { entries, receipts })
    }
}
