//! One transaction for all that a step saves: one wait for the disk.

use std::collections::BTreeMap;

use deadpool_postgres::Transaction;
use futures_util::future::try_join_all;
use protocol::InstanceId;
use tokio_postgres::types::Type;

use super::{PostgresRecords, commit, database, log, receipts, write};
use crate::RecordsError;
use crate::records::MAX_REQUESTS;
use crate::records::audit::{AuditRow, Entry, Head};
use crate::records::batch::{AnswerRow, Batch, DocumentRow, SavedRows};
use crate::records::lease::Lease;
use crate::records::rows::RotationRow;

impl PostgresRecords {
    pub(in crate::records) async fn save_all(
        &self,
        held: Option<Lease>,
        batch: Batch,
    ) -> Result<SavedRows, RecordsError> {
        let mut client = self.client().await?;
        let tx = write(&mut client, held).await?;
        for document in &batch.documents {
            store_document(&tx, document).await?;
        }
        let mut receipts = Vec::new();
        for (row, receipt) in &batch.records {
            if store_record(&tx, row).await?
                && let Some(receipt) = receipt
                && receipts::insert(&tx, row, receipt).await?
            {
                receipts.push(row.rotation);
            }
        }
        for answer in &batch.answers {
            remember(&tx, answer).await?;
        }
        if !batch.answers.is_empty() {
            forget_oldest(&tx).await?;
        }
        let entries = append(&tx, batch.entries).await?;
        commit(tx, fail_points::Transaction::RecordSave).await?;
        Ok(SavedRows { entries, receipts })
    }
}

async fn store_document(tx: &Transaction<'_>, row: &DocumentRow) -> Result<(), RecordsError> {
    tx.execute_typed(
        "INSERT INTO coordinator_documents (instance, kind, name, bytes)
         VALUES ($1, $2, $3, $4) ON CONFLICT (instance, kind)
         DO UPDATE SET bytes = excluded.bytes, name = excluded.name",
        &[
            (&row.instance.uuid(), Type::UUID),
            (&row.kind, Type::TEXT),
            (&row.name, Type::TEXT),
            (&row.bytes, Type::BYTEA),
        ],
    )
    .await
    .map_err(database)?;
    Ok(())
}

/// Whether it was written: what has ended stays as it ended. A coordinator that takes such a rotation up
/// again, to let go of a unit that was set back to it, goes by what units and keystore say and needs no record.
async fn store_record(tx: &Transaction<'_>, row: &RotationRow) -> Result<bool, RecordsError> {
    let written = tx
        .execute_typed(
            "INSERT INTO coordinator_rotations
         (instance, rotation, record, is_decided, is_aborted, finished_at, verdict_under)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (instance, rotation) DO UPDATE SET record = excluded.record,
         is_decided = excluded.is_decided, is_aborted = excluded.is_aborted,
         finished_at = excluded.finished_at, verdict_under =
         greatest(excluded.verdict_under, coordinator_rotations.verdict_under)
         WHERE coordinator_rotations.finished_at IS NULL
         OR coordinator_rotations.is_decided = excluded.is_decided
         AND coordinator_rotations.is_aborted = excluded.is_aborted",
            &[
                (&row.instance.uuid(), Type::UUID),
                (&row.rotation.uuid(), Type::UUID),
                (&row.bytes, Type::BYTEA),
                (&row.is_decided, Type::BOOL),
                (&row.is_aborted, Type::BOOL),
                (&row.finished_at, Type::INT8),
                (&row.verdict_under, Type::INT8),
            ],
        )
        .await
        .map_err(database)?;
    Ok(written > 0)
}

async fn remember(tx: &Transaction<'_>, row: &AnswerRow) -> Result<(), RecordsError> {
    tx.execute_typed(
        "INSERT INTO coordinator_requests (id, at, answer) VALUES ($1, $2, $3)
         ON CONFLICT (id) DO NOTHING",
        &[(&row.request, Type::TEXT), (&(row.at.0 as i64), Type::INT8), (&row.answer, Type::TEXT)],
    )
    .await
    .map_err(database)?;
    Ok(())
}

async fn forget_oldest(tx: &Transaction<'_>) -> Result<(), RecordsError> {
    tx.execute_typed(
        "DELETE FROM coordinator_requests WHERE id IN (SELECT id FROM coordinator_requests
         ORDER BY at DESC, id DESC OFFSET $1)",
        &[(&i64::from(MAX_REQUESTS), Type::INT8)],
    )
    .await
    .map_err(database)?;
    Ok(())
}

/// Continues the chain of each instance. The heads stand still: whoever writes holds the lease's row.
async fn append(
    tx: &Transaction<'_>,
    entries: Vec<(InstanceId, Entry)>,
) -> Result<Vec<AuditRow>, RecordsError> {
    let mut heads = BTreeMap::new();
    let mut rows = Vec::with_capacity(entries.len());
    for (instance, entry) in entries {
        let head = match heads.get(&instance) {
            Some(head) => *head,
            None => log::load_head(tx, instance).await?,
        };
        let row = head.next(entry);
        heads.insert(instance, row.head());
        rows.push((instance, row));
    }
    try_join_all(rows.iter().map(|(instance, row)| insert(tx, *instance, row))).await?;
    try_join_all(heads.iter().map(|(instance, head)| store_head(tx, *instance, *head))).await?;
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

async fn insert(
    tx: &Transaction<'_>,
    instance: InstanceId,
    row: &AuditRow,
) -> Result<(), RecordsError> {
    let (seq, hash) = (row.seq as i64, row.hash.as_slice());
    let Entry { at, actor, action, details } = &row.entry;
    tx.execute_typed(
        "INSERT INTO coordinator_audit (instance, seq, at, actor, action, details, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            (&instance.uuid(), Type::UUID),
            (&seq, Type::INT8),
            (&(at.0 as i64), Type::INT8),
            (actor, Type::TEXT),
            (action, Type::TEXT),
            (details, Type::TEXT),
            (&hash, Type::BYTEA),
        ],
    )
    .await
    .map_err(database)?;
    Ok(())
}

async fn store_head(
    tx: &Transaction<'_>,
    instance: InstanceId,
    head: Head,
) -> Result<(), RecordsError> {
    tx.execute_typed(
        "INSERT INTO coordinator_audit_heads (instance, seq, hash) VALUES ($1, $2, $3)
         ON CONFLICT (instance) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
        &[
            (&instance.uuid(), Type::UUID),
            (&(head.seq as i64), Type::INT8),
            (&head.hash.as_slice(), Type::BYTEA),
        ],
    )
    .await
    .map_err(database)?;
    Ok(())
}
