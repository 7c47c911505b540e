//! Key writers and purges. A writer reads which generations to write for, has the blobs made by a
//! unit, and writes them in a transaction of its own, with pauses of any length in between; a
//! sloppy one takes blobs that it had made before, for whichever generations are there now.

use crypto::blob::{BlobBinding, KeyAttributes};
use machines::gate;
use protocol::page::WrappedRow;
use protocol::{GenerationId, InstanceId, KeyId, Pattern, VersionId};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use crate::store::Store;
use crate::unit::UnitNode;

/// A blob on its way into a generation.
#[derive(Clone, Debug)]
struct Prepared {
    number: u32,
    generation: GenerationId,
    pattern: Pattern,
    row: WrappedRow,
}

/// Where a writer stands.
#[derive(Clone, Debug)]
enum Step {
    /// Reads the targets and has blobs made.
    Prepare,
    /// Takes the row's lock and judges the write.
    Begin(Vec<Prepared>),
    /// Inserts and commits.
    Commit(Vec<Prepared>),
}

/// One client that writes keys.
#[derive(Clone, Debug)]
pub struct Writer {
    step: Step,
    is_sloppy: bool,
    holds_lock: bool,
}

impl Writer {
    /// A new one.
    pub const fn new(is_sloppy: bool) -> Self {
        Self { step: Step::Prepare, is_sloppy, holds_lock: false }
    }

    /// Does its next step; answers what it did and after how many milliseconds the next one comes.
    pub fn act(
        &mut self,
        rng: &mut ChaCha8Rng,
        instance: InstanceId,
        units: &[UnitNode],
        store: &mut Store,
    ) -> (&'static str, u64) {
        let step = std::mem::replace(&mut self.step, Step::Prepare);
        match step {
            Step::Prepare => self.prepare(rng, instance, units, store),
            Step::Begin(prepared) => self.begin(rng, prepared, store),
            Step::Commit(prepared) => {
                let blobs: Vec<_> =
                    prepared.into_iter().map(|it| (it.number, it.pattern, it.row)).collect();
                let is_written = store.insert(&blobs);
                self.release(store);
                (if is_written { "wrote" } else { "was refused by CHECK" }, pause(rng))
            }
        }
    }

    fn prepare(
        &mut self,
        rng: &mut ChaCha8Rng,
        instance: InstanceId,
        units: &[UnitNode],
        store: &Store,
    ) -> (&'static str, u64) {
        let Ok(targets) = gate::write_targets(&store.row) else { return ("is gated", pause(rng)) };
        let (mut key, mut ids) = ([0; 32], [0; 32]);
        rng.fill_bytes(&mut key);
        rng.fill_bytes(&mut ids);
        let (key_id, version) = ids.split_at(16);
        let bytes = |part: &[u8]| part.try_into().unwrap_or([0; 16]);
        let attributes = KeyAttributes { is_root: true, is_extractable: false, is_imported: false };
        let binding = BlobBinding {
            instance,
            key: KeyId::from_bytes(bytes(key_id)),
            version: VersionId::from_bytes(bytes(version)),
            attributes: attributes.to_byte(),
        };
        let patterns: Vec<_> = targets.iter().map(|target| target.pattern).collect();
        let unit = &units[rng.random_range(0..units.len())];
        let Some(blobs) = unit.make_blobs(&binding, &key, &patterns, rng) else {
            return ("found no unit", pause(rng));
        };
        let prepared = targets.iter().zip(blobs).map(|(target, blob)| Prepared {
            number: target.number,
            generation: target.id,
            pattern: target.pattern,
            row: WrappedRow {
                version: binding.version,
                key: binding.key,
                attributes: binding.attributes,
                blob,
            },
        });
        self.step = Step::Begin(prepared.collect());
        ("had blobs made", pause(rng))
    }

    fn begin(
        &mut self,
        rng: &mut ChaCha8Rng,
        mut prepared: Vec<Prepared>,
        store: &mut Store,
    ) -> (&'static str, u64) {
        if self.is_sloppy
            && let Ok(targets) = gate::write_targets(&store.row)
        {
            // Its old blobs, under the names of today's generations.
            let rows: Vec<_> = prepared.iter().map(|it| it.row.clone()).collect();
            prepared = targets
                .iter()
                .zip(rows)
                .map(|(target, row)| Prepared {
                    number: target.number,
                    generation: target.id,
                    pattern: target.pattern,
                    row,
                })
                .collect();
        } else if self.is_sloppy {
            return ("is gated", pause(rng));
        }
        let mut supplied: Vec<_> = prepared.iter().map(|it| it.generation).collect();
        // Now and then one that forgets all but the first.
        if rng.random_bool(0.1) {
            supplied.truncate(1);
            prepared.truncate(1);
        }
        if store.may_write(&supplied).is_err() {
            return ("starts again", pause(rng));
        }
        store.lock_shared();
        self.holds_lock = true;
        self.step = Step::Commit(prepared);
        // Rarely a transaction that stalls across whatever happens meanwhile.
        let stall = if rng.random_bool(0.15) { 4_000 } else { 60 };
        ("has begun", rng.random_range(1..stall))
    }

    fn release(&mut self, store: &mut Store) {
        if std::mem::take(&mut self.holds_lock) {
            store.unlock_shared();
        }
    }
}

fn pause(rng: &mut ChaCha8Rng) -> u64 {
    if rng.random_bool(0.1) { rng.random_range(1..6_000) } else { rng.random_range(1..250) }
}

/// Purges a key version at random.
pub fn purge(rng: &mut ChaCha8Rng, store: &mut Store) -> Option<VersionId> {
    let alive: Vec<_> = store
        .versions
        .keys()
        .filter(|version| !store.tombstones.contains(version))
        .copied()
        .collect();
    if alive.len() < 8 {
        return None;
    }
    let version = alive[rng.random_range(0..alive.len())];
    store.purge(version);
    Some(version)
}
