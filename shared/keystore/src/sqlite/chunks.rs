//! Chunks of a generation that is being built: the pages and the records.

use machines::gate;
use protocol::keystore::Generation;
use protocol::page::{ChunkRange, WrappedRow};
use protocol::{Digest, InstanceId, KeyId, RowRef, Rows, VersionId};
use rusqlite::{Row, Transaction, params};
use tokio::sync::mpsc;

use super::{SqliteKeystore, database, held, table};
use crate::{
    ChunkRecord, Cut, KeystoreError, NewChunk, PAGES_AHEAD, PageStream, Set, WrittenChunk,
    with_gaps,
};

/// What the generation that is read holds.
pub(super) fn set_of(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
) -> Result<Set, KeystoreError> {
    let table = table(instance, number);
    let sql = format!(
        "SELECT count(*), (SELECT count(*) FROM quarantined WHERE instance = ?1) FROM {table}"
    );
    let found: (i64, i64) = tx
        .query_row(&sql, [instance.bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(database)?;
    Ok(Set { count: found.0 as u64, quarantined_count: found.1 as u64 })
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

fn record(row: &Row<'_>) -> rusqlite::Result<(ChunkRange, WrittenChunk)> {
    let range = ChunkRange {
        after: VersionId::from_bytes(row.get(0)?),
        upto: VersionId::from_bytes(row.get(1)?),
    };
    let done = WrittenChunk {
        count: row.get::<_, i64>(2)? as u64,
        quarantined_count: row.get::<_, i64>(5)? as u64,
        new_digest: Digest(row.get(3)?),
        receipt: row.get(4)?,
    };
    Ok((range, done))
}

fn all(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
) -> Result<Vec<(ChunkRange, WrittenChunk)>, KeystoreError> {
    let mut found = tx
        .prepare_cached(
            "SELECT after, upto, done, new_digest, receipt, quarantined FROM chunks
             WHERE instance = ?1 AND generation = ?2 AND done IS NOT NULL ORDER BY after",
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
    let written = all(tx, instance, number)?.into_iter();
    Ok(written.map(|(range, done)| (range, done.count + done.quarantined_count)).collect())
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
    /// Every chunk of a generation that is written, and what is not, in ascending order.
    pub async fn chunks(
        &self,
        instance: InstanceId,
        number: u32,
    ) -> Result<Vec<ChunkRecord>, KeystoreError> {
        self.read(move |tx| all(tx, instance, number).map(with_gaps)).await
    }

    /// Reads the rows of each range out of generation `number`, but those born under generation
    /// `not_born`, in the order given, cut into pages; a few are read ahead.
    pub fn pages(
        &self,
        instance: InstanceId,
        number: u32,
        ranges: Vec<ChunkRange>,
        not_born: u32,
        cut: Cut,
    ) -> PageStream {
        let (pages, stream) = mpsc::channel(PAGES_AHEAD);
        let store = self.clone();
        tokio::spawn(async move {
            for mut rest in ranges {
                while rest.after < rest.upto {
                    let page = store.page(instance, number, rest, not_born, cut).await;
                    rest.after = page.as_ref().map_or(rest.upto, |(range, _)| range.upto);
                    let is_last = page.is_err();
                    if pages.send(page).await.is_err() || is_last {
                        return;
                    }
                }
            }
        });
        stream
    }

    /// The first page of a range.
    async fn page(
        &self,
        instance: InstanceId,
        number: u32,
        range: ChunkRange,
        not_born: u32,
        cut: Cut,
    ) -> Result<(ChunkRange, Rows), KeystoreError> {
        self.read(move |tx| {
            let sql = format!(
                "SELECT version, key, attributes, blob FROM {}
                 WHERE version > ?1 AND version <= ?2 AND born <> ?3 ORDER BY version",
                table(instance, number)
            );
            let mut select = tx.prepare_cached(&sql).map_err(database)?;
            let bound = params![range.after.bytes(), range.upto.bytes(), not_born];
            let mut found = select.query(bound).map_err(database)?;
            let (mut rows, mut last) = (Rows::default(), range.after);
            while let Some(row) = found.next().map_err(database)? {
                if cut.is_full(&rows) {
                    return Ok((ChunkRange { after: range.after, upto: last }, rows));
                }
                let blob = row.get_ref(3).map_err(database)?;
                last = VersionId::from_bytes(row.get(0).map_err(database)?);
                rows.push(RowRef {
                    version: last,
                    key: KeyId::from_bytes(row.get(1).map_err(database)?),
                    attributes: row.get(2).map_err(database)?,
                    blob: blob.as_blob().map_err(|error| database(error.into()))?,
                });
            }
            Ok((range, rows))
        })
        .await
    }

    /// How many chunks of a generation are written.
    pub async fn chunk_count(
        &self,
        instance: InstanceId,
        number: u32,
    ) -> Result<u64, KeystoreError> {
        self.read(move |tx| {
            let sql = "SELECT count(*) FROM chunks
                 WHERE instance = ?1 AND generation = ?2 AND done IS NOT NULL";
            let count: i64 = tx
                .query_row(sql, params![instance.bytes(), number], |row| row.get(0))
                .map_err(database)?;
            Ok(count as u64)
        })
        .await
    }

    /// Writes chunks, each once: the record first (written before: done already), then its blobs.
    /// Nothing is written unless this very generation is being built.
    pub async fn write_chunks(
        &self,
        instance: InstanceId,
        generation: &Generation,
        chunks: Vec<NewChunk>,
    ) -> Result<(), KeystoreError> {
        let (number, id) = (generation.number, generation.id);
        self.write(move |tx| {
            gate::may_fill(&held(tx, instance)?, id)?;
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

/// Whether another written chunk overlaps this one. Two are looked at, however many there are: of those
/// that begin before this one ends, its own record left out, let Y begin last. They do not overlap each
/// other, so all others end where Y begins or before it: if any of them reaches into this one, so does Y.
/// Only this one's own record can stand above Y, which makes two.
pub(super) const OVERLAPPING: &str = "SELECT count(*) FROM (SELECT after, upto FROM chunks
    WHERE instance = ?1 AND generation = ?2 AND done IS NOT NULL AND after < ?4
    ORDER BY after DESC LIMIT 2) WHERE upto > ?3 AND NOT (after = ?3 AND upto = ?4)";

/// Writes the record of a chunk; false if it was written before.
fn claim_record(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
    range: ChunkRange,
    written: &WrittenChunk,
) -> Result<bool, KeystoreError> {
    let overlapping: i64 = tx
        .query_row(
            OVERLAPPING,
            params![instance.bytes(), number, range.after.bytes(), range.upto.bytes()],
            |row| row.get(0),
        )
        .map_err(database)?;
    if overlapping > 0 {
        return Err(KeystoreError::Overlap);
    }
    // A record that was only planned is of an earlier program: it is taken over.
    let changed = tx
        .execute(
            "INSERT INTO chunks (instance, generation, after, upto, done, new_digest, receipt,
             quarantined) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (instance, generation, after) DO UPDATE SET upto = excluded.upto,
             done = excluded.done, new_digest = excluded.new_digest, receipt = excluded.receipt,
             quarantined = excluded.quarantined WHERE chunks.done IS NULL",
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
    rows: &Rows,
) -> Result<(), KeystoreError> {
    let sql = format!(
        "INSERT INTO {} (version, key, attributes, born, blob) VALUES (?1, ?2, ?3, 0, ?4)",
        table(instance, number)
    );
    let mut insert = tx.prepare_cached(&sql).map_err(database)?;
    for row in rows.iter() {
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
