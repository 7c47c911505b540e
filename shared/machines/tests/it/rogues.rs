//! Goal: whatever a rogue that holds a coordinator's identity has had a keystore open, the next coordinator
//! gets rid of it. Method: a keystore's row as it leaves it behind, and what is wanted then.

use machines::rotation::desired::Wanted;
use machines::rotation::record::{Record, Verdict};
use machines::rotation::recovery::{Reports, recover};
use machines::rotation::{Effects, Input, Limits, Rotation};
use protocol::Pattern;
use protocol::command::{Command, KeystoreCommand};
use protocol::keystore::{Generation, GenerationState, KeystoreStanding};
use protocol::order::Purpose;
use protocol::report::KeystoreReport;

use crate::world::{ALL, EPOCH, NOW, OP_1, OTHERS, Run, World, reencryptor};

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

/// What a coordinator wants that has heard the keystore, and then every unit.
fn heard(world: &mut World, run: &Run, keystore: KeystoreReport) -> Effects {
    let record = Record::new(run.signed.clone(), EPOCH, "test".to_owned(), NOW);
    let manifest = world.manifests[0].unverified().unwrap();
    let mut rotation = Rotation::new(record, manifest, Limits::default()).unwrap();
    let envelope = world.keystore_envelope(&reencryptor(), &keystore);
    let mut last = rotation.handle(NOW, Input::Keystore(Box::new(keystore), envelope));
    for unit in ALL {
        let answer = world.command(unit, Command::Survey { order: None });
        last = rotation.handle(NOW, Input::Unit(Box::new(answer.report), answer.envelope));
    }
    last
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
