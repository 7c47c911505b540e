//! Invariant 2: no flip before all units promoted, no clear before the flip was read back, no drop
//! before all cleared.

use protocol::keystore::KeystoreStanding;
use protocol::report::Standing;

use super::{Saved, Violation};
use crate::store::Store;

pub(super) fn check(saved: &[Saved<'_>], store: &Store) -> Result<(), Violation> {
    let fired = |text: String| Err(Violation { checker: "order_of_steps", text });
    let Some(rotation) = &store.row.rotation else { return Ok(()) };
    let counts = |unit: &&Saved<'_>| !unit.node.is_removed && !unit.node.is_set_back();
    for unit in saved.iter().filter(counts) {
        let name = &unit.node.name;
        let Some(taken) = &unit.state.rotation else { continue };
        let is_same = taken.reference.digest == rotation.order_digest;
        let is_later = taken.reference.number > rotation.number;
        let needed = match rotation.standing {
            KeystoreStanding::Switched | KeystoreStanding::Flipped => Some(Standing::Promoted),
            KeystoreStanding::Dropped => Some(Standing::Cleared),
            _ => None,
        };
        if let Some(needed) = needed
            && !is_later
            && !(is_same && taken.standing >= needed)
        {
            let standing = taken.standing;
            let found = rotation.standing.name();
            return fired(format!("keystore {found} while {name} is {standing:?}"));
        }
        if is_same
            && taken.standing == Standing::Cleared
            && rotation.standing < KeystoreStanding::Flipped
        {
            return fired(format!("{name} cleared before the flip was read back"));
        }
    }
    Ok(())
}
