//! Goal: by an order of the administrators, and by nothing else, a unit without a master key gets the
//! current one from the recovery unit that the order names; no other register is ever touched, and what
//! was refused has changed nothing. Method: one unit of an initialised world has lost its registers, or
//! its whole state; a genuine order, offer, transfer and certificate with one thing changed.

use crypto::domain;
use crypto::master_key::MasterKey;
use crypto::transfer::{TransferInfo, TransferPurpose};
use machines::leave::{self, LeaveRefusal};
use machines::unit::Unit;
use machines::unit::state::UnitState;
use protocol::certificate::Certificate;
use protocol::codec;
use protocol::command::{Command, Offer, SignedOffer, SignedTransfer, Step, Transfer};
use protocol::order::{Authority, Order, Purpose, SignedOrder, SignedStandingOrder, StandingOrder};
use protocol::report::Standing;
use protocol::{InstanceId, KeyId, OrderNumber, Pattern, ProcessId, RotationId};

use crate::sealing::{self, signed};
use crate::world::{
    ALL, Answer, NOW, OP_1, OP_2, REC_1, REC_2, Run, World, config, coordinator, id_of, identity,
    signatures, unit_id,
};

const OTHER_BYTES: [u8; 16] = [0xee; 16];
const OTHER_PATTERN: Pattern = Pattern([0xee; 32]);

/// The first operational unit holds no master key.
fn lacking() -> World {
    let mut world = World::initialised();
    world.restart_with(OP_1, |state| state.current = None);
    world
}

/// An order to give it that of the first recovery unit, but for a change.
fn order(world: &World, number: u64, change: impl FnOnce(&mut Order)) -> Run {
    let purpose = Purpose::Recover { target: unit_id(OP_1), source: unit_id(REC_1) };
    let mut order = world.order(purpose, number);
    change(&mut order);
    world.signed(order)
}

fn inspect(run: &Run) -> Command {
    Command::Inspect { order: run.signed.clone() }
}

/// Both units have taken the order, and the source has sealed its master key.
fn sealed(world: &mut World, run: &Run) -> SignedTransfer {
    for unit in [OP_1, REC_1] {
        let answer = world.inspect(unit, run);
        assert_eq!(answer.code(), "taken", "{}", answer.text());
    }
    seal(world, run)
}

fn seal(world: &mut World, run: &Run) -> SignedTransfer {
    let offers = vec![world.offer(OP_1)];
    let answer = world.step(REC_1, run, Step::Generate { offers });
    assert_eq!((answer.code().as_str(), answer.is_changed), ("taken", false), "{}", answer.text());
    answer.transfers.unwrap().transfers.remove(0)
}

fn install(world: &mut World, run: &Run, transfer: &SignedTransfer) -> Answer {
    world.step(OP_1, run, Step::Install { transfer: transfer.clone() })
}

/// The target's own report, for whoever ends the order in the source.
fn shown(world: &mut World) -> Certificate {
    let envelope = world.command(OP_1, Command::Survey { order: None }).envelope;
    Certificate { envelopes: vec![envelope], manifests: Vec::new() }
}

fn recovered(world: &mut World, run: &Run) {
    let transfer = sealed(world, run);
    assert_eq!(install(world, run, &transfer).code(), "taken");
    let certificate = shown(world);
    assert_eq!(world.step(REC_1, run, Step::Clear { certificate }).code(), "taken");
}

#[test]
fn a_unit_without_a_master_key_gets_the_current_one_and_serves() {
    let mut world = lacking();
    let held = world.units[REC_1].state().registers().current;
    assert!(!world.units[OP_1].takes_pages());
    let run = order(&world, 2, |_| {});
    recovered(&mut world, &run);
    for unit in [OP_1, REC_1] {
        let state = world.units[unit].state();
        assert_eq!(state.registers().current, held);
        assert!(state.new.is_none() && state.retiring.is_none());
        let taken = state.rotation.as_ref().unwrap();
        assert_eq!((taken.standing, taken.transport.is_none()), (Standing::Cleared, true));
    }
    assert!(world.units[OP_1].takes_pages());
    // It is as any other unit from then on.
    let rotation = world.whole_rotation(Purpose::Rotate, 3);
    assert_eq!(world.units[OP_1].state().registers().current, Some(rotation.to));
}

