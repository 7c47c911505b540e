//! An order to recover fills one Empty register and touches nothing else: its target holds nothing before
//! its end and the master key of the key storage after it, its source holds that one all the while. One that
//! was never bound to it, and remembers that it was aborted, holds what it held before.

use std::collections::{BTreeMap, BTreeSet};

use machines::unit::state::TakenRotation;
use protocol::report::{Registers, Standing};
use protocol::{Digest, Pattern, ProcessId};

use super::{Saved, Violation};
use crate::store::Store;

/// What has been seen.
#[derive(Default)]
pub(super) struct Memory {
    filled: BTreeSet<(ProcessId, Digest)>,
    /// What each unit held in its current register when it was last looked at.
    held: BTreeMap<ProcessId, Option<Pattern>>,
}

impl Memory {
    pub(super) fn check(&mut self, saved: &[Saved<'_>], store: &Store) -> Result<(), Violation> {
        for unit in saved.iter().filter(|unit| !unit.node.is_removed) {
            let Some(taken) = &unit.state.rotation else { continue };
            let registers = unit.state.registers();
            self.look(unit, taken, registers, store).map_err(|what| Violation {
                checker: "recovered",
                text: format!("{} {what}", unit.node.name),
            })?;
            self.held.insert(unit.node.id, registers.current);
        }
        Ok(())
    }

    fn look(
        &mut self,
        unit: &Saved<'_>,
        taken: &TakenRotation,
        registers: Registers,
        store: &Store,
    ) -> Result<(), &'static str> {
        let Some(recovery) = taken.order.purpose.recovery() else { return Ok(()) };
        let (id, named) = (unit.node.id, taken.order.from);
        if registers.new.is_some() || registers.retiring.is_some() {
            return Err("has more than a current master key in an order to recover");
        }
        match taken.standing {
            Standing::Promoted => Err("has promoted in an order to recover"),
            Standing::Bound | Standing::Aborted if id == recovery.target => {
                let is_aborted = taken.standing == Standing::Aborted;
                let is_as_before = is_aborted
                    && (self.held.get(&id) == Some(&registers.current)
                        || unit.node.forgotten.contains(&taken.reference.digest));
                let is_sound = registers.current.is_none() || is_as_before;
                is_sound.then_some(()).ok_or("holds a master key that no order gave it")
            }
            Standing::Bound if registers.current != named => Err("is a source without the key"),
            Standing::Cleared if id == recovery.target => {
                // It may lose it once more.
                if registers.current.is_some_and(|held| Some(held) != named) {
                    return Err("holds another master key than its order names");
                }
                let is_new = self.filled.insert((id, taken.reference.digest));
                let active = store.row.active.as_ref().map(|active| active.pattern);
                let is_right = active == named || unit.node.is_set_back();
                (!is_new || is_right).then_some(()).ok_or("was given an old master key")
            }
            Standing::Bound | Standing::Aborted | Standing::Cleared => Ok(()),
        }
    }
}
