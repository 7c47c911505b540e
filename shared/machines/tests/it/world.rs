//! Two operational and two recovery units, and everybody's keys: the tests are the coordinator, the
//! administrators, the reencryptor, and whoever forges.

use crypto::identity::{self, Identity};
use crypto::secret::Secret;
use crypto::{domain, quorum};
use machines::envelope::{self, Outgoing};
use machines::unit::state::UnitState;
use machines::unit::{Unit, UnitConfig};
use machines::{gate, leave};
use protocol::certificate::Certificate;
use protocol::codec::{self, Encode};
use protocol::command::{Command, SignedOffer, SignedTransfer, Step, Transfers};
use protocol::envelope::{Envelope, Kind, Recipient};
use protocol::keystore::{
    GateMode, Generation, GenerationState, KeystoreRotation, KeystoreRow, KeystoreStanding,
};
use protocol::manifest::{
    AdminSignature, Administrator, Amendment, Manifest, Member, SignedManifest,
};
use protocol::order::{Authority, Order, OrderRef, Purpose, SignedOrder};
use protocol::report::{KeystoreReport, Standing, UnitReport};
use protocol::{
    Epoch, GenerationId, InstanceId, KeystoreId, MessageId, OrderNumber, Pattern, ProcessId, Role,
    RotationId, UnixMillis,
};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

pub const OP_1: usize = 0;
pub const OP_2: usize = 1;
pub const REC_1: usize = 2;
pub const REC_2: usize = 3;
pub const ALL: [usize; 4] = [OP_1, OP_2, REC_1, REC_2];
/// Everybody but the generator.
pub const OTHERS: [usize; 3] = [OP_1, OP_2, REC_2];

const NAMES: [&str; 4] = ["op-1", "op-2", "rec-1", "rec-2"];
pub const KEYSTORE: KeystoreId = KeystoreId::from_bytes([7; 16]);
pub const NOW: UnixMillis = UnixMillis(1_767_225_600_000);
pub const EPOCH: Epoch = Epoch { manifest_serial: 1, number: 1 };

/// What a unit answered.
pub struct Answer {
    pub report: UnitReport,
    pub envelope: Vec<u8>,
    pub transfers: Option<Transfers>,
    pub is_changed: bool,
}

impl Answer {
    /// The refusal's stable word, or `taken`.
    pub fn code(&self) -> String {
        let refusal = self.report.answering.as_ref().unwrap().refusal.as_ref();
        refusal.map_or_else(|| "taken".to_owned(), |refusal| refusal.code.clone())
    }

    pub fn text(&self) -> String {
        let refusal = self.report.answering.as_ref().unwrap().refusal.as_ref();
        refusal.map_or_else(String::new, |refusal| refusal.text.clone())
    }
}

/// An order that runs, and what has been drawn for it.
#[derive(Clone)]
pub struct Run {
    pub signed: SignedOrder,
    pub order: Order,
    pub reference: OrderRef,
    pub transfers: Vec<SignedTransfer>,
    pub to: Pattern,
}

pub struct World {
    pub rng: ChaCha20Rng,
    pub units: Vec<Unit>,
    pub instance: InstanceId,
    pub manifests: Vec<SignedManifest>,
    /// Every command as it was sent, and to whom.
    pub sent: Vec<(usize, Vec<u8>)>,
    /// Everybody's clock.
    pub now: UnixMillis,
    next_id: u128,
}

/// The identity with this number; 0 to 3 are the units'.
pub fn identity(number: u8) -> Identity {
    Identity::from_seed(Secret::copied_from(&[number + 1; 32]))
}

pub fn coordinator() -> Identity {
    identity(10)
}

pub fn reencryptor() -> Identity {
    identity(11)
}

pub fn stranger() -> Identity {
    identity(99)
}

pub fn admins() -> [Identity; 3] {
    [20, 21, 22].map(identity)
}

pub fn id_of(identity: &Identity) -> ProcessId {
    identity::process_id(&identity.public_key())
}

pub fn unit_id(unit: usize) -> ProcessId {
    id_of(&identity(unit as u8))
}

pub const fn role_of(unit: usize) -> Role {
    if unit < REC_1 { Role::OperationalUnit } else { Role::RecoveryUnit }
}

/// What two of three administrators sign.
pub fn signatures(signing_domain: &'static str, bytes: &[u8]) -> Vec<AdminSignature> {
    let of_one = |admin: &Identity| AdminSignature {
        ski: quorum::ski(&admin.public_key()),
        signature: admin.sign(signing_domain, bytes),
    };
    admins()[..2].iter().map(of_one).collect()
}

