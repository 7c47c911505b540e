//! Ending writers that stand still. The server ends a session that is idle in a transaction, but one
//! whose process stops in the midst of a COPY is at work to the server, for ever: it waits for more rows.

use deadpool_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};

use super::database;
use crate::KeystoreError;

/// Writers of a queue from whom the server has nothing to do and hears nothing more: they have been in
/// their transaction for as long as four of us would wait, which is a minute unless the role waits
/// shorter. Who holds the queue alone is left alone: it may be counting a large set.
///
/// Only sessions of the role that has logged in are seen, and may be ended.
const END: &str = "
    SELECT count(pg_terminate_backend(s.pid)) FROM pg_locks l JOIN pg_stat_activity s ON s.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.mode = 'ShareLock' AND l.granted AND l.objsubid = 1
    AND l.classid::bigint = ($1 >> 32) & 4294967295 AND l.objid::bigint = $1 & 4294967295
    AND s.datname = current_database() AND s.usename = current_user
    AND s.wait_event = 'ClientRead'
    AND s.xact_start < clock_timestamp() - 4 * current_setting('lock_timeout')::interval";

/// Begins the transaction anew, which has waited in vain for this queue, and ends the writers that stand
/// still in it; busy, if there is none.
pub(super) async fn end(tx: &Transaction<'_>, queue: i64) -> Result<(), KeystoreError> {
    // A login may stand for a role that owns the tables and has no right to end it.
    tx.batch_execute("ROLLBACK AND CHAIN; SET LOCAL ROLE NONE").await.map_err(database)?;
    let bound = [(&queue as &(dyn ToSql + Sync), Type::INT8)];
    let found = tx.query_typed_one(END, &bound).await.map_err(database)?;
    tx.batch_execute("ROLLBACK AND CHAIN").await.map_err(database)?;
    match found.try_get::<_, i64>(0).map_err(database)? {
        0 => Err(KeystoreError::Busy),
        count => {
            tracing::warn!(count, "writers that stood still in a transaction have been ended");
            Ok(())
        }
    }
}
