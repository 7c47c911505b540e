//! Blobs that a disk has damaged while they lay there: no unit opens them any more. The next rotation names
//! the key and is aborted; one whose order names it goes on without the blob, which is kept as it is.

use std::collections::{BTreeMap, BTreeSet};

use machines::unit::state::TakenRotation;
use protocol::page::WrappedRow;
use protocol::report::Standing;
use protocol::{Digest, KeyId, Role, VersionId};
use rand::RngExt;

use crate::store::Store;
use crate::world::{Event, World};

/// A row that a generation goes without.
#[derive(Clone, Debug)]
pub struct Kept {
    /// As it stood in the generation before.
    pub row: WrappedRow,
    /// Number of the generation that goes without it.
    pub generation: u32,
    /// The order that carried it.
    pub order: Digest,
}

/// What the database has of them.
#[derive(Clone, Debug, Default)]
pub struct Quarantine {
    /// Versions whose blob in a generation was damaged.
    pub spoilt: BTreeSet<(u32, VersionId)>,
    /// Versions in quarantine.
    pub kept: BTreeMap<VersionId, Kept>,
}

impl Quarantine {
    /// A page was written without these rows.
    pub fn keep(&mut self, rows: Vec<WrappedRow>, generation: u32, order: Digest) {
        let kept = rows.into_iter().map(|row| (row.version, Kept { row, generation, order }));
        self.kept.extend(kept);
    }

    /// A generation is given up: what was kept out of it is where it was.
    pub fn leave(&mut self, generation: u32) {
        self.kept.retain(|_, kept| kept.generation != generation);
    }
}

impl Store {
    /// Versions of the active generation that no unit opens, and their keys.
    pub fn spoilt(&self) -> Vec<(VersionId, KeyId)> {
        let Some(active) = &self.row.active else { return Vec::new() };
        let Some(table) = self.tables.get(&active.number) else { return Vec::new() };
        let is_spoilt =
            |version: &VersionId| self.quarantine.spoilt.contains(&(active.number, *version));
        let found = table.values().map(|stored| (stored.row.version, stored.row.key));
        found.filter(|(version, _)| is_spoilt(version)).collect()
    }

    /// Whether the active generation goes without a row.
    pub fn carries(&self) -> bool {
        self.row.active.as_ref().is_some_and(|active| active.quarantined_count > 0)
    }

    /// Damages the last byte of a blob of the active generation.
    fn spoil(&mut self, at: usize) -> Option<VersionId> {
        let number = self.row.active.as_ref()?.number;
        let table = self.tables.get_mut(&number)?;
        let version = *table.keys().nth(at % table.len().max(1))?;
        self.quarantine.spoilt.insert((number, version));
        self.alter(number, version);
        Some(version)
    }

    /// Puts back, out of a copy, what was damaged in the active generation.
    fn mend(&mut self) {
        let Some(number) = self.row.active.as_ref().map(|active| active.number) else { return };
        for (version, _) in self.spoilt() {
            self.quarantine.spoilt.remove(&(number, version));
            self.alter(number, version);
        }
    }

    fn alter(&mut self, number: u32, version: VersionId) {
        let stored = self.tables.get_mut(&number).and_then(|table| table.get_mut(&version));
        if let Some(byte) = stored.and_then(|stored| stored.row.blob.last_mut()) {
            *byte ^= 1;
        }
    }
}

impl World {
    /// One at a time, and none while a decided rotation may have to read the generation once more.
    pub(crate) fn spoil(&mut self) {
        let is_due = self.spoils > 0.0 && self.apart.random_bool(self.spoils);
        let may_be_read_again = self.units.iter().any(|unit| unit.saved_state().is_in_rotation())
            || self.coordinator.is_rotating();
        if is_due
            && !may_be_read_again
            && !self.backups.is_foreign()
            && self.store.spoilt().is_empty()
            && let Some(version) = self.store.spoil(self.apart.random_range(0..usize::MAX))
        {
            self.touched.store = true;
            self.count_fault("spoilt", Role::Reencryptor);
            self.note("keystore", &format!("the blob of {version} is damaged"));
        }
        let pause = self.apart.random_range(200..2_000);
        self.after(pause, Event::Spoil);
    }

    /// Whether the rotation that units are in re-encrypts this copy: it carries all of it that no unit opens.
    pub(crate) fn can_be_read(&self, copy: &Store) -> bool {
        let taken = self.units.iter().filter_map(|unit| unit.saved_state().rotation.as_ref());
        let is_in_it =
            |it: &&TakenRotation| matches!(it.standing, Standing::Bound | Standing::Promoted);
        let carried: Vec<_> =
            taken.filter(is_in_it).flat_map(|it| it.order.quarantined.iter()).collect();
        copy.spoilt().iter().all(|(_, key)| carried.contains(&key))
    }

    /// A rotation that only goes forward, as a rogue has had a unit promote before its time, waits for a row that
    /// it does not carry. Whether it was put back.
    pub(crate) fn mend_keystore(&mut self) -> bool {
        let open = self.store.row.rotation.as_ref().filter(|_| self.store.row.open.is_some());
        let is_forward = self.units.iter().any(|unit| {
            let taken = unit.saved_state().rotation.as_ref();
            taken.is_some_and(|it| {
                it.standing == Standing::Promoted
                    && open.is_some_and(|open| open.is_of(&it.reference))
            })
        });
        if !is_forward || self.can_be_read(&self.store) {
            return false;
        }
        self.store.mend();
        self.touched.store = true;
        self.note("keystore", "has its damaged row again, out of a copy");
        true
    }

    /// Keys that administrators name in an order, so that it goes on without what no unit opens of them.
    pub(crate) fn keys_to_carry(&self) -> Vec<KeyId> {
        let mut keys: Vec<_> = self.store.spoilt().into_iter().map(|(_, key)| key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}
