//! Numbered migrations, forward only.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::database;
use crate::KeystoreError;

/// One entry a version of the schema, in order; what has been released is never changed.
const MIGRATIONS: [&str; 3] = [
    "
    CREATE TABLE keystores (instance BLOB PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE keys (
        instance BLOB NOT NULL, key BLOB NOT NULL, name TEXT NOT NULL, attributes INTEGER NOT NULL,
        state INTEGER NOT NULL, created_at INTEGER NOT NULL, created_by TEXT NOT NULL,
        deleted_at INTEGER, PRIMARY KEY (instance, key)
    ) WITHOUT ROWID;
    CREATE TABLE key_versions (
        instance BLOB NOT NULL, version BLOB NOT NULL, key BLOB NOT NULL,
        created_at INTEGER NOT NULL, born INTEGER NOT NULL, PRIMARY KEY (instance, version)
    ) WITHOUT ROWID;
    CREATE INDEX versions_of_key ON key_versions (instance, key, created_at);
    CREATE TABLE chunks (
        instance BLOB NOT NULL, generation INTEGER NOT NULL, after BLOB NOT NULL,
        upto BLOB NOT NULL, done INTEGER, new_digest BLOB, receipt BLOB,
        PRIMARY KEY (instance, generation, after)
    ) WITHOUT ROWID;
    CREATE TABLE tombstones (
        instance BLOB NOT NULL, key BLOB NOT NULL, PRIMARY KEY (instance, key)
    ) WITHOUT ROWID;
",
    "
    ALTER TABLE chunks ADD COLUMN quarantined INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE quarantined (
        instance BLOB NOT NULL, version BLOB NOT NULL, key BLOB NOT NULL,
        generation INTEGER NOT NULL, attributes INTEGER NOT NULL, blob BLOB NOT NULL,
        reason TEXT NOT NULL, PRIMARY KEY (instance, version)
    ) WITHOUT ROWID;
",
    "
    CREATE INDEX keys_newest_first ON keys (instance, created_at DESC, key);
",
];

/// The cache (in KiB, taken as it is needed) holds the pages that inserts of random ids come back to, which
/// SQLite would else read again out of the file each time.
const SETTINGS: &str =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -32768;";

/// A connection with the settings that every one of ours has.
pub(super) fn connect(path: &Path) -> Result<Connection, KeystoreError> {
    let connection = Connection::open(path).map_err(database)?;
    connection.busy_timeout(Duration::from_secs(30)).map_err(database)?;
    connection.execute_batch(SETTINGS).map_err(database)?;
    Ok(connection)
}

/// Applies what has not been applied. A file of a newer program is refused.
pub(super) fn migrate(connection: &Connection) -> Result<(), KeystoreError> {
    let applied: u32 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(database)?;
    let applied = applied as usize;
    if applied > MIGRATIONS.len() {
        let text = format!("its schema {applied} is newer than this program knows: upgrade it");
        return Err(KeystoreError::Database(text));
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(applied) {
        let number = index + 1;
        let batch = format!("BEGIN; {migration} PRAGMA user_version = {number}; COMMIT;");
        connection.execute_batch(&batch).map_err(database)?;
    }
    Ok(())
}
