//! The invariants of DESIGN.md section 8, one a file, looked at after every event that may have changed
//! what is saved. The fourth, that all comes to an end once faults stop, is the world's own.

mod bounded;
mod fencing;
mod holds;
mod no_key_lost;
mod no_secret_told;
mod one_end;
mod one_key_per_order;
mod order_of_steps;
mod quarantine;
mod recovered;
mod registers;

use machines::unit::state::UnitState;
use protocol::{Digest, Epoch, KeyId, UnixMillis};

use crate::store::Store;
use crate::unit::UnitNode;

pub use self::no_key_lost::every_key_opens;

/// Whose saved state may have changed.
#[derive(Clone, Copy, Default)]
pub struct Touched {
    /// A unit's.
    pub units: bool,
    /// The keystore's.
    pub store: bool,
}

impl Touched {
    /// This, too.
    pub const fn add(&mut self, other: Self) {
        self.units |= other.units;
        self.store |= other.store;
    }
}

/// A checker that fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub checker: &'static str,
    /// What it saw.
    pub text: String,
}

/// What a unit has saved.
pub struct Saved<'a> {
    /// The unit's process.
    pub node: &'a UnitNode,
    /// What it has saved.
    pub state: &'a UnitState,
}

/// All checkers and what they remember.
#[derive(Default)]
pub struct Checkers {
    fencing: fencing::Memory,
    holds: holds::Memory,
    no_key_lost: no_key_lost::Memory,
    no_secret_told: no_secret_told::Memory,
    one_key_per_order: one_key_per_order::Memory,
    quarantine: quarantine::Memory,
    recovered: recovered::Memory,
    registers: registers::Memory,
}

impl Checkers {
    /// Takes note that `who`, that had seen `highest`, has changed its state for a message.
    pub fn changed(&mut self, who: &str, highest: Epoch, message: &[u8]) {
        self.fencing.changed(who, highest, message);
    }

    /// The administrators have ended a hold of this order.
    pub fn hold_ended(&mut self, order: Digest) {
        self.holds.ended(order);
    }

    /// A rogue has given this order itself, by the leave that its coordinator has.
    pub fn ordered_by_rogue(&mut self, order: Digest) {
        self.one_key_per_order.ordered_by_rogue(order);
    }

    /// Administrators have signed this order, which carries these keys in quarantine.
    pub fn ordered(&mut self, order: Digest, keys: &[KeyId]) {
        self.quarantine.ordered(order, keys);
    }

    /// Something is published.
    pub fn told(&mut self, units: &[UnitNode], bytes: &[u8]) {
        self.no_secret_told.told(units, bytes);
    }

    /// Looks at what was sent in an event; so many messages wait.
    pub fn after_event(&mut self, waiting: usize) -> Result<(), Violation> {
        bounded::check(waiting)?;
        self.no_secret_told.check()
    }

    /// Looks at all that is saved, if any of it may have changed.
    pub fn after_change(
        &mut self,
        now: UnixMillis,
        units: &[UnitNode],
        store: &Store,
        touched: Touched,
    ) -> Result<(), Violation> {
        if !touched.units && !touched.store {
            return Ok(());
        }
        let saved = saved_by(units);
        self.fencing.check()?;
        self.no_key_lost.check(&saved, store, touched.store)?;
        order_of_steps::check(&saved, store)?;
        self.one_key_per_order.check(&saved)?;
        self.quarantine.check(store)?;
        self.holds.check(now, &saved, store)?;
        self.recovered.check(&saved, store)?;
        self.registers.check(&saved, Some(store))
    }

    /// Looks at what units do while a copy of the keystore from before a cleared rotation stands in the place
    /// of the right one.
    pub fn while_foreign(
        &mut self,
        now: UnixMillis,
        units: &[UnitNode],
        store: &Store,
    ) -> Result<(), Violation> {
        let saved = saved_by(units);
        self.holds.check(now, &saved, store)?;
        self.registers.check(&saved, None)
    }

    /// Looks at everything once all has converged.
    pub fn at_end(&mut self, units: &[UnitNode], store: &Store) -> Result<(), Violation> {
        let saved = saved_by(units);
        one_end::check(&saved, store)?;
        if let Some((version, _)) = store.spoilt().first() {
            let text = format!("{version} does not open, and is not in quarantine");
            return Err(Violation { checker: "quarantine", text });
        }
        every_key_opens(&saved, store)
    }
}

fn saved_by(units: &[UnitNode]) -> Vec<Saved<'_>> {
    units.iter().map(|node| Saved { node, state: node.saved_state() }).collect()
}
