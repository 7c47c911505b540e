//! Opening, flipping, ending and dropping generations: each one transaction.

use machines::gate::{self, AbortRequest, Change, OpenRequest};
use protocol::keystore::{Generation, KeystoreRow};
use protocol::order::OrderRef;
use protocol::page::ChunkRange;
use protocol::{Digest, Epoch, GenerationId, InstanceId};
use rusqlite::{Transaction, params};

use super::{SqliteKeystore, chunks, database, held, store, table, write};
use crate::KeystoreError;

pub(super) fn count_versions(
    tx: &Transaction<'_>,
    instance: InstanceId,
) -> Result<u64, KeystoreError> {
    let count: i64 = tx
        .query_row(
            "SELECT count(*) FROM key_versions WHERE instance = ?1",
            [instance.bytes()],
            |row| row.get(0),
        )
        .map_err(database)?;
    Ok(count as u64)
}

/// A generation's table. The CHECK keeps every blob to its generation's pattern for life; the index finds
/// the few that were written while another generation was built.
pub(super) fn create_table(
    tx: &Transaction<'_>,
    instance: InstanceId,
    generation: &Generation,
) -> Result<(), KeystoreError> {
    let table = table(instance, generation.number);
    let sql = format!(
        "CREATE TABLE {table} (
            version BLOB PRIMARY KEY, key BLOB NOT NULL, attributes INTEGER NOT NULL,
            born INTEGER NOT NULL,
            blob BLOB NOT NULL CHECK (substr(blob, 1, 34) = x'0101{}')
        ) WITHOUT ROWID;
        CREATE INDEX {table}_born ON {table} (born, version) WHERE born <> 0;",
        generation.pattern
    );
    tx.execute_batch(&sql).map_err(database)
}

fn drop_table(
    tx: &Transaction<'_>,
    instance: InstanceId,
    generation: &Generation,
) -> Result<(), KeystoreError> {
    let sql = format!("DROP TABLE IF EXISTS {}", table(instance, generation.number));
    tx.execute_batch(&sql).map_err(database)?;
    tx.execute(
        "DELETE FROM chunks WHERE instance = ?1 AND generation = ?2",
        params![instance.bytes(), generation.number],
    )
    .map_err(database)?;
    Ok(())
}

impl SqliteKeystore {
    /// Opens a generation: the gate closes, the set is counted and the table is made, all in one
    /// transaction.
    pub async fn open_generation(
        &self,
        instance: InstanceId,
        request: OpenRequest,
    ) -> Result<KeystoreRow, KeystoreError> {
        self.write(move |tx| {
            let mut row = held(tx, instance)?;
            if row.active.is_none() {
                row.version_count = count_versions(tx, instance)?;
            }
            let change = gate::open(&mut row, &request, 0)?;
            // What was opened before, or is refused, is not counted.
            if let (Change::Now, Some(open)) = (change, &mut row.open) {
                if let Some(active) = &row.active {
                    let set = chunks::set_of(tx, instance, active.number)?;
                    open.set_count = set.count;
                    // Every version is in the set or in quarantine: none is counted a second time.
                    row.version_count = set.count + set.quarantined_count;
                }
                create_table(tx, instance, open)?;
            }
            store(tx, &row)?;
            Ok(row)
        })
        .await
    }

    /// Marks the generation that was filled complete, if its chunks tile the key space and sum to the set.
    pub async fn complete(
        &self,
        instance: InstanceId,
        order: OrderRef,
        filled: GenerationId,
    ) -> Result<KeystoreRow, KeystoreError> {
        self.write(move |tx| {
            let mut row = held(tx, instance)?;
            let number = row.open.as_ref().map_or(0, |open| open.number);
            let counted = chunks::counted(tx, instance, number)?;
            if let Some(open) = &mut row.open {
                open.quarantined_count = chunks::done_counts(tx, instance, number)?.1;
            }
            gate::complete(&mut row, &order, filled, &counted)?;
            store(tx, &row)?;
            Ok(row)
        })
        .await
    }

    /// Moves the active row to the new generation and opens the gate.
    pub async fn flip(
        &self,
        instance: InstanceId,
        order: OrderRef,
        epoch: Epoch,
    ) -> Result<KeystoreRow, KeystoreError> {
        self.write(move |tx| {
            let mut row = held(tx, instance)?;
            let (counted, younger) = match (&row.open, &row.active) {
                (Some(open), active) => (
                    chunks::counted(tx, instance, open.number)?,
                    younger_lacking(tx, instance, active.as_ref(), open)?,
                ),
                (None, _) => (Vec::<(ChunkRange, u64)>::new(), 0),
            };
            gate::flip(&mut row, &order, epoch, &counted, younger)?;
            store(tx, &row)?;
            Ok(row)
        })
        .await
    }

    /// Saves that the flip was read back and the root over the keys that were read, and applies
    /// the tombstones.
    pub async fn mark_flipped(
        &self,
        instance: InstanceId,
        order: OrderRef,
        key_root: Digest,
    ) -> Result<KeystoreRow, KeystoreError> {
        self.write(move |tx| {
            let mut row = held(tx, instance)?;
            if gate::mark_flipped(&mut row, &order, key_root)? == Change::Now {
                write::apply_tombstones(tx, &row)?;
            }
            store(tx, &row)?;
            Ok(row)
        })
        .await
    }

    /// Ends a rotation before its flip: its table goes, tombstones are applied, the gate opens.
    pub async fn abort(
        &self,
        instance: InstanceId,
        request: AbortRequest,
    ) -> Result<KeystoreRow, KeystoreError> {
        self.write(move |tx| {
            let mut row = held(tx, instance)?;
            let (change, dropped) = gate::abort(&mut row, &request)?;
            if let Some(generation) = dropped {
                drop_table(tx, instance, &generation)?;
                chunks::leave_quarantine(tx, instance, generation.number)?;
            }
            if change == Change::Now {
                write::apply_tombstones(tx, &row)?;
            }
            store(tx, &row)?;
            Ok(row)
        })
        .await
    }

    /// Drops the tables of retired generations.
    pub async fn drop_retired(
        &self,
        instance: InstanceId,
        order: OrderRef,
        epoch: Epoch,
    ) -> Result<KeystoreRow, KeystoreError> {
        self.write(move |tx| {
            let mut row = held(tx, instance)?;
            let (_, dropped) = gate::drop_retired(&mut row, &order, epoch)?;
            for generation in &dropped {
                drop_table(tx, instance, generation)?;
            }
            store(tx, &row)?;
            Ok(row)
        })
        .await
    }
}

/// Versions created since opening that have no blob in the new generation.
fn younger_lacking(
    tx: &Transaction<'_>,
    instance: InstanceId,
    active: Option<&Generation>,
    open: &Generation,
) -> Result<u64, KeystoreError> {
    let Some(active) = active else { return Ok(0) };
    let sql = format!(
        "SELECT count(*) FROM {} o WHERE o.born = ?1 AND o.born <> 0
         AND NOT EXISTS (SELECT 1 FROM {} n WHERE n.version = o.version)",
        table(instance, active.number),
        table(instance, open.number)
    );
    let count: i64 = tx.query_row(&sql, [open.number], |row| row.get(0)).map_err(database)?;
    Ok(count as u64)
}
