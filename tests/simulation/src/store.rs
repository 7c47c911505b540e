//! The keystore's database in memory: the same rules of the row as the SQL stores, the row lock,
//! and transactions that take effect at once or not at all.

use std::collections::{BTreeMap, BTreeSet};

use crypto::blob::BlobHeader;
use crypto::digest::receipt_chain;
use crypto::merkle::KeyTree;
use machines::gate::{self, AbortRequest, Change, GateRefusal, OpenRequest};
use machines::rewrap::{DoneChunk, chunk_digest};
use protocol::keystore::KeystoreRow;
use protocol::order::OrderRef;
use protocol::page::{ChunkRange, WrappedRow};
use protocol::{
    Digest, Epoch, GenerationId, InstanceId, KeyId, KeystoreId, Pattern, Rows, VersionId,
};

use crate::quarantine::Quarantine;

/// Rules of the store and of the processes around the machines that a run may take out, to show
/// that a checker fires without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Writers hold the row's lock; opening, flip and abort wait for it.
    pub row_lock: bool,
    /// Every blob carries its generation's pattern.
    pub pattern_check: bool,
    /// A write supplies a blob for every generation open for writing.
    pub every_generation: bool,
    /// Between opening and flipped a purge writes only a tombstone.
    pub tombstones: bool,
    /// *Flipped* is saved only after the new generation was read back.
    pub read_back: bool,
    /// A page is shown to another unit before it is written, where a unit may lie.
    pub second_look: bool,
    /// A unit saves before it publishes its answer.
    pub save_first: bool,
}

impl Rules {
    /// As shipped.
    pub const ALL: Self = Self {
        row_lock: true,
        pattern_check: true,
        every_generation: true,
        tombstones: true,
        read_back: true,
        second_look: true,
        save_first: true,
    };
}

/// A row of a generation's table.
#[derive(Clone, Debug)]
pub struct StoredRow {
    /// What is wrapped.
    pub row: WrappedRow,
    /// Number of the generation that was open when it was created; 0 for none.
    pub born: u32,
}

/// One planned chunk and, once it is written, its record.
#[derive(Clone, Debug)]
pub struct StoredChunk {
    /// Its range.
    pub range: ChunkRange,
    /// Count, digest of the new blobs and receipt, once it is written.
    pub done: Option<(u64, Digest, Vec<u8>)>,
}

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    /// The keystore row.
    pub row: KeystoreRow,
    /// Generations' tables by number.
    pub tables: BTreeMap<u32, BTreeMap<VersionId, StoredRow>>,
    /// Key versions that exist.
    pub versions: BTreeMap<VersionId, KeyId>,
    /// Purged versions whose blobs wait for the end of a rotation.
    pub tombstones: BTreeSet<VersionId>,
    /// Everything that was ever purged.
    pub purged: BTreeSet<VersionId>,
    /// Writers that hold the row's lock.
    pub shared_locks: u32,
    /// Re-wrapped rows until one is damaged on its way to the disk; none: disks are well.
    pub damage_in: Option<u32>,
    /// Versions that no unit opens.
    pub quarantine: Quarantine,
    chunks: BTreeMap<u32, Vec<StoredChunk>>,
    rules: Rules,
}

/// Rows in a chunk: few, so that a rotation has many pages.
const CHUNK_ROWS: usize = 4;

impl Store {
    /// An empty keystore.
    pub fn new(instance: InstanceId, keystore: KeystoreId, rules: Rules) -> Self {
        Self {
            row: gate::new_row(instance, keystore),
            tables: BTreeMap::new(),
            versions: BTreeMap::new(),
            tombstones: BTreeSet::new(),
            purged: BTreeSet::new(),
            shared_locks: 0,
            damage_in: None,
            quarantine: Quarantine::default(),
            chunks: BTreeMap::new(),
            rules,
        }
    }

    /// Whether an `UPDATE` of the row would have to wait for writers.
    pub const fn must_wait(&self) -> bool {
        self.rules.row_lock && self.shared_locks > 0
    }

    /// Takes the row's lock for a writer.
    pub const fn lock_shared(&mut self) {
        self.shared_locks += 1;
    }

    /// Gives the row's lock back.
    pub const fn unlock_shared(&mut self) {
        self.shared_locks -= 1;
    }

    /// Whether a write may be done, judged under the lock.
    pub fn may_write(&self, supplied: &[GenerationId]) -> Result<(), GateRefusal> {
        if self.rules.every_generation {
            return gate::may_write(&self.row, supplied);
        }
        let targets = gate::write_targets(&self.row)?;
        let is_known = targets.iter().any(|target| supplied.contains(&target.id));
        if is_known { Ok(()) } else { Err(GateRefusal::GenerationsChanged) }
    }

