//! Goal: nothing of an earlier rotation has any effect in a later one. Method: every message of
//! rotation 1 is kept, and all of them are sent again after every step of rotation 2 and after its
//! end: as they were, and anew by the coordinator under a later epoch.

use protocol::Epoch;
use protocol::codec;
use protocol::command::{Command, Step};
use protocol::envelope::{Envelope, Kind, Recipient};
use protocol::order::Purpose;

use crate::world::{ALL, EPOCH, OTHERS, REC_1, World, coordinator, unit_id};

/// Sends everything to whom it was for, and wants nothing to come of it.
fn replay_all(world: &mut World, earlier: &[(usize, Vec<u8>)], when: &str) {
    for (unit, bytes) in earlier {
        let (unit, name) = (*unit, kept_command(bytes).name());
        let before = world.state_bytes(unit);
        let answer = world.deliver(unit, bytes);
        assert!(!answer.is_changed, "{name} changed a unit {when}");
        assert!(answer.transfers.is_none(), "{name} let a key out {when}");
        assert_eq!(world.state_bytes(unit), before, "{name} changed a unit {when}");
        let is_harmless = matches!(name, "survey" | "take-manifest");
        assert_eq!(answer.code() == "taken", is_harmless, "{name} {when}: {}", answer.code());
    }
}

fn kept_command(bytes: &[u8]) -> Command {
    codec::decode(Envelope::parse(bytes).unwrap().body).unwrap()
}

/// The same commands in envelopes of today, so that no fence helps.
fn sealed_anew(world: &mut World, earlier: &[(usize, Vec<u8>)]) -> Vec<(usize, Vec<u8>)> {
    let seal = |(unit, bytes): &(usize, Vec<u8>)| {
        let to = Recipient::Process(unit_id(*unit));
        let command = kept_command(bytes);
        (*unit, world.seal(&coordinator(), to, Kind::Command, EPOCH, &command))
    };
    earlier.iter().map(seal).collect()
}

#[test]
fn a_whole_earlier_rotation_again_changes_nothing() {
    let mut world = World::initialised();
    let from = world.sent.len();
    world.whole_rotation(Purpose::Rotate, 2);
    let earlier = world.sent[from..].to_vec();
    let kinds: std::collections::BTreeSet<_> =
        earlier.iter().map(|(_, bytes)| kept_command(bytes).name()).collect();
    let all = ["clear", "commit", "generate", "inspect", "install", "promote", "survey"];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);

    let again = sealed_anew(&mut world, &earlier);
    let replay = |world: &mut World, when: &str| {
        replay_all(world, &earlier, when);
        replay_all(world, &again, when);
    };
    let mut run = world.inspected(Purpose::Rotate, 3);
    replay(&mut world, "after inspect");
    let offers = OTHERS.map(|unit| world.offer(unit)).into();
    let answer = world.step(REC_1, &run, Step::Generate { offers });
    run.transfers = answer.transfers.unwrap().transfers;
    run.to = answer.report.registers.new.unwrap().pattern;
    replay(&mut world, "after generate");
    for unit in OTHERS {
        assert_eq!(world.install(unit, &run).code(), "taken");
        replay(&mut world, "after an install");
    }
    for unit in ALL {
        world.step(unit, &run, Step::Commit { pattern: run.to });
        replay(&mut world, "after a commit");
    }
    for unit in ALL {
        assert_eq!(world.promote(unit, &run).code(), "taken");
        replay(&mut world, "after a promote");
    }
    for unit in ALL {
        assert_eq!(world.clear(unit, &run).code(), "taken");
        replay(&mut world, "after a clear");
    }
    for unit in ALL {
        let registers = world.units[unit].state().registers();
        assert_eq!(registers.current, Some(run.to));
        assert_eq!((registers.new, registers.retiring), (None, None));
    }
}

#[test]
fn what_an_earlier_coordinator_sent_is_fenced() {
    let mut world = World::initialised();
    let from = world.sent.len();
    let run = world.committed(Purpose::Rotate, 2);
    let certificate = world.unit_certificate();
    world.step(REC_1, &run, Step::Promote { certificate });
    let earlier = world.sent[from..].to_vec();
    let later = Epoch { number: EPOCH.number + 1, ..EPOCH };
    for unit in ALL {
        let to = Recipient::Process(unit_id(unit));
        let inspect = Command::Inspect { order: run.signed.clone() };
        let bytes = world.seal(&coordinator(), to, Kind::Command, later, &inspect);
        let answer = world.deliver(unit, &bytes);
        assert_eq!((answer.code().as_str(), answer.is_changed), ("taken", true), "it is saved");
        assert_eq!(answer.report.epoch, later);
        let abort = Command::Abort { order: run.signed.clone() };
        world.refuses(unit, abort, "stale-epoch");
    }
    for (unit, bytes) in earlier {
        let before = world.state_bytes(unit);
        let answer = world.deliver(unit, &bytes);
        let is_survey = kept_command(&bytes).name() == "survey";
        assert_eq!(answer.code(), if is_survey { "taken" } else { "stale-epoch" });
        assert_eq!(world.state_bytes(unit), before);
    }
    // A new manifest's epochs outrank every number of the old one's.
    let order = Epoch { manifest_serial: 2, number: 1 };
    assert!(order > Epoch { manifest_serial: 1, number: u64::MAX });
}
