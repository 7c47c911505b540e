//! Goal: a master key goes only from a recovery unit of the manifest to the unit that it was sealed
//! for, in the one rotation that it was drawn for, and only once. Method: a genuine transfer with
//! one thing changed; and one that is right but for what was bound inside the seal.

use crypto::domain;
use crypto::identity::Identity;
use crypto::master_key::MasterKey;
use crypto::transfer::{TransferInfo, TransferPurpose};
use protocol::codec;
use protocol::command::{Command, Offer, SignedOffer, SignedTransfer, Step, Transfer};
use protocol::order::Purpose;
use protocol::{InstanceId, OrderNumber, Pattern, ProcessId, RotationId};

use crate::sealing;
use crate::world::{
    OP_1, OP_2, OTHERS, REC_1, REC_2, Run, World, admins, coordinator, identity, stranger, unit_id,
};

const OTHER_BYTES: [u8; 16] = [0xee; 16];
const OTHER_PATTERN: Pattern = Pattern([0xee; 32]);

fn install(run: &Run, transfer: SignedTransfer) -> Command {
    Command::Step { order: run.reference, step: Step::Install { transfer } }
}

fn signed(by: &Identity, transfer: &Transfer) -> SignedTransfer {
    sealing::signed(by, domain::TRANSFER, transfer)
}

/// What binds this order's key to op-1.
fn to_op_1(run: &Run, to: Pattern) -> TransferInfo {
    sealing::info(run, TransferPurpose::Rotate, (REC_1, OP_1), to)
}

/// The transfer to op-1, read.
fn genuine(run: &Run) -> Transfer {
    codec::decode(&run.transfers[0].bytes).unwrap()
}

type Change = (&'static str, fn(&mut Transfer), &'static str);

const OTHER_ROTATION: &str = "it was made for another rotation";
const DOES_NOT_OPEN: &str = "it does not open to the pattern it names";

/// Every field of a transfer, and why a unit refuses it although its source has signed it so.
const CHANGES: &[Change] = &[
    ("instance", |it| it.instance = InstanceId::from_bytes(OTHER_BYTES), OTHER_ROTATION),
    ("manifest serial", |it| it.manifest_serial += 1, OTHER_ROTATION),
    ("rotation", |it| it.rotation = RotationId::from_bytes(OTHER_BYTES), OTHER_ROTATION),
    ("order number", |it| it.number.number += 1, OTHER_ROTATION),
    ("serial in the number", |it| it.number.manifest_serial += 1, OTHER_ROTATION),
    ("no from pattern", |it| it.from = None, OTHER_ROTATION),
    ("from pattern", |it| it.from = Some(OTHER_PATTERN), OTHER_ROTATION),
    ("to pattern", |it| it.to = OTHER_PATTERN, DOES_NOT_OPEN),
    ("source: another recovery unit", |it| it.source = unit_id(REC_2), "its signature is not"),
    ("source: operational", |it| it.source = unit_id(OP_2), "its source may not export"),
    ("source: the unit itself", |it| it.source = it.recipient, "its source may not export"),
    ("source: nobody", |it| it.source = ProcessId::from_bytes(OTHER_BYTES), "its source may not"),
    ("target: another unit", |it| it.recipient = unit_id(OP_2), "it is for another unit"),
    ("target: its source", |it| it.recipient = it.source, "it is for another unit"),
    ("ciphertext cut short", |it| _ = it.ciphertext.pop(), DOES_NOT_OPEN),
    ("ciphertext too long", |it| it.ciphertext.push(0), DOES_NOT_OPEN),
    ("no ciphertext", |it| it.ciphertext.clear(), DOES_NOT_OPEN),
    ("a weak enc", |it| it.enc = [0; 32], DOES_NOT_OPEN),
];

#[test]
fn each_field_of_a_transfer_changed_alone_is_refused() {
    let mut world = World::initialised();
    let run = world.generated(Purpose::Rotate, 2);
    for (name, change, reason) in CHANGES {
        let mut transfer = genuine(&run);
        change(&mut transfer);
        // Its source signs the change: only the unit's own order and the seal are left to refuse.
        let by_source = install(&run, signed(&identity(REC_1 as u8), &transfer));
        let answer = world.refuses(OP_1, by_source, "transfer-refused");
        assert!(answer.text().contains(reason), "{name}: {}", answer.text());
        // On the way: the signature is of what it was before.
        let bytes = codec::encode(&transfer);
        let on_the_way = SignedTransfer { bytes, signature: run.transfers[0].signature };
        world.refuses(OP_1, install(&run, on_the_way), "transfer-refused");
    }
    assert_eq!(world.install(OP_1, &run).code(), "taken", "the genuine one is still welcome");
}

