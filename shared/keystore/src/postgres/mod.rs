//! The keystore in PostgreSQL. A write queues at the instance's advisory lock (shared), then holds
//! the keystore row `FOR SHARE`; what moves the row takes both for itself, so that it waits for the
//! writers in flight and no stream of later ones passes it. The row's lock is what makes it safe.
//! Nobody waits for longer than the session's `lock_timeout`.
//!
//! Deliberately absent: named prepared statements. Each generation has its own SQL, and a pool that
//! lives for years would gather them.

mod chunks;
mod connect;
mod generations;
mod housekeeping;
mod pages;
mod read;
mod schema;
mod stalled;
mod write;

use std::sync::Arc;

use deadpool_postgres::{Object, Transaction};
use machines::gate;
use protocol::keystore::KeystoreRow;
use protocol::{InstanceId, KeystoreId};
use tls::Authority;
use tokio_postgres::IsolationLevel;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use self::connect::Writer;
use crate::KeystoreError;

/// The keystore of one PostgreSQL database, which may hold many instances. Clones share a pool.
#[derive(Clone, Debug)]
pub struct PostgresKeystore {
    inner: Arc<connect::Connections>,
}

/// How a transaction holds an instance's keystore row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// Beside other writers; the row stands still.
    Share,
    /// Alone: the row will move.
    Update,
}

impl PostgresKeystore {
    /// Connects to `postgres://user:password@host:port/database` and brings its schema up to date.
    /// Fails if the database is away; the caller tries again.
    pub async fn open(url: &str, authority: Option<&Authority>) -> Result<Self, KeystoreError> {
        let store = Self { inner: Arc::new(connect::Connections::new(url, authority)?) };
        schema::migrate(&mut store.client().await?).await?;
        store.drop_left_over_later();
        Ok(store)
    }

    /// Makes the keystore's row where there is none.
    pub async fn ensure(
        &self,
        instance: InstanceId,
        keystore: KeystoreId,
    ) -> Result<KeystoreRow, KeystoreError> {
        if let Some(row) = self.saved_row(instance).await? {
            return Ok(row);
        }
        let text = row_text(&gate::new_row(instance, keystore))?;
        let sql = "INSERT INTO keystores (instance, row) VALUES ($1, $2)
                   ON CONFLICT (instance) DO NOTHING";
        self.client()
            .await?
            .execute_typed(sql, &[(&instance.uuid(), Type::UUID), (&text, Type::TEXT)])
            .await
            .map_err(database)?;
        self.saved_row(instance).await?.ok_or(KeystoreError::NoInstance)
    }

    /// The keystore's row, with the counts as they are.
    pub async fn row(&self, instance: InstanceId) -> Result<Option<KeystoreRow>, KeystoreError> {
        let mut client = self.client().await?;
        // Row and count as they were at one moment.
        let tx = snapshot(&mut client).await?;
        let Some(mut row) = standing(tx.client(), instance).await? else { return Ok(None) };
        row.version_count = count_versions(tx.client(), instance).await?;
        tx.commit().await.map_err(database)?;
        Ok(Some(row))
    }

    /// The keystore's row and how far an open generation has come; all versions are counted only
    /// by [`Self::row`].
    pub async fn standing(
        &self,
        instance: InstanceId,
    ) -> Result<Option<KeystoreRow>, KeystoreError> {
        standing(&*self.client().await?, instance).await
    }

    /// The keystore's row as it was saved last: nothing is counted.
    pub async fn saved_row(
        &self,
        instance: InstanceId,
    ) -> Result<Option<KeystoreRow>, KeystoreError> {
        saved(&*self.client().await?, instance).await
    }

    async fn client(&self) -> Result<Object, KeystoreError> {
        self.inner.client().await
    }

    async fn writer(&self) -> Result<Writer, KeystoreError> {
        self.inner.writer().await
    }
}

/// Begins a transaction and queues for the instance. At READ COMMITTED each statement sees what was
/// committed before it, so what is read after the wait is what the one before left.
///
/// Who wants the row alone and waits in vain ends the writers that stand still, and waits once more.
async fn begin(
    client: &mut Writer,
    instance: InstanceId,
    hold: Hold,
) -> Result<Transaction<'_>, KeystoreError> {
    let tx = client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .await
        .map_err(database)?;
    let sql = match hold {
        Hold::Share => "SELECT pg_advisory_xact_lock_shared($1)",
        Hold::Update => "SELECT pg_advisory_xact_lock($1)",
    };
    let queue = queue_of(instance);
    let bound = [(&queue as &(dyn ToSql + Sync), Type::INT8)];
    let queued = match tx.query_typed(sql, &bound).await {
        Err(error) if hold == Hold::Update && has_code(&error, &SqlState::LOCK_NOT_AVAILABLE) => {
            stalled::end(&tx, queue).await?;
            tx.query_typed(sql, &bound).await
        }
        queued => queued,
    };
    queued.map_err(database)?;
    Ok(tx)
}

/// Commits. An error here leaves open whether the transaction took place.
async fn commit(tx: Transaction<'_>, of: fail_points::Transaction) -> Result<(), KeystoreError> {
    fail_points::pass(fail_points::Point::BeforeCommit(of));
    tx.commit().await.map_err(|error| database(error).of_commit())?;
    fail_points::pass(fail_points::Point::AfterCommit(of));
    Ok(())
}

