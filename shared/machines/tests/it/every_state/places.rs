//! Every state that a unit can be in, and how a unit's saved state is told to be in one. Every part
//! of the product's state is named here, without a rest: a new one does not compile until it stands
//! in the table.

use machines::unit::hold::{Holds, SeenFlipped};
use machines::unit::state::{NewKey, TakenRotation, UnitState};
use protocol::order::OrderRef;
use protocol::report::Standing;
use protocol::{ProcessId, UnixMillis};

/// Declares a list of names once, as an enum and as everything that is in it.
macro_rules! listed {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$each])* $variant),* }
        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),*];
        }
    };
}
pub(super) use listed;

listed!(
    /// How registers, standing and holds stand.
    At {
        /// No manifest.
        Imprint,
        /// A manifest, and no master key yet.
        Enrolled,
        /// An earlier rotation has ended well.
        Settled,
        Bound,
        /// Generated, or installed.
        Uncommitted,
        /// In an order without a hold.
        Committed,
        HoldAfterCommit,
        HoldAfterCommitOver,
        /// In an order without a hold.
        Promoted,
        /// In an order with a hold, and nothing flipped yet.
        PromotedWithHold,
        /// *Flipped* was seen.
        HoldBeforeClear,
        HoldBeforeClearOver,
        /// The end of the hold is saved.
        HoldEndSaved,
        Cleared,
        Aborted,
        JoiningBound,
        JoiningUncommitted,
        JoiningCommitted,
        JoiningPromoted,
        /// Aborted, with no master key.
        JoiningAborted,
        /// Is to get the current master key by an order to recover.
        RecoverBound,
        /// Has got it.
        Recovered,
        /// Is to give it.
        GivingBound,
        /// Has given it.
        Given,
        Removed,
    }
);

listed!(
    /// An order, by what it is to the one that the states are in.
    Which {
        This,
        /// A lower number.
        Lower,
        /// A higher number, from the same master key.
        Higher,
        /// A higher number, from the master key that this one ends with.
        Next,
        /// The same number with another digest.
        OtherDigest,
        /// A higher number, to give this unit the current master key.
        Recover,
    }
);

/// Number of an order in these tests. That of initialisation is 1.
pub const fn number_of(which: Which) -> u64 {
    match which {
        Which::This | Which::OtherDigest => 5,
        Which::Lower => 3,
        Which::Higher => 9,
        Which::Next => 10,
        Which::Recover => 12,
    }
}

/// One state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub at: At,
    /// It has been reminded that it had cleared this order.
    pub is_set_back: bool,
}

impl Place {
    pub const fn at(at: At) -> Self {
        Self { at, is_set_back: false }
    }

    pub const fn set_back(at: At) -> Self {
        Self { at, is_set_back: true }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set_back = if self.is_set_back { ", set back" } else { "" };
        write!(f, "{:?}{set_back}", self.at)
    }
}

/// Which state this is, and the order that it is in. One that is in no list is a failure: the list
/// lacks a state that can be reached.
pub fn place_of(state: &UnitState, who: ProcessId, now: UnixMillis) -> (Place, Option<OrderRef>) {
    let UnitState {
        trust,
        current,
        new,
        retiring,
        // What these do not tell: how much, how often and how late.
        counter: _,
        epoch: _,
        history: _,
        counters: _,
        rotation,
        reminder,
    } = state;
    let order = rotation.as_ref().map(|taken| taken.reference);
    let registers = [current.is_some(), new.is_some(), retiring.is_some()];
    let at = match (trust.newest(), rotation) {
        (None, None) => At::Imprint,
        (Some(_), _) if trust.member(who).is_none() => At::Removed,
        (Some(_), None) => At::Enrolled,
        (Some(_), Some(taken)) => in_rotation(taken, registers, new.as_ref(), (who, now)),
        (None, Some(_)) => panic!("a rotation without a manifest"),
    };
    let expected = match at {
        At::Removed => registers,
        At::Imprint | At::Enrolled | At::JoiningBound | At::JoiningAborted | At::RecoverBound => {
            [false, false, false]
        }
        At::Settled
        | At::Bound
        | At::Aborted
        | At::Cleared
        | At::Recovered
        | At::GivingBound
        | At::Given => [true, false, false],
        At::Uncommitted | At::Committed | At::HoldAfterCommit | At::HoldAfterCommitOver => {
            [true, true, false]
        }
        At::Promoted
        | At::PromotedWithHold
        | At::HoldBeforeClear
        | At::HoldBeforeClearOver
        | At::HoldEndSaved => [true, false, true],
        At::JoiningUncommitted | At::JoiningCommitted => [false, true, false],
        At::JoiningPromoted => [true, false, false],
    };
    assert_eq!(registers, expected, "{at:?}: current, new, retiring that are not Empty");
    (Place { at, is_set_back: reminder.is_some() && at != At::Removed }, order)
}

