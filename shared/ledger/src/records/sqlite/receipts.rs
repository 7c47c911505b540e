//! Receipts, numbered within their instance.

use protocol::{InstanceId, RotationId};
use rusqlite::{Transaction, params};

use super::{SqliteRecords, database, optional};
use crate::RecordsError;
use crate::records::audit::Head;
use crate::records::rows::{ReceiptRow, RotationRow};

/// Whether it was: a rotation that has a receipt keeps it.
pub(super) fn insert(
    tx: &Transaction<'_>,
    row: &RotationRow,
    receipt: &ReceiptRow,
) -> Result<bool, RecordsError> {
    let inserted = tx
        .execute(
            "INSERT INTO coordinator_receipts (instance, seq, rotation, hash, document)
         SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3, ?4 FROM coordinator_receipts
         WHERE instance = ?1 ON CONFLICT (instance, rotation) DO NOTHING",
            params![row.instance.bytes(), row.rotation.bytes(), receipt.hash, receipt.document],
        )
        .map_err(database)?;
    Ok(inserted > 0)
}

impl SqliteRecords {
    pub(in crate::records) async fn receipt(
        &self,
        rotation: RotationId,
    ) -> Result<Option<String>, RecordsError> {
        let sql = "SELECT document FROM coordinator_receipts WHERE rotation = ?1";
        self.read(move |tx| optional(tx, sql, *rotation.bytes())).await
    }

    pub(in crate::records) async fn last_receipt(
        &self,
        instance: InstanceId,
    ) -> Result<Option<[u8; 32]>, RecordsError> {
        let sql = "SELECT hash FROM coordinator_receipts WHERE instance = ?1
                   ORDER BY seq DESC LIMIT 1";
        self.read(move |tx| optional(tx, sql, *instance.bytes())).await
    }

    pub(in crate::records) async fn audit_head(
        &self,
        instance: InstanceId,
    ) -> Result<Head, RecordsError> {
        self.read(move |tx| super::log::load_head(tx, instance)).await
    }
}