#[test]
fn each_bit_of_enc_ciphertext_and_signature_counts() {
    let mut world = World::initialised();
    let run = world.generated(Purpose::Rotate, 2);
    let source = identity(REC_1 as u8);
    for byte in 0..32 {
        let mut transfer = genuine(&run);
        transfer.enc[byte] ^= 1;
        world.refuses(OP_1, install(&run, signed(&source, &transfer)), "transfer-refused");
    }
    for byte in 0..genuine(&run).ciphertext.len() {
        let mut transfer = genuine(&run);
        transfer.ciphertext[byte] ^= 0x80;
        world.refuses(OP_1, install(&run, signed(&source, &transfer)), "transfer-refused");
    }
    for byte in 0..64 {
        let mut transfer = run.transfers[0].clone();
        transfer.signature.0[byte] ^= 1;
        world.refuses(OP_1, install(&run, transfer), "transfer-refused");
    }
    assert_eq!(world.install(OP_1, &run).code(), "taken");
}

/// A source that seals under another `info` than its signed words say.
#[test]
fn each_field_is_bound_inside_the_seal_too() {
    let mut world = World::initialised();
    let run = world.generated(Purpose::Rotate, 2);
    let offer = world.offer(OP_1);
    let key = MasterKey::generate(&mut world.rng);
    let right = to_op_1(&run, key.pattern());
    let others = [
        TransferInfo { instance: InstanceId::from_bytes(OTHER_BYTES), ..right },
        TransferInfo { manifest_serial: 2, ..right },
        TransferInfo { rotation: RotationId::from_bytes(OTHER_BYTES), ..right },
        TransferInfo { number: OrderNumber { number: 3, ..right.number }, ..right },
        TransferInfo { number: OrderNumber { manifest_serial: 2, ..right.number }, ..right },
        TransferInfo { source: unit_id(REC_2), ..right },
        TransferInfo { recipient: unit_id(OP_2), ..right },
        TransferInfo { from: None, ..right },
        TransferInfo { from: Some(OTHER_PATTERN), ..right },
        TransferInfo { to: OTHER_PATTERN, ..right },
    ];
    let sealed_under = |world: &mut World, info: &TransferInfo| {
        let Transfer { enc, ciphertext, .. } = sealing::sealed(world, &key, &offer, info);
        let transfer = Transfer { to: right.to, enc, ciphertext, ..genuine(&run) };
        install(&run, signed(&identity(REC_1 as u8), &transfer))
    };
    for (index, info) in others.iter().enumerate() {
        let command = sealed_under(&mut world, info);
        let answer = world.refuses(OP_1, command, "transfer-refused");
        assert!(answer.text().contains(DOES_NOT_OPEN), "field {index}: {}", answer.text());
    }
    // The same seal under the right `info` opens, so nothing else was wrong with the others.
    let command = sealed_under(&mut world, &right);
    assert_eq!(world.command(OP_1, command).code(), "taken");
}

#[test]
fn only_a_recovery_unit_of_the_manifest_may_export_and_its_signature_has_its_own_purpose() {
    let mut world = World::initialised();
    let run = world.generated(Purpose::Rotate, 2);
    let transfer = genuine(&run);
    let [admin, ..] = admins();
    for other in [stranger(), coordinator(), admin, identity(OP_2 as u8), identity(REC_2 as u8)] {
        world.refuses(OP_1, install(&run, signed(&other, &transfer)), "transfer-refused");
    }
    let bytes = codec::encode(&transfer);
    for purpose in [domain::OFFER, domain::ENVELOPE, domain::RECEIPT, domain::ORDER, ""] {
        let signature = identity(REC_1 as u8).sign(purpose, &bytes);
        let transfer = SignedTransfer { bytes: bytes.clone(), signature };
        world.refuses(OP_1, install(&run, transfer), "transfer-refused");
    }
    let to_another = install(&run, run.transfers[1].clone());
    world.refuses(OP_1, to_another, "transfer-refused");
    for unit in [OP_1, OP_2] {
        let export = Step::Generate { offers: vec![world.offer(REC_2)] };
        let export = Command::Step { order: run.reference, step: export };
        world.refuses(unit, export, "not-allowed");
    }
    let own = Step::Generate { offers: vec![world.offer(REC_1)] };
    let own = Command::Step { order: run.reference, step: own };
    world.refuses(REC_1, own, "offer-refused");
}

