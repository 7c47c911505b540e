//! Numbered migrations, forward only.

use deadpool_postgres::Object;

use super::database;
use crate::RecordsError;

/// Key of the advisory lock that one migrating process holds: "keyhcoor" in ASCII.
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"keyhcoor");

/// One entry a version of the schema, in order; what has been released is never changed. A record
/// that is decided can never be aborted too, and an instance has one unfinished rotation.
const MIGRATIONS: [&str; 3] = [
    "
    CREATE TABLE coordinator_documents (
        instance UUID NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, bytes BYTEA NOT NULL,
        PRIMARY KEY (instance, kind)
    );
    CREATE TABLE coordinator_rotations (
        instance UUID NOT NULL, rotation UUID NOT NULL, record BYTEA NOT NULL,
        is_decided BOOLEAN NOT NULL, is_aborted BOOLEAN NOT NULL, finished_at BIGINT,
        PRIMARY KEY (instance, rotation),
        CONSTRAINT coordinator_one_verdict CHECK (NOT (is_decided AND is_aborted))
    );
    CREATE UNIQUE INDEX coordinator_one_open ON coordinator_rotations (instance)
        WHERE finished_at IS NULL;
    CREATE INDEX coordinator_by_rotation ON coordinator_rotations (rotation);
    CREATE FUNCTION coordinator_verdict_stands() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'a verdict is never taken back'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'coordinator_verdict_stands';
        END $$;
    CREATE TRIGGER coordinator_verdict_stands BEFORE UPDATE ON coordinator_rotations
        FOR EACH ROW WHEN (OLD.is_decided AND NOT NEW.is_decided
            OR OLD.is_aborted AND NOT NEW.is_aborted)
        EXECUTE FUNCTION coordinator_verdict_stands();
    CREATE TABLE coordinator_audit (
        instance UUID NOT NULL, seq BIGINT NOT NULL, at BIGINT NOT NULL, actor TEXT NOT NULL,
        action TEXT NOT NULL, details TEXT NOT NULL, hash BYTEA NOT NULL,
        PRIMARY KEY (instance, seq)
    );
    CREATE TABLE coordinator_audit_heads (
        instance UUID PRIMARY KEY, seq BIGINT NOT NULL, hash BYTEA NOT NULL
    );
    CREATE TABLE coordinator_requests (
        id TEXT PRIMARY KEY, at BIGINT NOT NULL, answer TEXT NOT NULL
    );
    CREATE INDEX coordinator_requests_by_age ON coordinator_requests (at, id);
    CREATE TABLE coordinator_lease (
        only_row BOOLEAN PRIMARY KEY CHECK (only_row), number BIGINT NOT NULL, holder UUID,
        expires_at TIMESTAMPTZ NOT NULL
    );
    INSERT INTO coordinator_lease (only_row, number, expires_at) VALUES (TRUE, 0, 'epoch');
",
    "
    CREATE TABLE coordinator_receipts (
        instance UUID NOT NULL, seq BIGINT NOT NULL, rotation UUID NOT NULL, hash BYTEA NOT NULL,
        document TEXT NOT NULL, PRIMARY KEY (instance, seq), UNIQUE (instance, rotation)
    );
    CREATE INDEX coordinator_receipts_by_rotation ON coordinator_receipts (rotation);
",
    // A verdict stands against every program, and yields only to administrators: to the other one,
    // reached under a newer manifest, while the rotation has not ended.
    "
    ALTER TABLE coordinator_rotations ADD COLUMN verdict_under BIGINT NOT NULL DEFAULT 0;
    DROP TRIGGER coordinator_verdict_stands ON coordinator_rotations;
    CREATE TRIGGER coordinator_verdict_stands BEFORE UPDATE ON coordinator_rotations
        FOR EACH ROW WHEN (
            (OLD.is_decided AND NOT NEW.is_decided OR OLD.is_aborted AND NOT NEW.is_aborted)
            AND NOT ((NEW.is_decided OR NEW.is_aborted)
                AND NEW.verdict_under > OLD.verdict_under AND OLD.finished_at IS NULL)
            OR NEW.verdict_under < OLD.verdict_under)
        EXECUTE FUNCTION coordinator_verdict_stands();
",
];

/// Applies what has not been applied, one process at a time. A database of a newer program is
/// refused. One that is up to date is only read: the right to create tables is not needed then.
pub(super) async fn migrate(client: &mut Object) -> Result<(), RecordsError> {
    let tx = client.transaction().await.map_err(database)?;
    // Of several coordinators that start on a new database all but one wait here.
    tx.batch_execute("SET LOCAL lock_timeout = '60s'").await.map_err(database)?;
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await.map_err(database)?;
    let has_schema = tx
        .query_one("SELECT to_regclass('coordinator_schema') IS NOT NULL", &[])
        .await
        .map_err(database)?;
    if !has_schema.get::<_, bool>(0) {
        tx.batch_execute(
            "CREATE TABLE coordinator_schema (version INTEGER NOT NULL);
             INSERT INTO coordinator_schema (version) VALUES (0);",
        )
        .await
        .map_err(database)?;
    }
    let row =
        tx.query_one("SELECT version FROM coordinator_schema", &[]).await.map_err(database)?;
    let applied: i32 = row.get(0);
    let applied = usize::try_from(applied).unwrap_or(usize::MAX);
    if applied > MIGRATIONS.len() {
        let text = format!("its schema {applied} is newer than this program knows: upgrade it");
        return Err(RecordsError::Database(text));
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(applied) {
        tx.batch_execute(migration).await.map_err(database)?;
        let number = index as i32 + 1;
        tx.execute("UPDATE coordinator_schema SET version = $1", &[&number])
            .await
            .map_err(database)?;
    }
    tx.commit().await.map_err(database)
}
