//! Reading keys: metadata, the blob in the active generation, and the scan of a check.

use machines::gate::GateRefusal;
use protocol::{InstanceId, KeyId, UnixMillis, VersionId};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::{PostgresKeystore, database, has_code, parsed_row, saved, snapshot, table};
use crate::{KeyMeta, KeyState, KeystoreError, ListQuery, ScanRow, Scanned, StoredBlob};

/// How often a read begins again that met a flip or the drop of a table half-way. Two in one read
/// are not to be expected.
const TRIES: usize = 5;

const META: &str = "SELECT k.key, k.name, k.attributes, k.state, k.created_at, k.created_by,
    k.deleted_at, (SELECT v.version FROM key_versions v WHERE v.instance = k.instance
    AND v.key = k.key ORDER BY v.created_at DESC, v.version DESC LIMIT 1) FROM keys k
    WHERE k.instance = $1 AND NOT EXISTS
    (SELECT 1 FROM tombstones t WHERE t.instance = k.instance AND t.key = k.key)";

/// Which keys a list has.
const LISTED: &str = "AND k.state = ANY ($2) AND ($3 IS NULL OR strpos(k.name, $3) > 0)";

fn states(query: &ListQuery) -> Vec<i16> {
    query.wanted_states().iter().map(|state| state.number() as i16).collect()
}

/// `crypto::KeyAttributes` in a byte, as read from a column.
pub(super) fn attributes_of(number: i16) -> Result<u8, KeystoreError> {
    u8::try_from(number)
        .map_err(|_| KeystoreError::Database(format!("{number} are no attributes of a key")))
}

fn meta(row: &Row) -> Result<KeyMeta, KeystoreError> {
    let state: i16 = row.try_get(3).map_err(database)?;
    let state = KeyState::from_number(i64::from(state))
        .ok_or_else(|| KeystoreError::Database(format!("{state} is no state of a key")))?;
    let at = |value: i64| UnixMillis(value as u64);
    Ok(KeyMeta {
        key: KeyId::from_uuid(row.try_get(0).map_err(database)?),
        name: row.try_get(1).map_err(database)?,
        attributes: attributes_of(row.try_get(2).map_err(database)?)?,
        state,
        created_at: at(row.try_get(4).map_err(database)?),
        created_by: row.try_get(5).map_err(database)?,
        deleted_at: row.try_get::<_, Option<i64>>(6).map_err(database)?.map(at),
        version: VersionId::from_uuid(row.try_get(7).map_err(database)?),
    })
}

impl PostgresKeystore {
    /// Metadata of keys, newest first.
    pub async fn list(
        &self,
        instance: InstanceId,
        query: ListQuery,
    ) -> Result<Vec<KeyMeta>, KeystoreError> {
        let sql = format!("{META} {LISTED} ORDER BY k.created_at DESC, k.key LIMIT $4 OFFSET $5");
        let found = self
            .client()
            .await?
            .query_typed(
                &sql,
                &[
                    (&instance.uuid(), Type::UUID),
                    (&states(&query), Type::INT2_ARRAY),
                    (&query.search, Type::TEXT),
                    (&i64::from(query.limit), Type::INT8),
                    (&i64::from(query.offset), Type::INT8),
                ],
            )
            .await
            .map_err(database)?;
        found.iter().map(meta).collect()
    }

    /// How many keys a list has on all its pages; it looks at each of them.
    pub async fn count(
        &self,
        instance: InstanceId,
        query: ListQuery,
    ) -> Result<u64, KeystoreError> {
        let sql = format!("SELECT count(*) FROM ({META} {LISTED}) found");
        let found = self
            .client()
            .await?
            .query_typed_one(
                &sql,
                &[
                    (&instance.uuid(), Type::UUID),
                    (&states(&query), Type::INT2_ARRAY),
                    (&query.search, Type::TEXT),
                ],
            )
            .await
            .map_err(database)?;
        Ok(found.try_get::<_, i64>(0).map_err(database)? as u64)
    }

    /// Metadata of one key.
    pub async fn key(&self, instance: InstanceId, key: KeyId) -> Result<KeyMeta, KeystoreError> {
        let found = self
            .client()
            .await?
            .query_typed(
                &format!("{META} AND k.key = $2"),
                &[(&instance.uuid(), Type::UUID), (&key.uuid(), Type::UUID)],
            )
            .await
            .map_err(database)?;
        found.first().map_or(Err(KeystoreError::NoKey(key)), meta)
    }

    /// The blob of a key's version in the active generation, in one snapshot with its pattern.
    pub async fn blob(
        &self,
        instance: InstanceId,
        key: KeyId,
        version: VersionId,
    ) -> Result<StoredBlob, KeystoreError> {
        for _ in 0..TRIES {
            if let Some(found) = self.blob_once(instance, key, version).await? {
                return Ok(found);
            }
        }
        Err(moving())
    }