    /// Inserts a new key version; `CHECK` refuses a blob with another pattern.
    pub fn insert(&mut self, blobs: &[(u32, Pattern, WrappedRow)]) -> bool {
        let is_sound = |(_, pattern, row): &(u32, Pattern, WrappedRow)| {
            let carried = BlobHeader::parse(&row.blob).map(|header| header.pattern);
            !self.rules.pattern_check || carried == Ok(*pattern)
        };
        let has_tables = blobs.iter().all(|(number, ..)| self.tables.contains_key(number));
        if !has_tables || !blobs.iter().all(is_sound) {
            return false;
        }
        let born = gate::born_under(&self.row);
        for (number, _, row) in blobs {
            self.versions.insert(row.version, row.key);
            if let Some(table) = self.tables.get_mut(number) {
                table.insert(row.version, StoredRow { row: row.clone(), born });
            }
        }
        self.row.version_count = self.versions.len() as u64;
        true
    }

    /// Purges a version, by tombstone while a rotation is between opening and flipped.
    pub fn purge(&mut self, version: VersionId) {
        self.purged.insert(version);
        if self.rules.tombstones && gate::purge_is_tombstone(&self.row) {
            self.tombstones.insert(version);
        } else {
            self.remove(version);
        }
    }

    /// Whether this, which was the other, has no other keys since, generation by generation. Orders from before do
    /// open an empty generation, and drop a retired one, in a copy that does not know what came of them.
    pub fn is_unwritten(&self, other: &Self) -> bool {
        let keys = |store: &Self, number: &u32| -> Vec<_> {
            store.tables.get(number).into_iter().flat_map(|table| table.keys().copied()).collect()
        };
        let is_same = |number: &u32| keys(self, number) == keys(other, number);
        let active = other.row.active.as_ref().map(|active| active.number);
        self.tables.keys().chain(&active).all(is_same)
    }

    fn remove(&mut self, version: VersionId) {
        self.versions.remove(&version);
        self.quarantine.kept.remove(&version);
        for table in self.tables.values_mut() {
            table.remove(&version);
        }
        self.row.version_count = self.versions.len() as u64;
    }

    /// Opens a generation: counts the set, makes the table, plans the chunks.
    pub fn open(&mut self, request: &OpenRequest) -> Result<Change, GateRefusal> {
        let old = self.row.active.as_ref().and_then(|active| self.tables.get(&active.number));
        let set: Vec<_> = old.into_iter().flat_map(|table| table.keys().copied()).collect();
        let change = gate::open(&mut self.row, request, set.len() as u64)?;
        if let (Change::Now, Some(open)) = (change, &self.row.open) {
            self.tables.insert(open.number, BTreeMap::new());
            self.chunks.insert(open.number, plan(&set));
        }
        Ok(change)
    }

    /// Chunks that are not written yet, with their rows out of the active generation.
    pub fn lacking(&self) -> Vec<(ChunkRange, Vec<WrappedRow>)> {
        let (Some(open), Some(active)) = (&self.row.open, &self.row.active) else {
            return Vec::new();
        };
        let chunks = self.chunks.get(&open.number).into_iter().flatten();
        let table = self.tables.get(&active.number);
        chunks
            .filter(|chunk| chunk.done.is_none())
            .map(|chunk| {
                let rows = table
                    .into_iter()
                    .flat_map(|table| table.values())
                    .filter(|stored| chunk.range.contains(stored.row.version))
                    .filter(|stored| stored.born != open.number)
                    .map(|stored| stored.row.clone());
                (chunk.range, rows.collect())
            })
            .collect()
    }

    /// Writes a chunk: the record first (written before: done already), then the blobs, and the rows that it goes
    /// without.
    pub fn write_chunk(&mut self, done: &DoneChunk, kept: Vec<WrappedRow>) {
        if gate::may_fill(&self.row, done.receipt.generation).is_err() {
            return;
        }
        let Some(open) = &self.row.open else { return };
        let number = open.number;
        let chunks = self.chunks.get_mut(&number).into_iter().flatten();
        let lacking =
            |chunk: &&mut StoredChunk| chunk.range == done.receipt.range && chunk.done.is_none();
        let Some(chunk) = chunks.into_iter().find(lacking) else { return };
        let count = done.receipt.count + kept.len() as u64;
        chunk.done = Some((count, done.receipt.new_digest, done.signed.bytes.clone()));
        if let Some(table) = self.tables.get_mut(&number) {
            for row in done.rows.iter() {
                let mut row = row.to_owned();
                damage(&mut self.damage_in, &mut row);
                table.insert(row.version, StoredRow { row, born: 0 });
            }
        }
        if let Some(open) = &mut self.row.open {
            open.done_count += count;
            open.quarantined_count += kept.len() as u64;
        }
        self.quarantine.keep(kept, number, done.receipt.order_digest);
    }

    /// At initialisation: the one empty chunk needs no unit.
    pub fn write_empty_chunk(&mut self) {
        let (Some(open), None) = (&self.row.open, &self.row.active) else { return };
        for chunk in self.chunks.get_mut(&open.number).into_iter().flatten() {
            chunk.done = Some((0, chunk_digest(&Rows::default()), Vec::new()));
        }
    }

    fn counted(&self, number: u32) -> Vec<(ChunkRange, u64)> {
        let chunks = self.chunks.get(&number).into_iter().flatten();
        chunks.filter_map(|chunk| Some((chunk.range, chunk.done.as_ref()?.0))).collect()
    }

