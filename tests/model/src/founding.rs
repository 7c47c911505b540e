//! The world before the first order: identities, the manifest, a standing order under which the rogue
//! writes its own orders, units that hold the first master key, and a keystore with one key.

use crypto::blob::{self, BlobBinding, WrapKeys};
use crypto::identity::{self, Identity};
use crypto::master_key::MasterKey;
use crypto::secret::Secret;
use crypto::{domain, quorum};
use machines::gate::OpenRequest;
use machines::trust::Trust;
use machines::unit::UnitConfig;
use machines::unit::state::UnitState;
use protocol::codec;
use protocol::keystore::GateMode;
use protocol::manifest::{AdminSignature, Administrator, Manifest, Member, SignedManifest};
use protocol::order::{
    Authority, Order, OrderRef, Purpose, SignedOrder, SignedStandingOrder, StandingOrder,
};
use protocol::page::WrappedRow;
use protocol::{
    Digest, Epoch, GenerationId, InstanceId, KeyId, KeystoreId, OrderNumber, Pattern, ProcessId,
    Role, RotationId, UnixMillis, VersionId,
};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use simulation::Rules;
use simulation::store::Store;

pub(crate) const NOW: UnixMillis = UnixMillis(1_767_225_600_000);
pub(crate) const EPOCH: Epoch = Epoch { manifest_serial: 1, number: 1 };
const KEYSTORE: KeystoreId = KeystoreId::from_bytes([7; 16]);
const FIRST_KEY: [u8; 32] = [42; 32];

/// Everybody's identities, and what the administrator has signed.
#[derive(Debug)]
pub(crate) struct Founding {
    pub(crate) instance: InstanceId,
    pub(crate) roles: Vec<Role>,
    pub(crate) trust: Trust,
    standing: SignedStandingOrder,
}

/// An order, by what the rogue may choose of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey {
    /// Its number.
    pub number: u64,
    /// The pattern that it goes from.
    pub from: Pattern,
}

pub(crate) fn identity(number: usize) -> Identity {
    Identity::from_seed(Secret::copied_from(&[number as u8 + 1; 32]))
}

pub(crate) fn coordinator() -> Identity {
    identity(100)
}

pub(crate) fn reencryptor() -> Identity {
    identity(101)
}

fn administrator() -> Identity {
    identity(102)
}

pub(crate) fn id_of(identity: &Identity) -> ProcessId {
    identity::process_id(&identity.public_key())
}

pub(crate) fn unit_id(unit: usize) -> ProcessId {
    id_of(&identity(unit))
}

pub(crate) fn config(unit: usize, role: Role) -> UnitConfig {
    UnitConfig {
        name: format!("unit-{unit}"),
        location: "[model]".to_owned(),
        role,
        instance_name: "model".to_owned(),
        pinned_administrators: Vec::new(),
        is_storage_key_local: false,
        protocol_version: protocol::topology::PROTOCOL_VERSION,
    }
}

fn signed(signing_domain: &str, bytes: &[u8]) -> Vec<AdminSignature> {
    let admin = administrator();
    let ski = quorum::ski(&admin.public_key());
    vec![AdminSignature { ski, signature: admin.sign(signing_domain, bytes) }]
}

