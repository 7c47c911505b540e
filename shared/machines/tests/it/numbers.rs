//! Goal: nobody can name an epoch or an order number that no later manifest outranks. Method: the highest
//! ones there are, said to units, to a reencryptor, and by members to a coordinator.

use machines::rewrap;
use machines::rotation::numbers::{MAX_LEAP, Serials, next_epoch, next_number};
use machines::trust::Trust;
use protocol::certificate::Certificate;
use protocol::command::{Command, KeystoreCommand};
use protocol::envelope::{Kind, Recipient};
use protocol::order::{Order, Purpose};
use protocol::report::UnitReport;
use protocol::{Epoch, OrderNumber, Role};

use crate::starts::Stage;
use crate::world::{
    ALL, EPOCH, NOW, OP_1, Run, World, coordinator, id_of, identity, reencryptor, unit_id,
};

const HIGHEST: Epoch = Epoch { manifest_serial: u64::MAX, number: u64::MAX };

const fn epoch(manifest_serial: u64, number: u64) -> Epoch {
    Epoch { manifest_serial, number }
}

fn inspect_at(world: &mut World, unit: usize, run: &Run, epoch: Epoch) -> String {
    let to = Recipient::Process(unit_id(unit));
    let inspect = Command::Inspect { order: run.signed.clone() };
    let bytes = world.seal(&coordinator(), to, Kind::Command, epoch, &inspect);
    world.deliver(unit, &bytes).code()
}

#[test]
fn a_unit_obeys_no_epoch_of_a_manifest_that_it_has_not_taken() {
    let mut world = World::initialised();
    let run = world.signed(world.order(Purpose::Rotate, 2));
    let before = world.state_bytes(OP_1);
    for ahead in [HIGHEST, epoch(2, 1)] {
        assert_eq!(inspect_at(&mut world, OP_1, &run, ahead), "epoch-ahead");
        assert_eq!(world.state_bytes(OP_1), before);
    }
    // The highest one of its own manifest silences all others of it, and none of the next.
    assert_eq!(inspect_at(&mut world, OP_1, &run, epoch(1, u64::MAX)), "taken");
    assert_eq!(inspect_at(&mut world, OP_1, &run, EPOCH), "stale-epoch");
    world.amend(&ALL, &run, OP_1);
    world.take_manifests(OP_1);
    assert_eq!(inspect_at(&mut world, OP_1, &run, epoch(2, 1)), "taken");
    assert_eq!(inspect_at(&mut world, OP_1, &run, epoch(1, u64::MAX)), "stale-epoch");
}

#[test]
fn a_reencryptor_obeys_no_epoch_of_a_manifest_that_it_has_not_taken() {
    let mut world = World::initialised();
    let trust = Trust::from_saved(world.instance, world.manifests.clone()).unwrap();
    let run = world.signed(world.order(Purpose::Rotate, 2));
    let id = id_of(&reencryptor());
    let reader = machines::envelope::Reader { id, role: Role::Reencryptor };
    for (epoch, code) in
        [(HIGHEST, Some("epoch-ahead")), (epoch(2, 1), Some("epoch-ahead")), (EPOCH, None)]
    {
        let command = KeystoreCommand::Abort {
            order: run.signed.clone(),
            certificate: Certificate::default(),
        };
        let to = Recipient::Process(id);
        let bytes = world.seal(&coordinator(), to, Kind::KeystoreCommand, epoch, &command);
        let received = rewrap::receive(&bytes, reader, &trust).unwrap();
        let refused = rewrap::may_command(&received, &trust).err();
        assert_eq!(refused.map(|it| it.to_report().code).as_deref(), code, "{epoch}");
    }
}

fn reports(epochs: &[Epoch]) -> Vec<UnitReport> {
    let world = World::initialised();
    let with = |epoch: &Epoch| UnitReport { epoch: *epoch, ..world.units[OP_1].report(NOW, None) };
    epochs.iter().map(with).collect()
}

