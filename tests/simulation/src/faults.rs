//! What goes wrong: how likely each kind of fault is in a seed, and the faults of units. Which kinds a
//! seed has at all is drawn too, so that seeds differ in kind and not only in degree.

use machines::trust::Trust;
use protocol::Role;
use protocol::audit::Phase;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::fault_table::NO_PHASE;
use crate::world::{Event, World};

/// Phases in one of which the units of a seed fare worst: the shorter it is, the more seeds it needs.
const WORST: [Phase; 21] = [
    Phase::Inspect,
    Phase::Generate,
    Phase::Generate,
    Phase::Install,
    Phase::Commit,
    Phase::HoldAfterCommit,
    Phase::HoldAfterCommit,
    Phase::HoldAfterCommit,
    Phase::Reencrypt,
    Phase::Promote,
    Phase::Promote,
    Phase::Flip,
    Phase::Flip,
    Phase::Flip,
    Phase::HoldBeforeClear,
    Phase::HoldBeforeClear,
    Phase::Clear,
    Phase::Drop,
    Phase::Drop,
    Phase::Drop,
    Phase::Aborting,
];

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
    /// A transaction takes place, and whoever has begun it sees an error.
    pub(crate) lost_commit: f64,
    /// A coordinator that crashes goes on under its old epoch besides the next one.
    pub(crate) zombie: f64,
    /// A unit's answer to a page has a damaged blob, or a receipt over other digests.
    pub(crate) wrong_page: f64,
    /// One operational unit damages blobs and signs for them.
    pub(crate) lie: f64,
    /// The keystore is restored from a backup.
    pub(crate) restore: bool,
    /// The broker is a rogue: it changes a message, or hands it to somebody else.
    pub(crate) alter: f64,
    /// A process is cut off from the broker while it publishes: what it says may be out or not, and what it
    /// had in hand comes again.
    pub(crate) cut_off: f64,
    /// A transaction is aborted, and whoever has begun it sees an error.
    pub(crate) aborted_commit: f64,
    /// A page is written later, whatever has come between.
    pub(crate) late_write: f64,
    /// The coordinator loses its lease, and goes on until it notices.
    pub(crate) lease: f64,
    /// In this phase units fare worst.
    pub(crate) worst: Option<&'static str>,
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
        lost_commit: 0.0,
        zombie: 0.0,
        wrong_page: 0.0,
        lie: 0.0,
        restore: false,
        alter: 0.0,
        cut_off: 0.0,
        aborted_commit: 0.0,
        late_write: 0.0,
        lease: 0.0,
        worst: None,
    };

    /// So little that every rotation comes to its end through it.
    pub(crate) const MILD: Self =
        Self { drop: 0.03, double: 0.05, crash: 0.005, slow: 0.05, ..Self::NONE };

    /// Messages are lost in every seed, the rest is there or not.
    pub(crate) fn drawn(rng: &mut ChaCha8Rng) -> Self {
        let mut of = |presence: f64, most: f64| {
            if rng.random_bool(presence) { rng.random_range(0.0..most) } else { 0.0 }
        };
        let kinds = Self {
            drop: of(1.0, 0.12),
            double: of(0.8, 0.15),
            crash: of(0.9, 0.05),
            slow: of(0.8, 0.2),
            rogue: of(0.5, 1.0) > 0.0,
            forget: of(0.4, 0.5),
            replace: of(0.4, 1.0) > 0.0,
            set_back: of(0.5, 0.4),
            gone: of(0.3, 0.1),
            lost_commit: of(0.4, 0.2),
            zombie: of(0.4, 0.7),
            wrong_page: of(0.4, 0.2),
            lie: of(0.3, 0.3),
            restore: of(0.4, 1.0) > 0.0,
            alter: of(0.4, 0.1),
            cut_off: of(0.5, 0.1),
            aborted_commit: of(0.4, 0.2),
            late_write: of(0.4, 0.3),
            lease: of(0.4, 0.5),
            worst: None,
        };
        let worst = WORST.get(rng.random_range(0..WORST.len() + 4)).map(|phase| phase.name());
        Self { worst, ..kinds }
    }
}

/// Seconds of the two holds of every order of a seed; where units fare worst in one, there is one.
pub(crate) fn holds(rng: &mut ChaCha8Rng, faults: &Faults) -> (u32, u32) {
    let mut hold_s = |phase: Phase| {
        let is_there = rng.random_bool(0.3) || faults.worst == Some(phase.name());
        if is_there { rng.random_range(1..5) } else { 0 }
    };
    (hold_s(Phase::HoldAfterCommit), hold_s(Phase::HoldBeforeClear))
}

/// How likely a unit that lost its master key recovers it, in a seed. Drawn apart, so that nothing else
/// in the seed depends on it.
pub(crate) fn recovers(seed: u64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x7ec0_7e12);
    if rng.random_bool(0.6) { rng.random_range(0.3..1.0) } else { 0.0 }
}

/// How likely what a seed's rogue does next is to give an order of its own. Drawn apart as well.
pub(crate) fn rogue_orders(seed: u64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x0bde_125e);
    if rng.random_bool(0.4) { rng.random_range(0.01..0.1) } else { 0.0 }
}

