//! Goal: a coordinator hears whom a manifest vouches for, about themselves, and what anybody says
//! before there is a manifest moves no number. Method: one conductor, and messages of members,
//! of strangers, and of before.

use std::sync::Arc;

use machines::conductor::{Answer, Ask, Conductor, Input, Times};
use machines::rotation::Limits;
use machines::rotation::record::Verdict;
use machines::trust::Trust;
use protocol::codec::Encode;
use protocol::envelope::{Kind, Recipient};
use protocol::manifest::Member;
use protocol::order::Purpose;
use protocol::report::{Announcement, Answering, KeystoreReport, Standing};
use protocol::{Epoch, MessageId, Role};

use crate::recovering::restarted_with;
use crate::starts::{Stage, opened, restarted};
use crate::world::{
    NOW, OP_1, OP_2, REC_1, REC_2, World, coordinator, id_of, identity, reencryptor, stranger,
    unit_id,
};

fn conductor(trust: Trust) -> Conductor {
    Conductor::new(Arc::new(coordinator()), trust, None, Times::default())
}

fn member_of(world: &World) -> Conductor {
    conductor(Trust::from_saved(world.instance, world.manifests.clone()).unwrap())
}

/// The reason for the dead-letter queue.
fn said<T: Encode>(
    world: &mut World,
    conductor: &mut Conductor,
    by: &crypto::identity::Identity,
    kind: Kind,
    body: &T,
) -> Option<&'static str> {
    let to = Recipient::Process(id_of(&coordinator()));
    let bytes = world.seal(by, to, kind, Epoch::default(), body);
    conductor.handle(NOW, &mut world.rng, Input::Message(bytes)).dead
}

fn keystore_report(by: &crypto::identity::Identity) -> KeystoreReport {
    KeystoreReport {
        reencryptor: id_of(by),
        manifest_serial: 1,
        row: None,
        receipts_digest: None,
        hold_ends: Vec::new(),
        unopened: Vec::new(),
        answering: None,
        clock: NOW,
        check: None,
    }
}

fn announcement(by: &crypto::identity::Identity) -> Announcement {
    Announcement {
        member: Member {
            id: id_of(by),
            name: "somebody".to_owned(),
            role: Role::OperationalUnit,
            identity: by.public_key(),
            location: "[test]".to_owned(),
        },
        instance_name: "test".to_owned(),
        keystore: None,
        manifest_serial: 0,
        protocol_version: protocol::topology::PROTOCOL_VERSION,
    }
}

#[test]
fn everybody_speaks_for_itself_only_and_as_what_it_is() {
    let mut world = World::initialised();
    let mut conductor = member_of(&world);
    let op_1 = identity(OP_1 as u8);
    let about = |world: &World, unit: usize| world.units[unit].report(NOW, None);
    let (own, other) = (about(&world, OP_1), about(&world, OP_2));
    let of_gateway = keystore_report(&reencryptor());
    let announced = announcement(&stranger());
    for (by, kind, dead) in [
        (&op_1, Kind::UnitReport, None),
        (&identity(OP_2 as u8), Kind::UnitReport, Some("speaks-for-another")),
        (&reencryptor(), Kind::UnitReport, Some("not-a-unit")),
        (&stranger(), Kind::UnitReport, Some("unknown-sender")),
    ] {
        assert_eq!(said(&mut world, &mut conductor, by, kind, &own), dead, "{kind:?}");
    }
    assert_eq!(
        said(&mut world, &mut conductor, &op_1, Kind::UnitReport, &other),
        Some("speaks-for-another")
    );
    assert_eq!(conductor.heard().units.keys().collect::<Vec<_>>(), [&unit_id(OP_1)]);
    for (by, dead) in [
        (&reencryptor(), None),
        (&op_1, Some("not-a-reencryptor")),
        (&stranger(), Some("unknown-sender")),
    ] {
        assert_eq!(said(&mut world, &mut conductor, by, Kind::KeystoreReport, &of_gateway), dead);
    }
    for (by, dead) in [(&stranger(), None), (&op_1, Some("speaks-for-another"))] {
        assert_eq!(said(&mut world, &mut conductor, by, Kind::Announcement, &announced), dead);
    }
}

#[test]
fn what_strangers_reported_before_the_first_manifest_is_forgotten_when_it_comes() {
    let mut world = World::new();
    let mut conductor = conductor(Trust::imprint(world.instance));
    let mut loud = world.units[OP_1].report(NOW, None);
    loud.unit = id_of(&stranger());
    loud.epoch = Epoch { manifest_serial: u64::MAX, number: u64::MAX };
    assert_eq!(said(&mut world, &mut conductor, &stranger(), Kind::UnitReport, &loud), None);
    let report = keystore_report(&stranger());
    assert_eq!(said(&mut world, &mut conductor, &stranger(), Kind::KeystoreReport, &report), None);
    let own = world.units[OP_1].report(NOW, None);
    let op_1 = identity(OP_1 as u8);
    assert_eq!(said(&mut world, &mut conductor, &op_1, Kind::UnitReport, &own), None);
    assert_eq!(conductor.heard().units.len(), 2, "in imprint mode anybody is heard");

    let manifest = Ask::Manifest(world.manifests[0].clone(), None);
    let effects = conductor.handle(NOW, &mut world.rng, Input::Ask(1, manifest));
    assert!(matches!(effects.answers[..], [(1, Answer::Taken)]), "{:?}", effects.answers);
    assert_eq!(conductor.heard().units.keys().collect::<Vec<_>>(), [&unit_id(OP_1)]);
    assert!(conductor.heard().keystores.is_empty());
    assert_eq!(
        said(&mut world, &mut conductor, &stranger(), Kind::UnitReport, &loud),
        Some("unknown-sender")
    );
}

