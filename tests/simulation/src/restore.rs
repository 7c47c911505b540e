//! Copies of the keystore's database that are brought back. While a rotation builds a generation, or has not
//! read its flip back, a standby that lagged may take the place of the server: what was done last is undone,
//! and is done again. During the hold before clear that loses no
//! key: it is re-encrypted and flipped again, and the hold starts anew. A copy from before a rotation
//! that has been cleared is under a master key that nobody holds any more: precheck names it, and
//! nothing is written to it until the right one is back.

use std::collections::VecDeque;

use machines::conductor::Answer;
use protocol::keystore::KeystoreStanding;
use protocol::report::Standing;
use protocol::{GenerationId, Role};
use rand::RngExt;

use crate::checkers::Violation;
use crate::clients::Writer;
use crate::store::Store;
use crate::unit::UnitNode;
use crate::world::{Event, World};

/// Most copies that are kept.
const COPIES: usize = 8;

/// Copies of the database, oldest first.
#[derive(Default)]
pub(crate) struct Backups {
    copies: VecDeque<Store>,
    /// The right one, while a foreign one stands in its place.
    right: Option<Box<Store>>,
    /// What the foreign one held when it was brought back.
    foreign: Option<Box<Store>>,
}

impl Backups {
    pub(crate) const fn is_foreign(&self) -> bool {
        self.right.is_some()
    }
}

impl World {
    pub(crate) fn back_up(&mut self) {
        if self.faults.restore && !self.backups.is_foreign() {
            self.backups.copies.push_back(self.store.clone());
            if self.backups.copies.len() > COPIES {
                self.backups.copies.pop_front();
            }
        }
        let pause = self.rng.random_range(300..4_000);
        self.after(pause, Event::BackUp);
    }

    pub(crate) fn restore(&mut self) {
        if self.backups.is_foreign() {
            // Now and then only after somebody has asked for a rotation.
            if self.apart.random_bool(0.4) {
                self.bring_back_keystore();
            }
        } else if self.faults.restore && self.is_holding_before_clear() {
            self.restore_in_hold();
        } else if self.faults.restore && self.apart.random_bool(0.3) && self.roll_back() {
            // One thing at a time.
        } else if self.faults.restore && self.is_quiet() {
            self.restore_foreign();
        }
        let pause = self.rng.random_range(200..2_500);
        self.after(pause, Event::Restore);
    }

    /// A standby that lags behind takes over: never behind a flip that was read back. Whether one did.
    fn roll_back(&mut self) -> bool {
        let standing = self.store.row.rotation.as_ref().map(|rotation| rotation.standing);
        let is_under_way = standing.is_some_and(|it| it < KeystoreStanding::Flipped);
        let proved = last_read_back(&self.store);
        // A copy that was restored since may say less of that: whoever counts holds what it is under.
        let is_held = |copy: &Store| {
            let mut counting = self.units.iter().filter(|unit| unit.counts());
            copy.row.active.as_ref().is_some_and(|active| {
                counting.all(|unit| unit.saved_state().registers().hold(active.pattern))
            })
        };
        let is_behind = |copy: &Store| {
            last_read_back(copy) == proved && is_held(copy) && self.can_be_read(copy)
        };
        let eligible: Vec<_> = (0..self.backups.copies.len())
            .filter(|index| is_behind(&self.backups.copies[*index]))
            .collect();
        if !is_under_way || eligible.is_empty() {
            return false;
        }
        let index = eligible[self.apart.random_range(0..eligible.len())];
        // What came after it has never been.
        self.backups.copies.truncate(index + 1);
        let copy = self.backups.copies[index].clone();
        self.note("keystore", "is taken over by a standby that lagged");
        self.count_fault("rolled-back", Role::Reencryptor);
        self.outcome.rolled_back += 1;
        if self.apart.random_bool(0.5) {
            self.put_in_place(copy);
        } else {
            self.replace_store(copy);
        }
        true
    }

    /// Every unit has promoted, none has seen the end of its hold, and the keystore has flipped in the same
    /// rotation: no older copy stands in its place already.
    fn is_holding_before_clear(&self) -> bool {
        let flipped =
            self.store.row.rotation.as_ref().filter(|it| it.standing == KeystoreStanding::Flipped);
        let Some(flipped) = flipped.map(|it| it.rotation) else { return false };
        let is_holding = |unit: &UnitNode| {
            let state = unit.saved_state();
            state.rotation.as_ref().is_some_and(|taken| {
                let seen = taken.holds.flipped.as_ref();
                taken.standing == Standing::Promoted
                    && taken.reference.rotation == flipped
                    && taken.order.hold_before_clear_s > 0
                    && seen.is_none_or(|seen| seen.end_nonce.is_none())
            })
        };
        let mut members = self.units.iter().filter(|unit| !unit.is_removed);
        members.all(|unit| unit.counts() && is_holding(unit))
    }

