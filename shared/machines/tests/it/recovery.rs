//! Goal: whatever has become of the coordinator's record, it goes on with what units and keystore say.
//! Method: units brought to a state, a record that is there, gone or old, and what comes of both.

use machines::rotation::record::{Record, Verdict};
use machines::rotation::recovery::{Recovered, Reports, recover};
use protocol::Epoch;
use protocol::audit::Phase;
use protocol::command::Command;
use protocol::keystore::KeystoreStanding;
use protocol::order::{Order, Purpose};
use protocol::report::{KeystoreReport, Standing, UnitReport};

use crate::world::{ALL, NOW, OP_1, OP_2, Run, World, unit_id};

fn recovered(world: &World, record: Option<Record>) -> Recovered {
    recovered_beside(world, &[], record)
}

/// The same with the keystore that was flipped in this rotation last.
fn recovered_past(world: &World, flipped: &Run, record: Option<Record>) -> Recovered {
    recovered_beside(world, &[world.flipped(flipped)], record)
}

fn recovered_beside(
    world: &World,
    keystores: &[KeystoreReport],
    record: Option<Record>,
) -> Recovered {
    let units = said_by_units(world);
    let reports = Reports { units: units.iter().collect(), keystores: keystores.iter().collect() };
    recover(record, &reports, NOW)
}

fn record_of(run: &Run, verdict: Verdict) -> Record {
    let mut record = Record::new(run.signed.clone(), Epoch::default(), "test".to_owned(), NOW);
    record.verdict = verdict;
    record.to = Some(run.to);
    record
}

fn aborted() -> Verdict {
    Verdict::Aborted { because: "asked".to_owned() }
}

fn verdict(found: &Recovered) -> Option<&'static str> {
    found.go_on.as_ref().map(|record| match record.verdict {
        Verdict::Open => "open",
        Verdict::Decided => "decided",
        Verdict::Aborted { .. } => "aborted",
    })
}

#[test]
fn a_lost_record_is_rebuilt_forward_if_any_unit_has_promoted_else_it_is_an_abort() {
    let mut world = World::initialised();
    assert_eq!(recovered(&world, None), Recovered::default(), "nothing is left to be done");
    let run = world.committed(Purpose::Rotate, 2);
    assert_eq!(verdict(&recovered(&world, None)), Some("aborted"));
    world.promote(OP_1, &run);
    let found = recovered(&world, None);
    assert_eq!(verdict(&found), Some("decided"));
    assert_eq!(found.go_on.unwrap().signed_order, run.signed, "out of the reports");
}

#[test]
fn a_record_of_the_newest_order_keeps_its_verdict_and_an_open_one_learns_of_a_promote() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    for (given, expected) in
        [(Verdict::Open, "open"), (Verdict::Decided, "decided"), (aborted(), "aborted")]
    {
        let found = recovered(&world, Some(record_of(&run, given)));
        assert_eq!((verdict(&found), found.closed), (Some(expected), None));
    }
    world.promote(OP_1, &run);
    for (given, expected) in
        [(Verdict::Open, "decided"), (Verdict::Decided, "decided"), (aborted(), "aborted")]
    {
        let found = recovered(&world, Some(record_of(&run, given)));
        assert_eq!(verdict(&found), Some(expected), "a verdict is never taken back");
    }
}

#[test]
fn an_older_record_is_closed_as_it_must_have_ended_and_the_newer_rotation_gone_on_with() {
    let mut world = World::initialised();
    let first = world.whole_rotation(Purpose::Rotate, 2);
    let second = world.committed(Purpose::Rotate, 3);
    for given in [Verdict::Open, Verdict::Decided] {
        let found = recovered(&world, Some(record_of(&first, given)));
        assert_eq!(verdict(&found), Some("aborted"));
        assert_eq!(found.go_on.unwrap().signed_order, second.signed);
        let closed = found.closed.unwrap();
        assert_eq!((closed.verdict, closed.finished_at), (Verdict::Decided, Some(NOW)));
        assert_eq!(closed.phases.last().unwrap().0, Phase::Done, "its key is rotated from");
    }
    for unit in ALL {
        world.abort(unit, &second);
    }
    let third = world.committed(Purpose::Rotate, 4);
    world.promote(OP_1, &third);
    let found = recovered(&world, Some(record_of(&second, Verdict::Open)));
    assert_eq!(verdict(&found), Some("decided"));
    let closed = found.closed.unwrap();
    assert!(matches!(closed.verdict, Verdict::Aborted { .. }), "{:?}", closed.verdict);
    assert_eq!(closed.phases.last().unwrap().0, Phase::Aborted);
}

/// Its pattern was never saved.
#[test]
fn an_older_record_that_a_unit_has_promoted_is_closed_as_done() {
    let mut world = World::initialised();
    let first = world.promoted(Purpose::Rotate, 2);
    let before = world.state_bytes(OP_1);
    world.all_clear(first.clone());
    world.whole_rotation(Purpose::Rotate, 3);
    world.whole_rotation(Purpose::Rotate, 4);
    world.put_back(OP_1, &before);
    let record = Record { to: None, ..record_of(&first, Verdict::Open) };
    assert_eq!(recovered(&world, Some(record)).closed.unwrap().verdict, Verdict::Decided);
}

