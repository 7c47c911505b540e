//! Goal: an order ends once, and what has ended stays so. Method: every order that a unit must not
//! take, and every step after each of the ends.

use crypto::master_key::MasterKey;
use protocol::OrderNumber;
use protocol::certificate::Certificate;
use protocol::command::{Command, Step};
use protocol::order::{Order, Purpose};
use protocol::report::Standing;

use crate::world::{ALL, NOW, OP_1, OTHERS, REC_1, REC_2, Run, World, unit_id};

fn inspect(run: &Run) -> Command {
    Command::Inspect { order: run.signed.clone() }
}

fn abort(run: &Run) -> Command {
    Command::Abort { order: run.signed.clone() }
}

fn step(run: &Run, step: Step) -> Command {
    Command::Step { order: run.reference, step }
}

fn standing(world: &World, unit: usize) -> Standing {
    world.units[unit].state().rotation.as_ref().unwrap().standing
}

/// Every step of the rotation, as well justified as can be.
fn steps(world: &mut World, run: &Run) -> Vec<Step> {
    let certificate = world.unit_certificate();
    let report = world.flipped(run);
    let envelope = world.keystore_envelope(&crate::world::reencryptor(), &report);
    let flipped = Certificate { envelopes: vec![envelope], manifests: Vec::new() };
    vec![
        Step::Generate { offers: Vec::new() },
        Step::Install { transfer: run.transfers[0].clone() },
        Step::Commit { pattern: run.to },
        Step::Promote { certificate },
        Step::Clear { certificate: flipped },
    ]
}

#[test]
fn after_success_the_order_is_spent() {
    let mut world = World::initialised();
    let run = world.whole_rotation(Purpose::Rotate, 2);
    for unit in ALL {
        world.answers_from_state(unit, inspect(&run));
        assert_eq!(standing(&world, unit), Standing::Cleared, "it is not bound again");
        world.refuses(unit, abort(&run), "cleared");
        let before = world.state_bytes(unit);
        for step in steps(&mut world, &run) {
            world.step(unit, &run, step);
            assert_eq!(world.state_bytes(unit), before, "a step of a rotation that is over");
        }
    }
    let offers = Step::Generate { offers: Vec::new() };
    world.refuses(REC_1, step(&run, offers), "cleared");
}

#[test]
fn after_an_abort_the_order_is_spent_at_every_point_before_the_promote() {
    type Reach = fn(&mut World, Purpose, u64) -> Run;
    let points: [Reach; 3] = [World::inspected, World::generated, World::committed];
    for reach in points {
        let mut world = World::initialised();
        let steps = {
            let mut other = World::initialised();
            let run = other.committed(Purpose::Rotate, 2);
            steps(&mut other, &run)
        };
        let run = reach(&mut world, Purpose::Rotate, 2);
        let current = run.order.from;
        for unit in ALL {
            assert_eq!(world.abort(unit, &run).code(), "taken");
            let registers = world.units[unit].state().registers();
            assert_eq!((registers.current, registers.new), (current, None), "new is wiped");
            world.answers_from_state(unit, abort(&run));
            world.answers_from_state(unit, inspect(&run));
            assert_eq!(standing(&world, unit), Standing::Aborted, "it is not bound again");
            for done in &steps {
                world.refuses(unit, step(&run, done.clone()), "aborted");
            }
            let report = world.units[unit].report(NOW, None);
            assert!(report.rotation.unwrap().offer.is_none(), "the transport key is gone");
        }
        // The next order is welcome.
        world.inspected(Purpose::Rotate, 3);
    }
}

/// The unit was away when the others were asked to take the order.
#[test]
fn a_unit_that_never_saw_the_order_remembers_that_it_has_ended() {
    let mut world = World::initialised();
    let run = world.signed(world.order(Purpose::Rotate, 2));
    assert_eq!(world.abort(OP_1, &run).code(), "taken");
    world.answers_from_state(OP_1, inspect(&run));
    assert_eq!(standing(&world, OP_1), Standing::Aborted);
    let late = Step::Generate { offers: Vec::new() };
    world.abort(REC_1, &run);
    world.refuses(REC_1, step(&run, late), "aborted");
}

#[test]
fn lower_numbers_and_other_content_under_the_same_number_are_refused_for_ever() {
    let mut world = World::initialised();
    let lower = world.signed(world.order(Purpose::Rotate, 4));
    let older_manifest = OrderNumber { manifest_serial: 0, number: 900 };
    let older = world.signed(Order { number: older_manifest, ..world.order(Purpose::Rotate, 6) });
    let ended = world.signed(world.order(Purpose::Rotate, 5));
    world.abort(OP_1, &ended);
    world.refuses(OP_1, inspect(&lower), "order-spent");
    world.refuses(OP_1, abort(&lower), "order-spent");
    world.refuses(OP_1, inspect(&older), "order-spent");
    let later = ended.order.expires_at.plus_ms(1);
    let other = world.signed(Order { expires_at: later, ..ended.order.clone() });
    world.refuses(OP_1, inspect(&other), "other-digest");
    world.refuses(OP_1, abort(&other), "other-digest");
    // Nor does a later number make another order of the same rotation.
    let number = OrderNumber { number: 6, ..ended.order.number };
    let again = world.signed(Order { number, ..ended.order.clone() });
    world.refuses(OP_1, inspect(&again), "order-spent");
    assert_eq!(world.abort(OP_1, &again).code(), "taken", "who has taken it is let go of");
    // The same after a rotation that went well.
    for unit in [REC_1, REC_2, OP_1 + 1] {
        world.abort(unit, &ended);
    }
    let run = world.whole_rotation(Purpose::Rotate, 7);
    for unit in ALL {
        for spent in [&lower, &ended] {
            world.refuses(unit, inspect(spent), "order-spent");
            world.refuses(unit, abort(spent), "order-spent");
        }
        let other = world.signed(Order { expires_at: later, ..run.order.clone() });
        world.refuses(unit, inspect(&other), "other-digest");
    }
}

