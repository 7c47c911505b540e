//! One state of the world: what everybody has saved, and what the rogue has seen.

use std::collections::BTreeSet;

use crate::stores::StoreAsk;
use crate::units::{Ask, Id};

/// A state. Everything in it is named by its content.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Every unit.
    pub units: Vec<UnitNow>,
    /// The keystore.
    pub store: Id,
    /// What the rogue has seen.
    pub seen: Seen,
    /// Crashes between a save and its answer so far.
    pub crashes: u8,
    /// How often a unit was set back so far.
    pub set_backs: u8,
}

/// One unit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnitNow {
    /// What it has saved.
    pub saved: Id,
    /// What it had saved before, as long as it can still be set back.
    pub earlier: Vec<Id>,
    /// How often it was set back.
    pub lives: u8,
    /// It was set back, and has not come as far again.
    pub set_back: Option<SetBack>,
}

/// How a unit that was set back stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SetBack {
    /// The highest counter that it had saved.
    pub from: u64,
    /// It has been shown its report with that counter since.
    pub was_reminded: bool,
}

/// What the rogue has seen; it forgets nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Reports of each unit, by the state that they show.
    pub reports: Vec<BTreeSet<Id>>,
    /// Reports of the keystore.
    pub stores: BTreeSet<Id>,
    /// Sealed copies of keys.
    pub copies: BTreeSet<Id>,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// The rogue sends something to a unit, which saves and answers.
    Send(usize, Ask),
    /// The same, and the unit crashes between its save and its answer.
    Crash(usize, Ask),
    /// The rogue sends something to the keystore.
    Store(StoreAsk),
    /// The unit's volume is brought back as it was.
    SetBack(usize, Id),
}
