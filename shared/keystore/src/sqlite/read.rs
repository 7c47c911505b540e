//! Reading keys: metadata, the blob in the active generation, and the scan of a check.

use protocol::{InstanceId, KeyId, UnixMillis, VersionId};
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{SqliteKeystore, database, held, table};
use crate::{KeyMeta, KeyState, KeystoreError, ListQuery, ScanRow, Scanned, StoredBlob};

const META: &str = "SELECT k.key, k.name, k.attributes, k.state, k.created_at, k.created_by,
    k.deleted_at, (SELECT v.version FROM key_versions v WHERE v.instance = k.instance
    AND v.key = k.key ORDER BY v.created_at DESC, v.version DESC LIMIT 1) FROM keys k
    WHERE k.instance = ?1 AND NOT EXISTS
    (SELECT 1 FROM tombstones t WHERE t.instance = k.instance AND t.key = k.key)";

fn meta(row: &Row<'_>) -> rusqlite::Result<KeyMeta> {
    let state: i64 = row.get(3)?;
    let at = |value: i64| UnixMillis(value as u64);
    Ok(KeyMeta {
        key: KeyId::from_bytes(row.get(0)?),
        name: row.get(1)?,
        attributes: row.get(2)?,
        state: KeyState::from_number(state)
            .ok_or(rusqlite::Error::IntegralValueOutOfRange(3, state))?,
        created_at: at(row.get(4)?),
        created_by: row.get(5)?,
        deleted_at: row.get::<_, Option<i64>>(6)?.map(at),
        version: VersionId::from_bytes(row.get(7)?),
    })
}

/// Which keys a list has.
fn listed(query: &ListQuery) -> String {
    let states = query.wanted_states().iter().map(|state| state.number().to_string());
    let states = states.collect::<Vec<_>>().join(",");
    format!("{META} AND k.state IN ({states}) AND (?2 IS NULL OR instr(k.name, ?2) > 0)")
}

/// A page of a list.
pub(super) fn list(query: &ListQuery) -> String {
    format!("{} ORDER BY k.created_at DESC, k.key LIMIT ?3 OFFSET ?4", listed(query))
}

impl SqliteKeystore {
    /// Metadata of keys, newest first.
    pub async fn list(
        &self,
        instance: InstanceId,
        query: ListQuery,
    ) -> Result<Vec<KeyMeta>, KeystoreError> {
        self.read(move |tx| {
            let mut found = tx.prepare(&list(&query)).map_err(database)?;
            found
                .query_map(params![instance.bytes(), query.search, query.limit, query.offset], meta)
                .and_then(Iterator::collect)
                .map_err(database)
        })
        .await
    }

    /// How many keys a list has on all its pages; it looks at each of them.
    pub async fn count(
        &self,
        instance: InstanceId,
        query: ListQuery,
    ) -> Result<u64, KeystoreError> {
        self.read(move |tx| {
            let sql = format!("SELECT count(*) FROM ({})", listed(&query));
            let found = params![instance.bytes(), query.search];
            let count: i64 = tx.query_row(&sql, found, |row| row.get(0)).map_err(database)?;
            Ok(count as u64)
        })
        .await
    }

    /// Metadata of one key.
    pub async fn key(&self, instance: InstanceId, key: KeyId) -> Result<KeyMeta, KeystoreError> {
        self.read(move |tx| {
            tx.query_row(
                &format!("{META} AND k.key = ?2"),
                params![instance.bytes(), key.bytes()],
                meta,
            )
            .optional()
            .map_err(database)?
            .ok_or(KeystoreError::NoKey(key))
        })
        .await
    }

    /// The blob of a key's version in the active generation, in one snapshot with its pattern.
    pub async fn blob(
        &self,
        instance: InstanceId,
        key: KeyId,
        version: VersionId,
    ) -> Result<StoredBlob, KeystoreError> {
        self.read(move |tx| {
            let row = held(tx, instance)?;
            let active = row.active.ok_or(machines::gate::GateRefusal::NotInitialised)?;
            let sql = format!(
                "SELECT key, attributes, blob FROM {} WHERE version = ?1 AND key = ?2",
                table(instance, active.number)
            );
            let found = tx
                .query_row(&sql, params![version.bytes(), key.bytes()], |found| {
                    Ok(StoredBlob {
                        version,
                        key: KeyId::from_bytes(found.get(0)?),
                        attributes: found.get(1)?,
                        pattern: active.pattern,
                        blob: found.get(2)?,
                    })
                })
                .optional()
                .map_err(database)?;
            match found {
                Some(found) => Ok(found),
                None => Err(lacking(tx, instance, key, version, active.number)?),
            }
        })
        .await
    }

    /// Versions that ought to be there, after `after` in the order of their ids, each with its
    /// blob in the active generation, or none if the row is missing.
    pub async fn scan(
        &self,
        instance: InstanceId,
        which: Scanned,
        after: VersionId,
        limit: u32,
    ) -> Result<Vec<ScanRow>, KeystoreError> {
        self.read(move |tx| {
            let row = held(tx, instance)?;
            let active = row.active.ok_or(machines::gate::GateRefusal::NotInitialised)?;
            let wrapped = table(instance, active.number);
            let (from, condition) = match which {
                Scanned::All => (
                    format!("key_versions v LEFT JOIN {wrapped} w ON w.version = v.version"),
                    "v.version > ?2".to_owned(),
                ),
                // A CROSS JOIN keeps its order: through the index of those few, not through all versions.
                Scanned::Born(number) => (
                    format!("{wrapped} w CROSS JOIN key_versions v ON v.version = w.version"),
                    format!("w.version > ?2 AND w.born = {number} AND w.born <> 0"),
                ),
            };
            let sql = format!(
                "SELECT v.version, v.key, k.name, coalesce(w.attributes, k.attributes), w.blob, q.reason
                 FROM {from} JOIN keys k ON k.instance = v.instance AND k.key = v.key
                 LEFT JOIN quarantined q
                 ON q.instance = v.instance AND q.version = v.version AND q.generation <= {}
                 WHERE v.instance = ?1 AND {condition} AND NOT EXISTS
                 (SELECT 1 FROM tombstones t WHERE t.instance = v.instance AND t.key = v.key)
                 ORDER BY v.version LIMIT ?3",
                active.number
            );
            let mut found = tx.prepare(&sql).map_err(database)?;
            found
                .query_map(params![instance.bytes(), after.bytes(), limit], |row| {
                    Ok(ScanRow {
                        version: VersionId::from_bytes(row.get(0)?),
                        key: KeyId::from_bytes(row.get(1)?),
                        name: row.get(2)?,
                        attributes: row.get(3)?,
                        blob: row.get(4)?,
                        quarantined: row.get(5)?,
                    })
                })
                .and_then(Iterator::collect)
                .map_err(database)
        })
        .await
    }
}

/// Why there is no blob of a version in the active generation.
fn lacking(
    tx: &Transaction<'_>,
    instance: InstanceId,
    key: KeyId,
    version: VersionId,
    active: u32,
) -> Result<KeystoreError, KeystoreError> {
    let sql = "SELECT 1 FROM quarantined WHERE instance = ?1 AND version = ?2 AND key = ?3
               AND generation <= ?4";
    let bound = params![instance.bytes(), version.bytes(), key.bytes(), active];
    let found = tx.query_row(sql, bound, |_| Ok(())).optional().map_err(database)?;
    Ok(found.map_or(KeystoreError::NoKey(key), |()| KeystoreError::Quarantined(key)))
}