#[test]
fn a_unit_that_is_no_generator_makes_no_key_of_its_own() {
    let mut world = World::initialised();
    let run = world.inspected(Purpose::Rotate, 2);
    let offers = vec![world.offer(OP_1)];
    let generate = Command::Step { order: run.reference, step: Step::Generate { offers } };
    world.refuses(REC_2, generate.clone(), "not-the-generator");
    // Once it holds the key of this rotation it may seal that one to others.
    let mut run = run;
    let offers = OTHERS.map(|unit| world.offer(unit)).into();
    let answer = world.step(REC_1, &run, Step::Generate { offers });
    run.transfers = answer.transfers.unwrap().transfers;
    run.to = answer.report.registers.new.unwrap().pattern;
    world.install(REC_2, &run);
    let answer = world.answers_from_state(REC_2, generate);
    let [copy] = answer.transfers.unwrap().transfers.try_into().unwrap();
    assert_eq!(world.command(OP_1, install(&run, copy)).code(), "taken");
    let new = world.units[OP_1].state().registers().new.unwrap();
    assert_eq!(new.pattern, run.to, "the same key, from another unit");
}

/// A unit that signs a transport key to which nothing can be sealed.
#[test]
fn a_key_that_cannot_be_sealed_to_everybody_is_not_kept() {
    let mut world = World::initialised();
    let run = world.inspected(Purpose::Rotate, 2);
    let mut offers = OTHERS.map(|unit| world.offer(unit));
    let right: Offer = codec::decode(&offers[0].bytes).unwrap();
    let bytes = codec::encode(&Offer { transport_key: [0; 32], ..right });
    let signature = identity(OTHERS[0] as u8).sign(domain::OFFER, &bytes);
    offers[0] = SignedOffer { bytes, signature };
    let counter = world.units[REC_1].state().counter;
    let step = Step::Generate { offers: offers.into() };
    let generate = Command::Step { order: run.reference, step };
    world.refuses(REC_1, generate, "transfer-refused");
    let state = world.units[REC_1].state();
    assert!(state.registers().new.is_none(), "nothing was drawn");
    assert_eq!(state.counter, counter);
}

#[test]
fn generate_takes_offers_of_this_rotation_and_manifest_only() {
    let mut world = World::initialised();
    let old_offer = {
        let mut before = World::initialised();
        before.inspected(Purpose::Rotate, 2);
        before.offer(OP_1)
    };
    // A manifest without op-2: it takes the first, not the second.
    world.next_manifest(&[OP_1, REC_1, REC_2]);
    for unit in [OP_1, REC_1, REC_2] {
        world.take_manifests(unit);
    }
    let run = world.signed(world.order(Purpose::Rotate, 1));
    for unit in [OP_1, REC_1, REC_2] {
        assert_eq!(world.inspect(unit, &run).code(), "taken");
    }
    let right: Offer = codec::decode(&world.offer(OP_1).bytes).unwrap();
    let offer_of = |unit: usize, change: fn(&mut Offer)| {
        let mut offer = Offer { unit: unit_id(unit), ..right.clone() };
        change(&mut offer);
        let bytes = codec::encode(&offer);
        let signature = identity(unit as u8).sign(domain::OFFER, &bytes);
        SignedOffer { bytes, signature }
    };
    let mut flipped = world.offer(OP_1);
    flipped.signature.0[7] ^= 1;
    let refused = [
        ("not in the manifest", offer_of(OP_2, |_| ()), "is not in the manifest"),
        ("an older serial", offer_of(OP_1, |it| it.manifest_serial = 1), "another rotation"),
        ("a whole older offer", old_offer, "another rotation"),
        (
            "another instance",
            offer_of(OP_1, |it| it.instance = InstanceId::from_bytes(OTHER_BYTES)),
            "another rotation",
        ),
        (
            "another rotation",
            offer_of(OP_1, |it| it.rotation = RotationId::from_bytes(OTHER_BYTES)),
            "another rotation",
        ),
        ("another number", offer_of(OP_1, |it| it.number.number = 9), "another rotation"),
        ("in another's name", offer_of(REC_2, |it| it.unit = unit_id(OP_1)), "is not its unit's"),
        (
            "a coordinator's",
            offer_of(10, |it| it.unit = unit_id(10)),
            "its unit takes no master key",
        ),
        ("a changed signature", flipped, "is not its unit's"),
    ];
    for (name, offer, reason) in refused {
        // One bad offer among good ones: nothing is drawn and nothing is sealed.
        let offers = vec![world.offer(REC_2), offer];
        let generate = Command::Step { order: run.reference, step: Step::Generate { offers } };
        let answer = world.refuses(REC_1, generate, "offer-refused");
        assert!(answer.text().contains(reason), "{name}: {}", answer.text());
        assert!(answer.transfers.is_none());
    }
    // What the removed unit says as commands' target: it may do nothing in the new manifest.
    let to_removed = Command::Inspect { order: run.signed.clone() };
    world.refuses(OP_2, to_removed, "other-manifest");
}

