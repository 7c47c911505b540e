//! Chunks of a generation that is being built: the plan, the pages, the records. Pages go out and
//! come in by binary COPY.

use std::pin::pin;

use deadpool_postgres::Transaction;
use futures_util::TryStreamExt;
use machines::gate::GateRefusal;
use protocol::keystore::GenerationState;
use protocol::page::{ChunkRange, WrappedRow};
use protocol::{Digest, InstanceId, KeyId, VersionId};
use tokio_postgres::Row;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutRow, BinaryCopyOutStream};
use tokio_postgres::types::{ToSql, Type};

use super::{Hold, PostgresKeystore, begin, commit, database, held, read, table};
use crate::{ChunkRecord, KeystoreError, NewChunk, WrittenChunk};

pub(super) async fn count_rows(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
) -> Result<u64, KeystoreError> {
    let sql = format!("SELECT count(*) FROM {}", table(instance, number));
    let found = tx.query_typed_one(&sql, &[]).await.map_err(database)?;
    Ok(found.try_get::<_, i64>(0).map_err(database)? as u64)
}

/// Cuts the key space at every so many versions of the set, once; an empty set is one chunk.
pub(super) async fn plan(
    tx: &Transaction<'_>,
    instance: InstanceId,
    active: Option<u32>,
    number: u32,
    rows_per_chunk: u32,
) -> Result<(), KeystoreError> {
    let inner_ends = match active {
        None => String::new(),
        Some(active) => format!(
            "SELECT version FROM (SELECT version, row_number() OVER (ORDER BY version) AS n
             FROM {}) numbered WHERE n % $5 = 0 UNION",
            table(instance, active)
        ),
    };
    let sql = format!(
        "INSERT INTO chunks (instance, generation, after, upto)
         SELECT $1, $2, lag(upto, 1, $3) OVER (ORDER BY upto), upto
         FROM ({inner_ends} SELECT $4) ends (upto)"
    );
    let (instance, number) = (instance.uuid(), i64::from(number));
    let (first, last) = (ChunkRange::WHOLE.after.uuid(), ChunkRange::WHOLE.upto.uuid());
    let rows_per_chunk = i64::from(rows_per_chunk.max(1));
    let bound = [
        (&instance as &(dyn ToSql + Sync), Type::UUID),
        (&number, Type::INT8),
        (&first, Type::UUID),
        (&last, Type::UUID),
        (&rows_per_chunk, Type::INT8),
    ];
    let bound = if active.is_some() { &bound[..] } else { &bound[..4] };
    tx.execute_typed(&sql, bound).await.map_err(database)?;
    Ok(())
}

const RECORDS: &str = "SELECT after, upto, done, new_digest, receipt, quarantined FROM chunks
    WHERE instance = $1 AND generation = $2";

fn record(row: &Row) -> Result<ChunkRecord, KeystoreError> {
    let range = ChunkRange {
        after: VersionId::from_uuid(row.try_get(0).map_err(database)?),
        upto: VersionId::from_uuid(row.try_get(1).map_err(database)?),
    };
    let done = match row.try_get::<_, Option<i64>>(2).map_err(database)? {
        None => None,
        Some(count) => Some(WrittenChunk {
            count: count as u64,
            quarantined_count: row.try_get::<_, i64>(5).map_err(database)? as u64,
            new_digest: digest(row.try_get(3).map_err(database)?)?,
            receipt: row.try_get(4).map_err(database)?,
        }),
    };
    Ok(ChunkRecord { range, done })
}

fn digest(bytes: &[u8]) -> Result<Digest, KeystoreError> {
    let torn = |_| KeystoreError::Database("a chunk's digest has not 32 bytes".to_owned());
    bytes.try_into().map(Digest).map_err(torn)
}

