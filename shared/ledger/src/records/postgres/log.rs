//! The audit log and its head.

use deadpool_postgres::Transaction;
use futures_util::{TryStreamExt, pin_mut};
use protocol::api::AuditView;
use protocol::{InstanceId, UnixMillis};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{IsolationLevel, Row};

use super::{PostgresRecords, database, get};
use crate::RecordsError;
use crate::records::audit::{AuditQuery, AuditRow, Entry, Head, Reader};

impl PostgresRecords {
    pub(in crate::records) async fn audit_entries(
        &self,
        instance: InstanceId,
        query: AuditQuery,
    ) -> Result<Vec<AuditView>, RecordsError> {
        let mut client = self.client().await?;
        // One snapshot for the entries and the head.
        let tx = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await
            .map_err(database)?;
        let head = load_head(&tx, instance).await?;
        let rows = tx
            .query_raw(
                "SELECT seq, at, actor, action, details, hash FROM coordinator_audit
                 WHERE instance = $1 ORDER BY seq",
                [instance.uuid()],
            )
            .await
            .map_err(database)?;
        pin_mut!(rows);
        let mut reader = Reader::new(query);
        while let Some(row) = rows.try_next().await.map_err(database)? {
            reader.take(audit_row(&row)?)?;
        }
        reader.finish(head)
    }
}

pub(super) async fn load_head(
    tx: &Transaction<'_>,
    instance: InstanceId,
) -> Result<Head, RecordsError> {
    let sql = "SELECT seq, hash FROM coordinator_audit_heads WHERE instance = $1";
    let bound = [(&instance.uuid() as &(dyn ToSql + Sync), Type::UUID)];
    let found = tx.query_typed(sql, &bound).await.map_err(database)?;
    let Some(row) = found.first() else { return Ok(Head::default()) };
    Ok(Head { seq: get::<i64>(row, 0)? as u64, hash: hash(row, 1)? })
}

fn audit_row(row: &Row) -> Result<AuditRow, RecordsError> {
    let entry = Entry {
        at: UnixMillis(get::<i64>(row, 1)? as u64),
        actor: get(row, 2)?,
        action: get(row, 3)?,
        details: get(row, 4)?,
    };
    Ok(AuditRow { seq: get::<i64>(row, 0)? as u64, entry, hash: hash(row, 5)? })
}

/// One that has been changed to another length is no entry's.
fn hash(row: &Row, index: usize) -> Result<[u8; 32], RecordsError> {
    let bytes: Vec<u8> = get(row, index)?;
    Ok(bytes.try_into().unwrap_or_default())
}
