//! Numbered migrations, forward only. Several processes may start at once: one applies them.

use deadpool_postgres::Object;
use tokio_postgres::IsolationLevel;
use tokio_postgres::types::Type;

use super::database;
use crate::KeystoreError;

/// Advisory lock of the migrations ("keystore" in ASCII).
const MIGRATION_LOCK: i64 = 0x6b65_7973_746f_7265;

/// One entry a version of the schema, in order; what has been released is never changed.
const MIGRATIONS: [&str; 2] = [
    "
    CREATE TABLE keystores (instance UUID PRIMARY KEY, row TEXT NOT NULL);
    CREATE TABLE keys (
        instance UUID NOT NULL, key UUID NOT NULL, name TEXT NOT NULL,
        attributes SMALLINT NOT NULL, state SMALLINT NOT NULL, created_at BIGINT NOT NULL,
        created_by TEXT NOT NULL, deleted_at BIGINT, PRIMARY KEY (instance, key)
    );
    CREATE INDEX keys_newest_first ON keys (instance, created_at DESC, key);
    CREATE TABLE key_versions (
        instance UUID NOT NULL, version UUID NOT NULL, key UUID NOT NULL,
        created_at BIGINT NOT NULL, born BIGINT NOT NULL, PRIMARY KEY (instance, version)
    );
    CREATE INDEX versions_of_key ON key_versions (instance, key, created_at);
    CREATE TABLE chunks (
        instance UUID NOT NULL, generation BIGINT NOT NULL, after UUID NOT NULL,
        upto UUID NOT NULL, done BIGINT, new_digest BYTEA, receipt BYTEA,
        PRIMARY KEY (instance, generation, after)
    );
    CREATE TABLE tombstones (
        instance UUID NOT NULL, key UUID NOT NULL, PRIMARY KEY (instance, key)
    );
    CREATE TABLE tables_to_drop (
        instance UUID NOT NULL, generation BIGINT NOT NULL, PRIMARY KEY (instance, generation)
    );
",
    "
    ALTER TABLE chunks ADD COLUMN quarantined BIGINT NOT NULL DEFAULT 0;
    CREATE TABLE quarantined (
        instance UUID NOT NULL, version UUID NOT NULL, key UUID NOT NULL,
        generation BIGINT NOT NULL, attributes SMALLINT NOT NULL, blob BYTEA NOT NULL,
        reason TEXT NOT NULL, PRIMARY KEY (instance, version)
    );
",
];

/// Applies what has not been applied. A database of a newer program is refused.
pub(super) async fn migrate(client: &mut Object) -> Result<(), KeystoreError> {
    let tx = client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .await
        .map_err(database)?;
    // Of several processes that start on a new database all but one wait here.
    tx.batch_execute("SET LOCAL lock_timeout = '60s'").await.map_err(database)?;
    tx.query_typed("SELECT pg_advisory_xact_lock($1)", &[(&MIGRATION_LOCK, Type::INT8)])
        .await
        .map_err(database)?;
    // Asked first: a process with no right to make tables may work on a schema that is there.
    let found = tx
        .query_typed_one("SELECT to_regclass('keystore_schema') IS NOT NULL", &[])
        .await
        .map_err(database)?;
    let applied: i32 = match found.try_get(0).map_err(database)? {
        false => {
            tx.batch_execute(
                "CREATE TABLE keystore_schema (version INTEGER NOT NULL);
                 INSERT INTO keystore_schema (version) VALUES (0)",
            )
            .await
            .map_err(database)?;
            0
        }
        true => tx
            .query_typed_one("SELECT max(version) FROM keystore_schema", &[])
            .await
            .and_then(|row| row.try_get(0))
            .map_err(database)?,
    };
    let applied = applied as usize;
    if applied > MIGRATIONS.len() {
        let text = format!("its schema {applied} is newer than this program knows: upgrade it");
        return Err(KeystoreError::Database(text));
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(applied) {
        let number = index + 1;
        let batch = format!("{migration} UPDATE keystore_schema SET version = {number};");
        tx.batch_execute(&batch).await.map_err(database)?;
    }
    tx.commit().await.map_err(database)
}
