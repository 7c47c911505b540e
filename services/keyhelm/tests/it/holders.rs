//! Goal: an amendment carries the report of a unit that every other one will take for a holder of the
//! master keys that are still needed. Method: units that stand differently in a rotation with one that
//! joins, and who of them is chosen.

use crypto::identity::{Identity, process_id};
use crypto::random::process_rng;
use crypto::{domain, quorum};
use keyhelm::manifests;
use machines::envelope::{self, Outgoing};
use machines::leave;
use protocol::api::UnitEnvelope;
use protocol::codec;
use protocol::envelope::{Kind, Recipient};
use protocol::keystore::GateMode;
use protocol::manifest::{AdminSignature, Administrator, Manifest, Member, SignedManifest};
use protocol::order::{Authority, Order, OrderRef, Purpose, SignedOrder};
use protocol::report::{NewRegister, Registers, Standing, UnitFacts, UnitReport, UnitRotation};
use protocol::{Epoch, InstanceId, MessageId, OrderNumber, Pattern, Role, RotationId, UnixMillis};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const OLD: Pattern = Pattern([1; 32]);
const NEW: Pattern = Pattern([2; 32]);

struct World {
    units: Vec<(Identity, Member)>,
    chain: Vec<SignedManifest>,
    manifest: Manifest,
    signed_order: SignedOrder,
    order: OrderRef,
}

impl World {
    /// Two recovery units, the second of which joins, and two operational ones.
    fn new() -> Self {
        let roles = [
            ("rec-1", Role::RecoveryUnit),
            ("rec-2", Role::RecoveryUnit),
            ("op-1", Role::OperationalUnit),
            ("op-2", Role::OperationalUnit),
        ];
        let units: Vec<_> = roles.map(|(name, role)| member(name, role)).into();
        let admin = Identity::generate(&mut process_rng());
        let instance = InstanceId::named("prod");
        let manifest = Manifest {
            instance,
            name: "prod".to_owned(),
            serial: 1,
            previous: None,
            members: units.iter().map(|(_, member)| member.clone()).collect(),
            keystores: Vec::new(),
            administrators: vec![Administrator {
                name: "admin".to_owned(),
                key: admin.public_key(),
            }],
            signature_threshold: 1,
            revocation_threshold: 1,
            created_at: NOW,
            amendment: None,
        };
        let bytes = codec::encode(&manifest);
        let signature = admin.sign(domain::MANIFEST, &bytes);
        let ski = quorum::ski(&admin.public_key());
        let chain =
            vec![SignedManifest { bytes, signatures: vec![AdminSignature { ski, signature }] }];
        let order = Order {
            instance,
            rotation: RotationId::from_bytes([7; 16]),
            number: OrderNumber { manifest_serial: 1, number: 2 },
            purpose: Purpose::Rotate,
            from: Some(OLD),
            generator: units[0].1.id,
            joining: vec![units[1].1.id],
            quarantined: Vec::new(),
            mode: GateMode::Strict,
            hold_after_commit_s: 0,
            hold_before_clear_s: 0,
            issued_at: NOW,
            expires_at: NOW.plus_ms(60_000),
        };
        let authority = Authority::Quorum(Vec::new());
        let signed_order = SignedOrder { bytes: codec::encode(&order), authority };
        let (_, order) = leave::read(&signed_order).unwrap();
        Self { units, chain, manifest, signed_order, order }
    }

