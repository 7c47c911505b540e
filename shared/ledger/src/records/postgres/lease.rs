//! The one row of the lease.
//!
//! Expiry is written and judged by `clock_timestamp()` of the database, read after the row is
//! held. A coordinator's clock takes no part: one that is fast would take a lease that another
//! still holds. The beginning of the transaction (`now()`) would be as wrong: it lies before the
//! wait for the row.

use deadpool_postgres::Transaction;
use futures_util::future::join;
use protocol::ProcessId;

use super::{PostgresRecords, commit, database, exclusive, get};
use crate::RecordsError;
use crate::records::lease::{Acquired, Lease, LeaseRow};

impl PostgresRecords {
    pub(in crate::records) async fn acquire(
        &self,
        who: ProcessId,
        ttl_ms: u64,
    ) -> Result<Acquired, RecordsError> {
        let mut client = self.client().await?;
        let (tx, row) = exclusive(&mut client).await?;
        if let Some(theirs) = row.held_against(who) {
            return Ok(theirs);
        }
        let number = row.number + 1;
        store(&tx, Lease { number, holder: who, ttl_ms }).await?;
        commit(tx, fail_points::Transaction::RecordLease).await?;
        Ok(Acquired::Ours(number))
    }

    pub(in crate::records) async fn renew(&self, held: Option<Lease>) -> Result<(), RecordsError> {
        let mut client = self.client().await?;
        let (tx, row) = exclusive(&mut client).await?;
        let Some(held) = held else { return Err(row.fenced(None)) };
        row.check(Some(held))?;
        store(&tx, held).await?;
        commit(tx, fail_points::Transaction::RecordRenew).await
    }

    pub(in crate::records) async fn release(&self, held: Lease) -> Result<(), RecordsError> {
        let client = self.client().await?;
        client
            .execute(
                "UPDATE coordinator_lease SET holder = NULL, expires_at = 'epoch'
                 WHERE number = $1 AND holder = $2",
                &[&(held.number as i64), &held.holder.uuid()],
            )
            .await
            .map_err(database)?;
        Ok(())
    }
}

/// The row, held until the end of the transaction. The clock is read in a statement of its own:
/// in the one that waits for the row it may be read before the wait.
pub(super) async fn hold(tx: &Transaction<'_>) -> Result<LeaseRow, RecordsError> {
    let held = tx.execute_typed("SELECT 1 FROM coordinator_lease FOR UPDATE", &[]);
    // Asked for at once; the server does it when the row is held.
    let read = tx.query_typed_one(
        "SELECT number, holder, CEIL(GREATEST(0, EXTRACT(EPOCH FROM
             expires_at - clock_timestamp()) * 1000))::BIGINT FROM coordinator_lease",
        &[],
    );
    let (held, row) = join(held, read).await;
    held.map_err(database)?;
    let row = row.map_err(database)?;
    Ok(LeaseRow {
        number: get::<i64>(&row, 0)? as u64,
        holder: get::<Option<_>>(&row, 1)?.map(ProcessId::from_uuid),
        remaining_ms: get::<i64>(&row, 2)? as u64,
    })
}

async fn store(tx: &Transaction<'_>, lease: Lease) -> Result<(), RecordsError> {
    let Lease { number, holder, ttl_ms } = lease;
    tx.execute(
        "UPDATE coordinator_lease SET number = $1, holder = $2,
         expires_at = clock_timestamp() + $3::BIGINT * INTERVAL '1 millisecond'",
        &[&(number as i64), &holder.uuid(), &(ttl_ms as i64)],
    )
    .await
    .map_err(database)?;
    Ok(())
}