#[test]
fn a_recovery_unit_recovers_from_the_other_one() {
    let mut world = World::initialised();
    world.restart_with(REC_2, |state| state.current = None);
    let run = order(&world, 2, |order| {
        order.purpose = Purpose::Recover { target: unit_id(REC_2), source: unit_id(REC_1) };
    });
    for unit in [REC_2, REC_1] {
        assert_eq!(world.inspect(unit, &run).code(), "taken");
    }
    let offers = vec![world.offer(REC_2)];
    let answer = world.step(REC_1, &run, Step::Generate { offers });
    let transfer = answer.transfers.unwrap().transfers.remove(0);
    assert_eq!(world.step(REC_2, &run, Step::Install { transfer }).code(), "taken");
    assert_eq!(world.units[REC_2].state().registers().current, run.order.from);
}

type Change = (&'static str, fn(&mut Order), &'static str);

/// Everything that an order to recover says, changed alone, and with what the target and the source
/// refuse it then.
const OF_TARGET: &[Change] = &[
    ("instance", |it| it.instance = InstanceId::from_bytes(OTHER_BYTES), "no-leave"),
    ("manifest", |it| it.number.manifest_serial = 2, "other-manifest"),
    ("number", |it| it.number.number = 1, "other-digest"),
    ("lower number", |it| it.number.number = 0, "order-spent"),
    ("target: another unit", |it| it.purpose = recover(OP_2, REC_1), "not-for-recovery"),
    ("target: its source", |it| it.purpose = recover(REC_1, REC_1), "not-for-recovery"),
    ("target: a coordinator", |it| it.purpose = to_coordinator(), "not-for-recovery"),
    ("source: operational", |it| it.purpose = recover(OP_1, OP_2), "not-for-recovery"),
    (
        "source: operational, as generator too",
        |it| {
            it.purpose = recover(OP_1, OP_2);
            it.generator = unit_id(OP_2);
        },
        "not-for-recovery",
    ),
    ("another generator", |it| it.generator = unit_id(REC_2), "not-for-recovery"),
    ("no pattern", |it| it.from = None, "not-for-recovery"),
    ("joining", |it| it.joining = vec![unit_id(OP_1)], "not-for-recovery"),
    ("quarantined", |it| it.quarantined = vec![KeyId::from_bytes([1; 16])], "not-for-recovery"),
    ("a hold", |it| it.hold_after_commit_s = 1, "not-for-recovery"),
    ("another hold", |it| it.hold_before_clear_s = 1, "not-for-recovery"),
    ("expired", |it| it.expires_at = it.issued_at, "order-expired"),
    ("from the future", |it| it.issued_at = it.issued_at.plus_ms(31_000), "order-not-yet-issued"),
];

fn recover(target: usize, source: usize) -> Purpose {
    Purpose::Recover { target: unit_id(target), source: unit_id(source) }
}

fn to_coordinator() -> Purpose {
    Purpose::Recover { target: id_of(&coordinator()), source: unit_id(REC_1) }
}

#[test]
fn each_field_of_the_order_changed_alone_is_refused_and_changes_nothing() {
    let mut world = lacking();
    for (name, change, code) in OF_TARGET {
        let run = order(&world, 2, change);
        let refused = world.refuses(OP_1, inspect(&run), code);
        assert!(!refused.text().is_empty(), "{name}");
        // Its source refuses what it is not named in, holds not, or is no order at all.
        let answer = world.command(REC_1, Command::Survey { order: Some(run.signed.clone()) });
        let names_another = matches!(*name, "target: another unit");
        let would = answer.report.facts.would_refuse.is_none();
        assert_eq!(would, names_another, "{name}: what the source would do");
    }
    let other = order(&world, 2, |order| order.from = Some(OTHER_PATTERN));
    world.refuses(REC_1, inspect(&other), "other-current");
    let run = order(&world, 2, |_| {});
    for unit in [OP_2, REC_2] {
        world.refuses(unit, inspect(&run), "not-for-recovery");
    }
    recovered(&mut world, &run);
}

/// The leave that lets coordinators rotate by themselves.
fn by_standing_order(world: &World, order: &[u8]) -> Authority {
    let bytes = codec::encode(&StandingOrder {
        instance: world.instance,
        manifest_serial: 1,
        not_more_often_than_s: 0,
        pause_between_tries_s: 0,
        hold_after_commit_s: 0,
        hold_before_clear_s: 0,
        until: NOW.plus_ms(60_000),
    });
    let signatures = signatures(domain::STANDING_ORDER, &bytes);
    Authority::Standing {
        standing: SignedStandingOrder { bytes, signatures },
        coordinator: id_of(&coordinator()),
        signature: coordinator().sign(domain::ORDER, order),
    }
}

