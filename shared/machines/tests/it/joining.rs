//! Goal: a unit without a master key gets the new one in a rotation, and neither takes pages nor serves
//! keys before it has cleared; nobody joins whom the order does not name. Method: one unit of an
//! initialised world has lost its registers.

use machines::unit::keyring::Keyring;
use machines::unit::state::UnitState;
use protocol::command::Command;
use protocol::order::{Order, Purpose};
use protocol::report::Standing;
use protocol::{Pattern, ProcessId};

use crate::world::{ALL, OP_1, OP_2, OTHERS, REC_1, REC_2, Run, World, unit_id};

/// Everybody holds the first master key but these.
fn lacking(units: &[usize]) -> World {
    let mut world = World::initialised();
    for unit in units {
        world.restart_with(*unit, |state: &mut UnitState| state.current = None);
    }
    world
}

fn order(world: &World, joining: &[usize], change: impl FnOnce(&mut Order)) -> Run {
    let mut order = world.order(Purpose::Rotate, 2);
    let holder = ALL.into_iter().find(|unit| !joining.contains(unit)).unwrap();
    order.from = world.units[holder].state().registers().current;
    order.joining = joining.iter().map(|unit| unit_id(*unit)).collect();
    change(&mut order);
    world.signed(order)
}

fn keyring(world: &World, unit: usize) -> Keyring {
    world.units[unit].keyring(&Keyring::default())
}

/// Brings a rotation with these units that join to its end, and looks at them on the way.
fn joined(joining: &[usize]) -> (World, Run) {
    let mut world = lacking(joining);
    let run = order(&world, joining, |_| {});
    let run = world.committed_in(run);
    let idle = |world: &World| {
        for unit in joining {
            assert!(!world.units[*unit].takes_pages(), "it never held the old master key");
            let keyring = keyring(world, *unit);
            assert!(keyring.rewrap.is_none() && keyring.not_serving.is_some());
        }
    };
    idle(&world);
    for unit in ALL {
        let answer = world.promote(unit, &run);
        assert_eq!(answer.code(), "taken", "{}", answer.text());
        let retiring = answer.report.registers.retiring;
        assert_eq!(retiring.is_none(), joining.contains(&unit), "there was nothing to retire");
    }
    idle(&world);
    (world, run)
}

#[test]
fn units_that_join_end_with_the_new_master_key_and_serve_from_their_clear_on() {
    for joining in [&[OP_1][..], &[REC_2], &[REC_1], &[OP_2, REC_1, REC_2]] {
        let (mut world, run) = joined(joining);
        let run = world.all_clear(run);
        for unit in ALL {
            let state = world.units[unit].state();
            assert_eq!(state.registers().current, Some(run.to), "{joining:?}");
            assert!(state.new.is_none() && state.retiring.is_none());
        }
        for unit in [OP_1, OP_2] {
            assert!(world.units[unit].takes_pages());
            assert!(keyring(&world, unit).keys(run.to).is_some());
        }
    }
}

#[test]
fn nobody_joins_unnamed_and_nobody_who_holds_a_master_key_joins() {
    let mut world = lacking(&[OP_1]);
    let unnamed = order(&world, &[OP_2], |order| order.joining.clear());
    let refused = |world: &mut World, unit: usize, run: &Run, code: &str| {
        world.refuses(unit, Command::Inspect { order: run.signed.clone() }, code);
    };
    refused(&mut world, OP_1, &unnamed, "other-current");
    let full = order(&world, &[OP_2], |_| {});
    refused(&mut world, OP_2, &full, "other-current");
    let other = order(&world, &[OP_1], |order| order.from = Some(Pattern([5; 32])));
    refused(&mut world, OP_2, &other, "other-current");
    assert_eq!(world.inspect(OP_1, &other).code(), "taken", "it cannot know what the others hold");
}

#[test]
fn somebody_must_be_left_to_join_and_only_crypto_units_of_the_manifest_do() {
    let mut world = lacking(&[OP_1, OP_2]);
    let all_operational = order(&world, &[OP_1, OP_2], |_| {});
    let stranger = order(&world, &[OP_1], |it| it.joining.push(ProcessId::from_bytes([7; 16])));
    let coordinator = crate::world::id_of(&crate::world::coordinator());
    let no_unit = order(&world, &[OP_1], |it| it.joining.push(coordinator));
    for unit in ALL {
        for (run, code) in [
            (&all_operational, "nobody-to-join"),
            (&stranger, "joins-no-unit"),
            (&no_unit, "joins-no-unit"),
        ] {
            world.refuses(unit, Command::Inspect { order: run.signed.clone() }, code);
        }
    }
}

#[test]
fn a_rotation_with_units_that_join_that_is_aborted_leaves_them_empty_and_they_may_join_again() {
    let mut world = lacking(&[OP_1]);
    let run = order(&world, &[OP_1], |_| {});
    let run = world.committed_in(run);
    for unit in ALL {
        assert_eq!(world.abort(unit, &run).code(), "taken");
    }
    let state = world.units[OP_1].state();
    assert!(state.current.is_none() && state.new.is_none());
    assert_eq!(state.rotation.as_ref().unwrap().standing, Standing::Aborted);
    let again = order(&world, &[OP_1], |order| {
        order.number.number = 3;
        order.rotation = crate::world::rotation_id(order.number);
    });
    let again = world.committed_in(again);
    assert!(OTHERS.iter().all(|unit| world.units[*unit].state().new.is_some()));
    assert_eq!(world.promote(OP_1, &again).code(), "taken");
}
