//! Goal: whatever a rogue that holds a coordinator's identity has had a keystore open, the next coordinator
//! gets rid of it, and orders that it gives itself, by the administrators' leave, keep nobody from an end.
//! Method: a keystore's row, or units, as it leaves them behind, and what is wanted then.

use machines::conductor::{Answer, Ask, StartAsk};
use machines::rewrap;
use machines::rotation::desired::Wanted;
use machines::rotation::record::{Record, Verdict};
use machines::rotation::recovery::{Reports, recover};
use machines::rotation::{Effects, Input, Limits, Rotation};
use machines::trust::Trust;
use protocol::audit::Phase;
use protocol::certificate::Certificate;
use protocol::command::{Command, KeystoreCommand};
use protocol::envelope::{Kind, Recipient};
use protocol::keystore::{Generation, GenerationState, KeystoreStanding};
use protocol::order::Purpose;
use protocol::report::KeystoreReport;
use protocol::{Pattern, ProcessId, Role};

use crate::starts::{Stage, start_ask};
use crate::world::{
    ALL, EPOCH, NOW, OP_1, OP_2, OTHERS, REC_1, REC_2, Run, World, coordinator, id_of, identity,
    reencryptor,
};

/// A keystore in which a generation is open in this order.
fn open_in(world: &World, run: &Run, to: Pattern, standing: KeystoreStanding) -> KeystoreReport {
    let mut report = world.flipped(run);
    let row = report.row.as_mut().unwrap();
    let rotation = row.rotation.as_mut().unwrap();
    (rotation.standing, rotation.to) = (standing, to);
    let generation = row.active.take().unwrap();
    row.open = Some(Generation { pattern: to, state: GenerationState::Building, ..generation });
    row.epoch = EPOCH;
    report
}

/// The rotation of a coordinator that has heard the keystore, and then every unit, and what it wants at last.
fn told(
    world: &mut World,
    run: &Run,
    verdict: Verdict,
    keystore: KeystoreReport,
) -> (Rotation, Effects) {
    let mut record = Record::new(run.signed.clone(), EPOCH, "test".to_owned(), NOW);
    record.verdict = verdict;
    let manifest = world.manifests[0].unverified().unwrap();
    let mut rotation = Rotation::new(record, manifest, Limits::default()).unwrap();
    let envelope = world.keystore_envelope(&reencryptor(), &keystore);
    let mut last = rotation.handle(NOW, Input::Keystore(Box::new(keystore), envelope));
    for unit in ALL {
        let answer = world.command(unit, Command::Survey { order: None });
        last = rotation.handle(NOW, Input::Unit(Box::new(answer.report), answer.envelope));
    }
    (rotation, last)
}

fn heard(world: &mut World, run: &Run, keystore: KeystoreReport) -> Effects {
    told(world, run, Verdict::Open, keystore).1
}

#[test]
fn a_generation_that_is_open_for_another_pattern_goes_before_the_right_one_is_opened() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let other = Pattern([0x77; 32]);
    for (to, standing, wanted) in [
        (run.to, KeystoreStanding::Open, "reencrypt"),
        (other, KeystoreStanding::Open, "abort"),
        // An empty keystore is complete at once.
        (other, KeystoreStanding::Complete, "abort"),
        (other, KeystoreStanding::Aborted, "reencrypt"),
    ] {
        let report = open_in(&world, &run, to, standing);
        let effects = heard(&mut world, &run, report);
        let names: Vec<_> = effects.send.iter().map(Wanted::name).collect();
        assert_eq!(names, [wanted], "{to} {standing:?}");
        if let Wanted::Keystore(_, KeystoreCommand::Reencrypt { to: asked, .. }) = &effects.send[0]
        {
            assert_eq!(*asked, run.to);
        }
    }
    // A copy that was made in the midst of an earlier rotation and is restored; one of a later one is not
    // this rotation's to end.
    for (number, wanted) in [(1, "abort"), (3, "reencrypt")] {
        let another = world.signed(world.order(Purpose::Rotate, number));
        let report = open_in(&world, &another, other, KeystoreStanding::Open);
        let effects = heard(&mut world, &run, report);
        let names: Vec<_> = effects.send.iter().map(Wanted::name).collect();
        assert_eq!(names, [wanted], "{number}");
    }
}