/// Of the order with this number.
pub fn rotation_id(number: OrderNumber) -> RotationId {
    let mut rotation = [number.number as u8; 16];
    rotation[0] = number.manifest_serial as u8;
    RotationId::from_bytes(rotation)
}

pub fn config(unit: usize) -> UnitConfig {
    UnitConfig {
        name: NAMES[unit].to_owned(),
        location: "[test]".to_owned(),
        role: role_of(unit),
        instance_name: "test".to_owned(),
        pinned_administrators: Vec::new(),
        is_storage_key_local: false,
        protocol_version: protocol::topology::PROTOCOL_VERSION,
    }
}

impl World {
    /// Four units that have taken the first manifest.
    pub fn new() -> Self {
        let instance = InstanceId::named("test");
        let unit = |number| {
            let state = UnitState::imprint(instance);
            Unit::new(config(number), identity(number as u8), state)
        };
        let mut world = Self {
            rng: ChaCha20Rng::seed_from_u64(1),
            units: ALL.map(unit).into(),
            instance,
            manifests: Vec::new(),
            sent: Vec::new(),
            now: NOW,
            next_id: 0,
        };
        world.next_manifest(&ALL);
        for unit in ALL {
            world.take_manifests(unit);
        }
        world
    }

    /// Four units that have been through `auto-init`.
    pub fn initialised() -> Self {
        let mut world = Self::new();
        world.whole_rotation(Purpose::Initialise, 1);
        world
    }

    /// The administrators sign another manifest, with these units.
    pub fn next_manifest(&mut self, units: &[usize]) {
        self.sign_manifest(units, |_| {});
    }

    /// The administrators amend the manifest for this rotation: only these units stay.
    pub fn amend(&mut self, units: &[usize], run: &Run, holder: usize) {
        let holder_report = self.command(holder, Command::Survey { order: None }).envelope;
        let rotation = run.reference.rotation;
        self.sign_manifest(units, |manifest| {
            manifest.amendment = Some(Amendment { rotation, holder_report });
        });
    }

    /// The same, but for a change.
    pub fn sign_manifest(&mut self, units: &[usize], change: impl FnOnce(&mut Manifest)) {
        let member = |name: &str, role, identity: &Identity| Member {
            id: id_of(identity),
            name: name.to_owned(),
            role,
            identity: identity.public_key(),
            location: "[test]".to_owned(),
        };
        let mut members: Vec<_> = units
            .iter()
            .map(|unit| member(NAMES[*unit], role_of(*unit), &identity(*unit as u8)))
            .collect();
        members.push(member("coordinator", Role::Coordinator, &coordinator()));
        members.push(member("reencryptor", Role::Reencryptor, &reencryptor()));
        let previous = self.manifests.last();
        let administrators = admins()
            .iter()
            .map(|admin| Administrator { name: "admin".to_owned(), key: admin.public_key() })
            .collect();
        let mut manifest = Manifest {
            instance: self.instance,
            name: "test".to_owned(),
            serial: self.manifests.len() as u64 + 1,
            previous: previous.map(|signed| machines::trust::manifest_digest(&signed.bytes)),
            members,
            keystores: vec![KEYSTORE],
            administrators,
            signature_threshold: 2,
            revocation_threshold: 2,
            created_at: NOW,
            amendment: None,
        };
        change(&mut manifest);
        let bytes = codec::encode(&manifest);
        let signatures = signatures(domain::MANIFEST, &bytes);
        self.manifests.push(SignedManifest { bytes, signatures });
    }

    pub fn take_manifests(&mut self, unit: usize) {
        let chain = self.manifests.clone();
        let answer = self.command(unit, Command::TakeManifest { chain });
        assert_eq!(answer.code(), "taken");
    }

    fn next_message(&mut self) -> MessageId {
        self.next_id += 1;
        MessageId::from_bytes(self.next_id.to_be_bytes())
    }

    /// An envelope from anybody to anybody.
    pub fn seal<T: Encode>(
        &mut self,
        from: &Identity,
        to: Recipient,
        kind: Kind,
        epoch: Epoch,
        body: &T,
    ) -> Vec<u8> {
        let outgoing = Outgoing {
            id: self.next_message(),
            in_answer_to: None,
            instance: self.instance,
            recipient: to,
            manifest_serial: self.manifests.len() as u64,
            rotation: None,
            epoch,
            kind,
        };
        envelope::seal(from, &outgoing, &codec::encode(body))
    }

    /// The coordinator's command, its answer read.
    pub fn command(&mut self, unit: usize, command: Command) -> Answer {
        let to = Recipient::Process(unit_id(unit));
        let bytes = self.seal(&coordinator(), to, Kind::Command, EPOCH, &command);
        self.sent.push((unit, bytes.clone()));
        self.deliver(unit, &bytes)
    }

