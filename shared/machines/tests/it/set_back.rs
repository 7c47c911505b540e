//! Goal: a unit whose saved state is an older one counts in no certificate and serves nothing until it
//! has come as far again. Method: state files put aside and brought back at each step of a rotation.

use std::collections::BTreeMap;

use machines::certificate::{self, CertificateRefusal, Counters, Judge, Reached};
use machines::rotation::record::{Record, Verdict};
use machines::rotation::{Input, Limits, Rotation};
use machines::trust::Trust;
use protocol::ProcessId;
use protocol::audit::Phase;
use protocol::certificate::Certificate;
use protocol::command::{Command, Step};
use protocol::keystore::KeystoreStanding;
use protocol::order::Purpose;
use protocol::report::{KeystoreReport, Standing};

use crate::starts::{Stage, opened, restarted};
use crate::world::{
    ALL, Answer, EPOCH, NOW, OP_1, OP_2, REC_1, Run, World, id_of, reencryptor, unit_id,
};

fn survey(world: &mut World, unit: usize) -> Vec<u8> {
    world.command(unit, Command::Survey { order: None }).envelope
}

/// Sets a unit back to this state, and shows it the last report that it has signed.
fn reminded(world: &mut World, unit: usize, before: &[u8]) -> Answer {
    let own = survey(world, unit);
    world.put_back(unit, before);
    world.command(unit, Command::Remind { report: own })
}

fn serves(world: &World, unit: usize) -> bool {
    world.units[unit].takes_pages()
}

#[test]
fn a_unit_takes_only_its_own_newer_report_as_a_reminder() {
    let mut world = World::initialised();
    let before = world.state_bytes(OP_1);
    let run = world.inspected(Purpose::Rotate, 2);
    let (own, others) = (survey(&mut world, OP_1), survey(&mut world, OP_2));
    world.answers_from_state(OP_1, Command::Remind { report: own.clone() });
    assert!(serves(&world, OP_1), "it is as far as its report");
    world.put_back(OP_1, &before);
    world.refuses(OP_1, Command::Remind { report: others }, "reminder-refused");
    let mut forged = own.clone();
    *forged.last_mut().unwrap() ^= 1;
    world.refuses(OP_1, Command::Remind { report: forged }, "reminder-refused");
    let answer = world.command(OP_1, Command::Remind { report: own });
    assert!(answer.report.set_back_from.is_some());
    assert!(!serves(&world, OP_1), "nothing is served until it is as far again");
    let answer = world.inspect(OP_1, &run);
    assert_eq!(answer.code(), "taken", "{}", answer.text());
    assert!(answer.report.set_back_from.is_none() && serves(&world, OP_1));
}

#[test]
fn an_order_that_was_taken_in_time_is_taken_again_whatever_the_time() {
    let mut world = World::initialised();
    let before = world.state_bytes(OP_1);
    let run = world.inspected(Purpose::Rotate, 2);
    let own = survey(&mut world, OP_1);
    world.now = run.order.expires_at;
    world.put_back(OP_1, &before);
    let inspect = Command::Inspect { order: run.signed.clone() };
    world.refuses(OP_1, inspect, "order-expired");
    world.command(OP_1, Command::Remind { report: own });
    assert_eq!(world.inspect(OP_1, &run).code(), "taken");
}

#[test]
fn a_generator_that_is_set_back_never_draws_a_second_key() {
    let mut world = World::initialised();
    let before = world.state_bytes(REC_1);
    let run = world.generated(Purpose::Rotate, 2);
    reminded(&mut world, REC_1, &before);
    assert_eq!(world.inspect(REC_1, &run).code(), "taken");
    let offers = vec![world.offer(OP_1)];
    let generate = Step::Generate { offers };
    world.refuses(REC_1, Command::Step { order: run.reference, step: generate }, "had-drawn");
}

/// Brings a unit up again like one that was away.
fn brought_up(world: &mut World, unit: usize, run: &Run) {
    assert_eq!(world.inspect(unit, run).code(), "taken");
    let offers = vec![world.offer(unit)];
    let sealed = world.step(REC_1, run, Step::Generate { offers });
    let transfer = sealed.transfers.unwrap().transfers.remove(0);
    assert_eq!(world.step(unit, run, Step::Install { transfer }).code(), "taken");
    let commit = Step::Commit { pattern: run.to };
    assert_eq!(world.step(unit, run, commit).code(), "taken");
}