/// Ranges and counts of the written chunks, those in quarantine counted, in ascending order.
pub(super) async fn counted(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
) -> Result<Vec<(ChunkRange, u64)>, KeystoreError> {
    let sql = format!("{RECORDS} AND done IS NOT NULL ORDER BY after");
    let found = tx
        .query_typed(&sql, &[(&instance.uuid(), Type::UUID), (&i64::from(number), Type::INT8)])
        .await
        .map_err(database)?;
    let written = |row| {
        let chunk = record(row)?;
        Ok(chunk.done.map(|done| (chunk.range, done.count + done.quarantined_count)))
    };
    found.iter().map(written).filter_map(Result::transpose).collect()
}

/// How many versions a generation goes without, as they are in quarantine.
pub(super) async fn count_quarantined(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
) -> Result<u64, KeystoreError> {
    let sql = "SELECT count(*) FROM quarantined WHERE instance = $1 AND generation = $2";
    let bound =
        [(&instance.uuid() as &(dyn ToSql + Sync), Type::UUID), (&i64::from(number), Type::INT8)];
    let found = tx.query_typed_one(sql, &bound).await.map_err(database)?;
    Ok(found.try_get::<_, i64>(0).map_err(database)? as u64)
}

/// A generation is given up: what it would have gone without is in the active one still.
pub(super) async fn leave_quarantine(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
) -> Result<(), KeystoreError> {
    let sql = "DELETE FROM quarantined WHERE instance = $1 AND generation = $2";
    let bound =
        [(&instance.uuid() as &(dyn ToSql + Sync), Type::UUID), (&i64::from(number), Type::INT8)];
    tx.execute_typed(sql, &bound).await.map_err(database)?;
    Ok(())
}

impl PostgresKeystore {
    /// Every chunk of a generation, written or not, in ascending order.
    pub async fn chunks(
        &self,
        instance: InstanceId,
        number: u32,
    ) -> Result<Vec<ChunkRecord>, KeystoreError> {
        let found = self
            .client()
            .await?
            .query_typed(
                &format!("{RECORDS} ORDER BY after"),
                &[(&instance.uuid(), Type::UUID), (&i64::from(number), Type::INT8)],
            )
            .await
            .map_err(database)?;
        found.iter().map(record).collect()
    }

    /// The rows of a chunk out of generation `number`, but those born under generation `not_born`.
    pub async fn rows(
        &self,
        instance: InstanceId,
        number: u32,
        range: ChunkRange,
        not_born: u32,
    ) -> Result<Vec<WrappedRow>, KeystoreError> {
        // COPY takes no parameters; ids and numbers have no text that could be anything else.
        let sql = format!(
            "COPY (SELECT version, key, attributes, blob FROM {} WHERE version > '{}'
             AND version <= '{}' AND born <> {not_born} ORDER BY version)
             TO STDOUT (FORMAT binary)",
            table(instance, number),
            range.after,
            range.upto
        );
        let client = self.client().await?;
        let stream = client.copy_out(&sql).await.map_err(database)?;
        let types = [Type::UUID, Type::UUID, Type::INT2, Type::BYTEA];
        let mut stream = pin!(BinaryCopyOutStream::new(stream, &types));
        let mut rows = Vec::new();
        while let Some(row) = stream.try_next().await.map_err(database)? {
            rows.push(wrapped(&row)?);
        }
        Ok(rows)
    }

    /// Writes chunks, each once: the record first (written before: done already), then its blobs.
    /// Nothing is written unless generation `number` is the one being built.
    pub async fn write_chunks(
        &self,
        instance: InstanceId,
        number: u32,
        chunks: Vec<NewChunk>,
    ) -> Result<(), KeystoreError> {
        let mut client = self.client().await?;
        let tx = begin(&mut client, instance, Hold::Share).await?;
        let row = held(&tx, instance, Hold::Share).await?;
        let is_building = row
            .open
            .is_some_and(|open| open.number == number && open.state == GenerationState::Building);
        if !is_building {
            return Err(GateRefusal::NotOpen.into());
        }
        let claimed = claim(&tx, instance, number, &chunks).await?;
        let rows = claimed.iter().flat_map(|chunk| &chunk.rows).collect();
        copy_in(&tx, instance, number, rows).await?;
        for (row, reason) in claimed.iter().flat_map(|chunk| &chunk.quarantined) {
            put_into_quarantine(&tx, instance, number, row, reason).await?;
        }
        commit(tx, fail_points::KEYSTORE_CHUNKS).await
    }
}

