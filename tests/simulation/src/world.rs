//! The world: one queue of events in the order of their time, and everything that can happen.

use std::collections::BTreeMap;

use crypto::identity::Identity;
use machines::rewrap::DoneChunk;
use machines::trust::Trust;
use protocol::order::Purpose;
use protocol::page::WrappedRow;
use protocol::{InstanceId, KeystoreId, ProcessId, Role, RotationId, UnixMillis};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::checkers::{Checkers, Touched, Violation};
use crate::clients::Writer;
use crate::coordinator::CoordinatorNode;
use crate::fault_table::FaultTable;
use crate::faults::{self, Faults};
use crate::founding::manifest;
use crate::reencryptor::ReencryptorNode;
use crate::restore::Backups;
use crate::rogue::Rogue;
use crate::store::{Rules, Store};
use crate::unit::UnitNode;

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Decides everything.
    pub seed: u64,
    /// Rules of the store.
    pub rules: Rules,
    /// Whether a disk damages one re-wrapped row.
    pub is_damaged: bool,
    /// For how long things go wrong, in milliseconds of the world.
    pub faulty_ms: u64,
    /// Whether the trace is kept.
    pub keep_trace: bool,
}

impl Config {
    /// The usual run of a seed.
    pub const fn of(seed: u64) -> Self {
        Self { seed, rules: Rules::ALL, is_damaged: false, faulty_ms: 45_000, keep_trace: false }
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The checker that fired, if one did.
    pub violation: Option<Violation>,
    /// Everything that happened, a line each.
    pub trace: Vec<String>,
    /// Rotations that ended well.
    pub rotations_done: u32,
    /// Of these, those in which there was a fault.
    pub rotations_through_faults: u32,
    /// Rotations that were aborted.
    pub rotations_aborted: u32,
    /// Crashes, drops, doublings.
    pub faults: u32,
    /// Rotations that a rogue, or a lost record, aborted in some units and promoted in others.
    pub mixed_ends: u32,
    /// Units that lost their master key and joined again, or recovered it, or will.
    pub replaced: u32,
    /// Units that were given the current master key out of a recovery unit.
    pub recovered: u32,
    /// Units whose state was set back.
    pub set_back: u32,
    /// Units that the administrators removed.
    pub removed: u32,
    /// Coordinators that came back with another identity.
    pub exchanged: u32,
    /// Reencryptors that did.
    pub reencryptors_exchanged: u32,
    /// Keystores that were restored in a hold.
    pub restored: u32,
    /// Keystores of which what was done last in a rotation was undone.
    pub rolled_back: u32,
    /// Rotations done that left a row out in quarantine.
    pub quarantined: u32,
    /// How often precheck named a keystore from before a cleared rotation.
    pub foreign_named: u32,
    /// Rotations that held.
    pub holds: u32,
    /// How often each fault came about.
    pub table: FaultTable,
    /// Events handled.
    pub events: u32,
}

pub(crate) enum Event {
    Deliver(ProcessId, Vec<u8>),
    /// One that the broker has changed.
    Altered(ProcessId, Vec<u8>),
    /// A message that the reencryptor has begun to handle: it waits for a writer's lock.
    Blocked(ProcessId, Vec<u8>),
    StartUnit(usize),
    StartReencryptor,
    StartCoordinator,
    TickCoordinator,
    LoseLease,
    /// A page, and the rows that it goes without.
    LateWrite(Box<(DoneChunk, Vec<WrappedRow>)>),
    Client(usize),
    Purge,
    ReadBack,
    Rogue,
    Seize,
    Request,
    Replace,
    Spoil,
    TickZombie,
    BackUp,
    Restore,
}

pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) now: UnixMillis,
    pub(crate) queue: BTreeMap<(UnixMillis, u64), Event>,
    pub(crate) next_event: u64,
    pub(crate) faults: Faults,
    pub(crate) instance: InstanceId,
    pub(crate) units: Vec<UnitNode>,
    pub(crate) reencryptor: ReencryptorNode,
    pub(crate) coordinator: CoordinatorNode,
    pub(crate) store: Store,
    pub(crate) writers: Vec<Writer>,
    pub(crate) rogue: Rogue,
    pub(crate) checkers: Checkers,
    /// What may have changed of what is saved since the checkers looked.
    pub(crate) touched: Touched,
    pub(crate) outcome: Outcome,
    pub(crate) admin: Identity,
    pub(crate) next_tick: Option<UnixMillis>,
    pub(crate) drafted: Option<Vec<u8>>,
    pub(crate) has_rogue: bool,
    /// How likely what the rogue does next is to give an order of its own.
    pub(crate) rogue_orders: f64,
    /// A unit of the seed lies: every page is shown to another.
    pub(crate) has_liar: bool,
    pub(crate) has_forgotten: bool,
    /// The rotation that runs, or ran last, and how many faults there were before it.
    pub(crate) begun: (RotationId, u32),
    /// When the administrators last signed a manifest.
    pub(crate) amended_at: UnixMillis,
    /// Whom the last manifest was to remove.
    pub(crate) asked_to_remove: Vec<ProcessId>,
    /// Whom a refused manifest should have removed, too, as its answer said.
    pub(crate) advised: Option<ProcessId>,
    /// Serial of the newest manifest that was saved.
    pub(crate) named_by: u64,
    /// Removals that were refused since the last manifest was taken.
    pub(crate) refused: Vec<Vec<ProcessId>>,
    /// Copies of the keystore's database.
    pub(crate) backups: Backups,
    /// Seconds of the two holds of every order.
    pub(crate) holds: (u32, u32),
    /// How likely a unit that lost its master key is given the current one out of a recovery unit rather
    /// than the next one in a rotation that it joins.
    pub(crate) recovers: f64,
    /// How likely a coordinator, and a reencryptor, that starts has another identity.
    pub(crate) exchanges: (f64, f64),
    /// How likely a disk damages a blob, at each look.
    pub(crate) spoils: f64,
    /// For what was added to the world later: nothing else in a seed depends on it.
    pub(crate) apart: ChaCha8Rng,
    /// Whoever publishes is being cut off from the broker.
    pub(crate) is_cut_off: bool,
    /// What waits in the queue of a coordinator that does not run.
    pub(crate) parked: Vec<(ProcessId, Vec<u8>)>,
}