    /// Marks the new generation complete.
    pub fn complete(&mut self, order: &OrderRef) -> Result<Change, GateRefusal> {
        let Some(open) = self.row.open.clone() else {
            return gate::complete(&mut self.row, order, GenerationId::from_bytes([0; 16]), &[]);
        };
        let chunks = self.counted(open.number);
        gate::complete(&mut self.row, order, open.id, &chunks)
    }

    /// Moves the active row.
    pub fn flip(&mut self, order: &OrderRef, epoch: Epoch) -> Result<Change, GateRefusal> {
        let Some(open) = self.row.open.clone() else {
            return gate::flip(&mut self.row, order, epoch, &[], 0);
        };
        let chunks = self.counted(open.number);
        let new_table = self.tables.get(&open.number);
        let old_table = self.row.active.as_ref().and_then(|it| self.tables.get(&it.number));
        let younger = old_table
            .into_iter()
            .flat_map(|table| table.values())
            .filter(|stored| stored.born == open.number)
            .filter(|stored| {
                new_table.is_none_or(|table| !table.contains_key(&stored.row.version))
            });
        let lacking = younger.count() as u64;
        gate::flip(&mut self.row, order, epoch, &chunks, lacking)
    }

    /// Reads the active generation again: the digests must be those that the units signed. Gives
    /// the Merkle root over its keys.
    pub fn read_back(&self) -> Option<Digest> {
        let active = self.row.active.as_ref()?;
        let table = self.tables.get(&active.number)?;
        let mut keys = KeyTree::new();
        let old = table.values().filter(|stored| stored.born != active.number);
        for stored in old {
            keys.push(stored.row.key, stored.row.version);
        }
        if !self.rules.read_back {
            return Some(keys.root());
        }
        let is_sound = self.chunks.get(&active.number).into_iter().flatten().all(|chunk| {
            let rows: Rows = table
                .values()
                .filter(|stored| stored.born != active.number)
                .filter(|stored| chunk.range.contains(stored.row.version))
                .map(|stored| &stored.row)
                .collect();
            chunk.done.as_ref().is_some_and(|(_, digest, _)| *digest == chunk_digest(&rows))
        });
        is_sound.then(|| keys.root())
    }

    /// Chained digest of all receipts of a generation.
    pub fn receipts(&self, number: u32) -> Digest {
        let chunks = self.chunks.get(&number).into_iter().flatten();
        let receipts: Vec<_> =
            chunks.filter_map(|chunk| Some(chunk.done.as_ref()?.2.as_slice())).collect();
        receipt_chain(receipts.into_iter())
    }

    /// Saves *flipped* and applies the tombstones.
    pub fn mark_flipped(
        &mut self,
        order: &OrderRef,
        key_root: Digest,
    ) -> Result<Change, GateRefusal> {
        let change = gate::mark_flipped(&mut self.row, order, key_root)?;
        if change == Change::Now {
            self.apply_tombstones();
        }
        Ok(change)
    }

    /// Ends the rotation here; the open generation's table goes.
    pub fn abort(&mut self, request: &AbortRequest) -> Result<Change, GateRefusal> {
        let (change, dropped) = gate::abort(&mut self.row, request)?;
        if let Some(generation) = dropped {
            self.tables.remove(&generation.number);
            self.chunks.remove(&generation.number);
            self.quarantine.leave(generation.number);
        }
        if change == Change::Now {
            self.apply_tombstones();
        }
        Ok(change)
    }

    /// Drops the retired tables.
    pub fn drop_retired(&mut self, order: &OrderRef, epoch: Epoch) -> Result<Change, GateRefusal> {
        let (change, dropped) = gate::drop_retired(&mut self.row, order, epoch)?;
        for generation in dropped {
            self.tables.remove(&generation.number);
        }
        Ok(change)
    }

    fn apply_tombstones(&mut self) {
        for version in std::mem::take(&mut self.tombstones) {
            self.remove(version);
        }
    }
}

/// Changes the last byte of the row that it hits, after its digest was signed.
fn damage(damage_in: &mut Option<u32>, row: &mut WrappedRow) {
    let Some(left) = damage_in else { return };
    match left.checked_sub(1) {
        Some(rest) => *left = rest,
        None => {
            *damage_in = None;
            if let Some(byte) = row.blob.last_mut() {
                *byte ^= 1;
            }
        }
    }
}

/// Cuts the key space at every few versions of the set.
fn plan(set: &[VersionId]) -> Vec<StoredChunk> {
    let mut after = ChunkRange::WHOLE.after;
    let mut ends: Vec<_> = set.chunks(CHUNK_ROWS).filter_map(|part| part.last().copied()).collect();
    ends.pop();
    ends.push(ChunkRange::WHOLE.upto);
    let mut chunks = Vec::new();
    for upto in ends {
        chunks.push(StoredChunk { range: ChunkRange { after, upto }, done: None });
        after = upto;
    }
    chunks
}
