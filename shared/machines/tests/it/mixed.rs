//! Goal: where units have ended a rotation differently, nothing but how they stand is asked of them, keys are
//! served, and an amendment that removes one side lets the others end it. Method: a coordinator's
//! rotation, and the reports of units that were brought onto either side.

use machines::rotation::desired::Wanted;
use machines::rotation::record::{Record, Verdict};
use machines::rotation::{Effects, Input, Limits, Rotation};
use protocol::ProcessId;
use protocol::command::{KeystoreCommand, Step};
use protocol::keystore::KeystoreStanding;
use protocol::order::Purpose;
use protocol::report::KeystoreReport;

use crate::world::{
    ALL, EPOCH, NOW, OP_1, OP_2, REC_1, REC_2, Run, World, id_of, reencryptor, unit_id,
};

fn rotation(world: &World, run: &Run, verdict: Verdict) -> Rotation {
    let mut record = Record::new(run.signed.clone(), EPOCH, "test".to_owned(), NOW);
    (record.verdict, record.verdict_under) = (verdict, Some(1));
    record.to = Some(run.to);
    let manifest = world.manifests[0].unverified().unwrap();
    Rotation::new(record, manifest, Limits::default()).unwrap()
}

fn hear(rotation: &mut Rotation, world: &mut World, units: &[usize]) -> Effects {
    let mut last = Effects::default();
    for unit in units {
        let answer = world.command(*unit, protocol::command::Command::Survey { order: None });
        let input = Input::Unit(Box::new(answer.report), answer.envelope);
        last = rotation.handle(world.now, input);
    }
    last
}

/// The keystore's standing in this rotation, as its reencryptor reports it.
fn hear_keystore(
    rotation: &mut Rotation,
    world: &mut World,
    run: &Run,
    standing: KeystoreStanding,
) -> Effects {
    let mut report: KeystoreReport = world.flipped(run);
    let row = report.row.as_mut().unwrap();
    row.rotation.as_mut().unwrap().standing = standing;
    (row.active, row.epoch) = (None, EPOCH);
    let envelope = world.keystore_envelope(&reencryptor(), &report);
    rotation.note_surveyed(&report);
    rotation.handle(world.now, Input::Keystore(Box::new(report), envelope))
}

fn amended(rotation: &mut Rotation, world: &World) -> Effects {
    let since = world.manifests[1..].to_vec();
    let newest = since.last().unwrap().unverified().unwrap();
    rotation.handle(world.now, Input::Amended(Box::new(newest), since))
}

/// Two units abort it, and the other two promote it.
fn end_differently(world: &mut World, run: &Run) {
    let certificate = world.unit_certificate();
    for unit in [OP_1, REC_1] {
        world.abort(unit, run);
    }
    for unit in [OP_2, REC_2] {
        let certificate = certificate.clone();
        world.step(unit, run, Step::Promote { certificate });
    }
}

/// What is asked at last of whom.
fn asked(effects: &Effects) -> Vec<(ProcessId, &'static str)> {
    effects.send.iter().map(|wanted| (wanted.to(), wanted.name())).collect()
}

/// What is asked after everything has waited long enough, in the order of whom.
fn later(rotation: &mut Rotation, world: &mut World) -> Vec<(ProcessId, &'static str)> {
    world.now = world.now.plus_ms(60_000);
    sorted(asked(&rotation.handle(world.now, Input::Tick)))
}

