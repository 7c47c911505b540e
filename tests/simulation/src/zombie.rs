//! A coordinator that lost the lease while it stood still, and goes on under its old epoch besides the
//! one that has it now: it sends what it would have sent, and takes messages away from the other.

use machines::conductor::Input;
use protocol::Role;
use rand::RngExt;

use crate::world::{Event, World};

impl World {
    /// The coordinator ends, and another one will start; it may not know that it has ended. One that
    /// still had something to save would have learned of it then.
    pub(crate) fn coordinator_ends(&mut self, is_saved: bool) {
        if is_saved && self.rng.random_bool(self.faults.zombie) {
            self.count_fault("zombie", Role::Coordinator);
            self.note("coordinator", "is a zombie");
            self.coordinator.become_zombie();
            self.after(100, Event::TickZombie);
            return;
        }
        self.note("coordinator", "crashes");
        self.coordinator.crash();
    }

    /// Another process takes the lease, or the same one anew, while the coordinator goes on.
    pub(crate) fn may_lose_lease(&mut self) {
        if self.coordinator.is_up() && self.apart.random_bool(self.faults.lease) {
            self.count_fault("lease", Role::Coordinator);
            self.note("coordinator", "loses its lease");
            self.coordinator.become_zombie();
            self.after(100, Event::TickZombie);
            let pause = self.apart.random_range(1..1_500);
            self.after(pause, Event::StartCoordinator);
        }
        let pause = self.apart.random_range(300..6_000);
        self.after(pause, Event::LoseLease);
    }

    /// The one that starts may be the other one, which has waited for the lease.
    pub(crate) fn may_change_over(&mut self) {
        if self.apart.random_bool(0.5) {
            self.coordinator.change_over();
        }
    }

    pub(crate) fn tick_zombie(&mut self) {
        if self.coordinator.zombie().is_some() {
            self.zombie_acts(Input::Tick);
            if self.rng.random_bool(0.05) {
                self.coordinator.bury_zombie();
            }
            let pause = self.rng.random_range(50..700);
            self.after(pause, Event::TickZombie);
        }
    }

    pub(crate) fn zombie_acts(&mut self, input: Input) {
        let sent = self.coordinator.zombie_acts(self.now, &mut self.rng, input);
        for message in sent {
            self.note("zombie", message.name);
            self.publish(message.to, message.bytes);
        }
    }
}
