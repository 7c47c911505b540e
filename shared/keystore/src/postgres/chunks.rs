//! Chunks of a generation that is being built, and their records.

use deadpool_postgres::Transaction;
use futures_util::future::{join, join_all, join3};
use machines::gate;
use protocol::keystore::Generation;
use protocol::page::{ChunkRange, WrappedRow};
use protocol::{Digest, InstanceId, VersionId};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::{Hold, PostgresKeystore, begin, commit, database, held, pages, queue_of, table};
use crate::{ChunkRecord, KeystoreError, NewChunk, Set, WrittenChunk, with_gaps};

/// What the generation that is read holds.
pub(super) async fn set_of(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
) -> Result<Set, KeystoreError> {
    let sql = format!(
        "SELECT count(*), (SELECT count(*) FROM quarantined WHERE instance = $1) FROM {}",
        table(instance, number)
    );
    let bound = [(&instance.uuid() as &(dyn ToSql + Sync), Type::UUID)];
    let found = tx.query_typed_one(&sql, &bound).await.map_err(database)?;
    Ok(Set {
        count: found.try_get::<_, i64>(0).map_err(database)? as u64,
        quarantined_count: found.try_get::<_, i64>(1).map_err(database)? as u64,
    })
}

const RECORDS: &str = "SELECT after, upto, done, new_digest, receipt, quarantined FROM chunks
    WHERE instance = $1 AND generation = $2 AND done IS NOT NULL ORDER BY after";

fn record(row: &Row) -> Result<(ChunkRange, WrittenChunk), KeystoreError> {
    let range = ChunkRange {
        after: VersionId::from_uuid(row.try_get(0).map_err(database)?),
        upto: VersionId::from_uuid(row.try_get(1).map_err(database)?),
    };
    let done = WrittenChunk {
        count: row.try_get::<_, i64>(2).map_err(database)? as u64,
        quarantined_count: row.try_get::<_, i64>(5).map_err(database)? as u64,
        new_digest: digest(row.try_get(3).map_err(database)?)?,
        receipt: row.try_get(4).map_err(database)?,
    };
    Ok((range, done))
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
    let found = tx
        .query_typed(RECORDS, &[(&instance.uuid(), Type::UUID), (&i64::from(number), Type::INT8)])
        .await
        .map_err(database)?;
    let counted = |row| {
        let (range, done) = record(row)?;
        Ok((range, done.count + done.quarantined_count))
    };
    found.iter().map(counted).collect()
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
    /// Every chunk of a generation that is written, and what is not, in ascending order.
    pub async fn chunks(
        &self,
        instance: InstanceId,
        number: u32,
    ) -> Result<Vec<ChunkRecord>, KeystoreError> {
        let found = self
            .client()
            .await?
            .query_typed(
                RECORDS,
                &[(&instance.uuid(), Type::UUID), (&i64::from(number), Type::INT8)],
            )
            .await
            .map_err(database)?;
        found.iter().map(record).collect::<Result<_, _>>().map(with_gaps)
    }

    /// How many chunks of a generation are written.
    pub async fn chunk_count(
        &self,
        instance: InstanceId,
        number: u32,
    ) -> Result<u64, KeystoreError> {
        let sql = "SELECT count(*) FROM chunks
             WHERE instance = $1 AND generation = $2 AND done IS NOT NULL";
        let bound = [
            (&instance.uuid() as &(dyn ToSql + Sync), Type::UUID),
            (&i64::from(number), Type::INT8),
        ];
        let found = self.client().await?.query_typed_one(sql, &bound).await.map_err(database)?;
        Ok(found.try_get::<_, i64>(0).map_err(database)? as u64)
    }

    /// Writes chunks, each once: the record first (written before: done already), then its blobs.
    /// Nothing is written unless this very generation is being built.
    pub async fn write_chunks(
        &self,
        instance: InstanceId,
        generation: &Generation,
        chunks: Vec<NewChunk>,
    ) -> Result<(), KeystoreError> {
        let number = generation.number;
        let mut client = self.writer().await?;
        let tx = begin(&mut client, instance, Hold::Share).await?;
        // Both go out at once; the server does one after the other, and nothing of it stays unless
        // the row allows it.
        let (row, claimed) =
            join(held(&tx, instance, Hold::Share), claim(&tx, instance, number, &chunks)).await;
        gate::may_fill(&row?, generation.id)?;
        let claimed = claimed?;
        if claimed.iter().any(|chunk| !chunk.rows.is_empty()) {
            let rows = claimed.iter().map(|chunk| &chunk.rows);
            pages::copy_in(&tx, instance, number, rows).await?;
        }
        for (row, reason) in claimed.iter().flat_map(|chunk| &chunk.quarantined) {
            put_into_quarantine(&tx, instance, number, row, reason).await?;
        }
        commit(tx, fail_points::Transaction::KeystoreChunks).await
    }
}

