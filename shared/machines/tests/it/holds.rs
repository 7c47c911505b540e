//! Goal: units keep an order's holds themselves. Method: the steps of a rotation whose order has
//! holds, sent too early, in time, and with evidence that is one short.

use crypto::domain;
use protocol::GenerationId;
use protocol::certificate::Certificate;
use protocol::codec;
use protocol::command::{Command, Step};
use protocol::order::{Hold, HoldEnd, Order, Purpose, SignedHoldEnd};
use protocol::report::Standing;

use crate::world::{
    ALL, Answer, NOW, OP_1, OP_2, REC_1, Run, World, reencryptor, signatures, unit_id,
};

const HOLD_S: u32 = 60;
const HOLD_MS: u64 = HOLD_S as u64 * 1000;

fn with_holds(world: &World, after_commit_s: u32, before_clear_s: u32) -> Run {
    world.signed(Order {
        hold_after_commit_s: after_commit_s,
        hold_before_clear_s: before_clear_s,
        ..world.order(Purpose::Rotate, 2)
    })
}

fn flipped(world: &mut World, run: &Run, generation: u8, ends: &[(usize, u64)]) -> Certificate {
    let mut report = world.flipped(run);
    let active = report.row.as_mut().and_then(|row| row.active.as_mut()).unwrap();
    active.id = GenerationId::from_bytes([generation; 16]);
    report.hold_ends = ends.iter().map(|(unit, counter)| (unit_id(*unit), *counter)).collect();
    let envelopes = vec![world.keystore_envelope(&reencryptor(), &report)];
    Certificate { envelopes, manifests: Vec::new() }
}

fn clear(world: &mut World, run: &Run, generation: u8, ends: &[(usize, u64)]) -> Answer {
    let certificate = flipped(world, run, generation, ends);
    world.step(OP_1, run, Step::Clear { certificate })
}

fn hold_end(run: &Run, hold: Hold) -> SignedHoldEnd {
    let (rotation, number) = (run.reference.rotation, run.reference.number);
    let bytes = codec::encode(&HoldEnd { instance: run.order.instance, rotation, number, hold });
    let signatures = signatures(domain::HOLD_END, &bytes);
    SignedHoldEnd { bytes, signatures }
}

/// All units have promoted in an order with a hold before clear.
fn promoted(world: &mut World) -> Run {
    let run = with_holds(world, 0, HOLD_S);
    let run = world.committed_in(run);
    for unit in ALL {
        assert_eq!(world.promote(unit, &run).code(), "taken");
    }
    run
}

#[test]
fn nobody_promotes_before_the_hold_after_commit_is_over() {
    let mut world = World::initialised();
    let run = with_holds(&world, HOLD_S, 0);
    let run = world.committed_in(run);
    let report = world.units[OP_1].report(NOW, None);
    assert_eq!(report.rotation.unwrap().promote_not_before, Some(NOW.plus_ms(HOLD_MS)));
    world.now = NOW.plus_ms(HOLD_MS - 1);
    let certificate = world.unit_certificate();
    let step = Step::Promote { certificate };
    world.refuses(OP_1, Command::Step { order: run.reference, step }, "holding");
    world.now = NOW.plus_ms(HOLD_MS);
    assert_eq!(world.promote(OP_1, &run).code(), "taken");
}

#[test]
fn a_second_commit_does_not_begin_the_hold_anew() {
    let mut world = World::initialised();
    let run = with_holds(&world, HOLD_S, 0);
    let run = world.committed_in(run);
    world.now = NOW.plus_ms(HOLD_MS / 2);
    let commit = Step::Commit { pattern: run.to };
    world.answers_from_state(OP_1, Command::Step { order: run.reference, step: commit });
    world.now = NOW.plus_ms(HOLD_MS);
    assert_eq!(world.promote(OP_1, &run).code(), "taken");
}

