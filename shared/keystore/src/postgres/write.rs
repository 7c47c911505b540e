//! Writing keys: always under the gate, in one transaction that holds the keystore row.

use deadpool_postgres::Transaction;
use machines::gate;
use protocol::keystore::{Generation, KeystoreRow};
use protocol::{InstanceId, KeyId, UnixMillis};
use tokio_postgres::types::Type;

use super::{Hold, PostgresKeystore, begin, commit, database, held, table};
use crate::{KeyState, KeystoreError, NewKey};

impl PostgresKeystore {
    /// Writes keys, all or none: each supplies a blob for every generation open for writing, or
    /// the caller starts again at the unit.
    pub async fn create(
        &self,
        instance: InstanceId,
        mut keys: Vec<NewKey>,
    ) -> Result<(), KeystoreError> {
        // In one order everywhere, so that two writers of the same keys do not lock each other out.
        keys.sort_by_key(|key| key.meta.key);
        let mut client = self.writer().await?;
        let tx = begin(&mut client, instance, Hold::Share).await?;
        let row = held(&tx, instance, Hold::Share).await?;
        for key in &keys {
            let supplied: Vec<_> = key.blobs.iter().map(|blob| blob.generation).collect();
            gate::may_write(&row, &supplied)?;
        }
        let generations = gate::write_targets(&row)?;
        let born = gate::born_under(&row);
        insert_metadata(&tx, instance, &keys, born).await?;
        for generation in &generations {
            insert_blobs(&tx, instance, generation, &keys, born).await?;
        }
        commit(tx, fail_points::Transaction::KeystoreCreate).await
    }

    /// Deletes a key: it is refused for use, and its blob is carried through rotations.
    pub async fn delete(
        &self,
        instance: InstanceId,
        key: KeyId,
        now: UnixMillis,
    ) -> Result<(), KeystoreError> {
        let mut client = self.writer().await?;
        let tx = begin(&mut client, instance, Hold::Share).await?;
        held(&tx, instance, Hold::Share).await?;
        match state_of(&tx, instance, key).await? {
            KeyState::Active => {}
            state => {
                let state = state.word();
                return Err(KeystoreError::State { key, state, refused: "delete" });
            }
        }
        let state = KeyState::Destroyed.number() as i16;
        tx.execute_typed(
            "UPDATE keys SET state = $3, deleted_at = $4 WHERE instance = $1 AND key = $2",
            &[
                (&instance.uuid(), Type::UUID),
                (&key.uuid(), Type::UUID),
                (&state, Type::INT2),
                (&(now.0 as i64), Type::INT8),
            ],
        )
        .await
        .map_err(database)?;
        commit(tx, fail_points::Transaction::KeystoreDelete).await
    }

    /// Ends a key for everybody at once. Between the opening of a generation and *flipped* only a
    /// tombstone is written, so that no page in flight brings a blob back and the set stands still.
    pub async fn purge(&self, instance: InstanceId, key: KeyId) -> Result<(), KeystoreError> {
        let mut client = self.writer().await?;
        let tx = begin(&mut client, instance, Hold::Share).await?;
        let row = held(&tx, instance, Hold::Share).await?;
        state_of(&tx, instance, key).await?;
        let sql = "INSERT INTO tombstones (instance, key) VALUES ($1, $2)";
        tx.execute_typed(sql, &[(&instance.uuid(), Type::UUID), (&key.uuid(), Type::UUID)])
            .await
            .map_err(database)?;
        if !gate::purge_is_tombstone(&row) {
            remove(&tx, &row, Some(key)).await?;
        }
        commit(tx, fail_points::Transaction::KeystorePurge).await
    }
}

/// State of a key that is there: neither purged nor under a tombstone. Its row is held, so that of
/// two who end a key the second finds it ended; the tombstone is looked for after the wait.
async fn state_of(
    tx: &Transaction<'_>,
    instance: InstanceId,
    key: KeyId,
) -> Result<KeyState, KeystoreError> {
    let (instance, id) = (instance.uuid(), key.uuid());
    let sql = "SELECT state FROM keys WHERE instance = $1 AND key = $2 FOR UPDATE";
    let found = tx
        .query_typed_opt(sql, &[(&instance, Type::UUID), (&id, Type::UUID)])
        .await
        .map_err(database)?;
    let sql = "SELECT 1 FROM tombstones WHERE instance = $1 AND key = $2";
    let tombstone = tx
        .query_typed_opt(sql, &[(&instance, Type::UUID), (&id, Type::UUID)])
        .await
        .map_err(database)?;
    let (Some(found), None) = (found, tombstone) else { return Err(KeystoreError::NoKey(key)) };
    let state: i16 = found.try_get(0).map_err(database)?;
    KeyState::from_number(i64::from(state)).ok_or(KeystoreError::NoKey(key))
}