#[test]
fn the_key_is_drawn_once_and_a_second_generate_answers_from_state() {
    let mut world = World::initialised();
    let run = world.generated(Purpose::Rotate, 2);
    for _ in 0..3 {
        let offers = OTHERS.map(|unit| world.offer(unit)).into();
        let generate = Command::Step { order: run.reference, step: Step::Generate { offers } };
        let again = world.answers_from_state(REC_1, generate);
        let transfers = again.transfers.unwrap().transfers;
        assert_ne!(transfers, run.transfers, "sealed afresh");
        for transfer in &transfers {
            let found: Transfer = codec::decode(&transfer.bytes).unwrap();
            assert_eq!(found.to, run.to, "the same key");
        }
        // Each copy installs, or is found to be installed.
        assert_eq!(world.command(OP_1, install(&run, transfers[0].clone())).code(), "taken");
    }
    let pattern = world.units[OP_1].state().registers().new.unwrap().pattern;
    assert_eq!(pattern, run.to);
}

#[test]
fn a_copy_with_another_pattern_is_never_taken() {
    let mut world = World::initialised();
    let run = world.generated(Purpose::Rotate, 2);
    let offer = world.offer(OP_1);
    let drawn_again = MasterKey::generate(&mut world.rng);
    let info = to_op_1(&run, drawn_again.pattern());
    let transfer = sealing::sealed(&mut world, &drawn_again, &offer, &info);
    let other = install(&run, signed(&identity(REC_1 as u8), &transfer));
    world.install(OP_1, &run);
    world.refuses(OP_1, other.clone(), "other-copy");
    world.step(OP_1, &run, Step::Commit { pattern: run.to });
    world.refuses(OP_1, other, "other-copy");
    let commit = Step::Commit { pattern: info.to };
    world.refuses(OP_1, Command::Step { order: run.reference, step: commit }, "other-pattern");
    let report = world.units[OP_1].report(crate::world::NOW, None);
    assert_eq!(report.registers.new_status(), "Full Committed");
    assert_eq!(report.registers.new.unwrap().pattern, run.to);
}

/// A transfer of the key that is current already would retire nothing and end in one key for two.
#[test]
fn the_current_key_is_no_new_key() {
    let mut world = World::initialised();
    let run = world.inspected(Purpose::Rotate, 2);
    let offer = world.offer(OP_1);
    let state = world.state_bytes(REC_1);
    let source = machines::unit::state::UnitState::from_bytes(&state).unwrap();
    let current = source.current.unwrap();
    let info = to_op_1(&run, current.pattern());
    let transfer = sealing::sealed(&mut world, &current, &offer, &info);
    let command = install(&run, signed(&identity(REC_1 as u8), &transfer));
    let answer = world.refuses(OP_1, command, "transfer-refused");
    assert!(answer.text().contains("it holds the current master key"));
}
