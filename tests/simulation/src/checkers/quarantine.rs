//! What a generation goes without: only rows that no unit opens, as they are, by an order of a quorum that
//! names their keys. That none is dropped is for `no_key_lost`.

use std::collections::BTreeMap;

use protocol::{Digest, KeyId};

use super::Violation;
use crate::store::Store;

/// Orders that name keys.
#[derive(Default)]
pub(super) struct Memory {
    named: BTreeMap<Digest, Vec<KeyId>>,
}

impl Memory {
    pub(super) fn ordered(&mut self, order: Digest, keys: &[KeyId]) {
        self.named.insert(order, keys.to_vec());
    }

    pub(super) fn check(&self, store: &Store) -> Result<(), Violation> {
        let fired = |text: String| Err(Violation { checker: "quarantine", text });
        let quarantine = &store.quarantine;
        for (version, kept) in &quarantine.kept {
            let is_named =
                self.named.get(&kept.order).is_some_and(|keys| keys.contains(&kept.row.key));
            if !is_named {
                return fired(format!("{version} is in quarantine, and no order names its key"));
            }
            if !quarantine.spoilt.iter().any(|(_, spoilt)| spoilt == version) {
                return fired(format!("{version} is in quarantine, and opens"));
            }
            let tables = store.tables.iter().filter(|(number, _)| **number < kept.generation);
            let before = tables.filter_map(|(_, table)| table.get(version));
            if before.into_iter().any(|stored| stored.row.blob != kept.row.blob) {
                return fired(format!("{version} is not kept as it was"));
            }
        }
        Ok(())
    }
}