#[test]
fn only_a_quorum_gives_such_an_order() {
    let mut world = lacking();
    let run = order(&world, 2, |_| {});
    let bytes = run.signed.bytes.clone();
    let by = |count: usize| {
        let mut given = signatures(domain::ORDER, &bytes);
        given.truncate(count);
        Command::Inspect {
            order: SignedOrder { bytes: bytes.clone(), authority: Authority::Quorum(given) },
        }
    };
    for unit in [OP_1, REC_1] {
        world.refuses(unit, by(0), "no-leave");
        world.refuses(unit, by(1), "no-leave");
        let authority = by_standing_order(&world, &bytes);
        let order = SignedOrder { bytes: bytes.clone(), authority };
        let answer = world.refuses(unit, Command::Inspect { order }, "no-leave");
        assert!(answer.text().contains("it leaves rotations only"), "{}", answer.text());
    }
}

#[test]
fn a_standing_order_leaves_plain_rotations_only_and_none_that_carries_keys_in_quarantine() {
    let mut world = World::initialised();
    let under_it = |world: &World, change: fn(&mut Order)| {
        let mut order = world.order(Purpose::Rotate, 2);
        change(&mut order);
        let bytes = codec::encode(&order);
        SignedOrder { authority: by_standing_order(world, &bytes), bytes }
    };
    let beyond: [Change; 5] = [
        ("quarantined", |it| it.quarantined = vec![KeyId::from_bytes([1; 16])], "quarantine"),
        ("joining", |it| it.joining = vec![unit_id(OP_1)], "units that join"),
        ("a hold", |it| it.hold_after_commit_s = 1, "other holds"),
        ("another hold", |it| it.hold_before_clear_s = 1, "other holds"),
        ("purpose", |it| it.purpose = Purpose::Initialise, "rotations only"),
    ];
    for (name, change, why) in beyond {
        let order = under_it(&world, change);
        let refused = leave::verify(&order, &world.units[OP_1].state().trust).unwrap_err();
        let is_for_it = matches!(&refused, LeaveRefusal::NotCovered(it) if it.contains(why));
        assert!(is_for_it, "{name}: {refused}");
        for unit in ALL {
            let answer = world.refuses(unit, Command::Inspect { order: order.clone() }, "no-leave");
            assert_eq!(answer.text(), refused.to_string());
        }
    }
    let order = under_it(&world, |_| {});
    for unit in ALL {
        assert_eq!(world.command(unit, Command::Inspect { order: order.clone() }).code(), "taken");
    }
}

#[test]
fn only_an_empty_unit_recovers_and_only_one_that_is_in_no_rotation() {
    let mut world = World::initialised();
    let run = order(&world, 5, |_| {});
    world.refuses(OP_1, inspect(&run), "register-not-empty");
    let mut rng = world.rng.clone();
    world.restart_with(OP_1, |state| {
        state.current = None;
        state.retiring = Some(MasterKey::generate(&mut rng));
    });
    world.refuses(OP_1, inspect(&run), "register-not-empty");

    // Bound, promoted: neither of the two takes it.
    let mut world = World::initialised();
    let rotation = world.committed(Purpose::Rotate, 2);
    let run = order(&world, 5, |_| {});
    for unit in [OP_1, REC_1] {
        world.refuses(unit, inspect(&run), "bound-to-another");
        assert_eq!(world.promote(unit, &rotation).code(), "taken");
        world.refuses(unit, inspect(&run), "bound-to-another");
    }
    // And neither of them takes a rotation while it is bound.
    let mut world = lacking();
    let run = order(&world, 2, |_| {});
    sealed(&mut world, &run);
    let rotation = world.signed(world.order(Purpose::Rotate, 3));
    for unit in [OP_1, REC_1] {
        world.refuses(unit, inspect(&rotation), "bound-to-another");
        let abort = Command::Abort { order: rotation.signed.clone() };
        world.refuses(unit, abort, "bound-to-another");
    }
}

