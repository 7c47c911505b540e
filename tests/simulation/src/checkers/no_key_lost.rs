//! Invariant 1: every key version not purged opens at every moment, in the active generation, with
//! a register that every unit that serves holds: one that lost its master key serves nothing until
//! it has joined, one that was set back until it is as far again, one that was removed never.

use crypto::blob::{BlobHeader, WrapKeys, open_blob};
use machines::unit::page::binding;
use protocol::{Pattern, VersionId};

use super::{Saved, Violation};
use crate::store::Store;

fn fired(text: String) -> Violation {
    Violation { checker: "no_key_lost", text }
}

/// What has been seen.
#[derive(Default)]
pub(super) struct Memory {
    /// With which patterns, held by all, the store was found well as it stands.
    well_with: Vec<Pattern>,
}

impl Memory {
    /// Looks at every blob's pattern, unless neither the store nor what all units hold is another.
    pub(super) fn check(
        &mut self,
        saved: &[Saved<'_>],
        store: &Store,
        is_store_touched: bool,
    ) -> Result<(), Violation> {
        let held_by_all = held(saved);
        if is_store_touched || held_by_all != self.well_with {
            look(&held_by_all, store)?;
            self.well_with = held_by_all;
        }
        Ok(())
    }
}

fn look(held_by_all: &[Pattern], store: &Store) -> Result<(), Violation> {
    let Some(active) = &store.row.active else { return Ok(()) };
    let table = store.tables.get(&active.number);
    let is_here = |version: &&VersionId| {
        !store.tombstones.contains(version) && !store.quarantine.kept.contains_key(version)
    };
    for version in store.versions.keys().filter(is_here) {
        let Some(stored) = table.and_then(|table| table.get(version)) else {
            return Err(fired(format!("{version} has no blob in the active generation")));
        };
        let pattern = BlobHeader::parse(&stored.row.blob).map(|header| header.pattern);
        if !pattern.as_ref().is_ok_and(|pattern| held_by_all.contains(pattern)) {
            return Err(fired(format!("{version} is under a pattern that not every unit holds")));
        }
    }
    Ok(())
}

/// Patterns that every unit opens blobs with.
fn held(saved: &[Saved<'_>]) -> Vec<Pattern> {
    let of_unit = |unit: &Saved<'_>| {
        let registers = unit.state.registers();
        let new = registers.new.filter(|new| new.is_committed).map(|new| new.pattern);
        [registers.current, new, registers.retiring]
    };
    let mut serving = saved.iter().filter(|unit| unit.node.counts());
    let mut all: Vec<Pattern> = Vec::new();
    if let Some(first) = serving.next() {
        all.extend(of_unit(first).into_iter().flatten());
    }
    let serving = serving.map(of_unit).collect::<Vec<_>>();
    all.retain(|pattern| serving.iter().all(|held| held.contains(&Some(*pattern))));
    all
}

/// Opens every blob with the keys of every unit, and wants nothing left of what was purged.
pub fn every_key_opens(saved: &[Saved<'_>], store: &Store) -> Result<(), Violation> {
    let Some(active) = &store.row.active else { return Ok(()) };
    for unit in saved.iter().filter(|unit| unit.node.counts()) {
        let Some(current) = &unit.state.current else {
            return Err(fired(format!("{} has no current master key", unit.node.name)));
        };
        let keys = WrapKeys::derive(current);
        for stored in store.tables.get(&active.number).into_iter().flat_map(|table| table.values())
        {
            // A disk has damaged it.
            if store.quarantine.spoilt.contains(&(active.number, stored.row.version)) {
                continue;
            }
            let bound = binding(store.row.instance, stored.row.as_ref());
            if let Err(error) = open_blob(&keys, &bound, &stored.row.blob) {
                let (version, name) = (stored.row.version, &unit.node.name);
                return Err(fired(format!("{version} does not open in {name}: {error}")));
            }
        }
    }
    for (number, table) in &store.tables {
        if let Some(version) = table.keys().find(|version| store.purged.contains(version)) {
            let text = format!("{version} was purged and has a blob in generation {number}");
            return Err(fired(text));
        }
    }
    Ok(())
}
