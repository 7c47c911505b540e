//! Invariant 3: at the end one pattern everywhere, new and retiring Empty, nobody bound, and the
//! keystore under that pattern.

use super::{Saved, Violation};
use crate::store::Store;

pub(super) fn check(saved: &[Saved<'_>], store: &Store) -> Result<(), Violation> {
    let fired = |text: String| Err(Violation { checker: "one_end", text });
    let active = store.row.active.as_ref().map(|active| active.pattern);
    for unit in saved.iter().filter(|unit| !unit.node.is_removed) {
        let name = &unit.node.name;
        let registers = unit.state.registers();
        if registers.current.is_none() || registers.current != active {
            return fired(format!("{name} does not hold the keystore's pattern as current"));
        }
        if registers.new.is_some() || registers.retiring.is_some() {
            return fired(format!("new or retiring of {name} is not Empty"));
        }
        if unit.state.is_in_rotation() {
            return fired(format!("{name} is still bound"));
        }
    }
    if store.row.open.is_some() || !store.row.retired.is_empty() || !store.tombstones.is_empty() {
        return fired("the keystore has generations or tombstones left over".to_owned());
    }
    Ok(())
}
