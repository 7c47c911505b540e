//! The broker at its worst: it changes messages and hands them to others, cuts a process off while that
//! publishes, and keeps what comes for a coordinator that does not run. Nobody may take what was changed.

use protocol::ProcessId;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use crate::checkers::Violation;
use crate::reencryptor::Handled;
use crate::world::{Event, World};

/// Most messages that are kept for coordinators that do not run.
const PARKED: usize = 32;

impl World {
    /// Whether the broker changes a message, or hands it to somebody else; it may go to whom it is for as well.
    pub(crate) fn is_altered(&mut self, to: ProcessId, bytes: &[u8]) -> bool {
        if !self.apart.random_bool(self.faults.alter) {
            return false;
        }
        let role = self.role_of(to);
        self.count_fault("altered", role);
        let delay = self.delay();
        if self.apart.random_bool(0.25) {
            let others: Vec<_> = self.everybody().filter(|id| *id != to).collect();
            let other = others[self.apart.random_range(0..others.len())];
            self.after(delay, Event::Deliver(other, bytes.to_vec()));
        } else {
            let altered = altered(&mut self.apart, bytes);
            self.after(delay, Event::Altered(to, altered));
        }
        self.apart.random_bool(0.5)
    }

    fn everybody(&self) -> impl Iterator<Item = ProcessId> {
        let units = self.units.iter().map(|unit| unit.id);
        units.chain([self.reencryptor.id, self.coordinator.id])
    }

    /// Hands over what the broker has changed: nothing may come of it.
    pub(crate) fn deliver_altered(
        &mut self,
        to: ProcessId,
        bytes: Vec<u8>,
    ) -> Result<(), Violation> {
        let now = self.now;
        let is_taken = if to == self.coordinator.id {
            match self.coordinator.message(now, &mut self.rng, bytes) {
                Some(effects) => {
                    let is_taken = effects.dead.is_none();
                    self.coordinate(effects);
                    is_taken
                }
                None => false,
            }
        } else if to == self.reencryptor.id {
            let before = self.store.row.clone();
            let handled = self.reencryptor.handle(now, &mut self.rng, &mut self.store, &bytes);
            !matches!(&handled, Handled::Sent(messages, _) if messages.is_empty())
                || before != self.store.row
        } else if let Some(unit) = self.units.iter_mut().find(|unit| unit.id == to) {
            let handled = unit.handle(now, &mut self.rng, &bytes);
            handled.is_changed || !handled.messages.is_empty()
        } else {
            false
        };
        match is_taken {
            true => {
                let text = format!("{to} has taken a message that the broker had changed");
                Err(Violation { checker: "altered", text })
            }
            false => Ok(()),
        }
    }

    /// Whether the connection of whoever handles this breaks meanwhile: it gets the message again.
    pub(crate) fn may_cut_off(&mut self, to: ProcessId, bytes: &[u8]) {
        self.is_cut_off = self.apart.random_bool(self.faults.cut_off);
        if self.is_cut_off {
            let role = self.role_of(to);
            self.count_fault("cut-off", role);
            let delay = self.delay();
            self.after(delay, Event::Deliver(to, bytes.to_vec()));
        }
    }

    /// Whether what is published now never reaches the broker.
    pub(crate) fn is_lost_in_cut(&mut self) -> bool {
        self.is_cut_off && self.apart.random_bool(0.5)
    }

    /// What comes for a coordinator that does not run waits in its queue.
    pub(crate) fn park(&mut self, to: ProcessId, bytes: Vec<u8>) {
        if self.coordinator.is_either(to) && self.parked.len() < PARKED {
            self.parked.push((to, bytes));
        }
    }

    /// A coordinator that starts finds what has waited.
    pub(crate) fn unpark(&mut self) {
        let id = self.coordinator.id;
        let own: Vec<_> = self.parked.extract_if(.., |(to, _)| *to == id).collect();
        for (to, bytes) in own {
            let delay = self.apart.random_range(1..200);
            self.after(delay, Event::Deliver(to, bytes));
        }
    }
}

/// The message with some bits, or its end, changed.
fn altered(rng: &mut ChaCha8Rng, bytes: &[u8]) -> Vec<u8> {
    let mut altered = bytes.to_vec();
    match rng.random_range(0..4) {
        0 => altered.truncate(rng.random_range(0..bytes.len())),
        1 => {
            let mut more = vec![0; rng.random_range(1..40)];
            rng.fill_bytes(&mut more);
            altered.extend(more);
        }
        _ => {
            let at = rng.random_range(0..altered.len());
            altered[at] ^= 1 << rng.random_range(0..8);
        }
    }
    altered
}
