//! Goal: a unit's saved state is read as it was written, by this program and by every later one, and
//! other bytes are refused. Method: states of a whole rotation kept in a golden file, read and written
//! again; and the same bytes cut short, with a byte more, or changed.

use std::path::PathBuf;

use machines::unit::state::{StateError, UnitState};
use proptest::prelude::*;
use protocol::command::Command;
use protocol::order::Purpose;

use crate::world::{ALL, OP_1, REC_1, World};

/// Every kind of state that one unit of each role goes through.
fn made() -> Vec<Vec<u8>> {
    let mut world = World::new();
    let mut states = vec![UnitState::imprint(world.instance).to_bytes().to_vec()];
    let mut keep = |world: &World| {
        states.extend([OP_1, REC_1].map(|unit| world.state_bytes(unit)));
    };
    keep(&world);
    world.whole_rotation(Purpose::Initialise, 1);
    keep(&world);
    let settled = world.state_bytes(OP_1);
    let aborted = world.committed(Purpose::Rotate, 2);
    keep(&world);
    for unit in ALL {
        world.abort(unit, &aborted);
    }
    keep(&world);
    world.promoted(Purpose::Rotate, 3);
    keep(&world);
    let report = world.command(OP_1, Command::Survey { order: None }).envelope;
    world.put_back(OP_1, &settled);
    world.command(OP_1, Command::Remind { report });
    keep(&world);
    states
}

fn golden() -> Vec<Vec<u8>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/unit-state.hex");
    if std::env::var_os("KEYHELM_WRITE_GOLDEN").is_some() {
        let lines: Vec<_> = made().iter().map(|state| hex(state)).collect();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    }
    std::fs::read_to_string(&path).unwrap().lines().map(unhex).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(line: &str) -> Vec<u8> {
    let pairs = line.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn what_an_earlier_program_has_saved_is_read_and_written_the_same() {
    let states = golden();
    assert_eq!(states.len(), 13);
    for state in states.iter().chain(&made()) {
        assert_eq!(UnitState::from_bytes(state).unwrap().to_bytes().as_slice(), state);
    }
    let last = UnitState::from_bytes(&states[states.len() - 2]).unwrap();
    assert!(last.reminder.is_some() && last.rotation.is_some(), "the last ones are as they were");
}

/// A unit that forgot that its state was set back would serve again.
#[test]
fn a_reminder_that_cannot_be_read_is_never_let_go_of() {
    let mut states = golden();
    let reminded = states.swap_remove(states.len() - 2);
    let found = UnitState::from_bytes(&reminded).unwrap().reminder.unwrap();
    let at = reminded.windows(found.envelope.len()).position(|it| it == found.envelope).unwrap();
    let mut other = reminded;
    other[at] = u8::MAX;
    assert_eq!(UnitState::from_bytes(&other).unwrap_err(), StateError::Reminder);
}

proptest! {
    #[test]
    fn other_bytes_are_a_state_that_is_written_the_same_or_refused(
        which: prop::sample::Index,
        at: usize,
        to: u8,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        static STATES: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
        let state = which.get(STATES.get_or_init(golden));
        let cut = &state[..at % state.len()];
        prop_assert!(UnitState::from_bytes(cut).is_err(), "cut short to {}", cut.len());
        prop_assert!(UnitState::from_bytes(&[state.as_slice(), &[to]].concat()).is_err());
        let mut other = state.clone();
        other[at % state.len()] = to;
        let head = (bytes.len() as u32).to_le_bytes();
        let framed = [&head, bytes.as_slice()].concat();
        for bytes in [other, bytes, framed] {
            if let Ok(found) = UnitState::from_bytes(&bytes) {
                let written = found.to_bytes();
                let again = UnitState::from_bytes(&written).unwrap().to_bytes();
                prop_assert_eq!(again.as_slice(), written.as_slice());
            }
        }
    }
}
