//! Goal: a coordinator in the place of one that is lost, with an identity of its own, drives nothing until
//! administrators have named it, and goes on with what was running then. Method: a conductor with the
//! database of the one before it, and units that have never heard of it.

use std::sync::Arc;

use machines::conductor::{Answer, Ask, Conductor, Times};
use machines::envelope::{self, Outgoing};
use machines::rewrap;
use machines::rotation::Limits;
use machines::rotation::record::{Record, Verdict};
use protocol::certificate::Certificate;
use protocol::codec;
use protocol::command::{Command, KeystoreCommand};
use protocol::envelope::{Kind, Recipient};
use protocol::manifest::{Amendment, SignedManifest};
use protocol::order::Purpose;
use protocol::{MessageId, ProcessId, Role, RotationId};

use crate::starts::{Stage, unmet};
use crate::world::{
    ALL, Answer as Answered, EPOCH, OP_1, World, id_of, reencryptor, stranger, unit_id,
};

/// The former coordinator's data folder is gone; the database is there.
fn exchanged(stage: &mut Stage, record: Option<Record>) {
    let trust = stage.conductor.trust().clone();
    stage.conductor = Conductor::new(Arc::new(stranger()), trust, None, Times::default());
    let effects = stage.conductor.recover(stage.now, &mut stage.world.rng, record);
    stage.settle(effects);
}

/// The next manifest, with the new coordinator in the place of the former.
fn named(stage: &mut Stage, rotation: Option<RotationId>) -> SignedManifest {
    stage.world.sign_manifest(&ALL, |manifest| {
        let member = manifest.members.iter_mut().find(|it| it.role == Role::Coordinator).unwrap();
        (member.id, member.identity) = (id_of(&stranger()), stranger().public_key());
        manifest.amendment =
            rotation.map(|rotation| Amendment { rotation, holder_report: Vec::new() });
    });
    stage.world.manifests.last().unwrap().clone()
}

fn serials(stage: &Stage) -> [u64; 4] {
    ALL.map(|unit| stage.world.units[unit].state().trust.serial())
}

#[test]
fn one_that_no_manifest_names_is_told_so_and_hands_on_the_one_that_does() {
    let mut stage = Stage::well();
    exchanged(&mut stage, None);
    let before = stage.everything();
    let order = stage.order(|_| {});
    let enroll = format!("keyhelm cryptounit-enroll {} --replace", id_of(&stranger()));
    assert_eq!(unmet(&stage.start(order, false)), [("coordinator-unknown", enroll.as_str())]);
    assert!(stage.everything() == before, "nobody obeys it");
    let manifest = named(&mut stage, None);
    let answer = stage.ask(Ask::Manifest(manifest, None));
    assert!(matches!(answer, Answer::Taken), "{answer:?}");
    assert_eq!(serials(&stage), [2; 4]);
    let order = stage.order(|order| {
        (order.number.manifest_serial, order.number.number) = (2, 1);
    });
    let answer = stage.start(order, false);
    assert!(matches!(answer, Answer::Started { joined: false, .. }), "{answer:?}");
}

#[test]
fn a_rotation_waits_for_the_manifest_that_names_its_next_coordinator() {
    let mut stage = Stage::well();
    // Some take the order only from the next coordinator.
    let order = stage.order(|order| order.expires_at = order.expires_at.plus_ms(3_600_000));
    stage.silent_after_surveys = Some(OP_1);
    assert!(matches!(stage.start(order, false), Answer::Started { .. }));
    stage.silent_after_surveys = None;
    let rotation = stage.conductor.rotation().unwrap();
    let (record, id) = (rotation.record().clone(), rotation.reference().rotation);
    exchanged(&mut stage, Some(record));
    let before = stage.everything().0;
    stage.pass(2 * Limits::default().silence_abort_ms);
    assert_eq!(stage.conductor.rotation().unwrap().record().verdict, Verdict::Open);
    assert!(stage.everything().0 == before, "nobody obeys it");
    let manifest = named(&mut stage, Some(id));
    let answer = stage.ask(Ask::Manifest(manifest, None));
    assert!(matches!(answer, Answer::Taken), "{answer:?}");
    stage.pass(2 * Limits::default().max_retry_ms);
    assert_eq!(serials(&stage), [2; 4]);
    let committed = |unit: usize| {
        let registers = stage.world.units[unit].state().registers();
        registers.new.is_some_and(|new| new.is_committed)
    };
    assert!(ALL.into_iter().all(committed), "it goes on where it was: {:?}", stage.told);
    assert_eq!(stage.conductor.rotation().unwrap().order().purpose, Purpose::Rotate);
}

/// It was put back to where it was bound by the coordinator before, and refuses every manifest since.
#[test]
fn a_unit_that_obeys_a_former_coordinator_keeps_nobody_waiting_for_ever() {
    let mut stage = Stage::well();
    let before = stage.world.state_bytes(OP_1);
    let other = stage.world.signed(stage.world.order(Purpose::Rotate, 2));
    assert_eq!(stage.world.inspect(OP_1, &other).code(), "taken");
    let bound = stage.world.state_bytes(OP_1);
    stage.world.put_back(OP_1, &before);
    exchanged(&mut stage, None);
    let manifest = named(&mut stage, None);
    assert!(matches!(stage.ask(Ask::Manifest(manifest, None)), Answer::Taken));
    let order = stage.order(|order| {
        (order.number.manifest_serial, order.number.number) = (2, 1);
    });
    stage.silent_after_surveys = Some(OP_1);
    assert!(matches!(stage.start(order, false), Answer::Started { .. }));
    stage.world.put_back(OP_1, &bound);
    stage.silent_after_surveys = None;
    stage.pass(2 * Limits::default().silence_abort_ms);
    let verdict = &stage.conductor.rotation().unwrap().record().verdict;
    assert!(matches!(verdict, Verdict::Aborted { .. }), "{verdict:?} {:?}", stage.told);
}

