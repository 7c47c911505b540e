//! Chunks of a generation that is being built: the plan, the pages, the records.

use protocol::page::{ChunkRange, WrappedRow};
use protocol::{Digest, InstanceId, KeyId, VersionId};
use rusqlite::{Row, Transaction, params};

use super::{SqliteKeystore, database, held, table};
use crate::{ChunkRecord, KeystoreError, NewChunk, WrittenChunk};

pub(super) fn count_rows(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
) -> Result<u64, KeystoreError> {
    let sql = format!("SELECT count(*) FROM {}", table(instance, number));
    let count: i64 = tx.query_row(&sql, [], |row| row.get(0)).map_err(database)?;
    Ok(count as u64)
}

/// How many versions have been written, and how many of them into quarantine.
pub(super) fn done_counts(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
) -> Result<(u64, u64), KeystoreError> {
    let (done, quarantined): (i64, i64) = tx
        .query_row(
            "SELECT coalesce(sum(done + quarantined), 0), coalesce(sum(quarantined), 0)
             FROM chunks WHERE instance = ?1 AND generation = ?2",
            params![instance.bytes(), number],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(database)?;
    Ok((done as u64, quarantined as u64))
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
            quarantined_count: row.get::<_, i64>(5)? as u64,
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
            "SELECT after, upto, done, new_digest, receipt, quarantined FROM chunks
             WHERE instance = ?1 AND generation = ?2 ORDER BY after",
        )
        .map_err(database)?;
    found
        .query_map(params![instance.bytes(), number], record)
        .and_then(Iterator::collect)
        .map_err(database)
}

/// Ranges and counts of the written chunks, those in quarantine counted, in ascending order.
pub(super) fn counted(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
) -> Result<Vec<(ChunkRange, u64)>, KeystoreError> {
    let written = |chunk: ChunkRecord| {
        let done = chunk.done?;
        Some((chunk.range, done.count + done.quarantined_count))
    };
    Ok(all(tx, instance, number)?.into_iter().filter_map(written).collect())
}

/// A generation is given up: what it would have gone without is in the active one still.
pub(super) fn leave_quarantine(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
) -> Result<(), KeystoreError> {
    let sql = "DELETE FROM quarantined WHERE instance = ?1 AND generation = ?2";
    tx.execute(sql, params![instance.bytes(), number]).map_err(database)?;
    Ok(())
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
        chunks: Vec<NewChunk>,
    ) -> Result<(), KeystoreError> {
        self.write(move |tx| {
            let row = held(tx, instance)?;
            let is_building = row.open.as_ref().is_some_and(|open| {
                open.number == number && open.state == protocol::keystore::GenerationState::Building
            });
            if !is_building {
                return Err(machines::gate::GateRefusal::NotOpen.into());
            }
            for chunk in &chunks {
                if claim_record(tx, instance, number, chunk.range, &chunk.written)? {
                    insert_rows(tx, instance, number, &chunk.rows)?;
                    put_into_quarantine(tx, instance, number, &chunk.quarantined)?;
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
            "UPDATE chunks SET done = ?5, new_digest = ?6, receipt = ?7, quarantined = ?8
             WHERE instance = ?1 AND generation = ?2 AND after = ?3 AND upto = ?4
             AND done IS NULL",
            params![
                instance.bytes(),
                number,
                range.after.bytes(),
                range.upto.bytes(),
                written.count as i64,
                written.new_digest.0,
                written.receipt,
                written.quarantined_count as i64
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

/// Keeps what no unit opens, and why, beside the generation that goes without it.
fn put_into_quarantine(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
    rows: &[(WrappedRow, String)],
) -> Result<(), KeystoreError> {
    for (row, reason) in rows {
        tx.execute(
            "INSERT INTO quarantined
             (instance, version, key, generation, attributes, blob, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                instance.bytes(),
                row.version.bytes(),
                row.key.bytes(),
                number,
                row.attributes,
                row.blob,
                reason
            ],
        )
        .map_err(database)?;
    }
    Ok(())
}
