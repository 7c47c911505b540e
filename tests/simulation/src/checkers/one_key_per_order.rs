//! Invariant 6: at most one pattern is ever drawn per order; no unit both aborted and promoted a
//! rotation; what was aborted stays aborted; rotations never overlap, but where a rogue has the
//! administrators' leave to order them, as each unit takes an order by itself.

use std::collections::{BTreeMap, BTreeSet};

use protocol::report::Standing;
use protocol::{Digest, Pattern, ProcessId};

use super::{Saved, Violation};

/// What has been seen.
#[derive(Default)]
pub(super) struct Memory {
    patterns: BTreeMap<Digest, BTreeSet<Pattern>>,
    aborted: BTreeSet<(ProcessId, Digest)>,
    promoted: BTreeSet<(ProcessId, Digest)>,
    of_rogue: BTreeSet<Digest>,
}

impl Memory {
    pub(super) fn ordered_by_rogue(&mut self, order: Digest) {
        self.of_rogue.insert(order);
    }

    pub(super) fn check(&mut self, saved: &[Saved<'_>]) -> Result<(), Violation> {
        let fired = |text: String| Err(Violation { checker: "one_key_per_order", text });
        let mut bound: Option<(Digest, &str)> = None;
        for unit in saved {
            let name = unit.node.name.as_str();
            let Some(taken) = &unit.state.rotation else { continue };
            let order = taken.reference.digest;
            let registers = unit.state.registers();
            let shown = match taken.standing {
                Standing::Bound => registers.new.map(|new| new.pattern),
                Standing::Promoted | Standing::Cleared => registers.current,
                Standing::Aborted => None,
            };
            let drawn = self.patterns.entry(order).or_default();
            // A unit that was set back may have forgotten a key that it drew before anybody heard.
            let is_forgotten = || saved.iter().any(|other| other.node.forgotten.contains(&order));
            drawn.extend(shown);
            if drawn.len() > 1 && !is_forgotten() {
                return fired(format!("two master keys were drawn for one order, seen at {name}"));
            }
            let who = (unit.node.id, order);
            if unit.node.forgotten.contains(&order) {
                continue;
            }
            match taken.standing {
                Standing::Aborted => _ = self.aborted.insert(who),
                Standing::Promoted | Standing::Cleared => _ = self.promoted.insert(who),
                Standing::Bound if self.aborted.contains(&who) => {
                    return fired(format!("{name} forgot that it had aborted"));
                }
                Standing::Bound => {}
            }
            if self.aborted.contains(&who) && self.promoted.contains(&who) {
                return fired(format!("{name} both aborted and promoted a rotation"));
            }
            // An order to recover is no rotation: whatever it runs beside, it fills an empty register only.
            let is_rotation = taken.order.purpose.recovery().is_none();
            if is_rotation
                && unit.state.is_in_rotation()
                && !unit.node.is_set_back()
                && !unit.node.is_removed
            {
                match bound {
                    Some((other, _)) if other != order && self.may_overlap(other, order) => {}
                    Some((other, who)) if other != order => {
                        return fired(format!("{who} and {name} are in different rotations"));
                    }
                    _ => bound = Some((order, name)),
                }
            }
        }
        Ok(())
    }

    fn may_overlap(&self, one: Digest, other: Digest) -> bool {
        self.of_rogue.contains(&one) || self.of_rogue.contains(&other)
    }
}