#[test]
fn the_next_epoch_is_above_all_that_can_be_and_never_overflows() {
    let next = |base, newest, seen: &[Epoch]| {
        next_epoch(Serials { base, newest }, None, reports(seen).iter(), std::iter::empty())
    };
    assert_eq!(next(1, 1, &[]), epoch(1, 1));
    assert_eq!(next(1, 1, &[epoch(1, 7), HIGHEST]), epoch(1, 8), "nobody has that manifest");
    assert_eq!(next(2, 2, &[epoch(1, 7)]), epoch(2, 1));
    // Going on with an order of the first manifest, units may lack the second.
    assert_eq!(next(1, 2, &[epoch(1, 7)]), epoch(1, 8));
    assert_eq!(next(1, 2, &[epoch(1, 7), epoch(2, 3)]), epoch(2, 4));
    assert_eq!(next(1, 2, &[epoch(1, u64::MAX)]), epoch(2, 1));
    assert_eq!(
        next(1, 1, &[epoch(1, u64::MAX)]),
        epoch(1, u64::MAX),
        "the last one is obeyed again"
    );
}

/// The report of a unit that has taken an order of this number.
fn taken(world: &World, number: OrderNumber) -> UnitReport {
    let run = world.signed(Order { number, ..world.order(Purpose::Rotate, 2) });
    let mut report = world.units[OP_1].report(NOW, None);
    let rotation = report.rotation.as_mut().unwrap();
    (rotation.order, rotation.signed_order) = (run.reference, run.signed);
    report
}

#[test]
fn an_order_number_follows_those_that_were_counted() {
    let world = World::initialised();
    let next = |newest, seen: &[OrderNumber]| {
        let reports: Vec<_> = seen.iter().map(|number| taken(&world, *number)).collect();
        next_number(newest, reports.iter(), std::iter::empty())
    };
    assert_eq!(next(1, &[]), epoch(1, 1));
    assert_eq!(next(1, &[epoch(1, 4), epoch(1, 6)]), epoch(1, 7));
    assert_eq!(next(1, &[epoch(1, 4), epoch(1, 4 + MAX_LEAP)]), epoch(1, 5 + MAX_LEAP));
    for leap in [epoch(1, 5 + MAX_LEAP), epoch(1, u64::MAX), HIGHEST] {
        assert_eq!(next(1, &[epoch(1, 4), leap]), epoch(1, 5), "{leap}");
        assert_eq!(next(2, &[epoch(1, 4), leap]), epoch(2, 1), "{leap}: the next manifest's");
    }
}

#[test]
fn a_unit_that_names_the_highest_epoch_fences_no_coordinator() {
    let mut stage = Stage::of(World::initialised());
    let mut loud = stage.world.units[OP_1].report(NOW, None);
    (loud.epoch, loud.state_counter) = (HIGHEST, loud.state_counter + 1);
    let to = Recipient::Process(id_of(&coordinator()));
    let op_1 = identity(OP_1 as u8);
    let order = stage.order(|_| {});
    let answer = stage.start(order, false);
    assert!(matches!(answer, machines::conductor::Answer::Started { .. }), "{answer:?}");
    let bytes = stage.world.seal(&op_1, to, Kind::UnitReport, Epoch::default(), &loud);
    let input = machines::conductor::Input::Message(bytes);
    let effects = stage.conductor.handle(stage.now, &mut stage.world.rng, input);
    assert!(!effects.is_fenced);
}

#[test]
fn an_order_that_no_unit_could_follow_is_named_with_its_way_out() {
    let mut world = World::initialised();
    let leap = Order { number: epoch(1, u64::MAX), ..world.order(Purpose::Rotate, 2) };
    let run = world.signed(leap);
    world.abort(OP_1, &run);
    let mut stage = Stage::of(world);
    let order = stage.order(|_| {});
    let answer = stage.start(order, false);
    let machines::conductor::Answer::Unmet(findings) = &answer else { panic!("{answer:?}") };
    let found: Vec<_> = findings.unmet.iter().map(|it| (&*it.code, &*it.subject)).collect();
    assert_eq!(found, [("number-leaps", "op-1")]);
}