#[test]
fn an_order_is_spent_after_its_end() {
    // After its success.
    let mut world = lacking();
    let run = order(&world, 2, |_| {});
    let transfer = sealed(&mut world, &run);
    let (offers, other) = (
        vec![world.offer(OP_1)],
        order(&world, 2, |it| it.mode = protocol::keystore::GateMode::Online),
    );
    assert_eq!(install(&mut world, &run, &transfer).code(), "taken");
    let certificate = shown(&mut world);
    assert_eq!(
        world.step(REC_1, &run, Step::Clear { certificate: certificate.clone() }).code(),
        "taken"
    );
    let step = |step| Command::Step { order: run.reference, step };
    for (unit, command) in [
        (OP_1, inspect(&run)),
        (OP_1, step(Step::Install { transfer: transfer.clone() })),
        (OP_1, step(Step::Clear { certificate: certificate.clone() })),
        (REC_1, inspect(&run)),
        (REC_1, step(Step::Clear { certificate })),
    ] {
        world.answers_from_state(unit, command);
    }
    world.refuses(REC_1, step(Step::Generate { offers: offers.clone() }), "cleared");
    for unit in [OP_1, REC_1] {
        world.refuses(unit, Command::Abort { order: run.signed.clone() }, "cleared");
        world.refuses(unit, inspect(&other), "other-digest");
    }
    // The master key is lost once more: the same order gives it to nobody.
    world.restart_with(OP_1, |state| state.current = None);
    world.answers_from_state(OP_1, inspect(&run));
    world.answers_from_state(OP_1, step(Step::Install { transfer }));
    assert!(world.units[OP_1].state().current.is_none());

    // After its abort.
    let mut world = lacking();
    let run = order(&world, 2, |_| {});
    let transfer = sealed(&mut world, &run);
    for unit in [OP_1, REC_1] {
        assert_eq!(world.abort(unit, &run).code(), "taken");
    }
    let step = |step| Command::Step { order: run.reference, step };
    world.answers_from_state(OP_1, inspect(&run));
    world.refuses(OP_1, step(Step::Install { transfer }), "aborted");
    world.refuses(REC_1, step(Step::Generate { offers }), "aborted");
    let again = order(&world, 3, |_| {});
    recovered(&mut world, &again);
}

type TransferChange = (&'static str, fn(&mut Transfer), &'static str);

const OTHER_ORDER: &str = "it was made for another rotation";
const DOES_NOT_OPEN: &str = "it does not open to the pattern it names";

/// Every field of a transfer, and why the target refuses it although its source has signed it so.
const OF_TRANSFER: &[TransferChange] = &[
    ("instance", |it| it.instance = InstanceId::from_bytes(OTHER_BYTES), OTHER_ORDER),
    ("manifest serial", |it| it.manifest_serial += 1, OTHER_ORDER),
    ("order", |it| it.rotation = RotationId::from_bytes(OTHER_BYTES), OTHER_ORDER),
    ("number", |it| it.number.number += 1, OTHER_ORDER),
    ("serial in the number", |it| it.number.manifest_serial += 1, OTHER_ORDER),
    ("no pattern", |it| it.from = None, OTHER_ORDER),
    ("pattern", |it| it.from = Some(OTHER_PATTERN), OTHER_ORDER),
    ("pattern of the sealed one", |it| it.to = OTHER_PATTERN, "another master key"),
    ("source: operational", |it| it.source = unit_id(OP_2), "its source may not export"),
    ("source: nobody", |it| it.source = ProcessId::from_bytes(OTHER_BYTES), "its source may not"),
    ("target", |it| it.recipient = unit_id(OP_2), "it is for another unit"),
    ("ciphertext cut short", |it| _ = it.ciphertext.pop(), DOES_NOT_OPEN),
    ("ciphertext", |it| it.ciphertext[0] ^= 1, DOES_NOT_OPEN),
    ("a weak enc", |it| it.enc = [0; 32], DOES_NOT_OPEN),
];