/// An old record, and one unit from the same backup: where the keystore has come further, there is nothing
/// left to be decided, and the unit is let go of.
#[test]
fn an_old_record_is_not_gone_on_with_for_a_unit_of_the_same_backup_once_the_keystore_is_past_it() {
    let mut world = World::initialised();
    let first = world.committed(Purpose::Rotate, 2);
    let before = world.state_bytes(OP_1);
    for unit in ALL {
        assert_eq!(world.promote(unit, &first).code(), "taken");
    }
    world.all_clear(first.clone());
    let second = world.whole_rotation(Purpose::Rotate, 3);
    world.put_back(OP_1, &before);
    let found = recovered_past(&world, &second, Some(record_of(&first, Verdict::Decided)));
    assert_eq!(found.closed.as_ref().unwrap().verdict, Verdict::Decided);
    assert_eq!(found.closed.as_ref().unwrap().finished_at, Some(NOW));
    assert_eq!(verdict(&found), Some("aborted"));
    assert_eq!(found.go_on.unwrap().signed_order, first.signed);
}

/// Else it would be closed and begun again for ever: what is decided below the highest number is closed.
#[test]
fn what_the_keystore_is_past_is_let_go_of_whatever_one_of_the_same_backup_had_promoted() {
    let mut world = World::initialised();
    let first = world.committed(Purpose::Rotate, 2);
    let bound = world.state_bytes(OP_1);
    for unit in ALL {
        assert_eq!(world.promote(unit, &first).code(), "taken");
    }
    let promoted = world.state_bytes(OP_2);
    world.all_clear(first.clone());
    let second = world.whole_rotation(Purpose::Rotate, 3);
    world.put_back(OP_1, &bound);
    world.put_back(OP_2, &promoted);
    for record in [None, Some(record_of(&first, Verdict::Decided))] {
        let found = recovered_past(&world, &second, record);
        assert_eq!(verdict(&found), Some("aborted"));
        assert_eq!(found.go_on.unwrap().signed_order, first.signed);
    }
}

/// Its reencryptor may be lost, and only while the rotation runs may another one take its place.
#[test]
fn what_is_decided_is_gone_on_with_for_who_promoted_it_until_a_keystore_says_how_it_stands() {
    let mut world = World::initialised();
    let first = world.promoted(Purpose::Rotate, 2);
    let before = world.state_bytes(OP_1);
    world.all_clear(first.clone());
    world.put_back(OP_1, &before);
    let later = world.signed(world.order(Purpose::Rotate, 3));
    assert_eq!(world.inspect(OP_2, &later).code(), "taken");
    let found = recovered(&world, Some(record_of(&first, Verdict::Decided)));
    assert_eq!((verdict(&found), found.closed), (Some("decided"), None));
    assert_eq!(found.go_on.unwrap().signed_order, first.signed);
    // What was never decided is not, nor is what nobody is in any more.
    let open = recovered(&world, Some(record_of(&first, Verdict::Open)));
    assert!(open.closed.is_some());
    assert_eq!(world.clear(OP_1, &first).code(), "taken");
    let over = recovered(&world, Some(record_of(&first, Verdict::Decided)));
    assert_eq!(over.closed.unwrap().phases.last().unwrap().0, Phase::Done);
}

/// Its own report says that it had come further: it says nothing of where the rotation stands.
#[test]
fn what_is_decided_is_not_gone_on_with_for_who_knows_that_it_was_set_back() {
    let mut world = World::initialised();
    let first = world.promoted(Purpose::Rotate, 2);
    let before = world.state_bytes(OP_1);
    world.all_clear(first.clone());
    let later = world.signed(world.order(Purpose::Rotate, 3));
    for unit in ALL {
        assert_eq!(world.inspect(unit, &later).code(), "taken");
    }
    let own = world.command(OP_1, Command::Survey { order: None }).envelope;
    world.put_back(OP_1, &before);
    world.command(OP_1, Command::Remind { report: own });
    let found = recovered(&world, Some(record_of(&first, Verdict::Decided)));
    assert!(found.closed.is_some());
    assert_eq!(found.go_on.unwrap().signed_order, later.signed);
}

