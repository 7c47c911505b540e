//! Opening, flipping, ending and dropping generations: each one transaction that has the row alone.

use deadpool_postgres::Transaction;
use machines::gate::{self, AbortRequest, Change, OpenRequest};
use protocol::keystore::{Generation, KeystoreRow};
use protocol::order::OrderRef;
use protocol::page::ChunkRange;
use protocol::{Digest, Epoch, GenerationId, InstanceId};

use super::{
    Hold, PostgresKeystore, begin, chunks, commit, count_versions, database, held, store, table,
};
use super::{housekeeping, write};
use crate::KeystoreError;

/// A generation's table. The CHECK keeps every blob to its generation's pattern for life; the index
/// holds only versions created while it was open, so that copying a chunk pays nothing for it.
async fn create_table(
    tx: &Transaction<'_>,
    instance: InstanceId,
    generation: &Generation,
) -> Result<(), KeystoreError> {
    let table = table(instance, generation.number);
    let sql = format!(
        "CREATE TABLE {table} (
            version UUID PRIMARY KEY, key UUID NOT NULL, attributes SMALLINT NOT NULL,
            born BIGINT NOT NULL,
            blob BYTEA NOT NULL CHECK (substring(blob FROM 1 FOR 34) = decode('0101{}', 'hex'))
        );
        CREATE INDEX ON {table} (born, version) WHERE born <> 0;",
        generation.pattern
    );
    tx.batch_execute(&sql).await.map_err(database)
}

impl PostgresKeystore {
    /// Opens a generation: the gate closes, the set is counted and the table is made, all in one
    /// transaction.
    pub async fn open_generation(
        &self,
        instance: InstanceId,
        request: OpenRequest,
    ) -> Result<KeystoreRow, KeystoreError> {
        let mut client = self.writer().await?;
        let tx = begin(&mut client, instance, Hold::Update).await?;
        let mut row = held(&tx, instance, Hold::Update).await?;
        let active = row.active.as_ref().map(|active| active.number);
        if active.is_none() {
            row.version_count = count_versions(tx.client(), instance).await?;
        }
        let change = gate::open(&mut row, &request, 0)?;
        // What was opened before, or is refused, is not counted.
        if let (Change::Now, Some(open)) = (change, &mut row.open) {
            if let Some(active) = active {
                let set = chunks::set_of(&tx, instance, active).await?;
                open.set_count = set.count;
                // Every version is in the set or in quarantine: none is counted a second time.
                row.version_count = set.count + set.quarantined_count;
            }
            create_table(&tx, instance, open).await?;
        }
        store(&tx, &row).await?;
        commit(tx, fail_points::Transaction::KeystoreOpen).await?;
        self.drop_left_over_later();
        Ok(row)
    }

    /// Marks the generation that was filled complete, if its chunks tile the key space and sum to the set.
    pub async fn complete(
        &self,
        instance: InstanceId,
        order: OrderRef,
        filled: GenerationId,
    ) -> Result<KeystoreRow, KeystoreError> {
        let mut client = self.writer().await?;
        let tx = begin(&mut client, instance, Hold::Update).await?;
        let mut row = held(&tx, instance, Hold::Update).await?;
        let number = row.open.as_ref().map_or(0, |open| open.number);
        let counted = chunks::counted(&tx, instance, number).await?;
        if let Some(open) = &mut row.open {
            open.quarantined_count = chunks::count_quarantined(&tx, instance, number).await?;
        }
        gate::complete(&mut row, &order, filled, &counted)?;
        store(&tx, &row).await?;
        commit(tx, fail_points::Transaction::KeystoreComplete).await?;
        Ok(row)
    }

