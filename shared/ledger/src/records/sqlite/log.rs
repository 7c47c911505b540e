//! The audit log and its head.

use protocol::api::AuditView;
use protocol::{InstanceId, UnixMillis};
use rusqlite::{OptionalExtension, Row, Transaction};

use super::{SqliteRecords, database};
use crate::RecordsError;
use crate::records::audit::{AuditQuery, AuditRow, Entry, Head, Reader};

impl SqliteRecords {
    pub(in crate::records) async fn audit_entries(
        &self,
        instance: InstanceId,
        query: AuditQuery,
    ) -> Result<Vec<AuditView>, RecordsError> {
        self.read(move |tx| {
            let mut found = tx
                .prepare(
                    "SELECT seq, at, actor, action, details, hash FROM coordinator_audit
                     WHERE instance = ?1 ORDER BY seq",
                )
                .map_err(database)?;
            let rows = found.query_map([instance.bytes()], audit_row).map_err(database)?;
            let mut reader = Reader::new(query);
            for row in rows {
                reader.take(row.map_err(database)?)?;
            }
            reader.finish(load_head(tx, instance)?)
        })
        .await
    }
}

pub(super) fn load_head(tx: &Transaction<'_>, instance: InstanceId) -> Result<Head, RecordsError> {
    tx.query_row(
        "SELECT seq, hash FROM coordinator_audit_heads WHERE instance = ?1",
        [instance.bytes()],
        |row| Ok(Head { seq: row.get::<_, i64>(0)? as u64, hash: hash(row, 1)? }),
    )
    .optional()
    .map(Option::unwrap_or_default)
    .map_err(database)
}

fn audit_row(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    let entry = Entry {
        at: UnixMillis(row.get::<_, i64>(1)? as u64),
        actor: row.get(2)?,
        action: row.get(3)?,
        details: row.get(4)?,
    };
    Ok(AuditRow { seq: row.get::<_, i64>(0)? as u64, entry, hash: hash(row, 5)? })
}

/// One that has been changed to another length is no entry's.
fn hash(row: &Row<'_>, index: usize) -> rusqlite::Result<[u8; 32]> {
    let bytes: Vec<u8> = row.get(index)?;
    Ok(bytes.try_into().unwrap_or_default())
}