#[test]
fn a_keystore_that_is_open_in_an_ended_order_is_closed_whatever_has_been_taken_since() {
    let mut world = World::initialised();
    let run = world.inspected(Purpose::Rotate, 2);
    for unit in ALL {
        world.abort(unit, &run);
    }
    // A later order that keystores never see.
    let later = world.signed(world.order(Purpose::Rotate, 3));
    world.abort(OP_1, &later);
    let recovered = |world: &World, keystore: &KeystoreReport| {
        let units: Vec<_> = world.units.iter().map(|unit| unit.report(NOW, None)).collect();
        let reports = Reports { units: units.iter().collect(), keystores: vec![keystore] };
        recover(None, &reports, NOW).go_on
    };
    let open = open_in(&world, &run, run.to, KeystoreStanding::Open);
    let record = recovered(&world, &open).expect("it is gone on with");
    assert_eq!(record.signed_order, run.signed);
    assert!(matches!(record.verdict, Verdict::Aborted { .. }));

    // One that a unit has promoted is no aborted one: the row is an old copy's.
    let mut world = World::initialised();
    let run = world.whole_rotation(Purpose::Rotate, 2);
    let later = world.signed(world.order(Purpose::Rotate, 3));
    world.abort(OTHERS[0], &later);
    let open = open_in(&world, &run, run.to, KeystoreStanding::Open);
    assert_eq!(recovered(&world, &open), None);
    // Nor is one that all have cleared, whatever the last order is.
    let mut world = World::initialised();
    let run = world.whole_rotation(Purpose::Rotate, 2);
    let open = open_in(&world, &run, run.to, KeystoreStanding::Open);
    assert_eq!(recovered(&world, &open), None);
}

