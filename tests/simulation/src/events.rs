//! What happens: one event after the other, each with its faults, its line in the trace, and the
//! checkers after it.

use machines::conductor::Input;
use machines::unit::Message;
use protocol::{ProcessId, Role, UnixMillis};
use rand::RngExt;

use crate::checkers::{Touched, Violation};
use crate::clients;
use crate::reencryptor::Handled;
use crate::rogue::Sent;
use crate::world::{Event, World};

/// How long a reencryptor that waits for a lock sleeps before it looks again.
const LOCK_RETRY_MS: u64 = 15;

impl World {
    pub(crate) fn after(&mut self, ms: u64, event: Event) {
        self.at(self.now.plus_ms(ms), event);
    }

    pub(crate) fn at(&mut self, when: UnixMillis, event: Event) {
        self.next_event += 1;
        self.queue.insert((when.max(self.now), self.next_event), event);
    }

    pub(crate) fn note(&mut self, who: &str, what: &str) {
        if self.config.keep_trace {
            let line = format!("{:>7} {who:<12} {what}", self.now.0 - crate::world::EPOCH_MS);
            self.outcome.trace.push(line);
        }
    }

    /// The next event, and the checkers.
    pub(crate) fn step(&mut self) -> Result<(), Violation> {
        let Some(((when, _), event)) = self.queue.pop_first() else {
            let text = "nothing is left to happen".to_owned();
            return Err(Violation { checker: "converges", text });
        };
        self.now = when;
        self.outcome.events += 1;
        self.touched.add(may_touch(&event));
        match event {
            Event::Blocked(to, bytes) if self.reencryptor.is_up && self.store.must_wait() => {
                self.after(LOCK_RETRY_MS, Event::Blocked(to, bytes));
            }
            Event::Deliver(to, bytes) | Event::Blocked(to, bytes) => {
                self.may_cut_off(to, &bytes);
                self.deliver(to, bytes);
                self.is_cut_off = false;
            }
            Event::Altered(to, bytes) => self.deliver_altered(to, bytes)?,
            Event::LoseLease => self.may_lose_lease(),
            Event::LateWrite(written) => {
                self.note("reencryptor", "page written late");
                let (done, kept) = *written;
                self.store.write_chunk(&done, kept);
            }
            Event::StartUnit(index) => self.start_unit(index),
            Event::StartReencryptor => {
                self.reencryptor_may_lose_identity();
                self.reencryptor.is_up = true;
                self.note("reencryptor", "starts");
            }
            Event::StartCoordinator if self.coordinator.is_up() => {}
            Event::StartCoordinator => {
                self.may_change_over();
                if self.rng.random_bool(self.faults.forget) {
                    self.count_fault("forget", Role::Coordinator);
                    self.has_forgotten = true;
                    let what = self.coordinator.forget(&mut self.rng);
                    self.note("coordinator", what);
                }
                self.may_lose_identity();
                self.note("coordinator", "starts");
                let effects = self.coordinator.start(self.now, &mut self.rng);
                self.unpark();
                self.coordinate(effects);
            }
            Event::TickCoordinator => {
                self.next_tick = None;
                if let Some(effects) = self.coordinator.tick(self.now, &mut self.rng) {
                    self.coordinate(effects);
                }
            }
            Event::Client(index) => self.client(index),
            Event::Purge => {
                if !self.backups.is_foreign()
                    && let Some(version) = clients::purge(&mut self.rng, &mut self.store)
                {
                    self.note("client", &format!("purged {version}"));
                }
                let pause = self.rng.random_range(100..1_500);
                self.after(pause, Event::Purge);
            }
            Event::ReadBack => self.read_back(),
            Event::Rogue => self.rogue_acts(),
            Event::Seize => {
                let sent = self.rogue.seize(self.now, &mut self.rng);
                self.rogue_sends(sent);
            }
            Event::Request => self.requests(),
            Event::Replace => self.replace(),
            Event::Spoil => self.spoil(),
            Event::TickZombie => self.tick_zombie(),
            Event::BackUp => self.back_up(),
            Event::Restore => self.restore(),
        }
        self.sign_draft();
        if let Some(rule) = self.coordinator.record_fault.take() {
            let text = format!("a record cannot be saved: {rule}");
            return Err(Violation { checker: "records", text });
        }
        if let Some(text) = self.receipt_fault() {
            return Err(Violation { checker: "receipts", text });
        }
        if self.backups.is_foreign() {
            self.checkers.while_foreign(self.now, &self.units, &self.store)?;
            return self.check_foreign();
        }
        self.checkers.after_event(self.queue.len())?;
        let touched = std::mem::take(&mut self.touched);
        self.checkers.after_change(self.now, &self.units, &self.store, touched)
    }