    /// None if the active generation changed between the two statements.
    async fn blob_once(
        &self,
        instance: InstanceId,
        key: KeyId,
        version: VersionId,
    ) -> Result<Option<StoredBlob>, KeystoreError> {
        let client = self.client().await?;
        let row = saved(&client, instance).await?.ok_or(KeystoreError::NoInstance)?;
        let number = row.active.ok_or(GateRefusal::NotInitialised)?.number;
        // The row is read once more with the blob: only then do the two belong together.
        let sql = format!(
            "SELECT k.row, w.key, w.attributes, w.blob, q.version IS NOT NULL FROM keystores k
             LEFT JOIN {} w ON w.version = $2 AND w.key = $3
             LEFT JOIN quarantined q ON q.instance = $1 AND q.version = $2 AND q.key = $3
             AND q.generation <= {number} WHERE k.instance = $1",
            table(instance, number)
        );
        let found = client
            .query_typed_opt(
                &sql,
                &[
                    (&instance.uuid(), Type::UUID),
                    (&version.uuid(), Type::UUID),
                    (&key.uuid(), Type::UUID),
                ],
            )
            .await;
        let found = match found {
            Ok(found) => found.ok_or(KeystoreError::NoInstance)?,
            Err(error) if has_code(&error, &SqlState::UNDEFINED_TABLE) => return Ok(None),
            Err(error) => return Err(database(error)),
        };
        let row = parsed_row(found.try_get(0).map_err(database)?)?;
        let Some(active) = row.active.filter(|active| active.number == number) else {
            return Ok(None);
        };
        let blob: Option<Vec<u8>> = found.try_get(3).map_err(database)?;
        let Some(blob) = blob else {
            return Err(match found.try_get(4).map_err(database)? {
                true => KeystoreError::Quarantined(key),
                false => KeystoreError::NoKey(key),
            });
        };
        Ok(Some(StoredBlob {
            version,
            key: KeyId::from_uuid(found.try_get(1).map_err(database)?),
            attributes: attributes_of(found.try_get(2).map_err(database)?)?,
            pattern: active.pattern,
            blob,
        }))
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
        for _ in 0..TRIES {
            if let Some(found) = self.scan_once(instance, which, after, limit).await? {
                return Ok(found);
            }
        }
        Err(moving())
    }

    /// None if the active generation's table was dropped after the row had been read.
    async fn scan_once(
        &self,
        instance: InstanceId,
        which: Scanned,
        after: VersionId,
        limit: u32,
    ) -> Result<Option<Vec<ScanRow>>, KeystoreError> {
        let mut client = self.client().await?;
        let tx = snapshot(&mut client).await?;
        let row = saved(tx.client(), instance).await?.ok_or(KeystoreError::NoInstance)?;
        let active = row.active.ok_or(GateRefusal::NotInitialised)?;
        let born = match which {
            Scanned::All => String::new(),
            Scanned::Born(number) => format!(" AND w.born = {number}"),
        };
        let sql = format!(
            "SELECT v.version, v.key, k.name, coalesce(w.attributes, k.attributes), w.blob, q.reason
             FROM key_versions v JOIN keys k ON k.instance = v.instance AND k.key = v.key
             LEFT JOIN {} w ON w.version = v.version LEFT JOIN quarantined q
             ON q.instance = v.instance AND q.version = v.version AND q.generation <= {}
             WHERE v.instance = $1 AND v.version > $2{born} AND NOT EXISTS
             (SELECT 1 FROM tombstones t WHERE t.instance = v.instance AND t.key = v.key)
             ORDER BY v.version LIMIT $3",
            table(instance, active.number),
            active.number
        );
        let found = tx
            .query_typed(
                &sql,
                &[
                    (&instance.uuid(), Type::UUID),
                    (&after.uuid(), Type::UUID),
                    (&i64::from(limit), Type::INT8),
                ],
            )
            .await;
        match found {
            Ok(found) => found.iter().map(scan_row).collect::<Result<_, _>>().map(Some),
            Err(error) if has_code(&error, &SqlState::UNDEFINED_TABLE) => Ok(None),
            Err(error) => Err(database(error)),
        }
    }
}

fn scan_row(row: &Row) -> Result<ScanRow, KeystoreError> {
    Ok(ScanRow {
        version: VersionId::from_uuid(row.try_get(0).map_err(database)?),
        key: KeyId::from_uuid(row.try_get(1).map_err(database)?),
        name: row.try_get(2).map_err(database)?,
        attributes: attributes_of(row.try_get(3).map_err(database)?)?,
        blob: row.try_get(4).map_err(database)?,
        quarantined: row.try_get(5).map_err(database)?,
    })
}

fn moving() -> KeystoreError {
    KeystoreError::Database("the active generation changed during the read: try again".to_owned())
}
