//! The registers of section 3: in a rotation a unit only goes forward, it promotes only when all
//! units have committed, and when the first one clears, every key opens without the old master key.

use std::collections::{BTreeMap, BTreeSet};

use machines::certificate::Reached;
use protocol::{Digest, ProcessId};

use super::{Saved, Violation, every_key_opens};
use crate::set_back;
use crate::store::Store;

/// What has been seen.
#[derive(Default)]
pub(super) struct Memory {
    reached: BTreeMap<(ProcessId, Digest), Reached>,
    cleared: BTreeSet<Digest>,
}

impl Memory {
    /// Without a store whether every key opens is not looked at.
    pub(super) fn check(
        &mut self,
        saved: &[Saved<'_>],
        store: Option<&Store>,
    ) -> Result<(), Violation> {
        let fired = |text: String| Err(Violation { checker: "registers", text });
        for unit in saved {
            let name = unit.node.name.as_str();
            let Some((order, reached)) = reached(unit) else { continue };
            // What a unit that was set back had reached, it had reached.
            let before = self.reached.get(&(unit.node.id, order)).copied();
            let is_set_back = unit.node.is_set_back() || unit.node.forgotten.contains(&order);
            self.reached
                .insert((unit.node.id, order), before.max(Some(reached)).unwrap_or(reached));
            if is_set_back && before >= Some(reached) {
                continue;
            }
            if before.is_some_and(|before| before > reached) {
                let (before, now) = (before.map_or("", Reached::name), reached.name());
                return fired(format!("{name} was {before} and is {now} in the same rotation"));
            }
            if reached >= Reached::Promoted && before < Some(Reached::Promoted) {
                self.all_had_committed(saved, order, name)?;
            }
            if let Some(store) = store.filter(|_| reached == Reached::Cleared)
                && self.cleared.insert(order)
            {
                every_key_opens(saved, store)?;
            }
        }
        Ok(())
    }

    fn all_had_committed(
        &self,
        saved: &[Saved<'_>],
        order: Digest,
        promoted: &str,
    ) -> Result<(), Violation> {
        let is_short = |unit: &&Saved<'_>| {
            let reached = self.reached.get(&(unit.node.id, order));
            !unit.node.is_removed && reached.is_none_or(|reached| *reached < Reached::Committed)
        };
        saved.iter().find(is_short).map_or(Ok(()), |unit| {
            let text = format!("{promoted} promoted before {} had committed", unit.node.name);
            Err(Violation { checker: "registers", text })
        })
    }
}

/// How far a unit has come in the rotation that it took last; none in an order to recover, which has
/// another checker.
fn reached(unit: &Saved<'_>) -> Option<(Digest, Reached)> {
    let taken = unit.state.rotation.as_ref()?;
    if taken.order.purpose.recovery().is_some() {
        return None;
    }
    Some((taken.reference.digest, set_back::reached(unit.state, taken)?))
}