    pub fn deliver(&mut self, unit: usize, bytes: &[u8]) -> Answer {
        let outcome = self.units[unit].handle(self.now, &mut self.rng, bytes);
        assert_eq!(outcome.dead, None);
        let is_changed = outcome.is_changed;
        let mut transfers = None;
        for message in outcome.messages {
            let found = Envelope::parse(&message.bytes).unwrap();
            match found.header.kind {
                Kind::Transfers => transfers = Some(codec::decode(found.body).unwrap()),
                _ => {
                    let report = codec::decode(found.body).unwrap();
                    let envelope = message.bytes;
                    return Answer { report, envelope, transfers, is_changed };
                }
            }
        }
        panic!("every command is answered with a report");
    }

    pub fn step(&mut self, unit: usize, run: &Run, step: Step) -> Answer {
        self.command(unit, Command::Step { order: run.reference, step })
    }

    pub fn state_bytes(&self, unit: usize) -> Vec<u8> {
        self.units[unit].state().to_bytes().to_vec()
    }

    /// Sends a command that must be refused with this word and change nothing.
    pub fn refuses(&mut self, unit: usize, command: Command, code: &str) -> Answer {
        let before = self.state_bytes(unit);
        let name = command.name();
        let answer = self.command(unit, command);
        assert_eq!(answer.code(), code, "{name} to {}: {}", NAMES[unit], answer.text());
        assert!(!answer.is_changed, "{name} is refused, and says that it has changed something");
        assert_eq!(self.state_bytes(unit), before, "{name} is refused, and has changed something");
        answer
    }

    /// Sends a command that must be answered from state and change nothing.
    pub fn answers_from_state(&mut self, unit: usize, command: Command) -> Answer {
        self.refuses(unit, command, "taken")
    }

    /// Restarts a unit with a state that the test has made.
    pub fn restart_with(&mut self, unit: usize, change: impl FnOnce(&mut UnitState)) {
        let mut state = UnitState::from_bytes(&self.state_bytes(unit)).unwrap();
        change(&mut state);
        self.put_back(unit, &state.to_bytes());
    }

    /// Starts a unit from these bytes, whatever it has saved since they were.
    pub fn put_back(&mut self, unit: usize, state: &[u8]) {
        let state = UnitState::from_bytes(state).unwrap();
        self.units[unit] = Unit::new(config(unit), identity(unit as u8), state);
    }

    /// An order over everything that a test may want otherwise.
    pub fn order(&self, purpose: Purpose, number: u64) -> Order {
        let number = OrderNumber { manifest_serial: self.manifests.len() as u64, number };
        Order {
            instance: self.instance,
            rotation: rotation_id(number),
            number,
            purpose,
            from: self.units[REC_1].state().registers().current,
            generator: unit_id(REC_1),
            joining: Vec::new(),
            quarantined: Vec::new(),
            mode: GateMode::Strict,
            hold_after_commit_s: 0,
            hold_before_clear_s: 0,
            issued_at: NOW,
            expires_at: NOW.plus_ms(60_000),
        }
    }

    /// The order, signed by the administrators; nobody has been asked yet.
    pub fn signed(&self, order: Order) -> Run {
        let bytes = codec::encode(&order);
        let authority = Authority::Quorum(signatures(domain::ORDER, &bytes));
        let signed = SignedOrder { bytes, authority };
        let (order, reference) = leave::read(&signed).unwrap();
        Run { signed, order, reference, transfers: Vec::new(), to: Pattern([0; 32]) }
    }

    pub fn inspect(&mut self, unit: usize, run: &Run) -> Answer {
        self.command(unit, Command::Inspect { order: run.signed.clone() })
    }

    pub fn abort(&mut self, unit: usize, run: &Run) -> Answer {
        self.command(unit, Command::Abort { order: run.signed.clone() })
    }

    /// All units take an ordinary order.
    pub fn inspected(&mut self, purpose: Purpose, number: u64) -> Run {
        self.all_take(self.signed(self.order(purpose, number)))
    }

    fn all_take(&mut self, run: Run) -> Run {
        for unit in ALL {
            let answer = self.inspect(unit, &run);
            assert_eq!(answer.code(), "taken", "{}", answer.text());
        }
        run
    }

    /// A unit's offer, as in its reports.
    pub fn offer(&self, unit: usize) -> SignedOffer {
        self.units[unit].report(NOW, None).rotation.unwrap().offer.unwrap()
    }

    /// The generator has drawn the key and sealed it to the others.
    pub fn generated(&mut self, purpose: Purpose, number: u64) -> Run {
        self.generated_in(self.signed(self.order(purpose, number)))
    }