#[test]
fn while_bound_everything_of_another_number_is_refused() {
    let mut world = World::initialised();
    let lower = world.signed(world.order(Purpose::Rotate, 2));
    let higher = world.signed(world.order(Purpose::Rotate, 9));
    let refuse_all = |world: &mut World| {
        for unit in ALL {
            for other in [&lower, &higher] {
                world.refuses(unit, inspect(other), "bound-to-another");
                world.refuses(unit, abort(other), "bound-to-another");
                let commit = Step::Commit { pattern: other.to };
                world.refuses(unit, step(other, commit), "not-bound");
            }
        }
        let manifests = world.manifests.clone();
        world.next_manifest(&ALL);
        for unit in ALL {
            let chain = world.manifests.clone();
            world.refuses(unit, Command::TakeManifest { chain }, "manifest-refused");
        }
        world.manifests = manifests;
    };
    let run = world.inspected(Purpose::Rotate, 5);
    refuse_all(&mut world);
    let offers = OTHERS.map(|unit| world.offer(unit)).into();
    world.step(REC_1, &run, Step::Generate { offers });
    refuse_all(&mut world);
    for unit in ALL {
        world.abort(unit, &run);
    }
    world.promoted(Purpose::Rotate, 6);
    refuse_all(&mut world);
}

#[test]
fn a_unit_does_at_most_one_of_promote_and_abort() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let certificate = world.unit_certificate();
    for unit in [OP_1, REC_1] {
        world.abort(unit, &run);
        let promote = Step::Promote { certificate: certificate.clone() };
        world.refuses(unit, step(&run, promote), "aborted");
        assert_eq!(world.units[unit].state().registers().current, run.order.from);
    }
    for unit in [OP_1 + 1, REC_2] {
        let promote = Step::Promote { certificate: certificate.clone() };
        assert_eq!(world.step(unit, &run, promote).code(), "taken");
        world.refuses(unit, abort(&run), "promoted");
        let registers = world.units[unit].state().registers();
        assert_eq!((registers.current, registers.retiring), (Some(run.to), run.order.from));
    }
}

#[test]
fn promote_wants_retiring_empty_and_new_committed() {
    let mut world = World::initialised();
    let run = world.generated(Purpose::Rotate, 2);
    for unit in OTHERS {
        world.install(unit, &run);
    }
    let certificate = world.unit_certificate();
    world.refuses(OP_1, step(&run, Step::Promote { certificate }), "new-register");
    for unit in ALL {
        world.step(unit, &run, Step::Commit { pattern: run.to });
    }
    let left_over = MasterKey::generate(&mut world.rng);
    let kept = left_over.pattern();
    world.restart_with(OP_1, |state| state.retiring = Some(left_over));
    let certificate = world.unit_certificate();
    world.refuses(OP_1, step(&run, Step::Promote { certificate }), "register-not-empty");
    assert_eq!(world.units[OP_1].state().registers().retiring, Some(kept), "no key is dropped");
}

#[test]
fn an_order_is_taken_only_where_the_registers_are_as_it_says() {
    let mut world = World::initialised();
    let run = world.signed(world.order(Purpose::Rotate, 2));
    let other_from = Order { from: None, ..run.order.clone() };
    let first = Order { purpose: Purpose::Initialise, ..run.order.clone() };
    let not_recovery = Order { generator: unit_id(OP_1), ..run.order.clone() };
    let expired = Order { expires_at: NOW, ..run.order.clone() };
    let future = Order { issued_at: NOW.plus_ms(30_001), ..run.order.clone() };
    let joining = Order { joining: vec![unit_id(OP_1)], ..run.order.clone() };
    for (order, code) in [
        (other_from, "other-current"),
        (first, "other-current"),
        (not_recovery, "generator-is-no-recovery-unit"),
        (expired, "order-expired"),
        (future, "order-not-yet-issued"),
        (joining, "other-current"),
    ] {
        let run = world.signed(order);
        world.refuses(OP_1, inspect(&run), code);
    }
    for new_or_retiring in [true, false] {
        let mut world = World::initialised();
        let key = MasterKey::generate(&mut world.rng);
        world.restart_with(OP_1, |state| match new_or_retiring {
            true => {
                let new = machines::unit::state::NewKey { key, is_committed: true };
                state.new = Some(new);
            }
            false => state.retiring = Some(key),
        });
        world.refuses(OP_1, inspect(&run), "register-not-empty");
    }
    // One signature of two, or of somebody else, is no leave.
    let mut unsigned = run.clone();
    if let protocol::order::Authority::Quorum(signatures) = &mut unsigned.signed.authority {
        signatures.pop();
    }
    world.refuses(OP_1, inspect(&unsigned), "no-leave");
    world.refuses(OP_1, abort(&unsigned), "no-leave");
    assert_eq!(world.inspect(OP_1, &run).code(), "taken");
}