/// What it said while the older one was in its place counts higher, and comes late.
#[test]
fn a_unit_whose_newest_volume_was_brought_back_is_heard_again() {
    let mut world = World::initialised();
    let run = world.inspected(Purpose::Rotate, 2);
    let before = world.state_bytes(OP_2);
    let commit = world.generated(Purpose::Rotate, 2);
    assert_eq!(world.install(OP_2, &commit).code(), "taken");
    let newest = world.state_bytes(OP_2);
    reminded(&mut world, OP_2, &before);
    let mut late = world.command(OP_2, Command::Survey { order: None });
    late.report.state_counter += 10;
    world.put_back(OP_2, &newest);
    let aborted = world.abort(OP_2, &run);
    assert!(aborted.report.state_counter < late.report.state_counter);
    let mut record = Record::new(run.signed.clone(), EPOCH, "test".to_owned(), NOW);
    record.verdict = Verdict::Aborted { because: "asked".to_owned() };
    let manifest = world.manifests[0].unverified().unwrap();
    for order in [[&late, &aborted], [&aborted, &late]] {
        let mut rotation =
            Rotation::new(record.clone(), manifest.clone(), Limits::default()).unwrap();
        for answer in order {
            let report = Box::new(answer.report.clone());
            rotation.handle(NOW, Input::Unit(report, answer.envelope.clone()));
        }
        let is_asked = asked(&mut rotation).iter().any(|(who, _)| *who == unit_id(OP_2));
        assert!(!is_asked, "it has ended the order");
    }
}

/// All have promoted, and one was set back to before its order and is committed again.
fn behind_its_promote() -> (World, Run) {
    let mut world = World::initialised();
    let before = world.state_bytes(OP_2);
    let run = world.promoted(Purpose::Rotate, 2);
    reminded(&mut world, OP_2, &before);
    brought_up(&mut world, OP_2, &run);
    (world, run)
}

/// A decided rotation that has heard the keystore only.
fn decided(world: &mut World, run: &Run, keystore: &KeystoreReport) -> Rotation {
    let mut record = Record::new(run.signed.clone(), EPOCH, "test".to_owned(), NOW);
    (record.verdict, record.to) = (Verdict::Decided, Some(run.to));
    let manifest = world.manifests[0].unverified().unwrap();
    let mut rotation = Rotation::new(record, manifest, Limits::default()).unwrap();
    let envelope = world.keystore_envelope(&reencryptor(), keystore);
    rotation.handle(NOW, Input::Keystore(Box::new(keystore.clone()), envelope));
    rotation
}

/// Whom a rotation asks for what, once it is time to ask again.
fn asked(rotation: &mut Rotation) -> Vec<(ProcessId, &'static str)> {
    let effects = rotation.handle(NOW.plus_ms(60_000), Input::Tick);
    effects.send.iter().map(|it| (it.to(), it.name())).collect()
}

#[test]
fn a_unit_that_had_promoted_is_brought_up_again_and_counts_only_then() {
    let (mut world, run) = behind_its_promote();
    assert!(!serves(&world, OP_2));
    let trust = Trust::from_saved(world.instance, world.manifests.clone()).unwrap();
    let of_all = world.unit_certificate();
    let judged = |given: &Certificate| {
        let judge = Judge::by(&trust);
        certificate::verify_units(given, &run.reference, run.to, Reached::Committed, judge)
    };
    assert_eq!(judged(&of_all), Err(CertificateRefusal::SetBack("op-2".to_owned())));
    let answer = world.promote(OP_2, &run);
    assert_eq!(answer.code(), "taken", "{}", answer.text());
    assert_eq!(answer.report.rotation.unwrap().standing, Standing::Promoted);
    assert!(answer.report.set_back_from.is_none() && serves(&world, OP_2));
    let of_all = world.unit_certificate();
    assert!(judged(&of_all).is_ok());
}

/// The keystore, which was put back, takes no report of a unit that is set back, and that one has as much again
/// only with its promote: asked of the keystore first, both would wait for each other.
#[test]
fn one_that_had_promoted_is_brought_up_again_before_the_keystore_is_asked() {
    let (mut world, run) = behind_its_promote();
    let mut put_back = world.flipped(&run);
    put_back.row.as_mut().unwrap().rotation = None;
    let mut rotation = decided(&mut world, &run, &put_back);
    let mut heard = |world: &mut World, units: &[usize]| -> Vec<_> {
        for unit in units {
            let answer = world.command(*unit, Command::Survey { order: None });
            rotation.handle(NOW, Input::Unit(Box::new(answer.report), answer.envelope));
        }
        asked(&mut rotation)
    };
    assert_eq!(heard(&mut world, &ALL), [(unit_id(OP_2), "promote")]);
    assert_eq!(world.promote(OP_2, &run).code(), "taken");
    assert_eq!(heard(&mut world, &[OP_2]), [(id_of(&reencryptor()), "reencrypt")]);
}

