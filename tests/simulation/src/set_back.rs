//! Volumes that are brought back as they were some saves ago, and when a unit that this has happened
//! to is as far again: the world knows, whatever the machines have noticed.

use std::collections::BTreeSet;

use machines::certificate::Reached;
use machines::unit::state::{TakenRotation, UnitState};
use protocol::report::Standing;
use protocol::{Digest, Pattern, ProcessId, UnixMillis};
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
    /// Since then it has been as far again, whatever its counter says.
    has_caught_up: bool,
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
            let has_caught_up = false;
            let new = Before { saved, read, counter, orders, has_caught_up };
            let before = self.before.get_or_insert(new);
            before.counter = before.counter.max(counter);
            before.has_caught_up = false;
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

    /// Whether what was set back is behind still, whatever its counter says; a manifest that it lacks it is handed.
    pub fn is_behind(&self) -> bool {
        self.before.as_ref().is_some_and(|before| {
            let is_as_far = before.has_caught_up || is_as_far(&self.read, &before.read, self.id);
            !is_as_far || knows_of_other_key(&self.read, &before.read)
        })
    }

    /// After a save: it may be as far again.
    pub(crate) fn note_progress(&mut self) {
        let order = self.order();
        let Some(before) = &mut self.before else { return };
        before.orders.extend(order);
        if !is_as_far(&self.read, &before.read, self.id) {
            return;
        }
        before.has_caught_up = true;
        let is_newer = self.read.counter > before.counter
            && self.read.trust.serial() >= before.read.trust.serial();
        if is_newer && self.read.reminder.is_none() {
            self.before = None;
        }
    }

    fn order(&self) -> Option<Digest> {
        self.read.rotation.as_ref().map(|taken| taken.reference.digest)
    }
}

fn is_as_far(now: &UnitState, was: &UnitState, who: ProcessId) -> bool {
    let has_same_current = now.registers().current == was.registers().current;
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
                Standing::Bound => is_later && !is_target && follows(was, taken),
                _ => is_later,
            }
        }
    }
}

/// Whether a unit has drawn a master key, or was given one, and in the same order another one since, and knows.
fn knows_of_other_key(now: &UnitState, was: &UnitState) -> bool {
    let (Some(taken), Some(before)) = (&now.rotation, &was.rotation) else { return false };
    let had = in_rotation(was, before);
    let is_same_order = taken.reference == before.reference;
    now.reminder.is_some() && is_same_order && had.is_some() && in_rotation(now, taken) != had
}

/// Pattern of the master key that a unit has come to in a rotation.
fn in_rotation(state: &UnitState, taken: &TakenRotation) -> Option<Pattern> {
    match taken.standing {
        Standing::Bound => state.registers().new.map(|new| new.pattern),
        Standing::Promoted | Standing::Cleared => state.registers().current,
        Standing::Aborted => None,
    }
}

/// Whether a later order goes from what the unit had, or was about to have.
fn follows(was: &UnitState, later: &TakenRotation) -> bool {
    let had = was.registers();
    let new = had.new.map(|new| new.pattern);
    had.current.is_none() || [had.current, new].contains(&later.order.from)
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