async fn insert_metadata(
    tx: &Transaction<'_>,
    instance: InstanceId,
    keys: &[NewKey],
    born: u32,
) -> Result<(), KeystoreError> {
    let metas = || keys.iter().map(|key| &key.meta);
    let ids: Vec<_> = metas().map(|meta| meta.key.uuid()).collect();
    let versions: Vec<_> = metas().map(|meta| meta.version.uuid()).collect();
    let names: Vec<_> = metas().map(|meta| meta.name.as_str()).collect();
    let attributes: Vec<_> = metas().map(|meta| i16::from(meta.attributes)).collect();
    let states: Vec<_> = metas().map(|meta| meta.state.number() as i16).collect();
    let at: Vec<_> = metas().map(|meta| meta.created_at.0 as i64).collect();
    let by: Vec<_> = metas().map(|meta| meta.created_by.as_str()).collect();
    tx.execute_typed(
        "INSERT INTO keys (instance, key, name, attributes, state, created_at, created_by)
         SELECT $1, new.* FROM unnest($2, $3, $4, $5, $6, $7) AS new",
        &[
            (&instance.uuid(), Type::UUID),
            (&ids, Type::UUID_ARRAY),
            (&names, Type::TEXT_ARRAY),
            (&attributes, Type::INT2_ARRAY),
            (&states, Type::INT2_ARRAY),
            (&at, Type::INT8_ARRAY),
            (&by, Type::TEXT_ARRAY),
        ],
    )
    .await
    .map_err(database)?;
    tx.execute_typed(
        "INSERT INTO key_versions (instance, version, key, created_at, born)
         SELECT $1, new.*, $5 FROM unnest($2, $3, $4) AS new",
        &[
            (&instance.uuid(), Type::UUID),
            (&versions, Type::UUID_ARRAY),
            (&ids, Type::UUID_ARRAY),
            (&at, Type::INT8_ARRAY),
            (&i64::from(born), Type::INT8),
        ],
    )
    .await
    .map_err(database)?;
    Ok(())
}

async fn insert_blobs(
    tx: &Transaction<'_>,
    instance: InstanceId,
    generation: &Generation,
    keys: &[NewKey],
    born: u32,
) -> Result<(), KeystoreError> {
    let blob_of = |key: &NewKey| {
        let found = key.blobs.iter().find(|blob| blob.generation == generation.id);
        found.map(|blob| blob.blob.clone()).ok_or(gate::GateRefusal::GenerationsChanged)
    };
    let blobs = keys.iter().map(blob_of).collect::<Result<Vec<_>, _>>()?;
    let versions: Vec<_> = keys.iter().map(|key| key.meta.version.uuid()).collect();
    let ids: Vec<_> = keys.iter().map(|key| key.meta.key.uuid()).collect();
    let attributes: Vec<_> = keys.iter().map(|key| i16::from(key.meta.attributes)).collect();
    let sql = format!(
        "INSERT INTO {} (version, key, attributes, blob, born)
         SELECT new.*, $5 FROM unnest($1, $2, $3, $4) AS new",
        table(instance, generation.number)
    );
    tx.execute_typed(
        &sql,
        &[
            (&versions, Type::UUID_ARRAY),
            (&ids, Type::UUID_ARRAY),
            (&attributes, Type::INT2_ARRAY),
            (&blobs, Type::BYTEA_ARRAY),
            (&i64::from(born), Type::INT8),
        ],
    )
    .await
    .map_err(database)?;
    Ok(())
}

/// Applies the tombstones, in the transaction that saves *flipped* or an abort.
pub(super) async fn apply_tombstones(
    tx: &Transaction<'_>,
    row: &KeystoreRow,
) -> Result<(), KeystoreError> {
    remove(tx, row, None).await
}

/// Removes the keys under a tombstone (only `key`, if one is given) from every generation that
/// exists and from the metadata, and then their tombstones.
async fn remove(
    tx: &Transaction<'_>,
    row: &KeystoreRow,
    key: Option<KeyId>,
) -> Result<(), KeystoreError> {
    let (instance, key) = (row.instance.uuid(), key.map(KeyId::uuid));
    let condemned = "s.instance = $1 AND ($2 IS NULL OR s.key = $2)";
    let generations = row.active.iter().chain(&row.open).chain(&row.retired);
    let mut statements: Vec<String> = generations
        .map(|generation| {
            let table = table(row.instance, generation.number);
            format!(
                "DELETE FROM {table} w USING tombstones s, key_versions v WHERE {condemned}
                 AND v.instance = s.instance AND v.key = s.key AND w.version = v.version"
            )
        })
        .collect();
    for name in ["quarantined", "key_versions", "keys"] {
        statements.push(format!(
            "DELETE FROM {name} k USING tombstones s WHERE {condemned}
             AND k.instance = s.instance AND k.key = s.key"
        ));
    }
    statements.push(format!("DELETE FROM tombstones s WHERE {condemned}"));
    for sql in &statements {
        tx.execute_typed(sql, &[(&instance, Type::UUID), (&key, Type::UUID)])
            .await
            .map_err(database)?;
    }
    Ok(())
}