    fn generated_in(&mut self, run: Run) -> Run {
        let mut run = self.all_take(run);
        let offers = OTHERS.map(|unit| self.offer(unit)).into();
        let answer = self.step(REC_1, &run, Step::Generate { offers });
        assert_eq!(answer.code(), "taken", "{}", answer.text());
        run.transfers = answer.transfers.unwrap().transfers;
        run.to = answer.report.registers.new.unwrap().pattern;
        run
    }

    pub fn install(&mut self, unit: usize, run: &Run) -> Answer {
        let at = OTHERS.iter().position(|other| *other == unit).unwrap();
        let transfer = run.transfers[at].clone();
        self.step(unit, run, Step::Install { transfer })
    }

    /// All units hold the new key, committed.
    pub fn committed(&mut self, purpose: Purpose, number: u64) -> Run {
        self.committed_in(self.signed(self.order(purpose, number)))
    }

    /// The same in an order of one's own.
    pub fn committed_in(&mut self, run: Run) -> Run {
        let run = self.generated_in(run);
        for unit in OTHERS {
            let answer = self.install(unit, &run);
            assert_eq!(answer.code(), "taken", "{}", answer.text());
        }
        for unit in ALL {
            let answer = self.step(unit, &run, Step::Commit { pattern: run.to });
            assert_eq!(answer.code(), "taken", "{}", answer.text());
        }
        run
    }

    /// Every unit's signed report, as it stands now.
    pub fn unit_certificate(&mut self) -> Certificate {
        let surveyed = |unit: &usize| self.command(*unit, Command::Survey { order: None }).envelope;
        Certificate { envelopes: ALL.iter().map(surveyed).collect(), manifests: Vec::new() }
    }

    pub fn promote(&mut self, unit: usize, run: &Run) -> Answer {
        let certificate = self.unit_certificate();
        self.step(unit, run, Step::Promote { certificate })
    }

    pub fn promoted(&mut self, purpose: Purpose, number: u64) -> Run {
        let run = self.committed(purpose, number);
        for unit in ALL {
            let answer = self.promote(unit, &run);
            assert_eq!(answer.code(), "taken", "{}", answer.text());
        }
        run
    }

    /// The reencryptor's report of a keystore that this rotation has flipped.
    pub fn flipped(&self, run: &Run) -> KeystoreReport {
        KeystoreReport {
            reencryptor: id_of(&reencryptor()),
            manifest_serial: 1,
            row: Some(flipped_row(self.instance, run)),
            receipts_digest: None,
            hold_ends: Vec::new(),
            unopened: Vec::new(),
            answering: None,
            clock: NOW,
            check: None,
        }
    }

    pub fn keystore_envelope(&mut self, from: &Identity, report: &KeystoreReport) -> Vec<u8> {
        let to = Recipient::Role(Role::Coordinator);
        self.seal(from, to, Kind::KeystoreReport, EPOCH, report)
    }

    pub fn clear(&mut self, unit: usize, run: &Run) -> Answer {
        let report = self.flipped(run);
        let envelopes = vec![self.keystore_envelope(&reencryptor(), &report)];
        let certificate = Certificate { envelopes, manifests: Vec::new() };
        self.step(unit, run, Step::Clear { certificate })
    }

    pub fn whole_rotation(&mut self, purpose: Purpose, number: u64) -> Run {
        let run = self.promoted(purpose, number);
        self.all_clear(run)
    }

    pub fn all_clear(&mut self, run: Run) -> Run {
        for unit in ALL {
            let answer = self.clear(unit, &run);
            assert_eq!(answer.code(), "taken", "{}", answer.text());
            assert_eq!(answer.report.rotation.unwrap().standing, Standing::Cleared);
        }
        run
    }
}

/// The keystore's row once this rotation has flipped it.
pub fn flipped_row(instance: InstanceId, run: &Run) -> KeystoreRow {
    let generation = Generation {
        number: 2,
        id: GenerationId::from_bytes([5; 16]),
        pattern: run.to,
        state: GenerationState::Active,
        set_count: 0,
        done_count: 0,
        quarantined_count: 0,
    };
    KeystoreRow {
        active: Some(generation),
        rotation: Some(KeystoreRotation {
            rotation: run.reference.rotation,
            number: run.reference.number,
            order_digest: run.reference.digest,
            standing: KeystoreStanding::Flipped,
            from: run.order.from,
            to: run.to,
            key_root: Some(crypto::merkle::KeyTree::new().root()),
        }),
        ..gate::new_row(instance, KEYSTORE)
    }
}
