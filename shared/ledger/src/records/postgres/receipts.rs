//! Receipts, numbered within their instance.

use deadpool_postgres::Transaction;
use protocol::{InstanceId, RotationId};
use tokio_postgres::types::Type;

use super::{PostgresRecords, database, log};
use crate::RecordsError;
use crate::records::audit::Head;
use crate::records::rows::{ReceiptRow, RotationRow};

/// Whether it was: a rotation that has a receipt keeps it.
pub(super) async fn insert(
    tx: &Transaction<'_>,
    row: &RotationRow,
    receipt: &ReceiptRow,
) -> Result<bool, RecordsError> {
    let inserted = tx
        .execute_typed(
            "INSERT INTO coordinator_receipts (instance, seq, rotation, hash, document)
         SELECT $1, coalesce(max(seq), 0) + 1, $2, $3, $4 FROM coordinator_receipts
         WHERE instance = $1 ON CONFLICT (instance, rotation) DO NOTHING",
            &[
                (&row.instance.uuid(), Type::UUID),
                (&row.rotation.uuid(), Type::UUID),
                (&receipt.hash.as_slice(), Type::BYTEA),
                (&receipt.document, Type::TEXT),
            ],
        )
        .await
        .map_err(database)?;
    Ok(inserted > 0)
}

impl PostgresRecords {
    pub(in crate::records) async fn receipt(
        &self,
        rotation: RotationId,
    ) -> Result<Option<String>, RecordsError> {
        let sql = "SELECT document FROM coordinator_receipts WHERE rotation = $1";
        self.optional(sql, &[&rotation.uuid()]).await
    }

    pub(in crate::records) async fn last_receipt(
        &self,
        instance: InstanceId,
    ) -> Result<Option<[u8; 32]>, RecordsError> {
        let sql = "SELECT hash FROM coordinator_receipts WHERE instance = $1
                   ORDER BY seq DESC LIMIT 1";
        let hash: Option<Vec<u8>> = self.optional(sql, &[&instance.uuid()]).await?;
        Ok(hash.map(|bytes| bytes.try_into().unwrap_or_default()))
    }

    pub(in crate::records) async fn audit_head(
        &self,
        instance: InstanceId,
    ) -> Result<Head, RecordsError> {
        let mut client = self.client().await?;
        let tx = client.transaction().await.map_err(database)?;
        log::load_head(&tx, instance).await
    }
}