/// It may be as far again, and its answer was lost: nobody else would ask it.
#[test]
fn one_that_has_promoted_and_said_it_is_set_back_is_asked_again_before_the_keystore_is() {
    let mut world = World::initialised();
    let run = world.promoted(Purpose::Rotate, 2);
    let flipped = world.flipped(&run);
    for standing in [KeystoreStanding::Open, KeystoreStanding::Complete, KeystoreStanding::Switched]
    {
        let mut keystore = flipped.clone();
        let row = keystore.row.as_mut().unwrap();
        (row.epoch, row.rotation.as_mut().unwrap().standing) = (EPOCH, standing);
        let mut rotation = decided(&mut world, &run, &keystore);
        for unit in ALL {
            let mut answer = world.command(unit, Command::Survey { order: None });
            answer.report.set_back_from = (unit == OP_2).then_some(99);
            rotation.handle(NOW, Input::Unit(Box::new(answer.report), answer.envelope));
        }
        assert_eq!(asked(&mut rotation), [(unit_id(OP_2), "inspect")], "{standing:?}");
    }
}

#[test]
fn a_unit_remembers_the_counters_of_others_and_wants_no_lower_ones() {
    let mut world = World::initialised();
    let run = world.promoted(Purpose::Rotate, 2);
    let seen = world.units[OP_1].state().counters.clone();
    assert_eq!(seen.len(), ALL.len());
    world.restart_with(OP_1, |_| {});
    assert_eq!(world.units[OP_1].state().counters, seen, "they are saved");
    let trust = Trust::from_saved(world.instance, world.manifests.clone()).unwrap();
    let of_all = world.unit_certificate();
    let higher = |unit| BTreeMap::from([(unit_id(unit), u64::MAX)]);
    let judged = |seen: &Counters| {
        let judge = Judge { trust: &trust, seen: Some(seen), own: Some(unit_id(OP_1)) };
        certificate::verify_units(&of_all, &run.reference, run.to, Reached::Promoted, judge)
    };
    assert!(judged(&seen).is_ok());
    assert!(judged(&higher(OP_1)).is_ok(), "of itself it knows better");
    assert_eq!(judged(&higher(OP_2)), Err(CertificateRefusal::SetBack("op-2".to_owned())));
}

/// Its report would be worth nothing in the receipt, or to the keystore.
#[test]
fn a_rotation_has_not_ended_while_a_unit_that_has_cleared_knows_itself_to_be_set_back() {
    let mut world = World::initialised();
    let run = world.whole_rotation(Purpose::Rotate, 2);
    let mut dropped = world.flipped(&run);
    let row = dropped.row.as_mut().unwrap();
    row.rotation.as_mut().unwrap().standing = KeystoreStanding::Dropped;
    row.epoch = EPOCH;
    for (set_back_from, standing, phase, expected) in [
        (Some(99), Standing::Cleared, Phase::Clear, vec![(unit_id(OP_1), "clear")]),
        // Whatever it lacks besides, it is asked once.
        (Some(99), Standing::Promoted, Phase::Clear, vec![(unit_id(OP_1), "clear")]),
        (None, Standing::Cleared, Phase::Done, Vec::new()),
    ] {
        let mut rotation = decided(&mut world, &run, &dropped);
        for unit in ALL {
            let answer = world.command(unit, Command::Survey { order: None });
            let mut report = answer.report;
            if unit == OP_1 {
                report.set_back_from = set_back_from;
                report.rotation.as_mut().unwrap().standing = standing;
            }
            rotation.handle(NOW, Input::Unit(Box::new(report), answer.envelope));
        }
        assert_eq!(rotation.record().phase(), phase);
        assert_eq!(asked(&mut rotation), expected);
    }
}

#[test]
fn one_that_was_set_back_to_before_an_earlier_rotation_never_serves_again() {
    let mut world = World::initialised();
    let before = world.state_bytes(OP_2);
    world.whole_rotation(Purpose::Rotate, 2);
    reminded(&mut world, OP_2, &before);
    let run = world.signed(world.order(Purpose::Rotate, 3));
    let inspect = Command::Inspect { order: run.signed.clone() };
    world.refuses(OP_2, inspect, "other-current");
    assert!(!serves(&world, OP_2));
    // Its reminder outlives a restart.
    world.restart_with(OP_2, |_| {});
    assert!(!serves(&world, OP_2));
}