/// What is wanted of a rotation that is to be aborted, by whoever has heard the keystore and all units.
fn ending(
    world: &mut World,
    run: &Run,
    keystore: KeystoreReport,
) -> (Phase, Vec<(ProcessId, &'static str)>) {
    let aborted = Verdict::Aborted { because: "asked".to_owned() };
    let (mut rotation, _) = told(world, run, aborted, keystore);
    let later = NOW.plus_ms(60_000);
    let effects = rotation.handle(later, Input::Tick);
    let asked = effects.send.iter().map(|wanted| (wanted.to(), wanted.name())).collect();
    (rotation.record().phase(), asked)
}

/// The keystore before any rotation but its initialisation.
fn at_rest(world: &World) -> KeystoreReport {
    let mut report = world.flipped(&world.signed(world.order(Purpose::Initialise, 1)));
    let row = report.row.as_mut().unwrap();
    row.rotation.as_mut().unwrap().standing = KeystoreStanding::Dropped;
    row.epoch = EPOCH;
    report
}

#[test]
fn an_abort_waits_for_nobody_who_has_taken_another_order_of_the_same_number() {
    let mut world = World::initialised();
    let run = world.signed(world.order(Purpose::Rotate, 2));
    let mut order = world.order(Purpose::Rotate, 2);
    order.expires_at = order.expires_at.plus_ms(1);
    let of_rogue = world.signed(order);
    assert_eq!(world.inspect(OP_1, &of_rogue).code(), "taken");
    world.refuses(OP_1, Command::Abort { order: run.signed.clone() }, "other-digest");
    for unit in [OP_2, REC_1, REC_2] {
        world.abort(unit, &run);
    }
    let mut keystore = at_rest(&world);
    keystore.row.as_mut().unwrap().rotation.as_mut().unwrap().number = run.reference.number;
    let ended = ending(&mut world, &run, keystore);
    assert_eq!(ended, (Phase::Aborted, Vec::new()));
}

#[test]
fn an_abort_waits_for_no_memory_of_an_order_that_no_unit_has_taken() {
    let mut world = World::initialised();
    let run = world.signed(world.order(Purpose::Rotate, 2));
    let keystore = at_rest(&world);
    let reencryptor = id_of(&reencryptor());
    let (phase, asked) = ending(&mut world, &run, keystore.clone());
    assert_eq!(phase, Phase::Aborting);
    assert!(asked.iter().all(|(who, name)| *who != reencryptor && *name == "abort"), "{asked:?}");
    // Once one has, the keystore is asked until it remembers, but for what it has flipped and not dropped.
    world.abort(OP_1, &run);
    let mut open = open_in(
        &world,
        &world.signed(world.order(Purpose::Initialise, 1)),
        run.to,
        KeystoreStanding::Open,
    );
    open.row.as_mut().unwrap().epoch = EPOCH;
    let (_, asked) = ending(&mut world, &run, open);
    assert!(asked.contains(&(reencryptor, "abort")), "{asked:?}");
    let (_, asked) = ending(&mut world, &run, keystore);
    assert!(!asked.contains(&(reencryptor, "abort")), "{asked:?}");
}

#[test]
fn an_abort_is_remembered_only_where_a_unit_has_taken_the_order() {
    let mut world = World::initialised();
    let run = world.signed(world.order(Purpose::Rotate, 2));
    let trust = Trust::from_saved(world.instance, world.manifests.clone()).unwrap();
    let is_taken = |certificate: &Certificate| {
        rewrap::judge_abort(&run.signed, certificate, EPOCH, &trust).unwrap().is_taken
    };
    assert!(!is_taken(&Certificate::default()));
    assert!(!is_taken(&world.unit_certificate()), "nobody is in it");
    world.inspect(REC_1, &run);
    let right = world.unit_certificate();
    assert!(is_taken(&right));
    world.abort(REC_1, &run);
    assert!(is_taken(&world.unit_certificate()), "it has ended there since");
    // Signed by somebody else, or of somebody else.
    let mut damaged = right;
    for envelope in &mut damaged.envelopes {
        *envelope.last_mut().unwrap() ^= 1;
    }
    assert!(!is_taken(&damaged));
    let report = world.units[REC_1].report(NOW, None);
    let to = Recipient::Role(Role::Coordinator);
    for by in [identity(OP_1 as u8), coordinator()] {
        let envelopes = vec![world.seal(&by, to, Kind::UnitReport, EPOCH, &report)];
        assert!(!is_taken(&Certificate { envelopes, manifests: Vec::new() }));
    }
}

/// The others have left the rotation by a rogue's order: it is not waited for, but removed.
#[test]
fn who_was_left_behind_is_to_be_removed_by_the_same_manifest() {
    let mut world = World::initialised();
    let run = world.promoted(Purpose::Rotate, 2);
    for unit in OTHERS {
        world.clear(unit, &run);
    }
    let of_rogue = world.signed(world.order(Purpose::Rotate, 3));
    world.abort(OTHERS[0], &of_rogue);
    let mut stage = Stage::of(world);
    let order = stage.order(|order| order.number.number = 4);
    let plan = StartAsk { dry_run: true, ..start_ask(order, false) };
    let answer = stage.ask(Ask::Start(Box::new(plan)));
    let Answer::Unmet(findings) = &answer else { panic!("{answer:?}") };
    let bound =
        findings.unmet.iter().find(|found| found.code == "bound" && found.subject == "rec-1");
    let bound = bound.unwrap_or_else(|| panic!("{findings:?}"));
    assert_eq!(bound.mend, "keyhelm cryptounit-retire rec-1");
    stage.world.next_manifest(&[OP_1, OP_2, REC_1]);
    let next = stage.world.manifests[1].clone();
    let answer = stage.ask(Ask::Manifest(next, None));
    let Answer::Refused(refusal) = &answer else { panic!("{answer:?}") };
    assert!(
        refusal.text.contains("rec-1") && refusal.text.ends_with("remove it too"),
        "{refusal:?}"
    );
}
