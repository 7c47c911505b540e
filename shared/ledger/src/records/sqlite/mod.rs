//! The coordinator's store in SQLite: one file, `synchronous=FULL`, every write under
//! `BEGIN IMMEDIATE`, so that the lease that a write has checked is the lease until it is done.

mod batch;
mod lease;
mod log;
mod receipts;
mod schema;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::{InstanceId, RotationId};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::RecordsError;
use super::lease::Lease;

/// The store of one SQLite file.
#[derive(Clone, Debug)]
pub(super) struct SqliteRecords {
    writer: Arc<Mutex<Connection>>,
    reader: Arc<Mutex<Connection>>,
}

impl SqliteRecords {
    pub(super) async fn open(path: &Path) -> Result<Self, RecordsError> {
        let path = path.to_owned();
        blocking(move || {
            let mut writer = schema::connect(&path)?;
            schema::migrate(&mut writer)?;
            let reader = schema::connect(&path)?;
            Ok(Self { writer: Arc::new(Mutex::new(writer)), reader: Arc::new(Mutex::new(reader)) })
        })
        .await
    }

    /// Runs `work` in a transaction that holds the write lock from its first statement.
    async fn exclusive<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, RecordsError> + Send + 'static,
    ) -> Result<T, RecordsError> {
        let writer = self.writer.clone();
        blocking(move || {
            // A panic in a transaction rolls it back: the connection itself is sound.
            let mut connection = writer.lock().unwrap_or_else(PoisonError::into_inner);
            let tx = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(database)?;
            let value = work(&tx)?;
            tx.commit().map_err(database)?;
            Ok(value)
        })
        .await
    }

    /// The same for whoever holds the lease.
    async fn write<T: Send + 'static>(
        &self,
        held: Option<Lease>,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, RecordsError> + Send + 'static,
    ) -> Result<T, RecordsError> {
        self.exclusive(move |tx| {
            lease::load(tx)?.check(held)?;
            work(tx)
        })
        .await
    }

    /// Runs `work` in one snapshot.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, RecordsError> + Send + 'static,
    ) -> Result<T, RecordsError> {
        let reader = self.reader.clone();
        blocking(move || {
            let mut connection = reader.lock().unwrap_or_else(PoisonError::into_inner);
            let tx = connection.transaction().map_err(database)?;
            work(&tx)
        })
        .await
    }

    pub(super) async fn list(
        &self,
        instance: InstanceId,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, RecordsError> {
        self.read(move |tx| {
            let mut found = tx
                .prepare(
                    "SELECT record FROM coordinator_rotations WHERE instance = ?1
                     ORDER BY rotation DESC LIMIT ?2",
                )
                .map_err(database)?;
            found
                .query_map(params![instance.bytes(), limit], |row| row.get(0))
                .and_then(Iterator::collect)
                .map_err(database)
        })
        .await
    }

    pub(super) async fn unfinished(
        &self,
        instance: InstanceId,
    ) -> Result<Option<Vec<u8>>, RecordsError> {
        let sql = "SELECT record FROM coordinator_rotations
                   WHERE instance = ?1 AND finished_at IS NULL";
        self.read(move |tx| optional(tx, sql, *instance.bytes())).await
    }

    pub(super) async fn rotation(
        &self,
        rotation: RotationId,
    ) -> Result<Option<Vec<u8>>, RecordsError> {
        let sql = "SELECT record FROM coordinator_rotations WHERE rotation = ?1";
        self.read(move |tx| optional(tx, sql, *rotation.bytes())).await
    }

    pub(super) async fn document(
        &self,
        instance: InstanceId,
        kind: &'static str,
    ) -> Result<Option<Vec<u8>>, RecordsError> {
        self.read(move |tx| {
            tx.query_row(
                "SELECT bytes FROM coordinator_documents WHERE instance = ?1 AND kind = ?2",
                params![instance.bytes(), kind],
                |row| row.get(0),
            )
            .optional()
            .map_err(database)
        })
        .await
    }

    pub(super) async fn instances(&self) -> Result<Vec<(InstanceId, String)>, RecordsError> {
        self.read(move |tx| {
            let mut found = tx
                .prepare("SELECT DISTINCT instance, name FROM coordinator_documents ORDER BY name")
                .map_err(database)?;
            found
                .query_map([], |row| Ok((InstanceId::from_bytes(row.get(0)?), row.get(1)?)))
                .and_then(Iterator::collect)
                .map_err(database)
        })
        .await
    }

    pub(super) async fn answered(&self, request: String) -> Result<Option<String>, RecordsError> {
        let sql = "SELECT answer FROM coordinator_requests WHERE id = ?1";
        self.read(move |tx| optional(tx, sql, request)).await
    }
}

fn optional<T: rusqlite::types::FromSql>(
    tx: &Transaction<'_>,
    sql: &str,
    key: impl rusqlite::ToSql,
) -> Result<Option<T>, RecordsError> {
    tx.query_row(sql, [key], |row| row.get(0)).optional().map_err(database)
}

/// The database's refusals that are rules of ours, by their name; the rest in its own words.
fn database(error: rusqlite::Error) -> RecordsError {
    let text = error.to_string();
    match text.as_str() {
        text if text.contains("a verdict is never taken back") => RecordsError::VerdictStands,
        "UNIQUE constraint failed: coordinator_rotations.instance" => RecordsError::AnotherOpen,
        _ => RecordsError::Database(text),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RecordsError> + Send + 'static,
) -> Result<T, RecordsError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(RecordsError::Database(error.to_string())),
    }
}
