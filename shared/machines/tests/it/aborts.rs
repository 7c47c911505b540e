//! Goal: an abort that comes too late decides the rotation instead of being asked for again and again, and
//! what the keystore has flipped is never taken back. Method: a coordinator's rotation, units brought to
//! where they stand, and a keystore's reports.

use machines::rotation::record::{Record, Verdict};
use machines::rotation::recovery::{Reports, recover};
use machines::rotation::{Effects, Input, Limits, Refused, Rotation};
use protocol::command::Command;
use protocol::keystore::KeystoreStanding;
use protocol::order::Purpose;

use crate::world::{
    ALL, EPOCH, KEYSTORE, NOW, OP_1, OP_2, REC_1, REC_2, Run, World, id_of, reencryptor,
};

fn running(world: &mut World, run: &Run) -> Rotation {
    let record = Record::new(run.signed.clone(), EPOCH, "test".to_owned(), NOW);
    let manifest = world.manifests[0].unverified().unwrap();
    let mut rotation = Rotation::new(record, manifest, Limits::default()).unwrap();
    for unit in ALL {
        let answer = world.command(unit, Command::Survey { order: None });
        rotation.handle(world.now, Input::Unit(Box::new(answer.report), answer.envelope));
    }
    rotation
}

fn hear_keystore(
    rotation: &mut Rotation,
    world: &World,
    run: &Run,
    standing: KeystoreStanding,
) -> Effects {
    let mut report = world.flipped(run);
    report.clock = world.now;
    let row = report.row.as_mut().unwrap();
    (row.epoch, row.rotation.as_mut().unwrap().standing) = (EPOCH, standing);
    rotation.note_surveyed(&report);
    rotation.handle(world.now, Input::Keystore(Box::new(report), Vec::new()))
}

fn asked_to_abort(rotation: &mut Rotation, world: &mut World) -> Effects {
    world.now = world.now.plus_ms(1);
    rotation.handle(world.now, Input::Abort { because: "the wrong day".to_owned() })
}

/// Nobody says anything more until the abort is judged.
fn judged(rotation: &mut Rotation, world: &mut World) -> Effects {
    world.now = world.now.plus_ms(Limits::default().abort_grace_ms);
    rotation.handle(world.now, Input::Tick)
}

#[test]
fn whoever_could_have_come_further_is_asked_before_an_abort_is_judged() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let mut rotation = running(&mut world, &run);
    hear_keystore(&mut rotation, &world, &run, KeystoreStanding::Open);
    let sent = asked_to_abort(&mut rotation, &mut world).send;
    let to_keystore: Vec<_> =
        sent.iter().filter(|it| it.to() == id_of(&reencryptor())).map(|it| it.name()).collect();
    assert_eq!((to_keystore, sent.len()), (vec!["survey"], ALL.len() + 1));
    // Its answer says more than what it had said before.
    let effects = hear_keystore(&mut rotation, &world, &run, KeystoreStanding::Flipped);
    assert!(matches!(effects.abort_refused, Some(Refused::Decided(_))));
    assert_eq!(rotation.record().verdict, Verdict::Decided);
}

#[test]
fn an_abort_that_comes_too_late_decides_the_rotation() {
    for (promoted, flipped) in [(true, false), (false, true)] {
        let mut world = World::initialised();
        let run = world.committed(Purpose::Rotate, 2);
        if promoted {
            assert_eq!(world.promote(OP_2, &run).code(), "taken");
        }
        let mut rotation = running(&mut world, &run);
        let standing = if flipped { KeystoreStanding::Flipped } else { KeystoreStanding::Complete };
        asked_to_abort(&mut rotation, &mut world);
        hear_keystore(&mut rotation, &world, &run, standing);
        judged(&mut rotation, &mut world);
        assert!(rotation.record().verdict_under.is_some());
        assert!(rotation.record().verdict == Verdict::Decided, "{promoted}");
    }
}

