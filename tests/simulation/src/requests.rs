//! Who asks for what: rotations, their end, the end of a hold, orders by hand, and what administrators do.

use machines::conductor::{Ask, StartAsk};
use protocol::keystore::GateMode;
use protocol::order::Purpose;
use rand::RngExt;

use crate::world::{Event, World};

impl World {
    pub(crate) fn request(&mut self, ask: Ask) {
        if let Some(effects) = self.coordinator.ask(self.now, &mut self.rng, ask) {
            self.coordinate(effects);
        }
    }

    /// Somebody asks for a rotation, and now and then for its end.
    pub(crate) fn requests(&mut self) {
        if self.mend_keystore() || self.administrate() {
            // Nothing else is asked for meanwhile.
        } else if self.coordinator.is_rotating() && self.rng.random_bool(0.1) {
            self.end_hold();
        } else if self.coordinator.needs_standing_order() {
            self.standing_order();
        } else if self.coordinator.is_rotating() && self.apart.random_bool(0.1) {
            // Somebody who does not know that one runs.
            self.draft(Purpose::Rotate, Vec::new());
        } else if self.coordinator.is_rotating() {
            if self.faults.drop > 0.0 && self.rng.random_bool(0.08) {
                self.note("client", "asks to abort");
                let because = "somebody asked".to_owned();
                self.request(Ask::Abort { rotation: None, because });
            }
        } else if let Some(unit) =
            self.units.iter().find(|unit| unit.is_lacking() && !unit.is_removed)
            // What precheck says of units that are bound, and of a keystore that is open: a start takes
            // their rotation up first.
            && self.store.row.open.is_none()
            && !self.units.iter().any(|it| !it.is_removed && it.saved_state().is_in_rotation())
        {
            let target = unit.id;
            self.give_master_key(target);
        } else if !self.keys_to_carry().is_empty() && self.apart.random_bool(0.7) {
            // What the last abort named.
            self.draft(Purpose::Rotate, Vec::new());
        } else {
            let is_online = self.rng.random_bool(0.4);
            let mode = if is_online { GateMode::Online } else { GateMode::Strict };
            self.request(Ask::Start(Box::new(StartAsk::plain(None, mode, "sim"))));
        }
        let pause = self.rng.random_range(300..3_000);
        self.after(pause, Event::Request);
    }
}