/// Runs one seed to its end.
pub fn run(config: Config) -> Outcome {
    crypto::remembered::remember_signatures();
    let mut world = World::new(config);
    if let Err(violation) = world.live() {
        world.note_standings();
        let line = format!("{} FIRED {}: {}", world.now.0, violation.checker, violation.text);
        world.outcome.trace.push(line);
        world.outcome.violation = Some(violation);
    }
    world.outcome
}

/// For so long at most, until a rotation has ended well in which there was a fault, faults are mild.
const MILD_MS: u64 = 40_000;

pub(crate) const EPOCH_MS: u64 = 1_767_225_600_000;

impl World {
    fn new(config: Config) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let mut seed = || {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            bytes
        };
        let instance = InstanceId::named("sim");
        let keystore = KeystoreId::from_bytes([7; 16]);
        let names = ["op-1", "op-2", "op-3", "rec-1", "rec-2"];
        let mut units: Vec<_> = names
            .iter()
            .map(|name| {
                let is_recovery = name.starts_with("rec");
                let role = if is_recovery { Role::RecoveryUnit } else { Role::OperationalUnit };
                UnitNode::new(name, role, seed(), instance)
            })
            .collect();
        let imprint = || Trust::imprint(instance);
        let mut reencryptor = ReencryptorNode::new(seed(), imprint());
        let coordinator_seeds = (seed(), seed());
        let has_pair = faults::has_pair(config.seed);
        let node = |trust| match has_pair {
            true => CoordinatorNode::new(coordinator_seeds.0, trust).with(coordinator_seeds.1),
            false => CoordinatorNode::new(coordinator_seeds.0, trust),
        };
        let coordinator = node(imprint());
        let admin = Identity::from_seed(crypto::secret::Secret::copied_from(&seed()));
        let signed = manifest(instance, keystore, &units, &reencryptor, &coordinator, &admin);
        let mut trust = imprint();
        if let Err(error) = trust.take(std::slice::from_ref(&signed), None, &[]) {
            panic!("the world's manifest is not sound: {error}");
        }
        for unit in &mut units {
            unit.imprint(&trust);
            unit.clock_skew_ms = rng.random_range(-20_000..20_000);
        }
        reencryptor.trust = trust.clone();
        let coordinator = node(trust);
        let ids = units.iter().map(|unit| unit.id).collect();
        let rogue = Rogue::new(coordinator.identity(), instance, ids, reencryptor.id);
        let faults = Faults::drawn(&mut rng);
        let holds = faults::holds(&mut rng, &faults);