/// One was brought to take a later order, as a rogue coordinator can: the others only go forward, and what it is
/// bound to can be let go of at any time.
#[test]
fn what_several_have_promoted_is_gone_on_with_before_what_one_is_bound_to_since() {
    let mut world = World::initialised();
    let before = world.flipped(&world.signed(world.order(Purpose::Rotate, 1)));
    let behind = world.state_bytes(OP_2);
    let run = world.promoted(Purpose::Rotate, 2);
    world.put_back(OP_2, &behind);
    let from = run.order.from;
    let of_rogue = world.signed(Order { from, ..world.order(Purpose::Rotate, 3) });
    assert_eq!(world.inspect(OP_2, &of_rogue).code(), "taken");
    // Whether the keystore's reencryptor is lost, or a copy from before was put in its place.
    for keystores in [&[][..], &[before]] {
        let found = recovered_beside(&world, keystores, None);
        assert_eq!(verdict(&found), Some("decided"));
        assert_eq!(found.go_on.unwrap().signed_order, run.signed);
    }
    let past = recovered_past(&world, &of_rogue, None);
    assert_eq!(past.go_on.unwrap().signed_order, of_rogue.signed);
    // Of one alone the state may have been set back.
    let mut units = said_by_units(&world);
    units.retain(|report| [unit_id(OP_1), unit_id(OP_2)].contains(&report.unit));
    let reports = Reports { units: units.iter().collect(), keystores: Vec::new() };
    assert_eq!(recover(None, &reports, NOW).go_on.unwrap().signed_order, of_rogue.signed);
}

/// A unit that stands in an earlier rotation was set back: where it had promoted, that rotation cannot
/// be gone on with, as the others have ended it long since.
#[test]
fn an_order_below_the_highest_is_not_gone_on_with_for_a_unit_that_was_set_back() {
    let mut world = World::initialised();
    let first = world.promoted(Purpose::Rotate, 2);
    let before = world.state_bytes(OP_1);
    world.all_clear(first);
    world.whole_rotation(Purpose::Rotate, 3);
    world.put_back(OP_1, &before);
    assert_eq!(recovered(&world, None), Recovered::default());
}

/// What the reencryptor says of a keystore that is open in this order, its keys under the pattern before.
fn left_open(world: &World, run: &Run) -> KeystoreReport {
    let mut left = world.flipped(run);
    let row = left.row.as_mut().unwrap();
    row.open = row.active.clone();
    row.active.as_mut().unwrap().pattern = run.order.from.unwrap();
    row.rotation.as_mut().unwrap().standing = KeystoreStanding::Open;
    left
}

fn abort_all(world: &mut World, run: &Run) {
    for unit in ALL {
        assert_eq!(world.abort(unit, run).code(), "taken");
    }
}

fn said_by_units(world: &World) -> Vec<UnitReport> {
    world.units.iter().map(|unit| unit.report(NOW, None)).collect()
}

/// The unit has taken an order to recover of this number last.
fn has_recovered_since(world: &World, unit: &mut UnitReport, number: u64) {
    let purpose = Purpose::Recover { target: unit_id(OP_1), source: unit_id(OP_2) };
    let later = world.signed(world.order(purpose, number));
    let taken = unit.rotation.as_mut().unwrap();
    (taken.order, taken.signed_order) = (later.reference, later.signed);
}

/// A rogue had it opened once more, and gave the units orders of its own since: none knows what the keystore is
/// in, and a keystore under the master key that they hold is no old copy.
#[test]
fn a_keystore_left_open_in_an_earlier_order_is_closed_by_the_end_of_a_later_one() {
    let mut world = World::initialised();
    let first = world.committed(Purpose::Rotate, 2);
    abort_all(&mut world, &first);
    let second = world.inspected(Purpose::Rotate, 3);
    abort_all(&mut world, &second);
    let left = left_open(&world, &first);
    let mut foreign = left.clone();
    foreign.row.as_mut().unwrap().active.as_mut().unwrap().pattern = first.to;
    assert_eq!(recovered_beside(&world, &[foreign], None), Recovered::default());
    let mut units = said_by_units(&world);
    let beside = |units: &[UnitReport]| {
        let reports = Reports { units: units.iter().collect(), keystores: vec![&left] };
        recover(None, &reports, NOW)
    };
    let found = beside(&units);
    assert_eq!(verdict(&found), Some("aborted"));
    assert_eq!(found.go_on.unwrap().signed_order, second.signed);
    // One has recovered by a later order since.
    has_recovered_since(&world, &mut units[OP_1], 4);
    units[OP_1].rotation.as_mut().unwrap().standing = Standing::Cleared;
    assert_eq!(beside(&units).go_on.unwrap().signed_order, second.signed);
    // One was put back to before an earlier rotation, and the keystore's copy is of that time.
    units[OP_1].registers.current = Some(first.to);
    assert_eq!(beside(&units), Recovered::default());
}

/// A keystore hears of no order to recover: the end of one closes nothing.
#[test]
fn a_keystore_left_open_is_closed_by_its_own_order_where_units_have_ended_one_to_recover_since() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let left = left_open(&world, &run);
    abort_all(&mut world, &run);
    let mut units = said_by_units(&world);
    has_recovered_since(&world, &mut units[OP_1], 3);
    let reports = Reports { units: units.iter().collect(), keystores: vec![&left] };
    let found = recover(None, &reports, NOW);
    assert_eq!(verdict(&found), Some("aborted"));
    assert_eq!(found.go_on.unwrap().signed_order, run.signed);
}