/// How likely a seed's coordinator, and its reencryptor, that starts has lost its data folder, and has another
/// identity. Drawn apart as well.
pub(crate) fn exchanges(seed: u64) -> (f64, f64) {
    let of = |salt: u64, presence: f64, most: f64| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ salt);
        if rng.random_bool(presence) { rng.random_range(0.0..most) } else { 0.0 }
    };
    // A reencryptor handles few messages, and so has few crashes.
    (of(0x1de2_7177, 0.3, 0.5), of(0x4ee2_c4b7, 0.5, 1.0))
}

/// How likely a disk damages a blob of a seed's keystore, whenever it is looked at. Drawn apart as well.
pub(crate) fn spoils(seed: u64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5901_1ed0);
    if rng.random_bool(0.25) { rng.random_range(0.1..0.6) } else { 0.0 }
}

/// Whether a seed has two coordinators, of which the one acts that has the lease. Drawn apart as well.
pub(crate) fn has_pair(seed: u64) -> bool {
    ChaCha8Rng::seed_from_u64(seed ^ 0x2c00_2c00).random_bool(0.4)
}

impl World {
    /// Counts a fault, by the phase that the rotation is in as far as is saved.
    pub(crate) fn count_fault(&mut self, fault: &'static str, whom: Role) {
        self.outcome.faults += 1;
        let cell = (fault, self.phase(), whom.name());
        *self.outcome.table.entry(cell).or_default() += 1;
    }

    fn phase(&self) -> &'static str {
        let record = self.coordinator.record();
        let running = record.filter(|record| record.finished_at.is_none());
        running.map_or(NO_PHASE, |record| record.phase().name())
    }

    /// A likelihood, which is at least `worst` in the phase in which the seed's units fare worst.
    pub(crate) fn in_worst_phase(&self, usual: f64, worst: f64) -> f64 {
        if self.faults.worst == Some(self.phase()) { usual.max(worst) } else { usual }
    }

    pub(crate) fn note_database_faults(&mut self) {
        for fault in std::mem::take(&mut self.reencryptor.database_faults) {
            self.count_fault(fault, Role::Reencryptor);
        }
    }

    pub(crate) fn start_unit(&mut self, index: usize) {
        let name = self.units[index].name.clone();
        self.units[index].start();
        self.note(&name, "starts");
    }

    /// It will come back as it was; or with an older state, or never, one at a time.
    pub(crate) fn crash_unit(&mut self, index: usize) {
        let role = self.units[index].role;
        self.count_fault("crash", role);
        self.units[index].crash();
        let name = self.units[index].name.clone();
        self.note(&name, "crashes");
        let is_another = self.units.iter().any(|unit| unit.is_gone);
        let gone = self.in_worst_phase(self.faults.gone, 0.3);
        if !is_another && self.rng.random_bool(gone) {
            self.count_fault("gone", role);
            self.note(&name, "is gone for good");
            self.units[index].is_gone = true;
            self.units[index].set_back_at = self.now;
            return;
        }
        let is_another = self.units.iter().any(|unit| unit.is_set_back() && !unit.is_removed);
        let is_whole = !self.units[index].is_lacking() && !self.units[index].is_removed;
        let set_back = self.in_worst_phase(self.faults.set_back, 0.3);
        if is_whole
            && !is_another
            // Or it may hold the key of a foreign keystore again.
            && !self.backups.is_foreign()
            && self.rng.random_bool(set_back)
            && self.units[index].set_back(self.now, &mut self.rng)
        {
            self.count_fault("set-back", role);
            self.outcome.set_back += 1;
            self.note(&name, "is set back");
        }
        let pause = self.rng.random_range(50..6_000);
        self.after(pause, Event::StartUnit(index));
    }

    /// A coordinator that starts may have lost its data folder: nobody obeys it until a manifest names it.
    pub(crate) fn may_lose_identity(&mut self) {
        if self.exchanges.0 == 0.0 || !self.apart.random_bool(self.exchanges.0) {
            return;
        }
        self.count_fault("identity", Role::Coordinator);
        self.note("coordinator", "has another identity");
        self.coordinator.lose_identity(self.apart.random());
        self.outcome.exchanged += 1;
    }

    /// So may a reencryptor: it trusts nobody yet, and the keystore is where it was.
    pub(crate) fn reencryptor_may_lose_identity(&mut self) {
        if self.exchanges.1 == 0.0 || !self.apart.random_bool(self.exchanges.1) {
            return;
        }
        self.count_fault("identity", Role::Reencryptor);
        self.note("reencryptor", "has another identity");
        self.reencryptor.lose_identity(self.apart.random(), Trust::imprint(self.instance));
        self.rogue.reencryptor = self.reencryptor.id;
        self.outcome.reencryptors_exchanged += 1;
    }

    /// Outside of a rotation a unit loses its master key: only an order to recover gives it back, or a
    /// rotation that it joins another one. One at a time, so that somebody is left to rotate.
    pub(crate) fn replace(&mut self) {
        let is_quiet = !self.coordinator.is_rotating()
            && !self.units.iter().any(|unit| unit.saved_state().is_in_rotation())
            && !self.units.iter().any(|unit| !unit.is_removed && !unit.counts());
        if self.faults.replace && is_quiet {
            let index = self.rng.random_range(0..self.units.len());
            let role = self.units[index].role;
            let is_last = {
                let of_role = self.units.iter().filter(|unit| unit.role == role);
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
