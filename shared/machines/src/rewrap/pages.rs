//! Which answers of units the reencryptor believes, and what of them it may do without.

use std::collections::BTreeSet;

use crypto::digest::ChunkDigest;
use protocol::page::{
    CheckAnswer, ChunkReceipt, PageAnswer, RewrapPage, SignedReceipt, UnopenedRow,
};
use protocol::{Digest, KeyId, ProcessId, Role, RowRef, Rows};

use crate::trust::Trust;
use crate::unit::page::read_receipt;

/// Why a unit's answer to a page is not believed, or says that nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// The unit does not take pages of this rotation now: ask another, or again.
    #[error("a unit took no page: {0}")]
    Refused(String),
    /// Rows that do not open.
    #[error("{} key versions do not open", .0.len())]
    Unopened(Vec<UnopenedRow>),
    /// The receipt is not signed by an operational unit of the manifest.
    #[error("a receipt is not signed by an operational unit of the manifest")]
    NotSigned,
    /// The receipt is for other rows than were asked for.
    #[error("a receipt does not match its page: {0}")]
    Mismatch(&'static str),
}

/// A chunk as a unit re-wrapped it, believed.
#[derive(Clone, Debug)]
pub struct DoneChunk {
    /// The receipt, read.
    pub receipt: ChunkReceipt,
    /// The receipt, as signed.
    pub signed: SignedReceipt,
    /// The rows with their new blobs.
    pub rows: Rows,
}

/// Checks a unit's answer against the page that was asked: what the receipt says of it (the rotation
/// by the order's digest), and both digests computed anew over what was sent and what came back.
pub fn judge_answer(
    page: &RewrapPage,
    answer: PageAnswer,
    trust: &Trust,
) -> Result<DoneChunk, PageFault> {
    let (blobs, signed) = match answer {
        PageAnswer::Rewrapped { blobs, receipt } => (blobs, receipt),
        PageAnswer::Unopened(rows) => return Err(PageFault::Unopened(rows)),
        PageAnswer::Refused(reason) => return Err(PageFault::Refused(reason)),
    };
    let key_of = |unit: ProcessId| {
        let member = trust.member(unit).filter(|member| member.role == Role::OperationalUnit);
        member.map(|member| member.identity)
    };
    let receipt = read_receipt(&signed, key_of).ok_or(PageFault::NotSigned)?;
    if blobs.len() != page.rows.len() || receipt.count != page.rows.len() as u64 {
        return Err(PageFault::Mismatch("count"));
    }
    let is_for_this = receipt.instance == trust.instance()
        && receipt.order_digest == page.order_digest
        && receipt.generation == page.generation
        && receipt.range == page.range
        && receipt.from == Some(page.from)
        && receipt.to == page.to;
    if !is_for_this {
        return Err(PageFault::Mismatch("order, generation, range or patterns"));
    }
    let mut rows = Rows::with_room(page.rows.byte_count());
    let (mut old_digest, mut new_digest) = (ChunkDigest::new(), ChunkDigest::new());
    for (row, blob) in page.rows.iter().zip(blobs.iter()) {
        let new = RowRef { blob, ..row };
        add(&mut old_digest, row);
        add(&mut new_digest, new);
        rows.push(new);
    }
    if old_digest.finish() != receipt.old_digest {
        return Err(PageFault::Mismatch("old digest"));
    }
    match new_digest.finish() == receipt.new_digest {
        true => Ok(DoneChunk { receipt, signed, rows }),
        false => Err(PageFault::Mismatch("new digest")),
    }
}

/// Whether the order carries every row of a page that does not open (quarantine), and they are rows that
/// were sent.
pub fn may_quarantine(quarantined: &[KeyId], page: &Rows, unopened: &[UnopenedRow]) -> bool {
    let is_carried = |row: &UnopenedRow| {
        quarantined.contains(&row.key)
            && page.iter().any(|sent| sent.version == row.version && sent.key == row.key)
    };
    !unopened.is_empty() && unopened.len() <= page.len() && unopened.iter().all(is_carried)
}

/// Whom to ask for a second look at what `by` has done, one after the other until somebody gives one:
/// units that serve keys before recovery units, and each time another of them first (`turn`).
pub fn lookers(trust: &Trust, by: ProcessId, turn: usize) -> Vec<(ProcessId, Role)> {
    let units = trust.newest().into_iter().flat_map(|manifest| manifest.crypto_units());
    let others = units.filter(|unit| unit.id != by).map(|unit| (unit.id, unit.role));
    let (mut serving, mut backups): (Vec<_>, Vec<_>) =
        others.partition(|(_, role)| *role == Role::OperationalUnit);
    for kind in [&mut serving, &mut backups] {
        let first = turn % kind.len().max(1);
        kind.rotate_left(first);
    }
    serving.extend(backups);
    serving
}

/// What a unit's look at rows came to, believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Rows that opened.
    pub opened_count: u64,
    /// The others.
    pub unopened: Vec<UnopenedRow>,
}

/// Checks a unit's answer against the rows that it was shown: it must speak of each of them once.
pub fn judge_check(rows: &Rows, answer: CheckAnswer) -> Result<Looked, PageFault> {
    let (opened_count, unopened) = match answer {
        CheckAnswer::Checked { opened_count, unopened } => (opened_count, unopened),
        CheckAnswer::Refused(reason) => return Err(PageFault::Refused(reason)),
    };
    let shown: BTreeSet<_> = rows.iter().map(|row| (row.version, row.key)).collect();
    let named: BTreeSet<_> = unopened.iter().map(|row| (row.version, row.key)).collect();
    let is_of_these = named.len() == unopened.len() && named.is_subset(&shown);
    match is_of_these && opened_count + unopened.len() as u64 == rows.len() as u64 {
        true => Ok(Looked { opened_count, unopened }),
        false => Err(PageFault::Mismatch("rows that were looked at")),
    }
}

/// Digest over the rows of a chunk.
pub fn chunk_digest(rows: &Rows) -> Digest {
    let mut digest = ChunkDigest::new();
    rows.iter().for_each(|row| add(&mut digest, row));
    digest.finish()
}

fn add(digest: &mut ChunkDigest, row: RowRef<'_>) {
    digest.row(row.version, row.key, row.attributes, row.blob);
}