impl Founding {
    /// Unit 0 is the recovery unit; the others are operational.
    pub(crate) fn of(units: usize) -> Self {
        let instance = InstanceId::named("model");
        let roles: Vec<_> = (0..units)
            .map(|unit| if unit == 0 { Role::RecoveryUnit } else { Role::OperationalUnit })
            .collect();
        let member = |name: String, role, identity: &Identity| Member {
            id: id_of(identity),
            name,
            role,
            identity: identity.public_key(),
            location: "[model]".to_owned(),
        };
        let mut members: Vec<_> = roles
            .iter()
            .enumerate()
            .map(|(unit, role)| member(format!("unit-{unit}"), *role, &identity(unit)))
            .collect();
        members.push(member("coordinator".to_owned(), Role::Coordinator, &coordinator()));
        members.push(member("reencryptor".to_owned(), Role::Reencryptor, &reencryptor()));
        let key = administrator().public_key();
        let bytes = codec::encode(&Manifest {
            instance,
            name: "model".to_owned(),
            serial: 1,
            previous: None,
            members,
            keystores: vec![KEYSTORE],
            administrators: vec![Administrator { name: "admin".to_owned(), key }],
            signature_threshold: 1,
            revocation_threshold: 1,
            created_at: NOW,
            amendment: None,
        });
        let signatures = signed(domain::MANIFEST, &bytes);
        let mut trust = Trust::imprint(instance);
        match trust.take(&[SignedManifest { bytes, signatures }], None, &[]) {
            Ok(true) => {}
            other => panic!("the first manifest was not taken: {other:?}"),
        }
        let bytes = codec::encode(&StandingOrder {
            instance,
            manifest_serial: 1,
            not_more_often_than_s: 0,
            pause_between_tries_s: 0,
            hold_after_commit_s: 0,
            hold_before_clear_s: 0,
            until: NOW.plus_ms(1_000_000),
        });
        let signatures = signed(domain::STANDING_ORDER, &bytes);
        let standing = SignedStandingOrder { bytes, signatures };
        Self { instance, roles, trust, standing }
    }

    /// A unit's first state.
    pub(crate) fn first_state(&self) -> UnitState {
        let mut state = UnitState::imprint(self.instance);
        state.trust = self.trust.clone();
        state.current = Some(MasterKey::danger_from_state_bytes(&FIRST_KEY));
        (state.counter, state.epoch) = (1, EPOCH);
        state
    }

    /// An order as the rogue writes it under the standing order.
    pub(crate) fn order(&self, key: OrderKey) -> SignedOrder {
        let number = OrderNumber { manifest_serial: 1, number: key.number };
        let bytes = codec::encode(&Order {
            instance: self.instance,
            rotation: RotationId::from_bytes([key.number as u8; 16]),
            number,
            purpose: Purpose::Rotate,
            from: Some(key.from),
            generator: unit_id(0),
            joining: Vec::new(),
            quarantined: Vec::new(),
            mode: GateMode::Strict,
            hold_after_commit_s: 0,
            hold_before_clear_s: 0,
            issued_at: NOW,
            expires_at: NOW.plus_ms(1_000),
        });
        let by = coordinator();
        let authority = Authority::Standing {
            standing: self.standing.clone(),
            coordinator: id_of(&by),
            signature: by.sign(domain::ORDER, &bytes),
        };
        SignedOrder { bytes, authority }
    }

    /// A keystore that has been initialised and holds one key.
    pub(crate) fn first_store(&self) -> Store {
        let key = MasterKey::danger_from_state_bytes(&FIRST_KEY);
        let mut store = Store::new(self.instance, KEYSTORE, Rules::ALL);
        let order = OrderRef {
            rotation: RotationId::from_bytes([1; 16]),
            number: OrderNumber { manifest_serial: 1, number: 1 },
            digest: Digest([1; 32]),
        };
        let request = OpenRequest {
            order,
            epoch: EPOCH,
            from: None,
            to: key.pattern(),
            generation: GenerationId::from_bytes([1; 16]),
            mode: GateMode::Strict,
        };
        let founded = store.open(&request).and_then(|_| {
            store.write_empty_chunk();
            store.complete(&order)?;
            store.flip(&order, EPOCH)?;
            let root = store.read_back().unwrap_or(Digest([0; 32]));
            store.mark_flipped(&order, root)
        });
        let binding = BlobBinding {
            instance: self.instance,
            key: KeyId::from_bytes([2; 16]),
            version: VersionId::from_bytes([3; 16]),
            attributes: 0x11,
        };
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let blob = blob::seal_blob(&WrapKeys::derive(&key), &binding, &[9; 32], &mut rng);
        let (Ok(_), Ok(blob)) = (founded, blob) else { panic!("the keystore was not founded") };
        let (version, key_id) = (binding.version, binding.key);
        let row = WrappedRow { version, key: key_id, attributes: binding.attributes, blob };
        assert!(store.insert(&[(1, key.pattern(), row)]), "the first key was not written");
        store
    }
}
