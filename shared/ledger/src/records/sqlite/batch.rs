//! One transaction for all that a step saves.

use protocol::InstanceId;
use rusqlite::{Transaction, params};

use super::{SqliteRecords, database, log, receipts};
use crate::RecordsError;
use crate::records::MAX_REQUESTS;
use crate::records::audit::{AuditRow, Entry};
use crate::records::batch::{AnswerRow, Batch, DocumentRow, SavedRows};
use crate::records::lease::Lease;
use crate::records::rows::RotationRow;

impl SqliteRecords {
    pub(in crate::records) async fn save_all(
        &self,
        held: Option<Lease>,
        batch: Batch,
    ) -> Result<SavedRows, RecordsError> {
        self.write(held, move |tx| {
            batch.documents.iter().try_for_each(|document| store_document(tx, document))?;
            let mut receipts = Vec::new();
            for (row, receipt) in &batch.records {
                if store_record(tx, row)?
                    && let Some(receipt) = receipt
                    && receipts::insert(tx, row, receipt)?
                {
                    receipts.push(row.rotation);
                }
            }
            batch.answers.iter().try_for_each(|answer| remember(tx, answer))?;
            if !batch.answers.is_empty() {
                forget_oldest(tx)?;
            }
            let append = |(instance, entry)| append(tx, instance, entry);
            let entries = batch.entries.into_iter().map(append).collect::<Result<_, _>>()?;
            Ok(SavedRows { entries, receipts })
        })
        .await
    }
}

fn store_document(tx: &Transaction<'_>, row: &DocumentRow) -> Result<(), RecordsError> {
    tx.execute(
        "INSERT INTO coordinator_documents (instance, kind, name, bytes)
         VALUES (?1, ?2, ?3, ?4) ON CONFLICT (instance, kind)
         DO UPDATE SET bytes = excluded.bytes, name = excluded.name",
        params![row.instance.bytes(), row.kind, row.name, row.bytes],
    )
    .map_err(database)?;
    Ok(())
}

/// Whether it was written: what has ended stays as it ended. A coordinator that takes such a rotation up
/// again, to let go of a unit that was set back to it, goes by what units and keystore say and needs no record.
fn store_record(tx: &Transaction<'_>, row: &RotationRow) -> Result<bool, RecordsError> {
    let written = tx
        .execute(
            "INSERT INTO coordinator_rotations
         (instance, rotation, record, is_decided, is_aborted, finished_at, verdict_under)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (instance, rotation) DO UPDATE SET record = excluded.record,
         is_decided = excluded.is_decided, is_aborted = excluded.is_aborted,
         finished_at = excluded.finished_at, verdict_under =
         max(excluded.verdict_under, coordinator_rotations.verdict_under)
         WHERE coordinator_rotations.finished_at IS NULL
         OR coordinator_rotations.is_decided = excluded.is_decided
         AND coordinator_rotations.is_aborted = excluded.is_aborted",
            params![
                row.instance.bytes(),
                row.rotation.bytes(),
                row.bytes,
                row.is_decided,
                row.is_aborted,
                row.finished_at,
                row.verdict_under
            ],
        )
        .map_err(database)?;
    Ok(written > 0)
}

fn remember(tx: &Transaction<'_>, row: &AnswerRow) -> Result<(), RecordsError> {
    tx.execute(
        "INSERT INTO coordinator_requests (id, at, answer) VALUES (?1, ?2, ?3)
         ON CONFLICT (id) DO NOTHING",
        params![row.request, row.at.0 as i64, row.answer],
    )
    .map_err(database)?;
    Ok(())
}

fn forget_oldest(tx: &Transaction<'_>) -> Result<(), RecordsError> {
    tx.execute(
        "DELETE FROM coordinator_requests WHERE id IN (SELECT id FROM
         coordinator_requests ORDER BY at DESC, id DESC LIMIT -1 OFFSET ?1)",
        [MAX_REQUESTS],
    )
    .map_err(database)?;
    Ok(())
}

fn append(
    tx: &Transaction<'_>,
    instance: InstanceId,
    entry: Entry,
) -> Result<AuditRow, RecordsError> {
    let row = log::load_head(tx, instance)?.next(entry);
    let (seq, Entry { at, actor, action, details }) = (row.seq as i64, &row.entry);
    tx.execute(
        "INSERT INTO coordinator_audit (instance, seq, at, actor, action, details, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![instance.bytes(), seq, at.0 as i64, actor, action, details, row.hash],
    )
    .map_err(database)?;
    tx.execute(
        "INSERT INTO coordinator_audit_heads (instance, seq, hash) VALUES (?1, ?2, ?3)
         ON CONFLICT (instance) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
        params![instance.bytes(), seq, row.hash],
    )
    .map_err(database)?;
    Ok(row)
}