fn sorted(mut asked: Vec<(ProcessId, &'static str)>) -> Vec<(ProcessId, &'static str)> {
    asked.sort_unstable();
    asked
}

#[test]
fn an_amendment_turns_a_verdict_once_and_the_record_says_under_which_manifest() {
    for (goes, turned) in [([OP_2, REC_2], "aborted"), ([OP_1, REC_1], "decided")] {
        let mut world = World::initialised();
        let run = world.committed(Purpose::Rotate, 2);
        end_differently(&mut world, &run);
        let aborted = Verdict::Aborted { because: "asked".to_owned() };
        let saved = if turned == "aborted" { Verdict::Decided } else { aborted };
        let mut rotation = rotation(&world, &run, saved.clone());
        hear(&mut rotation, &mut world, &ALL);
        assert_eq!(rotation.record().verdict, saved, "it is mixed: nobody has decided anything");
        hear_keystore(&mut rotation, &mut world, &run, KeystoreStanding::Aborted);
        let stays: Vec<_> = ALL.into_iter().filter(|unit| !goes.contains(unit)).collect();
        let holder = if turned == "aborted" { REC_1 } else { REC_2 };
        world.amend(&stays, &run, holder);
        let effects = amended(&mut rotation, &world);
        assert!(effects.save);
        let found = match rotation.record().verdict {
            Verdict::Open => "open",
            Verdict::Decided => "decided",
            Verdict::Aborted { .. } => "aborted",
        };
        assert_eq!((found, rotation.record().verdict_under), (turned, Some(2)));
    }
}

#[test]
fn units_on_both_sides_are_asked_at_most_how_they_stand_whatever_the_verdict_is() {
    let aborted = Verdict::Aborted { because: "asked".to_owned() };
    for verdict in [Verdict::Open, Verdict::Decided, aborted] {
        for first in [[OP_1, OP_2], [OP_2, OP_1]] {
            let mut world = World::initialised();
            let run = world.committed(Purpose::Rotate, 2);
            end_differently(&mut world, &run);
            let mut rotation = rotation(&world, &run, verdict.clone());
            let effects = hear(&mut rotation, &mut world, &first);
            let surveyed = |units: &[usize]| -> Vec<_> {
                units.iter().map(|unit| (unit_id(*unit), "survey")).collect()
            };
            let gate = [(id_of(&reencryptor()), "abort")];
            // All that have not said that they have promoted.
            let expected = sorted([&gate[..], &surveyed(&[REC_1, REC_2, OP_1])].concat());
            let at_once = asked(&effects);
            assert!(at_once.iter().all(|one| expected.contains(one)), "{verdict:?}: {at_once:?}");
            assert_eq!(later(&mut rotation, &mut world), expected, "{verdict:?}");
            hear(&mut rotation, &mut world, &[REC_1, REC_2]);
            let both = sorted(surveyed(&[REC_1, OP_1]));
            let expected = sorted([&gate[..], &both].concat());
            assert_eq!(later(&mut rotation, &mut world), expected, "{verdict:?}");
            hear_keystore(&mut rotation, &mut world, &run, KeystoreStanding::Aborted);
            assert_eq!(later(&mut rotation, &mut world), both, "{verdict:?}: keys are served");
            assert_eq!((&rotation.record().verdict, rotation.is_ended()), (&verdict, false));
        }
    }
}

#[test]
fn an_amendment_of_before_the_verdict_turns_nothing() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let mut rotation = rotation(&world, &run, Verdict::Open);
    hear(&mut rotation, &mut world, &ALL);
    world.amend(&[OP_1, REC_1, REC_2], &run, REC_1);
    amended(&mut rotation, &world);
    hear_keystore(&mut rotation, &mut world, &run, KeystoreStanding::Complete);
    assert_eq!(rotation.record().verdict, Verdict::Decided);
    assert_eq!(rotation.record().verdict_under, Some(2));
    world.abort(OP_1, &run);
    hear(&mut rotation, &mut world, &[OP_1]);
    assert_eq!(rotation.record().verdict, Verdict::Decided, "no store would take it back");
}

#[test]
fn a_decided_rotation_that_a_unit_has_aborted_lets_keys_be_served_until_that_unit_is_removed() {
    for has_gone_on in [false, true] {
        one_unit_has_aborted(has_gone_on);
    }
}

/// Whatever it has taken since, it never promotes.
fn one_unit_has_aborted(has_gone_on: bool) {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let mut rotation = rotation(&world, &run, Verdict::Decided);
    hear_keystore(&mut rotation, &mut world, &run, KeystoreStanding::Complete);
    world.abort(OP_2, &run);
    if has_gone_on {
        let other = world.signed(world.order(Purpose::Rotate, 3));
        assert_eq!(world.abort(OP_2, &other).code(), "taken");
    }
    let effects = hear(&mut rotation, &mut world, &ALL);
    let gate = (id_of(&reencryptor()), "abort");
    let expected = sorted([&[gate][..], &ALL.map(|unit| (unit_id(unit), "survey"))].concat());
    let at_once = asked(&effects);
    assert!(at_once.iter().all(|one| expected.contains(one)), "{at_once:?}");
    assert_eq!(later(&mut rotation, &mut world), expected, "so that its gate opens");

    hear_keystore(&mut rotation, &mut world, &run, KeystoreStanding::Aborted);
    world.amend(&[OP_1, REC_1, REC_2], &run, REC_1);
    let effects = amended(&mut rotation, &world);
    assert_eq!(rotation.record().verdict, Verdict::Decided);
    let [Wanted::Keystore(_, KeystoreCommand::Reencrypt { .. })] = &effects.send[..] else {
        panic!("it goes forward, in another generation: {:?}", asked(&effects))
    };
}

/// Its state was set back to before its promote when it was told to abort, and is brought back.
#[test]
fn a_mixed_end_is_none_any_more_once_the_volume_of_who_had_promoted_is_brought_back() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let before = world.state_bytes(OP_1);
    let certificate = world.unit_certificate();
    for unit in ALL {
        let certificate = certificate.clone();
        assert_eq!(world.step(unit, &run, Step::Promote { certificate }).code(), "taken");
    }
    let promoted = world.state_bytes(OP_1);
    world.put_back(OP_1, &before);
    assert_eq!(world.abort(OP_1, &run).code(), "taken");
    let mut rotation = rotation(&world, &run, Verdict::Decided);
    hear_keystore(&mut rotation, &mut world, &run, KeystoreStanding::Complete);
    hear(&mut rotation, &mut world, &ALL);
    assert!(rotation.sides().is_mixed());
    world.put_back(OP_1, &promoted);
    assert!(later(&mut rotation, &mut world).contains(&(unit_id(OP_1), "survey")));
    hear(&mut rotation, &mut world, &[OP_1]);
    assert!(!rotation.sides().is_mixed(), "{:?}", rotation.sides());
}