    fn is_quiet(&self) -> bool {
        let is_at_rest = |unit: &UnitNode| {
            unit.is_removed || (unit.counts() && !unit.saved_state().is_in_rotation())
        };
        let is_done = self.store.row.open.is_none() && self.store.row.retired.is_empty();
        is_done && !self.coordinator.is_rotating() && self.units.iter().all(is_at_rest)
    }

    /// The newest copy under the old master key, which is still kept.
    fn restore_in_hold(&mut self) {
        let from = self.store.row.rotation.as_ref().and_then(|rotation| rotation.from);
        let is_under = |copy: &&Store| {
            let active = copy.row.active.as_ref().map(|it| it.pattern);
            active == from && self.can_be_read(copy)
        };
        let Some(copy) = self.backups.copies.iter().rfind(is_under).cloned() else { return };
        if from.is_none() {
            return;
        }
        self.note("keystore", "is restored from before the flip");
        self.count_fault("restored", Role::Reencryptor);
        self.outcome.restored += 1;
        self.put_in_place(copy);
    }

    /// A copy under a master key that no unit holds.
    fn restore_foreign(&mut self) {
        let is_foreign = |copy: &&Store| {
            let Some(active) = &copy.row.active else { return false };
            let holds = |unit: &UnitNode| unit.saved_state().registers().hold(active.pattern);
            // With a generation for today's master key in it, it could still be flipped.
            copy.row.open.is_none() && !self.units.iter().any(holds)
        };
        let Some(copy) = self.backups.copies.iter().rfind(is_foreign).cloned() else { return };
        self.note("keystore", "is restored from before a cleared rotation");
        self.count_fault("restored", Role::Reencryptor);
        self.backups.foreign = Some(Box::new(copy.clone()));
        let right = self.put_in_place(copy);
        self.backups.right = Some(Box::new(right));
    }

    /// The right copy is found.
    pub(crate) fn bring_back_keystore(&mut self) {
        if let Some(right) = self.backups.right.take() {
            self.note("keystore", "is brought back as it was last");
            self.backups.foreign = None;
            self.put_in_place(*right);
        }
    }

    /// The reencryptor does not live through it.
    fn put_in_place(&mut self, copy: Store) -> Store {
        let former = self.replace_store(copy);
        self.reencryptor.crash();
        let pause = self.rng.random_range(20..1_000);
        self.after(pause, Event::StartReencryptor);
        former
    }

    /// Whoever wrote to the database does not any more.
    fn replace_store(&mut self, mut copy: Store) -> Store {
        self.touched.store = true;
        copy.shared_locks = 0;
        copy.damage_in = None;
        let count = self.writers.len();
        self.writers = (0..count).map(|index| Writer::new(index == 3)).collect();
        std::mem::replace(&mut self.store, copy)
    }

    /// What a coordinator answers while a foreign copy stands in the place of the right one.
    pub(crate) fn note_foreign(&mut self, answer: &Answer) {
        if let (true, Answer::Unmet(findings)) = (self.backups.is_foreign(), answer) {
            let is_named = findings.unmet.iter().any(|unmet| unmet.code == "keystore-differs");
            self.outcome.foreign_named += u32::from(is_named);
        }
    }

    /// Nothing is written to a foreign copy.
    pub(crate) fn check_foreign(&self) -> Result<(), Violation> {
        let Some(foreign) = &self.backups.foreign else { return Ok(()) };
        match self.store.is_unwritten(foreign) {
            true => Ok(()),
            false => {
                let text =
                    "something was written to a keystore that no unit has the key of".to_owned();
                Err(Violation { checker: "restored", text })
            }
        }
    }
}

/// The generation that was read back last.
fn last_read_back(store: &Store) -> Option<GenerationId> {
    let row = &store.row;
    let standing = row.rotation.as_ref().map(|rotation| rotation.standing);
    match standing {
        Some(KeystoreStanding::Switched) => row.retired.last().map(|retired| retired.id),
        _ => row.active.as_ref().map(|active| active.id),
    }
}
