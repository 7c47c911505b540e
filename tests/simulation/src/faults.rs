//! What goes wrong: how likely each kind of fault is in a seed, and the faults of units. Which kinds a
//! seed has at all is drawn too, so that seeds differ in kind and not only in degree.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::fault_table::NO_PHASE;
use crate::world::{Event, World};

/// Likelihood of each fault.
pub(crate) struct Faults {
    pub(crate) drop: f64,
    pub(crate) double: f64,
    pub(crate) crash: f64,
    pub(crate) slow: f64,
    pub(crate) rogue: bool,
    /// A coordinator that starts finds its record gone, or an old one.
    pub(crate) forget: f64,
    /// Units are replaced: their master key is gone.
    pub(crate) replace: bool,
    /// A unit that crashes comes back with an older state.
    pub(crate) set_back: f64,
    /// A unit that crashes never comes back.
    pub(crate) gone: f64,
}

impl Faults {
    pub(crate) const NONE: Self = Self {
        drop: 0.0,
        double: 0.0,
        crash: 0.0,
        slow: 0.0,
        rogue: false,
        forget: 0.0,
        replace: false,
        set_back: 0.0,
        gone: 0.0,
    };

    /// Messages are lost in every seed, the rest is there or not.
    pub(crate) fn drawn(rng: &mut ChaCha8Rng) -> Self {
        let mut of = |presence: f64, most: f64| {
            if rng.random_bool(presence) { rng.random_range(0.0..most) } else { 0.0 }
        };
        Self {
            drop: of(1.0, 0.12),
            double: of(0.8, 0.15),
            crash: of(0.9, 0.05),
            slow: of(0.8, 0.2),
            rogue: of(0.5, 1.0) > 0.0,
            forget: of(0.4, 0.5),
            replace: of(0.4, 1.0) > 0.0,
            set_back: of(0.5, 0.4),
            gone: of(0.3, 0.1),
        }
    }
}

impl World {
    /// Counts a fault, by the phase that the rotation is in as far as is saved.
    pub(crate) fn count_fault(&mut self, fault: &'static str, whom: &'static str) {
        self.outcome.faults += 1;
        let record = self.coordinator.record.as_ref();
        let running = record.filter(|record| record.finished_at.is_none());
        let phase = running.map_or(NO_PHASE, |record| record.phase().name());
        *self.outcome.table.entry((fault, phase, whom)).or_default() += 1;
    }

    /// It comes back as it was; or with an older state, one at a time.
    pub(crate) fn start_unit(&mut self, index: usize) {
        let name = self.units[index].name.clone();
        let is_another = self.units.iter().any(|unit| unit.is_set_back() && !unit.is_removed);
        let is_whole = !self.units[index].is_lacking() && !self.units[index].is_removed;
        if is_whole && !is_another && self.rng.random_bool(self.faults.set_back) {
            let role = self.units[index].role.name();
            if self.units[index].set_back(self.now, &mut self.rng) {
                self.count_fault("set-back", role);
                self.outcome.set_back += 1;
                self.note(&name, "is set back");
            }
        }
        self.units[index].start();
        self.note(&name, "starts");
    }

    pub(crate) fn crash_unit(&mut self, index: usize) {
        let role = self.units[index].role.name();
        self.count_fault("crash", role);
        self.units[index].crash();
        let name = self.units[index].name.clone();
        self.note(&name, "crashes");
        let is_another = self.units.iter().any(|unit| unit.is_gone);
        if !is_another && self.rng.random_bool(self.faults.gone) {
            self.count_fault("gone", role);
            self.note(&name, "is gone for good");
            self.units[index].is_gone = true;
            self.units[index].set_back_at = self.now;
            return;
        }
        let pause = self.rng.random_range(50..6_000);
        self.after(pause, Event::StartUnit(index));
    }

    /// Outside of a rotation a unit loses its master key: only a rotation that it joins gives it
    /// another one. One at a time, so that somebody is left to rotate.
    pub(crate) fn replace(&mut self) {
        let is_quiet = !self.coordinator.is_rotating()
            && !self.units.iter().any(|unit| unit.saved_state().is_in_rotation())
            && !self.units.iter().any(|unit| !unit.is_removed && !unit.counts());
        if self.faults.replace && is_quiet {
            let index = self.rng.random_range(0..self.units.len());
            let role = self.units[index].role.name();
            let is_last = {
                let of_role = self.units.iter().filter(|unit| unit.role.name() == role);
                of_role.filter(|unit| !unit.is_removed).count() < 2
            };
            if self.units[index].is_removed || is_last {
                self.after(1_000, Event::Replace);
                return;
            }
            self.units[index].lose_master_key();
            self.count_fault("replaced", role);
            self.outcome.replaced += 1;
            let name = self.units[index].name.clone();
            self.note(&name, "has lost its master key");
        }
        let pause = self.rng.random_range(500..6_000);
        self.after(pause, Event::Replace);
    }
}