fn wrapped(row: &BinaryCopyOutRow) -> Result<WrappedRow, KeystoreError> {
    Ok(WrappedRow {
        version: VersionId::from_uuid(row.try_get(0).map_err(database)?),
        key: KeyId::from_uuid(row.try_get(1).map_err(database)?),
        attributes: read::attributes_of(row.try_get(2).map_err(database)?)?,
        blob: row.try_get(3).map_err(database)?,
    })
}

/// Writes the records of chunks and gives back those that were not written before.
/// Records are locked in one order, so that two reencryptors with the same chunks do not lock each
/// other out.
async fn claim<'a>(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
    chunks: &'a [NewChunk],
) -> Result<Vec<&'a NewChunk>, KeystoreError> {
    let mut in_order: Vec<_> = chunks.iter().collect();
    in_order.sort_by_key(|chunk| chunk.range);
    let mut claimed = Vec::new();
    for chunk in in_order {
        let NewChunk { range, written, .. } = chunk;
        let changed = tx
            .execute_typed(
                "UPDATE chunks SET done = $5, new_digest = $6, receipt = $7, quarantined = $8
                 WHERE instance = $1 AND generation = $2 AND after = $3 AND upto = $4
                 AND done IS NULL",
                &[
                    (&instance.uuid(), Type::UUID),
                    (&i64::from(number), Type::INT8),
                    (&range.after.uuid(), Type::UUID),
                    (&range.upto.uuid(), Type::UUID),
                    (&(written.count as i64), Type::INT8),
                    (&&written.new_digest.0[..], Type::BYTEA),
                    (&written.receipt, Type::BYTEA),
                    (&(written.quarantined_count as i64), Type::INT8),
                ],
            )
            .await
            .map_err(database)?;
        if changed == 1 {
            claimed.push(chunk);
        }
    }
    Ok(claimed)
}

/// Keeps what no unit opens, and why, beside the generation that goes without it.
async fn put_into_quarantine(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
    row: &WrappedRow,
    reason: &str,
) -> Result<(), KeystoreError> {
    tx.execute_typed(
        "INSERT INTO quarantined (instance, version, key, generation, attributes, blob, reason)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            (&instance.uuid(), Type::UUID),
            (&row.version.uuid(), Type::UUID),
            (&row.key.uuid(), Type::UUID),
            (&i64::from(number), Type::INT8),
            (&i16::from(row.attributes), Type::INT2),
            (&row.blob, Type::BYTEA),
            (&reason, Type::TEXT),
        ],
    )
    .await
    .map_err(database)?;
    Ok(())
}

async fn copy_in(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
    rows: Vec<&WrappedRow>,
) -> Result<(), KeystoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "COPY {} (version, key, attributes, born, blob) FROM STDIN (FORMAT binary)",
        table(instance, number)
    );
    let sink = tx.copy_in(&sql).await.map_err(database)?;
    let types = [Type::UUID, Type::UUID, Type::INT2, Type::INT8, Type::BYTEA];
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    for row in rows {
        let (version, key) = (row.version.uuid(), row.key.uuid());
        let attributes = i16::from(row.attributes);
        let values: [&(dyn ToSql + Sync); 5] = [&version, &key, &attributes, &0_i64, &row.blob];
        writer.as_mut().write(&values).await.map_err(database)?;
    }
    writer.finish().await.map_err(database)?;
    Ok(())
}