#[test]
fn one_that_was_set_back_ends_no_rotation_otherwise_than_it_had() {
    let mut world = World::initialised();
    let before = world.state_bytes(OP_2);
    let run = world.promoted(Purpose::Rotate, 2);
    reminded(&mut world, OP_2, &before);
    assert_eq!(world.inspect(OP_2, &run).code(), "taken");
    world.refuses(OP_2, Command::Abort { order: run.signed.clone() }, "promoted");
    // One that had aborted finds it so, and is as far again at once.
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let before = world.state_bytes(OP_2);
    assert_eq!(world.abort(OP_2, &run).code(), "taken");
    let answer = reminded(&mut world, OP_2, &before);
    assert_eq!(answer.report.rotation.unwrap().standing, Standing::Aborted);
    assert!(answer.report.set_back_from.is_none() && serves(&world, OP_2));
}

#[test]
fn one_that_aborts_a_later_order_is_not_as_far_again_without_the_master_key_that_it_had() {
    let mut world = World::initialised();
    let before = world.state_bytes(OP_2);
    world.whole_rotation(Purpose::Rotate, 2);
    reminded(&mut world, OP_2, &before);
    let later = world.signed(world.order(Purpose::Rotate, 3));
    assert_eq!(world.abort(OP_2, &later).code(), "taken");
    assert!(!serves(&world, OP_2));
}

/// The older volume had ended an order that goes from the master key that it had not got.
#[test]
fn a_newest_volume_is_as_far_as_an_older_one_that_has_ended_an_order_from_its_master_key() {
    let mut world = World::initialised();
    let before = world.state_bytes(OP_2);
    world.whole_rotation(Purpose::Rotate, 2);
    let newest = world.state_bytes(OP_2);
    world.put_back(OP_2, &before);
    let later = world.signed(world.order(Purpose::Rotate, 3));
    // It has saved more often since than the newer one had.
    world.restart_with(OP_2, |state| state.counter += 100);
    assert_eq!(world.abort(OP_2, &later).code(), "taken");
    let answer = reminded(&mut world, OP_2, &newest);
    assert_eq!(answer.report.rotation.unwrap().standing, Standing::Aborted);
    assert!(answer.report.set_back_from.is_none() && serves(&world, OP_2));
}

/// It was told of what it had promoted only once it had taken a later order from the master key that it had
/// left, whatever it had aborted since.
#[test]
fn one_that_has_taken_a_later_order_from_an_old_master_key_is_not_as_far_again() {
    for has_aborted_since in [false, true] {
        let mut world = World::initialised();
        let before = world.state_bytes(OP_2);
        let later = world.signed(world.order(Purpose::Rotate, 4));
        world.whole_rotation(Purpose::Rotate, 2);
        if has_aborted_since {
            let next = world.signed(world.order(Purpose::Rotate, 3));
            assert_eq!(world.abort(OP_2, &next).code(), "taken");
        }
        let own = survey(&mut world, OP_2);
        world.put_back(OP_2, &before);
        assert_eq!(world.inspect(OP_2, &later).code(), "taken");
        world.command(OP_2, Command::Remind { report: own });
        assert!(!serves(&world, OP_2));
        assert_eq!(world.abort(OP_2, &later).code(), "taken");
        assert!(!serves(&world, OP_2));
    }
}

/// It does not know it, and nobody knows better: the others have gone on. What it is bound to has ended
/// well in the keystore long since, which refuses to end it otherwise.
#[test]
fn one_that_is_bound_again_to_what_has_ended_well_is_let_go_of_without_the_keystore() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let before = world.state_bytes(OP_2);
    for unit in ALL {
        assert_eq!(world.promote(unit, &run).code(), "taken");
    }
    let run = world.all_clear(run);
    let later = world.signed(world.order(Purpose::Rotate, 3));
    for unit in ALL {
        assert_eq!(world.abort(unit, &later).code(), "taken");
    }
    world.put_back(OP_2, &before);
    let mut stage = Stage::of(world);
    opened(&mut stage, &run);
    stage.row.active = stage.row.open.take();
    stage.row.rotation.as_mut().unwrap().standing = KeystoreStanding::Dropped;
    restarted(&mut stage);
    stage.pass(10_000);
    assert!(!stage.conductor.is_rotating(), "{:?}", stage.conductor.rotation());
    assert!(!stage.world.units[OP_2].state().is_in_rotation());
}