#[test]
fn each_field_of_the_transfer_changed_alone_is_refused() {
    let mut world = lacking();
    let run = order(&world, 2, |_| {});
    let transfer = sealed(&mut world, &run);
    let genuine: Transfer = codec::decode(&transfer.bytes).unwrap();
    let command =
        |transfer| Command::Step { order: run.reference, step: Step::Install { transfer } };
    let source = identity(REC_1 as u8);
    for (name, change, reason) in OF_TRANSFER {
        let mut changed = genuine.clone();
        change(&mut changed);
        let by_source = command(signed(&source, domain::RECOVER_TRANSFER, &changed));
        let answer = world.refuses(OP_1, by_source, "transfer-refused");
        assert!(answer.text().contains(reason), "{name}: {}", answer.text());
        let bytes = codec::encode(&changed);
        let on_the_way = SignedTransfer { bytes, signature: transfer.signature };
        world.refuses(OP_1, command(on_the_way), "transfer-refused");
    }
    // Signed as one of a rotation, and by another recovery unit that holds the very same key.
    let as_rotation = signed(&source, domain::TRANSFER, &genuine);
    world.refuses(OP_1, command(as_rotation), "transfer-refused");
    let by_other = Transfer { source: unit_id(REC_2), ..genuine.clone() };
    let by_other = signed(&identity(REC_2 as u8), domain::RECOVER_TRANSFER, &by_other);
    let answer = world.refuses(OP_1, command(by_other), "transfer-refused");
    assert!(answer.text().contains("its source is not the order's"), "{}", answer.text());
    assert_eq!(install(&mut world, &run, &transfer).code(), "taken");
}

/// A source that is wrong, or has been made to seal for something else: right in its words, and bound
/// otherwise inside.
#[test]
fn the_seal_binds_what_it_is_for_and_the_pattern_is_computed_from_the_key() {
    let mut world = lacking();
    let run = order(&world, 2, |_| {});
    let genuine: Transfer = codec::decode(&sealed(&mut world, &run).bytes).unwrap();
    let offer = world.offer(OP_1);
    let source = identity(REC_1 as u8);
    let held = run.order.from.unwrap();
    let right = sealing::info(&run, TransferPurpose::Recover, (REC_1, OP_1), held);
    let other_key = MasterKey::generate(&mut world.rng);
    let state = UnitState::from_bytes(&world.state_bytes(REC_1)).unwrap();
    let key = state.current.unwrap();
    let mut refused = |key: &MasterKey, info: TransferInfo| {
        let Transfer { enc, ciphertext, .. } = sealing::sealed(&mut world, key, &offer, &info);
        let transfer = Transfer { enc, ciphertext, ..genuine.clone() };
        let transfer = signed(&source, domain::RECOVER_TRANSFER, &transfer);
        let step = Step::Install { transfer };
        world.refuses(OP_1, Command::Step { order: run.reference, step }, "transfer-refused");
    };
    refused(&key, TransferInfo { purpose: TransferPurpose::Rotate, ..right });
    refused(&key, TransferInfo { number: OrderNumber { number: 9, ..right.number }, ..right });
    refused(&key, TransferInfo { recipient: unit_id(OP_2), ..right });
    refused(&other_key, right);
}

#[test]
fn a_source_seals_to_the_targets_own_offer_for_this_order_only() {
    let mut world = lacking();
    let run = order(&world, 2, |_| {});
    sealed(&mut world, &run);
    let offer = world.offer(OP_1);
    let genuine: Offer = codec::decode(&offer.bytes).unwrap();
    let made = |by: usize, signed_as: &str, offer: &Offer| {
        let bytes = codec::encode(offer);
        let signature = identity(by as u8).sign(signed_as, &bytes);
        let offers = vec![SignedOffer { bytes, signature }];
        Command::Step { order: run.reference, step: Step::Generate { offers } }
    };
    let of_other = Offer { unit: unit_id(OP_2), ..genuine.clone() };
    let of_another =
        Offer { number: OrderNumber { number: 9, ..genuine.number }, ..genuine.clone() };
    for command in [
        made(OP_1, domain::OFFER, &genuine),
        made(OP_2, domain::RECOVER_OFFER, &genuine),
        made(OP_2, domain::RECOVER_OFFER, &of_other),
        made(OP_1, domain::RECOVER_OFFER, &of_another),
    ] {
        world.refuses(REC_1, command, "offer-refused");
    }
    // Nobody but its source seals, and an operational unit never does.
    let step = |step| Command::Step { order: run.reference, step };
    world.refuses(OP_1, step(Step::Generate { offers: vec![offer] }), "not-allowed");
    for (unit, command) in [
        (REC_1, step(Step::Commit { pattern: run.order.from.unwrap() })),
        (OP_1, step(Step::Promote { certificate: Certificate::default() })),
        (REC_1, step(Step::Promote { certificate: Certificate::default() })),
        (OP_1, step(Step::Clear { certificate: Certificate::default() })),
    ] {
        world.refuses(unit, command, "not-for-recovery");
    }
}