#[test]
fn who_was_removed_is_answered_with_nothing_and_believed_in_nothing() {
    let mut world = World::initialised();
    world.next_manifest(&[OP_1, REC_1, REC_2]);
    let mut conductor = member_of(&world);
    let mut report = world.units[OP_2].report(NOW, None);
    report.epoch = Epoch { manifest_serial: u64::MAX, number: u64::MAX };
    let op_2 = identity(OP_2 as u8);
    assert_eq!(said(&mut world, &mut conductor, &op_2, Kind::UnitReport, &report), None);
    assert!(conductor.heard().units.is_empty(), "it is no unit any more");
    let header = |bytes: &[u8]| protocol::envelope::Envelope::parse(bytes).unwrap().header;
    let to = Recipient::Process(id_of(&coordinator()));
    let forged = world.seal(&stranger(), to, Kind::UnitReport, Epoch::default(), &report);
    let parsed = protocol::envelope::Envelope::parse(&forged).unwrap();
    let named = protocol::Header { sender: unit_id(OP_2), ..header(&forged) };
    let named = protocol::codec::encode(&named);
    let forged = protocol::envelope::Envelope::assemble(&named, &parsed.signature, parsed.body);
    let effects = conductor.handle(NOW, &mut world.rng, Input::Message(forged));
    assert_eq!(effects.dead, Some("unknown-sender"), "in its name, and not by it");
}

/// The record is lost, a unit has promoted and is away, and what it had said before that lies in the queue: that
/// is no answer, so nothing is aborted, and a start does not take it for one.
#[test]
fn what_lay_in_the_queue_says_nothing_of_how_somebody_stands_now() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let before = world.units[OP_2].report(NOW, None);
    world.promote(OP_2, &run);
    let to = Recipient::Process(id_of(&coordinator()));
    let late = world.seal(&identity(OP_2 as u8), to, Kind::UnitReport, Epoch::default(), &before);
    let mut stage = Stage::of(world);
    opened(&mut stage, &run);
    stage.silent = Some(OP_2);
    restarted(&mut stage);
    stage.handle(Input::Message(late));
    assert!(stage.conductor.heard().units.contains_key(&unit_id(OP_2)), "it is taken in");
    stage.now = stage.conductor.next_tick().unwrap();
    stage.tick();
    assert_eq!(stage.conductor.rotation().unwrap().record().verdict, Verdict::Open);
    let standing = stage.world.units[OP_1].report(NOW, None).rotation.unwrap().standing;
    assert_eq!(standing, Standing::Bound, "nobody has been told to abort");
}

/// A record that is gone on with, and a reencryptor that says nothing: what it had said to a coordinator before,
/// asked or not, could be from before its keystore flipped.
#[test]
fn a_late_report_of_a_keystore_is_no_answer_within_a_rotation_either() {
    let mut stage = Stage::well();
    let order = stage.order(|_| {});
    stage.silent_after_surveys = Some(OP_1);
    assert!(matches!(stage.start(order, false), Answer::Started { .. }));
    let record = stage.conductor.rotation().unwrap().record().clone();
    stage.is_reencryptor_silent = true;
    restarted_with(&mut stage, Some(record));
    stage.pass(Times::default().survey_ms);
    assert!(stage.conductor.is_rotating(), "it is gone on with");
    let to = Recipient::Process(id_of(&coordinator()));
    let before = Answering { message: MessageId::from_bytes([7; 16]), refusal: None };
    for answering in [None, Some(before)] {
        stage.now = stage.now.plus_ms(1);
        let row = Some(stage.row.clone());
        let by = reencryptor();
        let late = KeystoreReport { row, answering, clock: stage.now, ..keystore_report(&by) };
        let late = stage.world.seal(&by, to, Kind::KeystoreReport, Epoch::default(), &late);
        stage.handle(Input::Message(late));
        assert!(stage.conductor.heard().keystores.contains_key(&id_of(&by)), "it is taken in");
        let Answer::Refused(refusal) = stage.ask(abort()) else { panic!() };
        assert_eq!(refusal.code, "keystore-silent");
    }
    stage.is_reencryptor_silent = false;
    stage.pass(Limits::default().max_retry_ms);
    assert!(
        matches!(stage.ask(abort()), Answer::Aborting(_)),
        "it was asked again, and has answered"
    );
}

fn abort() -> Ask {
    Ask::Abort { rotation: None, because: "the wrong day".to_owned() }
}
