//! What both stores write and read, in the form in which it is in their columns.

use crypto::digest;
use machines::receipt::receipt_hash;
use machines::rotation::record::{Record, Verdict};
use protocol::codec;
use protocol::receipt::RotationReceipt;
use protocol::{InstanceId, RotationId};

use super::RecordsError;

/// Longest request id that is kept as it came; of longer ones the digest. An index of PostgreSQL
/// takes less than 3 kB.
const MAX_REQUEST_ID: usize = 256;

/// A rotation's record and the columns that constraints look at.
#[derive(Clone, Debug)]
pub(super) struct RotationRow {
    pub(super) instance: InstanceId,
    pub(super) rotation: RotationId,
    pub(super) bytes: Vec<u8>,
    pub(super) is_decided: bool,
    pub(super) is_aborted: bool,
    /// Milliseconds since 1970.
    pub(super) finished_at: Option<i64>,
    /// Serial of the manifest under which the verdict was reached; 0 for none.
    pub(super) verdict_under: i64,
}

impl RotationRow {
    pub(super) fn new(instance: InstanceId, record: &Record) -> Result<Self, RecordsError> {
        let (order, _) = record.order().map_err(|error| malformed("order", &error))?;
        Ok(Self {
            instance,
            rotation: order.rotation,
            bytes: codec::encode(record),
            is_decided: record.verdict == Verdict::Decided,
            is_aborted: matches!(record.verdict, Verdict::Aborted { .. }),
            finished_at: record.finished_at.map(|at| at.0 as i64),
            verdict_under: record.verdict_under.unwrap_or_default() as i64,
        })
    }
}

/// A rotation's receipt.
#[derive(Clone, Debug)]
pub(super) struct ReceiptRow {
    pub(super) hash: [u8; 32],
    pub(super) document: String,
}

impl ReceiptRow {
    pub(super) fn new(receipt: &RotationReceipt) -> Self {
        Self { hash: receipt_hash(receipt).0, document: receipt.to_text() }
    }
}

/// Text as PostgreSQL can keep it: without U+0000, which a request from the queue may hold. The
/// same in SQLite, so that an entry has one hash wherever it is.
pub(super) fn storable(text: String) -> String {
    match text.contains('\0') {
        true => text.replace('\0', "\u{fffd}"),
        false => text,
    }
}

/// The key under which a request is remembered: its id, or the digest of one that no column takes.
pub(super) fn request_key(id: String) -> String {
    match id.len() <= MAX_REQUEST_ID && !id.contains('\0') {
        true => id,
        false => digest::sha256("keyhelm long request id v1", &[id.as_bytes()]).to_string(),
    }
}

pub(super) fn read<T: codec::Decode<()>>(
    bytes: &[u8],
    what: &'static str,
) -> Result<T, RecordsError> {
    codec::decode(bytes).map_err(|error| malformed(what, &error))
}

/// A record, of this program or of the one before, whose records end one field earlier.
pub(super) fn read_record(bytes: &[u8]) -> Result<Record, RecordsError> {
    const ABSENT: u8 = 0;
    read(bytes, "record").or_else(|refused| {
        let with_field = [bytes, &[ABSENT]].concat();
        codec::decode(&with_field).map_err(|_| refused)
    })
}

pub(super) fn malformed(what: &'static str, error: &dyn std::fmt::Display) -> RecordsError {
    RecordsError::Malformed { what, reason: error.to_string() }
}
