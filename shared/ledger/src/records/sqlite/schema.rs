//! Numbered migrations, forward only.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::database;
use crate::RecordsError;

/// One entry a version of the schema, in order; what has been released is never changed. A record
/// that is decided can never be aborted too, and an instance has one unfinished rotation.
const MIGRATIONS: [&str; 4] = [
    "
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
",
    "
    CREATE TABLE coordinator_lease (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1), number INTEGER NOT NULL, holder BLOB,
        expires_at INTEGER NOT NULL
    );
    INSERT INTO coordinator_lease (only_row, number, holder, expires_at) VALUES (1, 0, NULL, 0);
    CREATE TABLE coordinator_audit_heads (
        instance BLOB PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL
    ) WITHOUT ROWID;
    INSERT INTO coordinator_audit_heads (instance, seq, hash)
        SELECT instance, seq, hash FROM coordinator_audit a WHERE seq =
        (SELECT MAX(seq) FROM coordinator_audit b WHERE b.instance = a.instance);
    CREATE INDEX coordinator_by_rotation ON coordinator_rotations (rotation);
    CREATE INDEX coordinator_requests_by_age ON coordinator_requests (at, id);
",
    "
    CREATE TABLE coordinator_receipts (
        instance BLOB NOT NULL, seq INTEGER NOT NULL, rotation BLOB NOT NULL, hash BLOB NOT NULL,
        document TEXT NOT NULL, PRIMARY KEY (instance, seq), UNIQUE (instance, rotation)
    ) WITHOUT ROWID;
    CREATE INDEX coordinator_receipts_by_rotation ON coordinator_receipts (rotation);
",
    // A verdict stands against every program, and yields only to administrators: to the other one,
    // reached under a newer manifest, while the rotation has not ended.
    "
    ALTER TABLE coordinator_rotations ADD COLUMN verdict_under INTEGER NOT NULL DEFAULT 0;
    DROP TRIGGER coordinator_verdict_stands;
    CREATE TRIGGER coordinator_verdict_stands BEFORE UPDATE ON coordinator_rotations
        WHEN (OLD.is_decided > NEW.is_decided OR OLD.is_aborted > NEW.is_aborted)
            AND NOT (NEW.is_decided + NEW.is_aborted = 1
                AND NEW.verdict_under > OLD.verdict_under AND OLD.finished_at IS NULL)
            OR NEW.verdict_under < OLD.verdict_under
        BEGIN SELECT RAISE(ABORT, 'a verdict is never taken back'); END;
",
];

/// A connection with the settings that every one of ours has.
pub(super) fn connect(path: &Path) -> Result<Connection, RecordsError> {
    let connection = Connection::open(path).map_err(database)?;
    connection.busy_timeout(Duration::from_secs(30)).map_err(database)?;
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        .map_err(database)?;
    Ok(connection)
}

/// Applies what has not been applied, under the write lock, so that of two processes that open a
/// new file one waits for the other. A file of a newer program is refused.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), RecordsError> {
    let tx =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(database)?;
    let applied: i64 =
        tx.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(database)?;
    let applied = usize::try_from(applied).unwrap_or(usize::MAX);
    if applied > MIGRATIONS.len() {
        let text = format!("its schema {applied} is newer than this program knows: upgrade it");
        return Err(RecordsError::Database(text));
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(applied) {
        let number = index + 1;
        let batch = format!("{migration} PRAGMA user_version = {number};");
        tx.execute_batch(&batch).map_err(database)?;
    }
    tx.commit().map_err(database)
}