#[test]
fn nobody_clears_before_its_hold_is_over_saved_and_named_by_a_later_flipped() {
    let mut world = World::initialised();
    let run = promoted(&mut world);
    let seen = clear(&mut world, &run, 5, &[]);
    let rotation = seen.report.rotation.unwrap();
    assert_eq!(rotation.standing, Standing::Promoted, "the first sight only begins the hold");
    assert_eq!(rotation.clear_not_before, Some(NOW.plus_ms(HOLD_MS)));
    world.now = NOW.plus_ms(HOLD_MS - 1);
    assert_eq!(clear(&mut world, &run, 5, &[]).code(), "holding");
    world.now = NOW.plus_ms(HOLD_MS);
    let over = clear(&mut world, &run, 5, &[]);
    let end = over.report.rotation.unwrap().hold_end_nonce.unwrap();
    assert!(over.is_changed, "a save of its own");
    // The old *flipped*, one that names another unit's end, one that names another end, and one that was
    // signed before by whoever could guess the state counter.
    let counter = over.report.state_counter;
    let (below, above) = (end.wrapping_sub(1), end.wrapping_add(1));
    for ends in [&[][..], &[(OP_2, end)], &[(OP_1, below)], &[(OP_1, above)], &[(OP_1, counter)]] {
        let answer = clear(&mut world, &run, 5, ends);
        assert!(!answer.is_changed, "{ends:?}");
        assert!(world.units[OP_1].state().retiring.is_some());
    }
    let cleared = clear(&mut world, &run, 5, &[(OP_2, 1), (OP_1, end)]);
    assert_eq!(cleared.report.rotation.unwrap().standing, Standing::Cleared);
    assert!(world.units[OP_1].state().retiring.is_none());
}

#[test]
fn a_keystore_that_was_restored_and_flipped_again_begins_the_hold_anew() {
    let mut world = World::initialised();
    let run = promoted(&mut world);
    clear(&mut world, &run, 5, &[]);
    world.now = NOW.plus_ms(HOLD_MS);
    let end = clear(&mut world, &run, 5, &[]).report.rotation.unwrap().hold_end_nonce.unwrap();
    let again = clear(&mut world, &run, 6, &[(OP_1, end)]).report.rotation.unwrap();
    assert_eq!(again.standing, Standing::Promoted);
    assert_eq!(again.clear_not_before, Some(NOW.plus_ms(2 * HOLD_MS)));
    assert_eq!(again.hold_end_nonce, None);
}

#[test]
fn the_administrators_end_a_hold_of_this_rotation_only() {
    let mut world = World::initialised();
    let run = promoted(&mut world);
    clear(&mut world, &run, 5, &[]);
    let statement = hold_end(&run, Hold::BeforeClear);
    let mut unsigned = statement.clone();
    unsigned.signatures.pop();
    world.refuses(OP_1, Command::EndHold { statement: unsigned }, "no-leave");
    let mut other = run.clone();
    other.reference.number.number += 1;
    let foreign = hold_end(&other, Hold::BeforeClear);
    world.refuses(OP_1, Command::EndHold { statement: foreign }, "not-bound");
    world.answers_from_state(
        OP_1,
        Command::EndHold { statement: hold_end(&run, Hold::AfterCommit) },
    );
    assert_eq!(clear(&mut world, &run, 5, &[]).code(), "holding");
    let answer = world.command(OP_1, Command::EndHold { statement });
    assert!(answer.is_changed);
    // The end is still saved first, and a *flipped* after that wanted.
    let end = clear(&mut world, &run, 5, &[]).report.rotation.unwrap().hold_end_nonce.unwrap();
    let cleared = clear(&mut world, &run, 5, &[(OP_1, end)]);
    assert_eq!(cleared.report.rotation.unwrap().standing, Standing::Cleared);
}

#[test]
fn holds_outlive_a_restart() {
    let mut world = World::initialised();
    let run = promoted(&mut world);
    clear(&mut world, &run, 5, &[]);
    world.restart_with(OP_1, |_| {});
    world.now = NOW.plus_ms(1);
    assert_eq!(clear(&mut world, &run, 5, &[]).code(), "holding");
    // Generations that a rotation without a hold sees are not kept at all.
    assert!(world.units[REC_1].state().rotation.as_ref().unwrap().holds.flipped.is_none());
}