/// Begins a transaction in which every statement sees the same snapshot and nothing is written.
async fn snapshot(client: &mut Object) -> Result<Transaction<'_>, KeystoreError> {
    client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(database)
}

/// Number of an instance's advisory lock. Instances that share one only wait for each other.
fn queue_of(instance: InstanceId) -> i64 {
    let (high, low) = instance.uuid().as_u64_pair();
    (high ^ low) as i64
}

/// The row, and how far an open generation has come.
async fn standing(
    client: &tokio_postgres::Client,
    instance: InstanceId,
) -> Result<Option<KeystoreRow>, KeystoreError> {
    let sql = "SELECT k.row, coalesce(c.done, 0), coalesce(c.quarantined, 0)
        FROM keystores k LEFT JOIN LATERAL
        (SELECT sum(done + quarantined)::bigint AS done, sum(quarantined)::bigint AS quarantined
         FROM chunks WHERE done IS NOT NULL AND instance = k.instance
         AND generation = (k.row::json -> 'open' ->> 'number')::bigint) c ON true
        WHERE k.instance = $1";
    let bound = [(&instance.uuid() as &(dyn ToSql + Sync), Type::UUID)];
    let found = client.query_typed(sql, &bound).await.map_err(database)?;
    let Some(found) = found.first() else { return Ok(None) };
    let mut row = parsed_row(found.try_get(0).map_err(database)?)?;
    if let Some(open) = &mut row.open {
        open.done_count = found.try_get::<_, i64>(1).map_err(database)? as u64;
        open.quarantined_count = found.try_get::<_, i64>(2).map_err(database)? as u64;
    }
    Ok(Some(row))
}

/// All key versions of an instance.
async fn count_versions(
    client: &tokio_postgres::Client,
    instance: InstanceId,
) -> Result<u64, KeystoreError> {
    let sql = "SELECT count(*) FROM key_versions WHERE instance = $1";
    let bound = [(&instance.uuid() as &(dyn ToSql + Sync), Type::UUID)];
    let found = client.query_typed_one(sql, &bound).await.map_err(database)?;
    Ok(found.try_get::<_, i64>(0).map_err(database)? as u64)
}

/// The row as it was saved last, not locked.
async fn saved(
    client: &tokio_postgres::Client,
    instance: InstanceId,
) -> Result<Option<KeystoreRow>, KeystoreError> {
    let sql = "SELECT row FROM keystores WHERE instance = $1";
    let found =
        client.query_typed(sql, &[(&instance.uuid(), Type::UUID)]).await.map_err(database)?;
    found.first().map(|row| parsed_row(row.try_get(0).map_err(database)?)).transpose()
}

/// The row, locked until the transaction ends.
async fn held(
    tx: &Transaction<'_>,
    instance: InstanceId,
    hold: Hold,
) -> Result<KeystoreRow, KeystoreError> {
    let sql = match hold {
        Hold::Share => "SELECT row FROM keystores WHERE instance = $1 FOR SHARE",
        Hold::Update => "SELECT row FROM keystores WHERE instance = $1 FOR UPDATE",
    };
    let found = tx.query_typed(sql, &[(&instance.uuid(), Type::UUID)]).await.map_err(database)?;
    let found = found.first().ok_or(KeystoreError::NoInstance)?;
    parsed_row(found.try_get(0).map_err(database)?)
}

async fn store(tx: &Transaction<'_>, row: &KeystoreRow) -> Result<(), KeystoreError> {
    let text = row_text(row)?;
    tx.execute_typed(
        "UPDATE keystores SET row = $2 WHERE instance = $1",
        &[(&row.instance.uuid(), Type::UUID), (&text, Type::TEXT)],
    )
    .await
    .map_err(database)?;
    Ok(())
}

fn row_text(row: &KeystoreRow) -> Result<String, KeystoreError> {
    serde_json::to_string(row)
        .map_err(|error| KeystoreError::Database(format!("keystore row: {error}")))
}

fn parsed_row(text: &str) -> Result<KeystoreRow, KeystoreError> {
    serde_json::from_str(text)
        .map_err(|error| KeystoreError::Database(format!("keystore row: {error}")))
}

/// Name of a generation's table.
fn table(instance: InstanceId, number: u32) -> String {
    format!("wrapped_{}_{number}", instance.uuid().simple())
}

/// What the database said, in words. Its details are left out: they may show a row.
fn database(error: tokio_postgres::Error) -> KeystoreError {
    match error.as_db_error() {
        Some(db) if *db.code() == SqlState::UNIQUE_VIOLATION => KeystoreError::Duplicate,
        Some(db) if *db.code() == SqlState::CHECK_VIOLATION => KeystoreError::PatternCheck,
        Some(db) if *db.code() == SqlState::LOCK_NOT_AVAILABLE => KeystoreError::Busy,
        Some(db) => {
            KeystoreError::Database(format!("{} (SQLSTATE {})", db.message(), db.code().code()))
        }
        None => KeystoreError::Database(with_causes(&error)),
    }
}

/// An error and what is behind it, each once.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn has_code(error: &tokio_postgres::Error, code: &SqlState) -> bool {
    error.code() == Some(code)
}