fn from_the_new_one(world: &World, to: ProcessId, kind: Kind) -> Outgoing {
    Outgoing {
        id: MessageId::from_bytes([1; 16]),
        in_answer_to: None,
        instance: world.instance,
        recipient: Recipient::Process(to),
        manifest_serial: 2,
        rotation: None,
        epoch: EPOCH,
        kind,
    }
}

fn told(world: &mut World, command: &Command) -> Answered {
    let outgoing = from_the_new_one(world, unit_id(OP_1), Kind::Command);
    let bytes = envelope::seal(&stranger(), &outgoing, &codec::encode(command));
    world.deliver(OP_1, &bytes)
}

/// Whoever had the lost coordinator's identity, or its own last word, can leave units in an order that the next
/// manifest does not amend. They refuse the manifest, and take the end of the order from whom it names.
#[test]
fn a_manifest_that_waits_names_who_may_end_what_it_waits_for() {
    let mut world = World::initialised();
    let run = world.inspected(Purpose::Rotate, 2);
    world.sign_manifest(&ALL, |manifest| {
        let member = manifest.members.iter_mut().find(|it| it.role == Role::Coordinator).unwrap();
        (member.id, member.identity) = (id_of(&stranger()), stranger().public_key());
    });
    let abort = Command::Abort { order: run.signed.clone() };
    assert_eq!(told(&mut world, &abort).code(), "not-a-coordinator", "no manifest names it");
    let mut forged = world.manifests.clone();
    forged[1].signatures.truncate(1);
    assert_eq!(
        told(&mut world, &Command::TakeManifest { chain: forged }).code(),
        "manifest-refused"
    );
    assert_eq!(told(&mut world, &abort).code(), "not-a-coordinator", "nor one that holds");
    let take = Command::TakeManifest { chain: world.manifests.clone() };
    assert_eq!(told(&mut world, &take).code(), "manifest-refused", "the unit is bound");
    let inspect = Command::Inspect { order: run.signed.clone() };
    assert_eq!(told(&mut world, &inspect).code(), "not-a-coordinator", "it may end, and no more");
    let epoch = world.units[OP_1].state().epoch;
    assert_eq!(told(&mut world, &abort).code(), "taken");
    assert_eq!(world.units[OP_1].state().epoch, epoch, "it fences nobody");
    assert_eq!(told(&mut world, &take).code(), "taken");
    assert_eq!(world.units[OP_1].state().trust.serial(), 2);
}

#[test]
fn a_keystore_is_closed_by_whom_the_manifest_names_that_waits_for_it() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let mut trust = world.units[OP_1].state().trust.clone();
    let mut row = world.flipped(&run).row.unwrap();
    row.rotation.as_mut().unwrap().standing = protocol::keystore::KeystoreStanding::Open;
    world.sign_manifest(&ALL, |manifest| {
        let member = manifest.members.iter_mut().find(|it| it.role == Role::Coordinator).unwrap();
        (member.id, member.identity) = (id_of(&stranger()), stranger().public_key());
    });
    let id = id_of(&reencryptor());
    let outgoing = from_the_new_one(&world, id, Kind::KeystoreCommand);
    let certificate = Certificate { envelopes: Vec::new(), manifests: Vec::new() };
    let abort = KeystoreCommand::Abort { order: run.signed, certificate };
    let bytes = envelope::seal(&stranger(), &outgoing, &codec::encode(&abort));
    let reader = envelope::Reader { id, role: Role::Reencryptor };
    let judged = |trust: &machines::trust::Trust| {
        let received = rewrap::receive(&bytes, reader, trust).unwrap();
        rewrap::may_command(&received, trust).map_err(|refusal| refusal.to_report().code)
    };
    assert_eq!(judged(&trust), Err("not-a-coordinator".to_owned()));
    rewrap::take_manifests(&mut trust, &world.manifests, &row, (id, &[])).unwrap_err();
    assert_eq!(judged(&trust), Ok(()));
    assert_eq!(trust.serial(), 1, "it waits");
}

/// Whoever gives the same command again in the moment of a start joins it.
#[test]
fn what_runs_is_known_before_everybody_has_answered() {
    let mut stage = Stage::well();
    let order = stage.order(|_| {});
    stage.silent_after_surveys = Some(OP_1);
    assert!(matches!(stage.start(order, false), Answer::Started { .. }));
    let running = stage.conductor.open_rotation();
    let record = stage.conductor.rotation().unwrap().record().clone();
    assert_eq!(running, Some(record.order().unwrap().1.rotation));
    let trust = stage.conductor.trust().clone();
    stage.conductor = Conductor::new(Arc::new(stranger()), trust, None, Times::default());
    assert_eq!(stage.conductor.open_rotation(), None);
    stage.conductor.recover(stage.now, &mut stage.world.rng, Some(record));
    assert_eq!(
        (stage.conductor.rotation().is_none(), stage.conductor.open_rotation()),
        (true, running)
    );
}
