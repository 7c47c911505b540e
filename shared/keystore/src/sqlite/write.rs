//! Writing keys: always under the gate, in one transaction that holds the keystore row.

use machines::gate;
use protocol::{InstanceId, KeyId, UnixMillis};
use rusqlite::{OptionalExtension, Transaction, params};

use super::{SqliteKeystore, database, held, table};
use crate::{KeyState, KeystoreError, NewKey};

impl SqliteKeystore {
    /// Writes keys, all or none: each supplies a blob for every generation open for writing, or
    /// the caller starts again at the unit.
    pub async fn create(
        &self,
        instance: InstanceId,
        keys: Vec<NewKey>,
    ) -> Result<(), KeystoreError> {
        self.write(move |tx| {
            let row = held(tx, instance)?;
            let born = gate::born_under(&row);
            for key in &keys {
                let supplied: Vec<_> = key.blobs.iter().map(|blob| blob.generation).collect();
                gate::may_write(&row, &supplied)?;
            }
            let generations = gate::write_targets(&row)?;
            insert_metadata(tx, instance, &keys, born)?;
            for generation in generations {
                let sql = format!(
                    "INSERT INTO {} (version, key, attributes, born, blob) VALUES (?1,?2,?3,?4,?5)",
                    table(instance, generation.number)
                );
                let mut insert = tx.prepare_cached(&sql).map_err(database)?;
                for key in &keys {
                    let of_it = key.blobs.iter().find(|blob| blob.generation == generation.id);
                    let Some(blob) = of_it else {
                        return Err(gate::GateRefusal::GenerationsChanged.into());
                    };
                    let meta = &key.meta;
                    insert
                        .execute(params![
                            meta.version.bytes(),
                            meta.key.bytes(),
                            meta.attributes,
                            born,
                            blob.blob
                        ])
                        .map_err(database)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Deletes a key: it is refused for use, and its blob is carried through rotations.
    pub async fn delete(
        &self,
        instance: InstanceId,
        key: KeyId,
        now: UnixMillis,
    ) -> Result<(), KeystoreError> {
        self.write(move |tx| {
            held(tx, instance)?;
            match state_of(tx, instance, key)? {
                KeyState::Active => {}
                state => {
                    let state = state.word();
                    return Err(KeystoreError::State { key, state, refused: "delete" });
                }
            }
            tx.execute(
                "UPDATE keys SET state = ?3, deleted_at = ?4 WHERE instance = ?1 AND key = ?2",
                params![instance.bytes(), key.bytes(), KeyState::Destroyed.number(), now.0 as i64],
            )
            .map_err(database)?;
            Ok(())
        })
        .await
    }

    /// Ends a key for everybody at once. Between the opening of a generation and *flipped* only a
    /// tombstone is written, so that no page in flight brings a blob back and the set stands still.
    pub async fn purge(&self, instance: InstanceId, key: KeyId) -> Result<(), KeystoreError> {
        self.write(move |tx| {
            let row = held(tx, instance)?;
            state_of(tx, instance, key)?;
            if gate::purge_is_tombstone(&row) {
                tx.execute(
                    "INSERT INTO tombstones (instance, key) VALUES (?1, ?2)",
                    params![instance.bytes(), key.bytes()],
                )
                .map_err(database)?;
                return Ok(());
            }
            remove(tx, &row, key)
        })
        .await
    }
}

/// State of a key that is there: neither purged nor under a tombstone.
fn state_of(
    tx: &Transaction<'_>,
    instance: InstanceId,
    key: KeyId,
) -> Result<KeyState, KeystoreError> {
    let found: Option<i64> = tx
        .query_row(
            "SELECT state FROM keys WHERE instance = ?1 AND key = ?2 AND NOT EXISTS
             (SELECT 1 FROM tombstones t WHERE t.instance = ?1 AND t.key = ?2)",
            params![instance.bytes(), key.bytes()],
            |row| row.get(0),
        )
        .optional()
        .map_err(database)?;
    found.and_then(KeyState::from_number).ok_or(KeystoreError::NoKey(key))
}

fn insert_metadata(
    tx: &Transaction<'_>,
    instance: InstanceId,
    keys: &[NewKey],
    born: u32,
) -> Result<(), KeystoreError> {
    let mut key_row = tx
        .prepare_cached(
            "INSERT INTO keys (instance, key, name, attributes, state, created_at, created_by)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .map_err(database)?;
    let mut version_row = tx
        .prepare_cached(
            "INSERT INTO key_versions (instance, version, key, created_at, born)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .map_err(database)?;
    for NewKey { meta, .. } in keys {
        let at = meta.created_at.0 as i64;
        key_row
            .execute(params![
                instance.bytes(),
                meta.key.bytes(),
                meta.name,
                meta.attributes,
                meta.state.number(),
                at,
                meta.created_by
            ])
            .map_err(database)?;
        version_row
            .execute(params![instance.bytes(), meta.version.bytes(), meta.key.bytes(), at, born])
            .map_err(database)?;
    }
    Ok(())
}

/// Deletes the rows of a key's versions, which its metadata names: no table of blobs is searched for keys.
pub(super) fn deletion(table: &str) -> String {
    format!(
        "DELETE FROM {table} WHERE version IN
         (SELECT version FROM key_versions WHERE instance = ?1 AND key = ?2)"
    )
}

/// Removes a key from every generation that exists and from its metadata.
fn remove(
    tx: &Transaction<'_>,
    row: &protocol::keystore::KeystoreRow,
    key: KeyId,
) -> Result<(), KeystoreError> {
    let instance = row.instance;
    let bound = params![instance.bytes(), key.bytes()];
    let generations = row.active.iter().chain(&row.open).chain(&row.retired);
    for generation in generations {
        let sql = deletion(&table(instance, generation.number));
        tx.execute(&sql, bound).map_err(database)?;
    }
    for name in ["quarantined", "keys", "key_versions"] {
        let sql = format!("DELETE FROM {name} WHERE instance = ?1 AND key = ?2");
        tx.execute(&sql, bound).map_err(database)?;
    }
    Ok(())
}

/// Applies the tombstones, in the transaction that saves *flipped* or an abort.
pub(super) fn apply_tombstones(
    tx: &Transaction<'_>,
    row: &protocol::keystore::KeystoreRow,
) -> Result<(), KeystoreError> {
    let mut found =
        tx.prepare("SELECT key FROM tombstones WHERE instance = ?1").map_err(database)?;
    let keys: Vec<[u8; 16]> = found
        .query_map([row.instance.bytes()], |row| row.get(0))
        .and_then(Iterator::collect)
        .map_err(database)?;
    for key in keys {
        remove(tx, row, KeyId::from_bytes(key))?;
    }
    tx.execute("DELETE FROM tombstones WHERE instance = ?1", [row.instance.bytes()])
        .map_err(database)?;
    Ok(())
}
