//! Volumes that are brought back as they were some saves ago, and when a unit that this has happened
//! to is as far again: the world knows, whatever the machines have noticed.

use std::collections::BTreeSet;

use machines::certificate::Reached;
use machines::unit::state::{TakenRotation, UnitState};
use protocol::report::Standing;
use protocol::{Digest, ProcessId, UnixMillis};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::unit::UnitNode;

/// What a unit had saved when it was set back.
pub(crate) struct Before {
    saved: Vec<u8>,
    read: UnitState,
    /// The highest counter that it has reached since, and lost again.
    counter: u64,
    /// The orders that it has taken since, which its newest volume knows nothing of.
    orders: BTreeSet<Digest>,
}

impl UnitNode {
    /// Its volume is brought back as it was some saves ago, and the process started from it. Whether
    /// there was an older one.
    pub fn set_back(&mut self, now: UnixMillis, rng: &mut ChaCha8Rng) -> bool {
        let Some(newest) = self.snapshots.len().checked_sub(1) else { return false };
        // Mostly a few saves, now and then far behind an earlier rotation.
        let few = rng.random_range(0..=newest.min(4));
        let by = if rng.random_bool(0.8) { few } else { rng.random_range(0..=newest) };
        let counter = self.read.counter;
        self.forgotten.extend(self.order());
        // Whatever came between is forgotten too.
        for older in self.snapshots.split_off(newest - by).into_iter().rev() {
            let saved = std::mem::replace(&mut self.saved, older);
            let older = self.read_saved();
            let read = std::mem::replace(&mut self.read, older);
            let orders = BTreeSet::new();
            let before = self.before.get_or_insert(Before { saved, read, counter, orders });
            before.counter = before.counter.max(counter);
            self.forgotten.extend(self.order());
        }
        self.set_back_at = now;
        if self.is_up() {
            self.start();
        }
        true
    }

    /// Its newest volume is put back, and the process started.
    pub fn bring_back(&mut self) {
        if let Some(before) = self.before.take() {
            self.forgotten.extend(before.orders);
            (self.saved, self.read) = (before.saved, before.read);
        }
        self.is_gone = false;
        self.start();
    }

    /// Whether what it has saved is behind what it had saved before.
    pub const fn is_set_back(&self) -> bool {
        self.before.is_some()
    }

    /// Whether what was set back is behind still, whatever its counter says.
    pub fn is_behind(&self) -> bool {
        self.before.as_ref().is_some_and(|before| !is_as_far(&self.read, &before.read, self.id))
    }

    /// After a save: it may be as far again.
    pub(crate) fn note_progress(&mut self) {
        let order = self.order();
        if let Some(before) = &mut self.before {
            before.orders.extend(order);
        }
        let is_as_far = |before: &Before| {
            self.read.counter > before.counter
                && self.read.reminder.is_none()
                && is_as_far(&self.read, &before.read, self.id)
        };
        if self.before.as_ref().is_some_and(is_as_far) {
            self.before = None;
        }
    }

    fn order(&self) -> Option<Digest> {
        self.read.rotation.as_ref().map(|taken| taken.reference.digest)
    }
}

fn is_as_far(now: &UnitState, was: &UnitState, who: ProcessId) -> bool {
    let has_same_current = now.registers().current == was.registers().current;
    if now.trust.serial() < was.trust.serial() {
        return false;
    }
    match (&now.rotation, &was.rotation) {
        (_, None) => has_same_current,
        (None, Some(_)) => false,
        (Some(taken), Some(before)) if taken.reference == before.reference => {
            match (before.standing, taken.standing) {
                (Standing::Bound | Standing::Aborted, Standing::Aborted) => has_same_current,
                // It was put back to before its promote, told to abort, and put back once more.
                (Standing::Aborted, Standing::Promoted | Standing::Cleared) => true,
                (Standing::Aborted, _) => false,
                _ => reached(now, taken).is_some_and(|far| Some(far) >= reached(was, before)),
            }
        }
        (Some(taken), Some(before)) => {
            let is_later = taken.reference.number > before.reference.number;
            let recovery = taken.order.purpose.recovery();
            let is_target = recovery.is_some_and(|recovery| recovery.target == who);
            match taken.standing {
                Standing::Aborted => is_later && has_same_current,
                Standing::Bound => is_later && !is_target,
                _ => is_later,
            }
        }
    }
}

/// How far a unit has come in the rotation that it took last; none if it has ended it.
pub(crate) fn reached(state: &UnitState, taken: &TakenRotation) -> Option<Reached> {
    Some(match taken.standing {
        Standing::Aborted => return None,
        Standing::Promoted => Reached::Promoted,
        Standing::Cleared => Reached::Cleared,
        Standing::Bound => match &state.new {
            None => Reached::Bound,
            Some(new) if new.is_committed => Reached::Committed,
            Some(_) => Reached::Installed,
        },
    })
}