    /// Puts a message on the bus, which drops, doubles, delays and so reorders.
    pub(crate) fn publish(&mut self, to: ProcessId, bytes: Vec<u8>) {
        self.checkers.told(&self.units, &bytes);
        if self.has_rogue {
            self.rogue.see(to, &bytes);
            if self.faults.rogue && self.rogue.is_tempted() {
                let pause = self.rng.random_range(1..15);
                self.after(pause, Event::Seize);
            }
        }
        if self.is_lost_in_cut() || self.is_altered(to, &bytes) {
            return;
        }
        let role = self.role_of(to);
        if self.rng.random_bool(self.faults.drop) {
            self.count_fault("drop", role);
            return;
        }
        if self.rng.random_bool(self.faults.double) {
            self.count_fault("double", role);
            let delay = self.delay();
            self.after(delay, Event::Deliver(to, bytes.clone()));
        }
        let delay = self.delay();
        self.after(delay, Event::Deliver(to, bytes));
    }

    pub(crate) fn delay(&mut self) -> u64 {
        if self.rng.random_bool(self.faults.slow) {
            self.rng.random_range(1..3_000)
        } else {
            self.rng.random_range(1..40)
        }
    }

    fn publish_all(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.publish(message.to, message.bytes);
        }
    }

    fn deliver(&mut self, to: ProcessId, bytes: Vec<u8>) {
        if to == self.coordinator.id {
            // Both consume from the queue.
            if self.coordinator.zombie() == Some(to) && self.rng.random_bool(0.4) {
                self.zombie_acts(Input::Message(bytes));
                return;
            }
            if !self.coordinator.is_up() {
                return self.park(to, bytes);
            }
            let effects = self.coordinator.message(self.now, &mut self.rng, bytes);
            if let Some(effects) = effects {
                self.coordinate(effects);
            }
        } else if self.coordinator.zombie() == Some(to) {
            self.zombie_acts(Input::Message(bytes));
        } else if to == self.reencryptor.id {
            self.deliver_reencryptor(to, bytes);
        } else if let Some(index) = self.units.iter().position(|unit| unit.id == to) {
            self.deliver_unit(index, &bytes);
        } else {
            self.park(to, bytes);
        }
    }

    fn deliver_unit(&mut self, index: usize, bytes: &[u8]) {
        let highest = self.units[index].saved_state().epoch;
        self.units[index].wrong_page = self.faults.wrong_page;
        // One of them at most: what two do together no third can know.
        self.units[index].lies = if index == 0 { self.faults.lie } else { 0.0 };
        let handled = self.units[index].handle(self.now, &mut self.rng, bytes);
        let name = self.units[index].name.clone();
        if let Some(fault) = handled.wrong {
            self.count_fault(fault, self.units[index].role);
        }
        if handled.is_changed {
            self.touched.units = true;
            self.checkers.changed(&name, highest, bytes);
        }
        self.note(&name, &handled.note);
        if !self.config.rules.save_first {
            self.publish_all(handled.messages.clone());
        }
        let crash = self.in_worst_phase(self.faults.crash, 0.3);
        if self.units[index].is_up() && self.rng.random_bool(crash) {
            // Before the save, in the middle of it (the temporary file is torn, the old one
            // stands), or after it but before anything was published.
            if handled.is_changed && self.rng.random_bool(0.5) {
                self.units[index].save();
            }
            self.crash_unit(index);
            return;
        }
        if handled.is_changed {
            self.units[index].save();
        }
        if self.config.rules.save_first {
            self.publish_all(handled.messages);
        }
    }

    fn deliver_reencryptor(&mut self, to: ProcessId, bytes: Vec<u8>) {
        self.touched.store = true;
        let before = self.store.row.clone();
        self.reencryptor.lost_commit = self.faults.lost_commit;
        self.reencryptor.aborted_commit = self.faults.aborted_commit;
        self.reencryptor.late_write = self.faults.late_write;
        self.reencryptor.has_second_looks = self.has_liar && self.config.rules.second_look;
        let handled = self.reencryptor.handle(self.now, &mut self.rng, &mut self.store, &bytes);
        self.note_database_faults();
        if let Some(done) = self.reencryptor.late.take() {
            let pause = self.apart.random_range(1..8_000);
            self.after(pause, Event::LateWrite(Box::new(done)));
        }
        if self.store.row != before {
            self.checkers.changed("the keystore", before.epoch, &bytes);
        }
        self.after_reencryptor(handled, Event::Blocked(to, bytes));
    }

    fn read_back(&mut self) {
        let handled = self.reencryptor.read_back(self.now, &mut self.rng, &mut self.store);
        self.note_database_faults();
        self.after_reencryptor(handled, Event::ReadBack);
    }

    /// What the database has done stands; what was to be said or done next may be lost in a crash.
    fn after_reencryptor(&mut self, handled: Handled, again: Event) {
        let is_crash = self.reencryptor.is_up
            && !matches!(handled, Handled::Waits)
            && self.rng.random_bool(self.in_worst_phase(self.faults.crash, 0.3));
        match handled {
            Handled::Waits => self.after(LOCK_RETRY_MS, again),
            Handled::Flipped => {
                self.note("reencryptor", "flip");
                let pause = self.delay();
                self.after(pause, Event::ReadBack);
            }
            Handled::Sent(messages, note) => {
                self.note("reencryptor", &note);
                if !is_crash {
                    self.publish_all(messages);
                }
            }
        }
        if is_crash {
            self.count_fault("crash", Role::Reencryptor);
            self.reencryptor.crash();
            self.note("reencryptor", "crashes");
            let pause = self.rng.random_range(50..4_000);
            self.after(pause, Event::StartReencryptor);
        }
    }

    pub(crate) fn role_of(&self, who: ProcessId) -> Role {
        let unit = self.units.iter().find(|unit| unit.id == who);
        match unit {
            Some(unit) => unit.role,
            None if who == self.reencryptor.id => Role::Reencryptor,
            None => Role::Coordinator,
        }
    }

    fn client(&mut self, index: usize) {
        let writer = &mut self.writers[index];
        let (what, pause) = writer.act(&mut self.rng, self.instance, &self.units, &mut self.store);
        self.note(&format!("writer-{index}"), what);
        self.after(pause, Event::Client(index));
    }

    fn rogue_acts(&mut self) {
        if self.faults.rogue && self.rng.random_bool(self.rogue_orders) {
            if let Some((order, sent)) = self.rogue.order(self.now, &mut self.rng) {
                self.checkers.ordered_by_rogue(order.digest);
                self.rogue_sends(Some(sent));
            }
        } else if self.faults.rogue {
            let sent = self.rogue.act(self.now, &mut self.rng);
            self.rogue_sends(sent);
        }
        let pause = self.rng.random_range(20..800);
        self.after(pause, Event::Rogue);
    }

    fn rogue_sends(&mut self, sent: Option<Sent>) {
        if let Some((to, what, bytes)) = sent {
            self.note("rogue", &format!("sends {what}"));
            let role = self.role_of(to);
            self.count_fault("rogue", role);
            let delay = self.delay();
            self.after(delay, Event::Deliver(to, bytes));
        }
    }
}

/// What handling this may change of what is saved. What is delivered is looked at by whom it reaches; the
/// coordinator and the rogue only send.
const fn may_touch(event: &Event) -> Touched {
    match event {
        Event::Deliver(..)
        | Event::Blocked(..)
        | Event::Altered(..)
        | Event::TickCoordinator
        | Event::LoseLease
        | Event::TickZombie
        | Event::Rogue
        | Event::Seize => Touched { units: false, store: false },
        Event::Client(_) | Event::Purge | Event::ReadBack | Event::LateWrite(_) => {
            Touched { units: false, store: true }
        }
        _ => Touched { units: true, store: true },
    }
}
