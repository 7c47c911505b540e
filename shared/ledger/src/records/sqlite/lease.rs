//! The one row of the lease.

use protocol::ProcessId;
use rusqlite::{Transaction, params};

use super::{SqliteRecords, database};
use crate::RecordsError;
use crate::records::lease::{Acquired, Lease, LeaseRow};

/// The store's clock, in milliseconds since 1970.
const NOW: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

impl SqliteRecords {
    pub(in crate::records) async fn acquire(
        &self,
        who: ProcessId,
        ttl_ms: u64,
    ) -> Result<Acquired, RecordsError> {
        self.exclusive(move |tx| {
            let row = load(tx)?;
            if let Some(theirs) = row.held_against(who) {
                return Ok(theirs);
            }
            let number = row.number + 1;
            store(tx, Lease { number, holder: who, ttl_ms })?;
            Ok(Acquired::Ours(number))
        })
        .await
    }

    pub(in crate::records) async fn renew(&self, held: Option<Lease>) -> Result<(), RecordsError> {
        self.exclusive(move |tx| {
            let row = load(tx)?;
            let Some(held) = held else { return Err(row.fenced(None)) };
            row.check(Some(held))?;
            store(tx, held)
        })
        .await
    }

    pub(in crate::records) async fn release(&self, held: Lease) -> Result<(), RecordsError> {
        self.exclusive(move |tx| {
            tx.execute(
                "UPDATE coordinator_lease SET holder = NULL, expires_at = 0
                 WHERE number = ?1 AND holder = ?2",
                params![held.number as i64, held.holder.bytes()],
            )
            .map_err(database)?;
            Ok(())
        })
        .await
    }
}

pub(super) fn load(tx: &Transaction<'_>) -> Result<LeaseRow, RecordsError> {
    let sql = format!("SELECT number, holder, MAX(0, expires_at - {NOW}) FROM coordinator_lease");
    tx.query_row(&sql, [], |row| {
        Ok(LeaseRow {
            number: row.get::<_, i64>(0)? as u64,
            holder: row.get::<_, Option<[u8; 16]>>(1)?.map(ProcessId::from_bytes),
            remaining_ms: row.get::<_, i64>(2)? as u64,
        })
    })
    .map_err(database)
}

fn store(tx: &Transaction<'_>, lease: Lease) -> Result<(), RecordsError> {
    let sql =
        format!("UPDATE coordinator_lease SET number = ?1, holder = ?2, expires_at = {NOW} + ?3");
    let Lease { number, holder, ttl_ms } = lease;
    tx.execute(&sql, params![number as i64, holder.bytes(), ttl_ms as i64]).map_err(database)?;
    Ok(())
}