    /// Moves the active row to the new generation and opens the gate.
    pub async fn flip(
        &self,
        instance: InstanceId,
        order: OrderRef,
        epoch: Epoch,
    ) -> Result<KeystoreRow, KeystoreError> {
        let mut client = self.writer().await?;
        let tx = begin(&mut client, instance, Hold::Update).await?;
        let mut row = held(&tx, instance, Hold::Update).await?;
        let (counted, younger) = match (&row.open, &row.active) {
            (Some(open), active) => (
                chunks::counted(&tx, instance, open.number).await?,
                younger_lacking(&tx, instance, active.as_ref(), open).await?,
            ),
            (None, _) => (Vec::<(ChunkRange, u64)>::new(), 0),
        };
        gate::flip(&mut row, &order, epoch, &counted, younger)?;
        store(&tx, &row).await?;
        commit(tx, fail_points::Transaction::KeystoreFlip).await?;
        Ok(row)
    }

    /// Saves that the flip was read back and the root over the keys that were read, and applies
    /// the tombstones.
    pub async fn mark_flipped(
        &self,
        instance: InstanceId,
        order: OrderRef,
        key_root: Digest,
    ) -> Result<KeystoreRow, KeystoreError> {
        let mut client = self.writer().await?;
        let tx = begin(&mut client, instance, Hold::Update).await?;
        let mut row = held(&tx, instance, Hold::Update).await?;
        if gate::mark_flipped(&mut row, &order, key_root)? == Change::Now {
            write::apply_tombstones(&tx, &row).await?;
        }
        store(&tx, &row).await?;
        commit(tx, fail_points::Transaction::KeystoreMarkFlipped).await?;
        Ok(row)
    }

    /// Ends a rotation before its flip: tombstones are applied, the gate opens, its table goes.
    pub async fn abort(
        &self,
        instance: InstanceId,
        request: AbortRequest,
    ) -> Result<KeystoreRow, KeystoreError> {
        let mut client = self.writer().await?;
        let tx = begin(&mut client, instance, Hold::Update).await?;
        let mut row = held(&tx, instance, Hold::Update).await?;
        let (change, dropped) = gate::abort(&mut row, &request)?;
        if let Some(generation) = dropped {
            chunks::leave_quarantine(&tx, instance, generation.number).await?;
            housekeeping::let_go(&tx, instance, &generation).await?;
        }
        if change == Change::Now {
            write::apply_tombstones(&tx, &row).await?;
        }
        store(&tx, &row).await?;
        commit(tx, fail_points::Transaction::KeystoreAbort).await?;
        drop(client);
        self.drop_left_over().await;
        Ok(row)
    }

    /// Lets go of retired generations and drops their tables; one that is being read at the moment
    /// is dropped as soon as it can be.
    pub async fn drop_retired(
        &self,
        instance: InstanceId,
        order: OrderRef,
        epoch: Epoch,
    ) -> Result<KeystoreRow, KeystoreError> {
        let mut client = self.writer().await?;
        let tx = begin(&mut client, instance, Hold::Update).await?;
        let mut row = held(&tx, instance, Hold::Update).await?;
        let (_, dropped) = gate::drop_retired(&mut row, &order, epoch)?;
        for generation in &dropped {
            housekeeping::let_go(&tx, instance, generation).await?;
        }
        store(&tx, &row).await?;
        commit(tx, fail_points::Transaction::KeystoreDrop).await?;
        drop(client);
        self.drop_left_over().await;
        Ok(row)
    }
}

/// Versions created since opening that have no blob in the new generation.
async fn younger_lacking(
    tx: &Transaction<'_>,
    instance: InstanceId,
    active: Option<&Generation>,
    open: &Generation,
) -> Result<u64, KeystoreError> {
    let Some(active) = active else { return Ok(0) };
    // The number is in the text, so that the planner sees that the partial index serves.
    let sql = format!(
        "SELECT count(*) FROM {} o WHERE o.born = {}
         AND NOT EXISTS (SELECT 1 FROM {} n WHERE n.version = o.version)",
        table(instance, active.number),
        open.number,
        table(instance, open.number)
    );
    let found = tx.query_typed_one(&sql, &[]).await.map_err(database)?;
    Ok(found.try_get::<_, i64>(0).map_err(database)? as u64)
}
