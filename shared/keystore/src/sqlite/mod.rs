//! The keystore in SQLite: one file, `synchronous=FULL`, every write under `BEGIN IMMEDIATE`.

mod chunks;
mod generations;
#[cfg(test)]
mod plans;
mod read;
mod schema;
mod write;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use machines::gate;
use protocol::keystore::KeystoreRow;
use protocol::{InstanceId, KeystoreId};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use crate::KeystoreError;

/// The keystore of one SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteKeystore {
    writer: Arc<Mutex<Connection>>,
    reader: Arc<Mutex<Connection>>,
}

impl SqliteKeystore {
    /// Opens the file, or makes it, and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Self, KeystoreError> {
        let path = path.to_owned();
        blocking(move || {
            let writer = schema::connect(&path)?;
            schema::migrate(&writer)?;
            let reader = schema::connect(&path)?;
            Ok(Self { writer: Arc::new(Mutex::new(writer)), reader: Arc::new(Mutex::new(reader)) })
        })
        .await
    }

    /// Makes the keystore's row where there is none.
    pub async fn ensure(
        &self,
        instance: InstanceId,
        keystore: KeystoreId,
    ) -> Result<KeystoreRow, KeystoreError> {
        self.write(move |tx| {
            if let Some(row) = load(tx, instance)? {
                return Ok(row);
            }
            let row = gate::new_row(instance, keystore);
            store(tx, &row)?;
            Ok(row)
        })
        .await
    }

    /// The keystore's row, with the counts as they are.
    pub async fn row(&self, instance: InstanceId) -> Result<Option<KeystoreRow>, KeystoreError> {
        self.read(move |tx| {
            let Some(mut row) = standing(tx, instance)? else { return Ok(None) };
            row.version_count = generations::count_versions(tx, instance)?;
            Ok(Some(row))
        })
        .await
    }

    /// The keystore's row and how far an open generation has come; all versions are counted only
    /// by [`Self::row`].
    pub async fn standing(
        &self,
        instance: InstanceId,
    ) -> Result<Option<KeystoreRow>, KeystoreError> {
        self.read(move |tx| standing(tx, instance)).await
    }

    /// The keystore's row as it was saved last: nothing is counted.
    pub async fn saved_row(
        &self,
        instance: InstanceId,
    ) -> Result<Option<KeystoreRow>, KeystoreError> {
        self.read(move |tx| load(tx, instance)).await
    }

    /// Runs `work` in a transaction that holds the write lock from its first statement.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, KeystoreError> + Send + 'static,
    ) -> Result<T, KeystoreError> {
        let writer = self.writer.clone();
        blocking(move || {
            let mut connection = locked(&writer);
            let tx = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(database)?;
            let value = work(&tx)?;
            tx.commit().map_err(|error| database(error).of_commit())?;
            Ok(value)
        })
        .await
    }

    /// Runs `work` in one snapshot.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, KeystoreError> + Send + 'static,
    ) -> Result<T, KeystoreError> {
        let reader = self.reader.clone();
        blocking(move || {
            let mut connection = locked(&reader);
            let tx = connection.transaction().map_err(database)?;
            work(&tx)
        })
        .await
    }
}

fn locked(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    match connection.lock() {
        Ok(guard) => guard,
        // A panic in a transaction rolls it back: the connection itself is sound.
        Err(poisoned) => poisoned.into_inner(),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeystoreError> + Send + 'static,
) -> Result<T, KeystoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(KeystoreError::Database(error.to_string())),
    }
}

fn database(error: rusqlite::Error) -> KeystoreError {
    use rusqlite::ErrorCode::ConstraintViolation;
    match &error {
        rusqlite::Error::SqliteFailure(failure, text) if failure.code == ConstraintViolation => {
            match text.as_deref() {
                Some(text) if text.starts_with("CHECK") => KeystoreError::PatternCheck,
                _ => KeystoreError::Duplicate,
            }
        }
        _ => KeystoreError::Database(error.to_string()),
    }
}

fn standing(
    tx: &Transaction<'_>,
    instance: InstanceId,
) -> Result<Option<KeystoreRow>, KeystoreError> {
    let Some(mut row) = load(tx, instance)? else { return Ok(None) };
    if let Some(open) = &mut row.open {
        (open.done_count, open.quarantined_count) = chunks::done_counts(tx, instance, open.number)?;
    }
    Ok(Some(row))
}

/// The row as saved; under `BEGIN IMMEDIATE` it is held.
fn load(tx: &Transaction<'_>, instance: InstanceId) -> Result<Option<KeystoreRow>, KeystoreError> {
    let text: Option<String> = tx
        .query_row("SELECT row FROM keystores WHERE instance = ?1", [instance.bytes()], |row| {
            row.get(0)
        })
        .optional()
        .map_err(database)?;
    let parse = |text: String| {
        serde_json::from_str(&text)
            .map_err(|error| KeystoreError::Database(format!("keystore row: {error}")))
    };
    text.map(parse).transpose()
}

fn held(tx: &Transaction<'_>, instance: InstanceId) -> Result<KeystoreRow, KeystoreError> {
    load(tx, instance)?.ok_or(KeystoreError::NoInstance)
}

fn store(tx: &Transaction<'_>, row: &KeystoreRow) -> Result<(), KeystoreError> {
    let text = serde_json::to_string(row)
        .map_err(|error| KeystoreError::Database(format!("keystore row: {error}")))?;
    tx.execute(
        "INSERT INTO keystores (instance, row) VALUES (?1, ?2)
         ON CONFLICT (instance) DO UPDATE SET row = excluded.row",
        rusqlite::params![row.instance.bytes(), text],
    )
    .map_err(database)?;
    Ok(())
}

/// Name of a generation's table.
fn table(instance: InstanceId, number: u32) -> String {
    format!("wrapped_{}_{number}", instance.uuid().simple())
}