        let has_rogue = faults.rogue;
        let has_liar = faults.lie > 0.0;
        let writers = (0..4).map(|index| Writer::new(index == 3)).collect();
        Self {
            config,
            rng,
            now: UnixMillis(EPOCH_MS),
            queue: BTreeMap::new(),
            next_event: 0,
            faults,
            instance,
            units,
            reencryptor,
            coordinator,
            store: Store::new(instance, keystore, config.rules),
            writers,
            rogue,
            checkers: Checkers::default(),
            touched: Touched::default(),
            outcome: Outcome::default(),
            admin,
            next_tick: None,
            drafted: None,
            has_rogue,
            rogue_orders: faults::rogue_orders(config.seed),
            has_liar,
            has_forgotten: false,
            begun: (RotationId::from_bytes([0; 16]), 0),
            amended_at: UnixMillis(0),
            asked_to_remove: Vec::new(),
            advised: None,
            named_by: 0,
            refused: Vec::new(),
            backups: Backups::default(),
            holds,
            recovers: faults::recovers(config.seed),
            exchanges: faults::exchanges(config.seed),
            spoils: faults::spoils(config.seed),
            apart: ChaCha8Rng::seed_from_u64(config.seed ^ 0xa9a7_7a9a),
            is_cut_off: false,
            parked: Vec::new(),
        }
    }

    fn live(&mut self) -> Result<(), Violation> {
        let faults = std::mem::replace(&mut self.faults, Faults::NONE);
        let effects = self.coordinator.start(self.now, &mut self.rng);
        self.coordinate(effects);
        self.initialise()?;
        self.faults = faults;
        self.standing_order();
        for index in 0..self.writers.len() {
            self.after(10, Event::Client(index));
        }
        self.after(700, Event::Purge);
        self.after(4_000, Event::Replace);
        self.after(1_000, Event::LoseLease);
        self.after(300, Event::Rogue);
        self.after(500, Event::BackUp);
        self.after(1_000, Event::Restore);
        self.after(500, Event::Request);
        if self.spoils > 0.0 {
            self.after(900, Event::Spoil);
        }
        if self.config.is_damaged {
            self.store.damage_in = Some(self.rng.random_range(0..60));
        }
        let until = self.now.plus_ms(self.config.faulty_ms);
        while self.now < until {
            self.step()?;
        }
        self.ease();
        let (before, until) = (self.outcome.rotations_through_faults, self.now.plus_ms(MILD_MS));
        while self.now < until && self.outcome.rotations_through_faults == before {
            self.step()?;
        }
        self.faults = Faults::NONE;
        self.note("world", "faults stop");
        self.converge()
    }

    /// `auto-init`, without faults: a draft, the administrator's signature, the first rotation.
    fn initialise(&mut self) -> Result<(), Violation> {
        self.draft(Purpose::Initialise, Vec::new());
        self.run_until("initialisation does not end", |world| world.outcome.rotations_done == 1)
    }

    /// Only messages are lost and processes crash from now on, few of them; whoever is down comes back.
    fn ease(&mut self) {
        self.faults = Faults::MILD;
        self.exchanges = (0.0, 0.0);
        self.spoils = 0.0;
        self.coordinator.bury_zombie();
        self.bring_back_keystore();
        self.note("world", "faults ease");
    }
}