/// Writes the records of chunks and gives back those that were not written before.
/// Records are locked in one order, so that two reencryptors with the same chunks do not lock each
/// other out; all are asked for at once.
async fn claim<'a>(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
    chunks: &'a [NewChunk],
) -> Result<Vec<&'a NewChunk>, KeystoreError> {
    let mut in_order: Vec<_> = chunks.iter().collect();
    in_order.sort_by_key(|chunk| chunk.range);
    let changed = join_all(in_order.iter().map(|chunk| note(tx, instance, number, chunk))).await;
    let mut claimed = Vec::with_capacity(chunks.len());
    for (chunk, is_changed) in in_order.into_iter().zip(changed) {
        if is_changed? {
            claimed.push(chunk);
        }
    }
    Ok(claimed)
}

/// Writes the record of a chunk; false if it was written before.
async fn note(
    tx: &Transaction<'_>,
    instance: InstanceId,
    number: u32,
    chunk: &NewChunk,
) -> Result<bool, KeystoreError> {
    let NewChunk { range, written, .. } = chunk;
    let alone = end_alone(tx, instance, chunk);
    let (instance, number) = (instance.uuid(), i64::from(number));
    let (after, upto) = (range.after.uuid(), range.upto.uuid());
    let (count, quarantined) = (written.count as i64, written.quarantined_count as i64);
    let of: [(&(dyn ToSql + Sync), Type); 4] =
        [(&instance, Type::UUID), (&number, Type::INT8), (&after, Type::UUID), (&upto, Type::UUID)];
    let said: [(&(dyn ToSql + Sync), Type); 4] = [
        (&count, Type::INT8),
        (&&written.new_digest.0[..], Type::BYTEA),
        (&written.receipt, Type::BYTEA),
        (&quarantined, Type::INT8),
    ];
    // A record that was only planned is of an earlier program: it is taken over.
    let write = "INSERT INTO chunks (instance, generation, after, upto, done, new_digest, receipt,
         quarantined) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (instance, generation, after) DO UPDATE SET upto = excluded.upto,
         done = excluded.done, new_digest = excluded.new_digest, receipt = excluded.receipt,
         quarantined = excluded.quarantined WHERE chunks.done IS NULL";
    // Two are looked at, however many there are. Of the written chunks that begin before this one ends,
    // its own record left out, let Y begin last. They do not overlap each other, so all others end where
    // Y begins or before it: if any of them reaches into this one, so does Y. Only this one's own record
    // can stand above Y, which makes two.
    let look = "SELECT count(*) FROM (SELECT after, upto FROM chunks WHERE instance = $1
         AND generation = $2 AND done IS NOT NULL AND after < $4 ORDER BY after DESC LIMIT 2) c
         WHERE upto > $3 AND NOT (after = $3 AND upto = $4)";
    let both: Vec<_> = of.iter().chain(&said).cloned().collect();
    let (alone, changed, overlapping) =
        join3(alone, tx.execute_typed(write, &both), tx.query_typed_one(look, &of)).await;
    alone?;
    let changed = changed.map_err(database)?;
    let overlapping = overlapping.and_then(|row| row.try_get::<_, i64>(0)).map_err(database)?;
    match overlapping {
        0 => Ok(changed == 1),
        _ => Err(KeystoreError::Overlap),
    }
}

/// Chunks that overlap have versions in common, which no two transactions write: but not where one ends
/// behind its last version, as at the end of the key space and of a reencryptor's share. So who writes such
/// a chunk does it alone, and looks for others after it.
async fn end_alone(
    tx: &Transaction<'_>,
    instance: InstanceId,
    chunk: &NewChunk,
) -> Result<(), KeystoreError> {
    if chunk.rows.iter().last().map(|row| row.version) == Some(chunk.range.upto) {
        return Ok(());
    }
    let number = queue_of(instance);
    let (high, low) = ((number >> 32) as i32, number as i32);
    // Two numbers: another space of locks than that of the queue.
    let sql = "SELECT pg_advisory_xact_lock($1, $2)";
    tx.query_typed(sql, &[(&high, Type::INT4), (&low, Type::INT4)]).await.map_err(database)?;
    Ok(())
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