/// One that has said nothing since before this process took the rotation up may have flipped; one that cannot
/// read its database says nothing of it.
#[test]
fn nothing_is_aborted_before_every_keystore_has_said_how_it_stands() {
    for is_surveyed in [true, false] {
        let mut world = World::initialised();
        let run = world.committed(Purpose::Rotate, 2);
        let mut rotation = running(&mut world, &run);
        if is_surveyed {
            rotation = rotation.with_surveyed([KEYSTORE].into());
        }
        let is_aborted =
            |rotation: &Rotation| matches!(rotation.record().verdict, Verdict::Aborted { .. });
        for is_answered in [false, true] {
            let refused = asked_to_abort(&mut rotation, &mut world).abort_refused;
            let is_refused = matches!(refused, Some(Refused::KeystoreSilent(_)));
            assert_eq!(is_refused, !is_surveyed, "{is_answered}");
            judged(&mut rotation, &mut world);
            assert_eq!(is_aborted(&rotation), is_surveyed, "{is_answered}");
            let mut report = world.flipped(&run);
            (report.clock, report.row) = (world.now, None);
            rotation.handle(world.now, Input::Keystore(Box::new(report), Vec::new()));
        }
        world.now = world.now.plus_ms(Limits::default().silence_abort_ms);
        let sent = rotation.handle(world.now, Input::Tick).send;
        assert!(sent.iter().any(|it| it.to() == id_of(&reencryptor())), "it is asked");
        assert_eq!(is_aborted(&rotation), is_surveyed, "silence asks for no end");
        hear_keystore(&mut rotation, &world, &run, KeystoreStanding::Open);
        asked_to_abort(&mut rotation, &mut world);
        judged(&mut rotation, &mut world);
        assert!(is_aborted(&rotation), "{is_surveyed}");
        let next = rotation.next_tick().unwrap();
        assert!(next > world.now, "{is_surveyed}: nothing is left to be judged");
    }
}

/// A unit that was put back and does not know it ends an order that all had promoted.
#[test]
fn what_one_has_aborted_is_decided_all_the_same_where_the_keystore_has_flipped() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let units = ALL.map(|unit| world.units[unit].report(NOW, None));
    world.abort(OP_1, &run);
    let aborted = world.units[OP_1].report(NOW, None);
    for (standing, is_decided) in
        [(KeystoreStanding::Flipped, true), (KeystoreStanding::Complete, false)]
    {
        let mut rotation = running(&mut world, &run);
        hear_keystore(&mut rotation, &world, &run, standing);
        judged(&mut rotation, &mut world);
        assert_eq!(rotation.record().verdict == Verdict::Decided, is_decided, "{standing:?}");

        let mut keystore = world.flipped(&run);
        keystore.row.as_mut().unwrap().rotation.as_mut().unwrap().standing = standing;
        let said = units.iter().filter(|it| it.unit != aborted.unit).chain([&aborted]).collect();
        let reports = Reports { units: said, keystores: vec![&keystore] };
        let rebuilt = recover(None, &reports, NOW).go_on.unwrap();
        assert_eq!(rebuilt.verdict == Verdict::Decided, is_decided, "{standing:?}");
    }
}

#[test]
fn a_mixed_end_is_not_decided_by_an_abort_and_silence_asks_for_none() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    assert_eq!(world.promote(OP_2, &run).code(), "taken");
    assert_eq!(world.promote(REC_2, &run).code(), "taken");
    world.abort(OP_1, &run);
    let mut rotation = running(&mut world, &run).with_surveyed([KEYSTORE].into());
    asked_to_abort(&mut rotation, &mut world);
    assert!(judged(&mut rotation, &mut world).abort_refused.is_some());
    let (epoch, sides) = (rotation.record().epoch, rotation.sides());
    assert!(sides.is_mixed() && rotation.record().verdict == Verdict::Open);
    for _ in 0..3 {
        world.now = world.now.plus_ms(Limits::default().silence_abort_ms);
        assert!(rotation.handle(world.now, Input::Tick).abort_refused.is_none());
    }
    assert_eq!(rotation.record().epoch, epoch, "nobody is asked about an abort");
}

/// The administrators remove whoever has promoted: no amendment that leaves nobody with the key that the
/// key storage is under is taken, nor does one turn the verdict.
#[test]
fn an_amendment_takes_back_nothing_that_the_keystore_has_flipped() {
    for (standing, is_turned) in
        [(KeystoreStanding::Flipped, false), (KeystoreStanding::Complete, true)]
    {
        let mut world = World::initialised();
        let run = world.committed(Purpose::Rotate, 2);
        for unit in [OP_2, REC_2] {
            assert_eq!(world.promote(unit, &run).code(), "taken");
        }
        for unit in [OP_1, REC_1] {
            world.abort(unit, &run);
        }
        let mut rotation = running(&mut world, &run);
        hear_keystore(&mut rotation, &world, &run, standing);
        world.amend(&[OP_1, REC_1], &run, REC_1);
        let since = world.manifests[1..].to_vec();
        let newest = since.last().unwrap().unverified().unwrap();
        let binding = rotation.binding(id_of(&reencryptor()), &newest);
        assert_eq!(binding.is_promoted, !is_turned, "{standing:?}");
        rotation.handle(world.now, Input::Amended(Box::new(newest), since));
        let is_aborted = matches!(rotation.record().verdict, Verdict::Aborted { .. });
        assert_eq!(is_aborted, is_turned, "{standing:?}");
    }
}