#[test]
fn a_transfer_of_a_rotation_fills_no_current_register_and_the_other_way_round() {
    // The rotation's, to a unit that joins; then the same unit recovers.
    let mut world = lacking();
    let from = world.units[REC_1].state().registers().current;
    let rotation = world.signed(Order {
        joining: vec![unit_id(OP_1)],
        from,
        ..world.order(Purpose::Rotate, 2)
    });
    let mut rotation = rotation;
    for unit in ALL {
        assert_eq!(world.inspect(unit, &rotation).code(), "taken");
    }
    let offers = vec![world.offer(OP_1)];
    let drawn = world.step(REC_1, &rotation, Step::Generate { offers });
    rotation.transfers = drawn.transfers.unwrap().transfers;
    for unit in ALL {
        assert_eq!(world.abort(unit, &rotation).code(), "taken");
    }
    let run = order(&world, 3, |_| {});
    let transfer = sealed(&mut world, &run);
    let of_rotation = rotation.transfers[0].clone();
    let step = Step::Install { transfer: of_rotation };
    world.refuses(OP_1, Command::Step { order: run.reference, step }, "transfer-refused");
    assert_eq!(install(&mut world, &run, &transfer).code(), "taken");
    let certificate = shown(&mut world);
    assert_eq!(world.step(REC_1, &run, Step::Clear { certificate }).code(), "taken");
    let next = world.inspected(Purpose::Rotate, 4);
    world.refuses(
        OP_1,
        Command::Step { order: next.reference, step: Step::Install { transfer } },
        "transfer-refused",
    );
}

#[test]
fn the_source_is_let_go_only_by_the_targets_own_word_that_it_holds_the_key() {
    let mut world = lacking();
    let run = order(&world, 2, |_| {});
    let transfer = sealed(&mut world, &run);
    let before = shown(&mut world);
    let other = world.command(OP_2, Command::Survey { order: None }).envelope;
    let clear =
        |certificate| Command::Step { order: run.reference, step: Step::Clear { certificate } };
    let of_other = Certificate { envelopes: vec![other], manifests: Vec::new() };
    for lacking in [Certificate::default(), before, of_other] {
        world.refuses(REC_1, clear(lacking), "certificate-refused");
    }
    assert_eq!(install(&mut world, &run, &transfer).code(), "taken");
    let certificate = shown(&mut world);
    let mut forged = certificate.clone();
    *forged.envelopes[0].last_mut().unwrap() ^= 1;
    world.refuses(REC_1, clear(forged), "certificate-refused");
    assert_eq!(world.command(REC_1, clear(certificate)).code(), "taken");
}

#[test]
fn a_new_manifest_ends_the_order_in_whoever_takes_it() {
    let mut world = lacking();
    let run = order(&world, 2, |_| {});
    let transfer = sealed(&mut world, &run);
    world.next_manifest(&ALL);
    for unit in [OP_1, REC_1] {
        world.take_manifests(unit);
        let taken = world.units[unit].state().rotation.as_ref().unwrap();
        assert_eq!(taken.standing, Standing::Aborted);
    }
    assert_eq!(install(&mut world, &run, &transfer).code(), "aborted");
    let again = order(&world, 1, |_| {});
    recovered(&mut world, &again);
}

/// A unit's state as it was before `auto-init`, with the same identity.
fn set_back(world: &mut World, unit: usize) -> u64 {
    let own = world.command(unit, Command::Survey { order: None });
    let state = UnitState::imprint(world.instance);
    world.units[unit] = Unit::new(config(unit), identity(unit as u8), state);
    world.take_manifests(unit);
    let answer = world.command(unit, Command::Remind { report: own.envelope });
    assert!(answer.report.set_back_from.is_some());
    // The epoch is saved with the first command that has one, whatever comes of it.
    let order = own.report.rotation.unwrap().order;
    let step = Step::Commit { pattern: OTHER_PATTERN };
    assert_eq!(world.command(unit, Command::Step { order, step }).code(), "not-bound");
    own.report.state_counter
}

#[test]
fn a_unit_that_was_set_back_to_before_its_first_key_recovers_and_counts_on_from_above() {
    let mut world = World::initialised();
    world.whole_rotation(Purpose::Rotate, 2);
    let highest = set_back(&mut world, OP_1);
    let run = order(&world, 3, |_| {});
    let transfer = sealed(&mut world, &run);
    assert!(world.units[OP_1].state().reminder.is_some(), "bound is not as far again");
    assert!(!world.units[OP_1].takes_pages());
    let answer = install(&mut world, &run, &transfer);
    assert_eq!(answer.code(), "taken", "{}", answer.text());
    assert!(answer.report.state_counter > highest && answer.report.set_back_from.is_none());
    assert!(world.units[OP_1].takes_pages());
    let certificate = shown(&mut world);
    assert_eq!(world.step(REC_1, &run, Step::Clear { certificate }).code(), "taken");
    world.whole_rotation(Purpose::Rotate, 4);
}