    fn report(&self, unit: usize, standing: Standing, registers: Registers) -> UnitEnvelope {
        let (key, Member { id, role, .. }) = &self.units[unit];
        let instance = self.manifest.instance;
        let report = UnitReport {
            instance,
            unit: *id,
            role: *role,
            manifest_serial: 1,
            state_counter: 5,
            registers,
            rotation: Some(UnitRotation {
                order: self.order,
                standing,
                signed_order: self.signed_order.clone(),
                offer: None,
                promote_not_before: None,
                clear_not_before: None,
                hold_end_nonce: None,
            }),
            epoch: Epoch::default(),
            set_back_from: None,
            answering: None,
            facts: UnitFacts {
                is_imprint: false,
                clock: NOW,
                signature_threshold: 1,
                revocation_threshold: 1,
                administrators: Vec::new(),
                is_storage_key_local: false,
                protocol_version: 1,
                last_promoted_at: None,
                would_refuse: None,
            },
        };
        let outgoing = Outgoing {
            id: MessageId::from_bytes([9; 16]),
            in_answer_to: None,
            instance,
            recipient: Recipient::Role(Role::Coordinator),
            manifest_serial: 1,
            rotation: None,
            epoch: Epoch::default(),
            kind: Kind::UnitReport,
        };
        let envelope = envelope::seal(key, &outgoing, &codec::encode(&report));
        UnitEnvelope { unit: *id, standing: Some(standing), envelope }
    }

    /// The name of whose report is chosen when these have gone.
    fn chosen(&self, gone: &[&str], reports: &[UnitEnvelope]) -> Result<String, String> {
        let mut next = self.manifest.clone();
        (next.serial, next.previous) = (2, None);
        next.members.retain(|member| !gone.contains(&member.name.as_str()));
        let rotation = self.order.rotation;
        let found = manifests::holder_report(&self.chain, &next, rotation, reports)?;
        let whose = |report: &&UnitEnvelope| report.envelope == found;
        let unit = reports.iter().find(whose).unwrap().unit;
        Ok(self.manifest.member(unit).unwrap().name.clone())
    }
}

fn member(name: &str, role: Role) -> (Identity, Member) {
    let key = Identity::generate(&mut process_rng());
    let identity = key.public_key();
    let (id, location) = (process_id(&identity), "[local]".to_owned());
    (key, Member { id, name: name.to_owned(), role, identity, location })
}

const fn committed(current: Option<Pattern>) -> Registers {
    let new = Some(NewRegister { pattern: NEW, is_committed: true });
    Registers { current, new, retiring: None }
}

const fn promoted(retiring: Option<Pattern>) -> Registers {
    Registers { current: Some(NEW), new: None, retiring }
}

#[test]
fn a_holder_that_joins_and_lacks_the_old_key_is_not_chosen() {
    let world = World::new();
    let joined = world.report(1, Standing::Promoted, promoted(None));
    let op_1 = world.report(2, Standing::Promoted, promoted(Some(OLD)));
    let behind = world.report(0, Standing::Bound, committed(Some(OLD)));
    let reports = [behind, joined.clone(), op_1.clone()];
    assert_eq!(world.chosen(&["op-2"], &reports).as_deref(), Ok("rec-1"), "though it is behind");
    // In an order with units that join an operational unit is enough.
    assert_eq!(world.chosen(&["op-2", "rec-1"], &reports).as_deref(), Ok("op-1"));
    let refused = world.chosen(&["op-2", "rec-1"], &[joined]).unwrap_err();
    assert!(refused.contains("does not hold the master keys"), "{refused}");
    let refused = world.chosen(&["op-1"], &[op_1]).unwrap_err();
    assert!(refused.contains("no crypto unit that would stay"), "{refused}");
}

#[test]
fn a_holder_that_has_aborted_is_not_chosen_where_one_that_stays_has_promoted() {
    let world = World::new();
    let aborted = Registers { current: Some(OLD), new: None, retiring: None };
    let reports = [
        world.report(0, Standing::Aborted, aborted),
        world.report(1, Standing::Aborted, Registers::default()),
        world.report(2, Standing::Promoted, promoted(Some(OLD))),
        world.report(3, Standing::Aborted, aborted),
    ];
    assert_eq!(world.chosen(&["op-1"], &reports).as_deref(), Ok("rec-1"));
    let refused = world.chosen(&["op-2"], &reports[..2]).unwrap_err();
    assert!(refused.contains("has not said how it stands"), "{refused}");
}
