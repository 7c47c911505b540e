//! Chunks of a generation that is being built: the plan, the pages, the records.

use protocol::page::{ChunkRange, WrappedRow};
use protocol::{Digest, InstanceId, KeyId, VersionId};
use rusqlite::{Row, Transaction, params};

use super::{SqliteKeystore, database, held, table};
use crate::{ChunkRecord, KeystoreError, WrittenChunk};

pub(super) fn count_rows(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
) -> Result<u64, KeystoreError> {
    let sql = format!("SELECT count(*) FROM {}", table(instance, number));
    let count: i64 = tx.query_row(&sql, [], |row| row.get(0)).map_err(database)?;
    Ok(count as u64)
}

pub(super) fn done_count(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
) -> Result<u64, KeystoreError> {
    let count: i64 = tx
        .query_row(
            "SELECT coalesce(sum(done), 0) FROM chunks WHERE instance = ?1 AND generation = ?2",
            params![instance.bytes(), number],
            |row| row.get(0),
        )
        .map_err(database)?;
    Ok(count as u64)
}

/// Cuts the key space at every so many versions of the set, once; an empty set is one chunk.
pub(super) fn plan(
    tx: &Transaction<'_>,
    instance: InstanceId,
    active: Option<u32>,
    number: u32,
    rows_per_chunk: u32,
) -> Result<(), KeystoreError> {
    let mut ends: Vec<VersionId> = Vec::new();
    if let Some(active) = active {
        let sql = format!(
            "SELECT version FROM (SELECT version, row_number() OVER (ORDER BY version) AS n FROM {})
             WHERE n % ?1 = 0 ORDER BY version",
            table(instance, active)
        );
        let mut found = tx.prepare(&sql).map_err(database)?;
        ends = found
            .query_map([rows_per_chunk.max(1)], |row| Ok(VersionId::from_bytes(row.get(0)?)))
            .and_then(Iterator::collect)
            .map_err(database)?;
    }
    ends.push(ChunkRange::WHOLE.upto);
    let mut after = ChunkRange::WHOLE.after;
    let mut insert = tx
        .prepare("INSERT INTO chunks (instance, generation, after, upto) VALUES (?1, ?2, ?3, ?4)")
        .map_err(database)?;
    for upto in ends {
        insert
            .execute(params![instance.bytes(), number, after.bytes(), upto.bytes()])
            .map_err(database)?;
        after = upto;
    }
    Ok(())
}

fn record(row: &Row<'_>) -> rusqlite::Result<ChunkRecord> {
    let range = ChunkRange {
        after: VersionId::from_bytes(row.get(0)?),
        upto: VersionId::from_bytes(row.get(1)?),
    };
    let done = match row.get::<_, Option<i64>>(2)? {
        None => None,
        Some(count) => Some(WrittenChunk {
            count: count as u64,
            new_digest: Digest(row.get(3)?),
            receipt: row.get(4)?,
        }),
    };
    Ok(ChunkRecord { range, done })
}

fn all(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
) -> Result<Vec<ChunkRecord>, KeystoreError> {
    let mut found = tx
        .prepare_cached(
            "SELECT after, upto, done, new_digest, receipt FROM chunks
             WHERE instance = ?1 AND generation = ?2 ORDER BY after",
        )
        .map_err(database)?;
    found
        .query_map(params![instance.bytes(), number], record)
        .and_then(Iterator::collect)
        .map_err(database)
}

/// Ranges and counts of the written chunks, in ascending order.
pub(super) fn counted(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
) -> Result<Vec<(ChunkRange, u64)>, KeystoreError> {
    let written = |chunk: ChunkRecord| Some((chunk.range, chunk.done?.count));
    Ok(all(tx, instance, number)?.into_iter().filter_map(written).collect())
}

impl SqliteKeystore {
    /// Every chunk of a generation, written or not, in ascending order.
    pub async fn chunks(
        &self,
        instance: InstanceId,
        number: u32,
    ) -> Result<Vec<ChunkRecord>, KeystoreError> {
        self.read(move |tx| all(tx, instance, number)).await
    }

    /// The rows of a chunk out of generation `number`, but those born under generation `not_born`.
    pub async fn rows(
        &self,
        instance: InstanceId,
        number: u32,
        range: ChunkRange,
        not_born: u32,
    ) -> Result<Vec<WrappedRow>, KeystoreError> {
        self.read(move |tx| {
            let sql = format!(
                "SELECT version, key, attributes, blob FROM {}
                 WHERE version > ?1 AND version <= ?2 AND born <> ?3 ORDER BY version",
                table(instance, number)
            );
            let mut found = tx.prepare_cached(&sql).map_err(database)?;
            found
                .query_map(params![range.after.bytes(), range.upto.bytes(), not_born], |row| {
                    Ok(WrappedRow {
                        version: VersionId::from_bytes(row.get(0)?),
                        key: KeyId::from_bytes(row.get(1)?),
                        attributes: row.get(2)?,
                        blob: row.get(3)?,
                    })
                })
                .and_then(Iterator::collect)
                .map_err(database)
        })
        .await
    }

    /// Writes chunks, each once: the record first (written before: done already), then its blobs.
    /// Nothing is written unless generation `number` is the one being built.
    pub async fn write_chunks(
        &self,
        instance: InstanceId,
        number: u32,
        chunks: Vec<(ChunkRange, WrittenChunk, Vec<WrappedRow>)>,
    ) -> Result<(), KeystoreError> {
        self.write(move |tx| {
            let row = held(tx, instance)?;
            let is_building = row.open.as_ref().is_some_and(|open| {
                open.number == number && open.state == protocol::keystore::GenerationState::Building
            });
            if !is_building {
                return Err(machines::gate::GateRefusal::NotOpen.into());
            }
            for (range, written, rows) in &chunks {
                if claim_record(tx, instance, number, *range, written)? {
                    insert_rows(tx, instance, number, rows)?;
                }
            }
            Ok(())
        })
        .await
    }
}

/// Writes the record of a chunk; false if it was written before.
fn claim_record(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
    range: ChunkRange,
    written: &WrittenChunk,
) -> Result<bool, KeystoreError> {
    let changed = tx
        .execute(
            "UPDATE chunks SET done = ?5, new_digest = ?6, receipt = ?7
             WHERE instance = ?1 AND generation = ?2 AND after = ?3 AND upto = ?4
             AND done IS NULL",
            params![
                instance.bytes(),
                number,
                range.after.bytes(),
                range.upto.bytes(),
                written.count as i64,
                written.new_digest.0,
                written.receipt
            ],
        )
        .map_err(database)?;
    Ok(changed == 1)
}

fn insert_rows(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
    rows: &[WrappedRow],
) -> Result<(), KeystoreError> {
    let sql = format!(
        "INSERT INTO {} (version, key, attributes, born, blob) VALUES (?1, ?2, ?3, 0, ?4)",
        table(instance, number)
    );
    let mut insert = tx.prepare_cached(&sql).map_err(database)?;
    for row in rows {
        insert
            .execute(params![row.version.bytes(), row.key.bytes(), row.attributes, row.blob])
            .map_err(database)?;
    }
    Ok(())
}