#[test]
fn a_unit_that_forgot_a_rotation_takes_no_order_from_before_it_nor_within_it() {
    let mut world = World::initialised();
    // Signed, and never given, before the rotation that has ended since.
    let early = order(&world, 2, |_| {});
    world.whole_rotation(Purpose::Rotate, 5);
    set_back(&mut world, OP_1);
    world.refuses(OP_1, inspect(&early), "order-spent");
    let same = order(&world, 5, |_| {});
    world.refuses(OP_1, inspect(&same), "other-digest");
    let run = order(&world, 6, |_| {});
    recovered(&mut world, &run);

    // It had promoted: it comes forward, and is given no key beside it.
    let mut world = World::initialised();
    let run = world.promoted(Purpose::Rotate, 2);
    for unit in ALL.into_iter().filter(|unit| *unit != OP_1) {
        assert_eq!(world.clear(unit, &run).code(), "taken");
    }
    set_back(&mut world, OP_1);
    let later = order(&world, 3, |_| {});
    world.refuses(OP_1, inspect(&later), "bound-to-another");
    // A manifest that does not amend it says that it is over, whoever has come through it how.
    world.next_manifest(&ALL);
    for unit in ALL {
        world.take_manifests(unit);
    }
    let run = order(&world, 1, |_| {});
    recovered(&mut world, &run);
    // It had taken one that was aborted while it was away: it hears of that first.
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    set_back(&mut world, OP_1);
    for unit in ALL.into_iter().filter(|unit| *unit != OP_1) {
        assert_eq!(world.abort(unit, &run).code(), "taken");
    }
    let later = order(&world, 3, |_| {});
    world.refuses(OP_1, inspect(&later), "bound-to-another");
    assert_eq!(world.abort(OP_1, &run).code(), "taken");
    recovered(&mut world, &later);
}

#[test]
fn set_back_within_the_order_it_is_filled_again_or_let_go_of() {
    // The source still holds it.
    let mut world = lacking();
    let run = order(&world, 2, |_| {});
    let transfer = sealed(&mut world, &run);
    let bound = world.state_bytes(OP_1);
    assert_eq!(install(&mut world, &run, &transfer).code(), "taken");
    let own = world.command(OP_1, Command::Survey { order: None }).envelope;
    let put_back = |world: &mut World| {
        world.put_back(OP_1, &bound);
        world.command(OP_1, Command::Remind { report: own.clone() });
    };
    put_back(&mut world);
    let again = seal(&mut world, &run);
    let answer = install(&mut world, &run, &again);
    assert!(answer.report.set_back_from.is_none() && world.units[OP_1].takes_pages());
    let certificate = shown(&mut world);
    assert_eq!(world.step(REC_1, &run, Step::Clear { certificate }).code(), "taken");
    // The source has gone on: the order ends here, and another one gives the key.
    put_back(&mut world);
    assert_eq!(world.abort(OP_1, &run).code(), "taken");
    assert!(!world.units[OP_1].takes_pages());
    let run = order(&world, 3, |_| {});
    recovered(&mut world, &run);
    assert!(world.units[OP_1].takes_pages());
}

#[test]
fn a_source_that_was_set_back_gives_nothing_away() {
    let mut world = lacking();
    let before = world.state_bytes(REC_1);
    let left =
        world.signed(Order { joining: vec![unit_id(OP_1)], ..world.order(Purpose::Rotate, 2) });
    assert_eq!(world.inspect(REC_1, &left).code(), "taken");
    let own = world.command(REC_1, Command::Survey { order: None }).envelope;
    world.put_back(REC_1, &before);
    world.command(REC_1, Command::Remind { report: own });
    // Which ends what it was bound to.
    world.next_manifest(&ALL);
    world.take_manifests(REC_1);
    assert!(world.units[REC_1].state().reminder.is_some());
    let run = order(&world, 3, |_| {});
    world.refuses(REC_1, inspect(&run), "not-for-recovery");
}
