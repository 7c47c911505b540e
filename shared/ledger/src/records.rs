//! The coordinator's store in SQLite: rotation records, documents, and the hash-chained audit log.

use std::path::Path;
use std::sync::{Arc, Mutex};

use crypto::{digest, domain};
use machines::rotation::record::{Record, Verdict};
use protocol::api::AuditView;
use protocol::codec;
use protocol::manifest::SignedManifest;
use protocol::order::SignedStandingOrder;
use protocol::{Digest, InstanceId, RotationId, UnixMillis};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The database.
    #[error("coordinator's database: {0}")]
    Database(String),
    /// Something in it cannot be read.
    #[error("coordinator's database holds a {what} that cannot be read: {reason}")]
    Malformed {
        /// What.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The audit log has been changed.
    #[error("the audit log is broken at entry {0}: it was changed after it was written")]
    AuditBroken(u64),
}

/// The coordinator's store.
#[derive(Clone, Debug)]
pub struct Records {
    connection: Arc<Mutex<Connection>>,
}

/// One entry a version of the schema, in order; what has been released is never changed. A record
/// that is decided can never be aborted too, and an instance has one unfinished rotation.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE coordinator_documents (
        instance BLOB NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, bytes BLOB NOT NULL,
        PRIMARY KEY (instance, kind)
    ) WITHOUT ROWID;
    CREATE TABLE coordinator_rotations (
        instance BLOB NOT NULL, rotation BLOB NOT NULL, record BLOB NOT NULL,
        is_decided INTEGER NOT NULL, is_aborted INTEGER NOT NULL, finished_at INTEGER,
        PRIMARY KEY (instance, rotation), CHECK (is_decided + is_aborted <= 1)
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX coordinator_one_open ON coordinator_rotations (instance)
        WHERE finished_at IS NULL;
    CREATE TRIGGER coordinator_verdict_stands BEFORE UPDATE ON coordinator_rotations
        WHEN OLD.is_decided > NEW.is_decided OR OLD.is_aborted > NEW.is_aborted
        BEGIN SELECT RAISE(ABORT, 'a verdict is never taken back'); END;
    CREATE TABLE coordinator_audit (
        instance BLOB NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, actor TEXT NOT NULL,
        action TEXT NOT NULL, details TEXT NOT NULL, hash BLOB NOT NULL,
        PRIMARY KEY (instance, seq)
    ) WITHOUT ROWID;
    CREATE TABLE coordinator_requests (
        id TEXT PRIMARY KEY, at INTEGER NOT NULL, answer TEXT NOT NULL
    ) WITHOUT ROWID;
"];

/// Most answers to requests that are remembered.
const MAX_REQUESTS: i64 = 10_000;

impl Records {
    /// Opens the file, or makes it.
    pub async fn open(path: &Path) -> Result<Self, RecordsError> {
        let path = path.to_owned();
        blocking(move || {
            let connection = Connection::open(path).map_err(database)?;
            connection
                .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
                .map_err(database)?;
            migrate(&connection)?;
            Ok(Self { connection: Arc::new(Mutex::new(connection)) })
        })
        .await
    }

    async fn transaction<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, RecordsError> + Send + 'static,
    ) -> Result<T, RecordsError> {
        let connection = self.connection.clone();
        blocking(move || {
            let mut guard = match connection.lock() {
                Ok(guard) => guard,
                Err(poisoned) => poisoned.into_inner(),
            };
            let tx = guard
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(database)?;
            let value = work(&tx)?;
            tx.commit().map_err(database)?;
            Ok(value)
        })
        .await
    }

    /// Saves a rotation's record.
    pub async fn save(&self, instance: InstanceId, record: &Record) -> Result<(), RecordsError> {
        let rotation = match record.order() {
            Ok((order, _)) => order.rotation,
            Err(error) => return Err(malformed("order", &error)),
        };
        let bytes = codec::encode(record);
        let is_decided = record.verdict == Verdict::Decided;
        let is_aborted = matches!(record.verdict, Verdict::Aborted { .. });
        let finished_at = record.finished_at.map(|at| at.0 as i64);
        self.transaction(move |tx| {
            tx.execute(
                "INSERT INTO coordinator_rotations
                 (instance, rotation, record, is_decided, is_aborted, finished_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (instance, rotation) DO UPDATE SET record = excluded.record,
                 is_decided = excluded.is_decided, is_aborted = excluded.is_aborted,
                 finished_at = excluded.finished_at",
                params![
                    instance.bytes(),
                    rotation.bytes(),
                    bytes,
                    is_decided,
                    is_aborted,
                    finished_at
                ],
            )
            .map_err(database)?;
            Ok(())
        })
        .await
    }

    /// Records of an instance, newest first, at most `limit`.
    pub async fn list(
        &self,
        instance: InstanceId,
        limit: u32,
    ) -> Result<Vec<Record>, RecordsError> {
        self.transaction(move |tx| {
            let mut found = tx
                .prepare(
                    "SELECT record FROM coordinator_rotations WHERE instance = ?1
                     ORDER BY rotation DESC LIMIT ?2",
                )
                .map_err(database)?;
            let rows: Vec<Vec<u8>> = found
                .query_map(params![instance.bytes(), limit], |row| row.get(0))
                .and_then(Iterator::collect)
                .map_err(database)?;
            rows.iter().map(|bytes| read(bytes, "record")).collect()
        })
        .await
    }

    /// The unfinished rotation of an instance.
    pub async fn unfinished(&self, instance: InstanceId) -> Result<Option<Record>, RecordsError> {
        let newest = self.list(instance, 1).await?;
        Ok(newest.into_iter().find(|record| record.finished_at.is_none()))
    }

    /// One rotation of any instance.
    pub async fn rotation(&self, rotation: RotationId) -> Result<Option<Record>, RecordsError> {
        self.transaction(move |tx| {
            let bytes: Option<Vec<u8>> = tx
                .query_row(
                    "SELECT record FROM coordinator_rotations WHERE rotation = ?1",
                    [rotation.bytes()],
                    |row| row.get(0),
                )
                .optional()
                .map_err(database)?;
            bytes.map(|bytes| read(&bytes, "record")).transpose()
        })
        .await
    }

    /// Saves what administrators have signed: the chain of manifests and the standing order.
    pub async fn save_documents(
        &self,
        instance: InstanceId,
        name: String,
        chain: Vec<SignedManifest>,
        standing: Option<SignedStandingOrder>,
    ) -> Result<(), RecordsError> {
        let mut documents = vec![("manifests", codec::encode(&chain))];
        documents.extend(standing.map(|standing| ("standing-order", codec::encode(&standing))));
        self.transaction(move |tx| {
            for (kind, bytes) in documents {
                tx.execute(
                    "INSERT INTO coordinator_documents (instance, kind, name, bytes)
                     VALUES (?1, ?2, ?3, ?4) ON CONFLICT (instance, kind)
                     DO UPDATE SET bytes = excluded.bytes, name = excluded.name",
                    params![instance.bytes(), kind, name, bytes],
                )
                .map_err(database)?;
            }
            Ok(())
        })
        .await
    }

    /// The chain of manifests, oldest first; empty if there is none.
    pub async fn manifests(
        &self,
        instance: InstanceId,
    ) -> Result<Vec<SignedManifest>, RecordsError> {
        let bytes = self.document(instance, "manifests").await?;
        bytes.map_or(Ok(Vec::new()), |bytes| read(&bytes, "manifest"))
    }

    /// The standing order.
    pub async fn standing(
        &self,
        instance: InstanceId,
    ) -> Result<Option<SignedStandingOrder>, RecordsError> {
        let bytes = self.document(instance, "standing-order").await?;
        bytes.map(|bytes| read(&bytes, "standing order")).transpose()
    }

    async fn document(
        &self,
        instance: InstanceId,
        kind: &'static str,
    ) -> Result<Option<Vec<u8>>, RecordsError> {
        self.transaction(move |tx| {
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

    /// Instances that have a document, with their names.
    pub async fn instances(&self) -> Result<Vec<(InstanceId, String)>, RecordsError> {
        self.transaction(move |tx| {
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

    /// Appends to the audit log. Each entry's hash covers the one before it.
    pub async fn audit(
        &self,
        instance: InstanceId,
        at: UnixMillis,
        actor: String,
        action: String,
        details: serde_json::Value,
    ) -> Result<AuditView, RecordsError> {
        self.transaction(move |tx| {
            let last: Option<(u64, [u8; 32])> = tx
                .query_row(
                    "SELECT seq, hash FROM coordinator_audit WHERE instance = ?1
                     ORDER BY seq DESC LIMIT 1",
                    [instance.bytes()],
                    |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)),
                )
                .optional()
                .map_err(database)?;
            let (seq, before) = last.map_or((1, [0; 32]), |(seq, hash)| (seq + 1, hash));
            let text = details.to_string();
            let hash = audit_hash(&before, seq, at, &actor, &action, &text);
            tx.execute(
                "INSERT INTO coordinator_audit
                 (instance, seq, at, actor, action, details, hash)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![instance.bytes(), seq as i64, at.0 as i64, actor, action, text, hash.0],
            )
            .map_err(database)?;
            Ok(AuditView { seq, at, actor, action, details, hash })
        })
        .await
    }

    /// The audit log after an entry, verified from its beginning.
    pub async fn audit_log(
        &self,
        instance: InstanceId,
        after: u64,
    ) -> Result<Vec<AuditView>, RecordsError> {
        self.transaction(move |tx| {
            let mut found = tx
                .prepare(
                    "SELECT seq, at, actor, action, details, hash FROM coordinator_audit
                     WHERE instance = ?1 ORDER BY seq",
                )
                .map_err(database)?;
            let rows: Vec<(i64, i64, String, String, String, [u8; 32])> = found
                .query_map([instance.bytes()], |row| {
                    Ok((
                        row.get(0)?,
                        row.get(1)?,
                        row.get(2)?,
                        row.get(3)?,
                        row.get(4)?,
                        row.get(5)?,
                    ))
                })
                .and_then(Iterator::collect)
                .map_err(database)?;
            let (mut before, mut entries) = ([0; 32], Vec::new());
            for (index, (seq, at, actor, action, text, hash)) in rows.into_iter().enumerate() {
                let (seq, at) = (seq as u64, UnixMillis(at as u64));
                let expected = audit_hash(&before, seq, at, &actor, &action, &text);
                if seq != index as u64 + 1 || expected.0 != hash {
                    return Err(RecordsError::AuditBroken(seq));
                }
                before = hash;
                if seq > after {
                    let details = serde_json::from_str(&text)
                        .map_err(|error| malformed("audit entry", &error))?;
                    entries.push(AuditView { seq, at, actor, action, details, hash: Digest(hash) });
                }
            }
            Ok(entries)
        })
        .await
    }

    /// The answer that a request was given before.
    pub async fn answered(&self, request: String) -> Result<Option<String>, RecordsError> {
        self.transaction(move |tx| {
            tx.query_row(
                "SELECT answer FROM coordinator_requests WHERE id = ?1",
                [request],
                |row| row.get(0),
            )
            .optional()
            .map_err(database)
        })
        .await
    }

    /// Remembers the answer to a request; the oldest are forgotten beyond a number.
    pub async fn remember(
        &self,
        request: String,
        at: UnixMillis,
        answer: String,
    ) -> Result<(), RecordsError> {
        self.transaction(move |tx| {
            tx.execute(
                "INSERT INTO coordinator_requests (id, at, answer) VALUES (?1, ?2, ?3)
                 ON CONFLICT (id) DO NOTHING",
                params![request, at.0 as i64, answer],
            )
            .map_err(database)?;
            tx.execute(
                "DELETE FROM coordinator_requests WHERE id IN (SELECT id FROM
                 coordinator_requests ORDER BY at DESC LIMIT -1 OFFSET ?1)",
                [MAX_REQUESTS],
            )
            .map_err(database)?;
            Ok(())
        })
        .await
    }
}

fn audit_hash(
    before: &[u8; 32],
    seq: u64,
    at: UnixMillis,
    actor: &str,
    action: &str,
    details: &str,
) -> Digest {
    let (seq, at) = (seq.to_le_bytes(), at.0.to_le_bytes());
    let parts: [&[u8]; 6] =
        [before, &seq, &at, actor.as_bytes(), action.as_bytes(), details.as_bytes()];
    digest::sha256(domain::AUDIT, &parts)
}

fn migrate(connection: &Connection) -> Result<(), RecordsError> {
    let applied: u32 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(database)?;
    if applied as usize > MIGRATIONS.len() {
        let text = format!("its schema {applied} is newer than this program knows: upgrade it");
        return Err(RecordsError::Database(text));
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(applied as usize) {
        let number = index + 1;
        let batch = format!("BEGIN; {migration} PRAGMA user_version = {number}; COMMIT;");
        connection.execute_batch(&batch).map_err(database)?;
    }
    Ok(())
}

fn read<T: codec::Decode<()>>(bytes: &[u8], what: &'static str) -> Result<T, RecordsError> {
    codec::decode(bytes).map_err(|error| malformed(what, &error))
}

fn malformed(what: &'static str, error: &dyn std::fmt::Display) -> RecordsError {
    RecordsError::Malformed { what, reason: error.to_string() }
}

fn database(error: rusqlite::Error) -> RecordsError {
    RecordsError::Database(error.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RecordsError> + Send + 'static,
) -> Result<T, RecordsError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(RecordsError::Database(error.to_string())),
    }
}