fn in_rotation(
    taken: &TakenRotation,
    [has_current, _, has_retiring]: [bool; 3],
    new: Option<&NewKey>,
    (who, now): (ProcessId, UnixMillis),
) -> At {
    let TakenRotation { signed_order: _, order, reference, standing, holds, transport } = taken;
    let Holds { promote_not_before, flipped } = holds;
    let is_in_it = matches!(standing, Standing::Bound | Standing::Promoted);
    let recovery = order.purpose.recovery();
    let gives = recovery.is_some_and(|recovery| recovery.source == who);
    let has_transport = is_in_it && !gives;
    assert_eq!(transport.is_some(), has_transport, "the transport key is there until the end");
    if let (Some(_), Standing::Bound | Standing::Promoted | Standing::Cleared) =
        (recovery, standing)
    {
        assert!(promote_not_before.is_none() && flipped.is_none(), "it has no holds");
        return match (gives, standing) {
            (true, Standing::Bound) => At::GivingBound,
            (false, Standing::Bound) => At::RecoverBound,
            (true, _) => At::Given,
            (false, _) => At::Recovered,
        };
    }
    match (standing, has_current) {
        (Standing::Bound, has_current) => {
            let is_committed = new.map(|NewKey { key: _, is_committed }| *is_committed);
            match (is_committed, promote_not_before, has_current) {
                (None, None, true) => At::Bound,
                (None, None, false) => At::JoiningBound,
                (Some(false), None, true) => At::Uncommitted,
                (Some(false), None, false) => At::JoiningUncommitted,
                (Some(true), None, true) => At::Committed,
                (Some(true), None, false) => At::JoiningCommitted,
                (Some(true), Some(until), true) if *until > now => At::HoldAfterCommit,
                (Some(true), Some(_), true) => At::HoldAfterCommitOver,
                (Some(true), Some(_), false) => panic!("no joining order here has holds"),
                (None | Some(false), Some(_), _) => panic!("a hold before its commit"),
            }
        }
        (Standing::Promoted, _) if !has_retiring => At::JoiningPromoted,
        (Standing::Promoted, _) => match (order.hold_before_clear_s, flipped) {
            (0, None) => At::Promoted,
            (0, Some(_)) => panic!("a hold that the order does not have"),
            (_, None) => At::PromotedWithHold,
            (_, Some(SeenFlipped { generations: _, clear_not_before, end_nonce })) => {
                match end_nonce {
                    Some(_) => At::HoldEndSaved,
                    None if *clear_not_before > now => At::HoldBeforeClear,
                    None => At::HoldBeforeClearOver,
                }
            }
        },
        (Standing::Cleared, _) if reference.number.number < number_of(Which::Lower) => At::Settled,
        (Standing::Cleared, _) => At::Cleared,
        (Standing::Aborted, true) => At::Aborted,
        (Standing::Aborted, false) => At::JoiningAborted,
    }
}
