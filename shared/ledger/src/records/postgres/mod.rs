//! The coordinator's store in PostgreSQL. Every write is a transaction that first holds the row of
//! the lease: writers queue at it, whoever takes the lease waits for the writes in flight, and the
//! chain of the audit log never forks.

mod batch;
mod lease;
mod log;
mod pool;
mod receipts;
mod schema;

use std::fmt;

use deadpool_postgres::{Object, Pool, Transaction};
use protocol::{InstanceId, RotationId};
use tls::Authority;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSqlOwned, ToSql};
use tokio_postgres::{IsolationLevel, Row};

use super::RecordsError;
use super::lease::{Lease, LeaseRow};

/// The store of one PostgreSQL database.
#[derive(Clone)]
pub(super) struct PostgresRecords {
    pool: Pool,
}

impl fmt::Debug for PostgresRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The pool knows the password.
        f.debug_struct("PostgresRecords").finish_non_exhaustive()
    }
}

impl PostgresRecords {
    pub(super) async fn connect(
        url: &str,
        authority: Option<&Authority>,
    ) -> Result<Self, RecordsError> {
        let store = Self { pool: pool::open(url, authority)? };
        schema::migrate(&mut store.client().await?).await?;
        Ok(store)
    }

    async fn client(&self) -> Result<Object, RecordsError> {
        self.pool.get().await.map_err(pool::error)
    }

    /// At most one value of one column.
    async fn optional<T: FromSqlOwned>(
        &self,
        sql: &str,
        keys: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<T>, RecordsError> {
        let client = self.client().await?;
        let row = client.query_opt(sql, keys).await.map_err(database)?;
        row.map(|row| get(&row, 0)).transpose()
    }

    pub(super) async fn list(
        &self,
        instance: InstanceId,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, RecordsError> {
        let client = self.client().await?;
        let rows = client
            .query(
                "SELECT record FROM coordinator_rotations WHERE instance = $1
                 ORDER BY rotation DESC LIMIT $2",
                &[&instance.uuid(), &i64::from(limit)],
            )
            .await
            .map_err(database)?;
        rows.iter().map(|row| get(row, 0)).collect()
    }

    pub(super) async fn unfinished(
        &self,
        instance: InstanceId,
    ) -> Result<Option<Vec<u8>>, RecordsError> {
        let sql = "SELECT record FROM coordinator_rotations
                   WHERE instance = $1 AND finished_at IS NULL";
        self.optional(sql, &[&instance.uuid()]).await
    }

    pub(super) async fn rotation(
        &self,
        rotation: RotationId,
    ) -> Result<Option<Vec<u8>>, RecordsError> {
        let sql = "SELECT record FROM coordinator_rotations WHERE rotation = $1";
        self.optional(sql, &[&rotation.uuid()]).await
    }

    pub(super) async fn document(
        &self,
        instance: InstanceId,
        kind: &'static str,
    ) -> Result<Option<Vec<u8>>, RecordsError> {
        let sql = "SELECT bytes FROM coordinator_documents WHERE instance = $1 AND kind = $2";
        self.optional(sql, &[&instance.uuid(), &kind]).await
    }

    pub(super) async fn instances(&self) -> Result<Vec<(InstanceId, String)>, RecordsError> {
        let client = self.client().await?;
        let sql = "SELECT DISTINCT instance, name FROM coordinator_documents ORDER BY name";
        let rows = client.query(sql, &[]).await.map_err(database)?;
        rows.iter().map(|row| Ok((InstanceId::from_uuid(get(row, 0)?), get(row, 1)?))).collect()
    }

    pub(super) async fn answered(&self, request: String) -> Result<Option<String>, RecordsError> {
        self.optional("SELECT answer FROM coordinator_requests WHERE id = $1", &[&request]).await
    }
}

/// Begins a transaction that holds the row of the lease until its end. READ COMMITTED whatever the
/// server's default: what comes after the wait for the row must see what was waited for.
async fn exclusive(client: &mut Object) -> Result<(Transaction<'_>, LeaseRow), RecordsError> {
    let tx = client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .await
        .map_err(database)?;
    let row = lease::hold(&tx).await?;
    Ok((tx, row))
}

/// The same for whoever holds the lease.
async fn write(client: &mut Object, held: Option<Lease>) -> Result<Transaction<'_>, RecordsError> {
    let (tx, row) = exclusive(client).await?;
    row.check(held)?;
    Ok(tx)
}

/// Commits. An error here leaves open whether the transaction took place.
async fn commit(tx: Transaction<'_>, of: fail_points::Transaction) -> Result<(), RecordsError> {
    fail_points::pass(fail_points::Point::BeforeCommit(of));
    tx.commit().await.map_err(database)?;
    fail_points::pass(fail_points::Point::AfterCommit(of));
    Ok(())
}

/// One column of a row.
fn get<T: FromSqlOwned>(row: &Row, index: usize) -> Result<T, RecordsError> {
    row.try_get(index).map_err(database)
}

/// The database's refusals that are rules of ours, by their name; the rest in its own words.
fn database(error: tokio_postgres::Error) -> RecordsError {
    let Some(refusal) = error.as_db_error() else {
        // The library's own message is general; what the system said is beneath it.
        let mut text = error.to_string();
        let mut beneath = std::error::Error::source(&error);
        while let Some(cause) = beneath {
            text = format!("{text}: {cause}");
            beneath = cause.source();
        }
        return RecordsError::Database(text);
    };
    match (refusal.code(), refusal.constraint()) {
        (&SqlState::UNIQUE_VIOLATION, Some("coordinator_one_open")) => RecordsError::AnotherOpen,
        (&SqlState::CHECK_VIOLATION, Some("coordinator_verdict_stands")) => {
            RecordsError::VerdictStands
        }
        (code, _) => RecordsError::Database(format!("{} ({})", refusal.message(), code.code())),
    }
}
