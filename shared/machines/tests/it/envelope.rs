//! Goal: a message that is not for this reader, or not by whom it says, goes no further than its
//! envelope, and everybody calls the reason by the same word. Method: one genuine command, changed
//! in every way.

use crypto::identity::Identity;
use crypto::{digest, domain};
use machines::envelope::{self, Outgoing, Reader};
use protocol::codec;
use protocol::command::Command;
use protocol::envelope::{Envelope, Header, Kind, Recipient};
use protocol::{InstanceId, MessageId, Role};

use crate::world::{
    EPOCH, NOW, OP_1, OP_2, REC_1, World, coordinator, id_of, identity, reencryptor, stranger,
    unit_id,
};

/// The reason why a unit puts a message on the dead-letter queue; its state must not have changed.
fn reason(world: &mut World, bytes: &[u8]) -> Option<&'static str> {
    let before = world.state_bytes(OP_1);
    let outcome = world.units[OP_1].handle(NOW, &mut world.rng, bytes);
    assert!(outcome.dead.is_none() || !outcome.is_changed);
    assert!(outcome.dead.is_none() || outcome.messages.is_empty(), "the dead are not answered");
    assert!(outcome.dead.is_none() || world.state_bytes(OP_1) == before);
    outcome.dead
}

fn outgoing(world: &World) -> Outgoing {
    Outgoing {
        id: MessageId::from_bytes([1; 16]),
        in_answer_to: None,
        instance: world.instance,
        recipient: Recipient::Process(unit_id(OP_1)),
        manifest_serial: 1,
        rotation: None,
        epoch: EPOCH,
        kind: Kind::Command,
    }
}

fn survey() -> Vec<u8> {
    codec::encode(&Command::Survey { order: None })
}

#[test]
fn only_the_reader_that_a_message_names_takes_it() {
    let mut world = World::initialised();
    let right = outgoing(&world);
    for (recipient, dead) in [
        (Recipient::Process(unit_id(OP_1)), None),
        (Recipient::Role(Role::OperationalUnit), None),
        (Recipient::Process(unit_id(OP_2)), Some("other-recipient")),
        (Recipient::Process(id_of(&coordinator())), Some("other-recipient")),
        (Recipient::Role(Role::RecoveryUnit), Some("other-recipient")),
        (Recipient::Role(Role::Coordinator), Some("other-recipient")),
    ] {
        let outgoing = Outgoing { recipient, ..right.clone() };
        let bytes = envelope::seal(&coordinator(), &outgoing, &survey());
        assert_eq!(reason(&mut world, &bytes), dead, "{recipient:?}");
    }
    let instance = InstanceId::from_bytes([9; 16]);
    let bytes = envelope::seal(&coordinator(), &Outgoing { instance, ..right }, &survey());
    assert_eq!(reason(&mut world, &bytes), Some("other-instance"));
}

#[test]
fn only_members_are_heard_and_only_coordinators_command() {
    let mut world = World::initialised();
    let right = outgoing(&world);
    let run = world.signed(world.order(protocol::order::Purpose::Rotate, 2));
    let inspect = Command::Inspect { order: run.signed };
    for other in [identity(OP_2 as u8), identity(2), reencryptor(), stranger()] {
        let bytes = envelope::seal(&other, &right, &codec::encode(&inspect));
        let before = world.state_bytes(OP_1);
        let answer = world.deliver(OP_1, &bytes);
        assert_eq!((answer.code().as_str(), answer.is_changed), ("not-a-coordinator", false));
        assert_eq!(world.state_bytes(OP_1), before);
    }
    for kind in [Kind::UnitReport, Kind::KeystoreCommand, Kind::Transfers, Kind::Announcement] {
        let bytes = envelope::seal(&coordinator(), &Outgoing { kind, ..right.clone() }, &survey());
        assert_eq!(reason(&mut world, &bytes), Some("unexpected-kind"), "{kind:?}");
    }
}

/// A stranger may introduce itself, and nothing vouches for it; in a member's name it may not.
#[test]
fn a_key_in_the_header_is_believed_only_where_nothing_else_is_known() {
    let world = World::initialised();
    let trust = &world.units[OP_1].state().trust;
    let reader = Reader { id: unit_id(OP_1), role: Role::OperationalUnit };
    let strangers =
        [Kind::Announcement, Kind::Command, Kind::KeystoreCommand, Kind::ManifestNotice];
    let members = [Kind::UnitReport, Kind::KeystoreReport, Kind::Transfers];
    for kind in strangers.into_iter().chain(members) {
        let outgoing = Outgoing { kind, ..outgoing(&world) };
        let bytes = envelope::seal(&stranger(), &outgoing, b"");
        let opened = envelope::open(&bytes, reader, trust);
        match kind {
            _ if strangers.contains(&kind) => assert_eq!(opened.unwrap().sender_role, None),
            _ => assert_eq!(opened.unwrap_err().reason(), "unknown-sender", "{kind:?}"),
        }
        let bytes = envelope::seal(&identity(OP_2 as u8), &outgoing, b"");
        let opened = envelope::open(&bytes, reader, trust).unwrap();
        assert_eq!(opened.sender_role, Some(Role::OperationalUnit));
    }
    let own = envelope::seal(&stranger(), &outgoing(&world), &survey());
    let imprint = machines::trust::Trust::imprint(world.instance);
    assert_eq!(envelope::open(&own, reader, &imprint).unwrap().sender_role, None);
    let forged = in_the_name_of(&coordinator(), &own);
    let refused = envelope::open(&forged, reader, &imprint).unwrap_err();
    assert_eq!(refused.reason(), "unknown-sender", "an id is not claimed without its key");
}

/// The stranger's message under another sender's id, which its signature covers like all else.
fn in_the_name_of(member: &Identity, own: &[u8]) -> Vec<u8> {
    let parsed = Envelope::parse(own).unwrap();
    let header = codec::encode(&Header { sender: id_of(member), ..parsed.header.clone() });
    let body = digest::sha256(domain::BODY, &[parsed.body]);
    let signature = stranger().sign(domain::ENVELOPE, &[header.as_slice(), &body.0].concat());
    Envelope::assemble(&header, &signature, parsed.body)
}

#[test]
fn a_members_key_comes_from_the_manifest_whatever_the_header_says() {
    let mut world = World::initialised();
    for kind in [Kind::Command, Kind::UnitReport, Kind::KeystoreReport, Kind::Announcement] {
        let outgoing = Outgoing { kind, ..outgoing(&world) };
        let own = envelope::seal(&stranger(), &outgoing, &survey());
        // What is forged here is signed just as what is genuine.
        assert_eq!(in_the_name_of(&stranger(), &own), own);
        for member in [coordinator(), reencryptor(), identity(OP_2 as u8), identity(REC_1 as u8)] {
            let forged = in_the_name_of(&member, &own);
            assert_eq!(reason(&mut world, &forged), Some("wrong-signature"), "{kind:?}");
            let trust = &world.units[OP_1].state().trust;
            let refused = envelope::open_evidence(&forged, trust).unwrap_err();
            assert_eq!(refused.reason(), "wrong-signature", "{kind:?} in a certificate");
        }
    }
}

#[test]
fn every_flipped_bit_is_refused_with_a_stable_word() {
    let mut world = World::initialised();
    let genuine = envelope::seal(&coordinator(), &outgoing(&world), &survey());
    assert_eq!(reason(&mut world, &genuine), None);
    let mut words = std::collections::BTreeSet::new();
    for bit in 0..genuine.len() * 8 {
        let mut changed = genuine.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let dead = reason(&mut world, &changed);
        words.insert(dead.unwrap_or_else(|| panic!("bit {bit} does not count")));
    }
    let stable = [
        "malformed",
        "other-instance",
        "other-recipient",
        "oversized",
        "trailing-bytes",
        "unknown-sender",
        "wrong-signature",
        "wrong-version",
    ];
    assert_eq!(words.into_iter().collect::<Vec<_>>(), stable);
}

#[test]
fn cut_short_or_too_long_is_refused() {
    let mut world = World::initialised();
    let right = outgoing(&world);
    let genuine = envelope::seal(&coordinator(), &right, &survey());
    assert_eq!(reason(&mut world, &[]), Some("empty"));
    for length in 1..genuine.len() {
        let dead = reason(&mut world, &genuine[..length]).unwrap();
        assert!(matches!(dead, "malformed" | "wrong-signature"), "{length} bytes: {dead}");
    }
    let longer = [genuine.as_slice(), &[0]].concat();
    assert_eq!(reason(&mut world, &longer), Some("wrong-signature"));
    // Signed so: the body itself has a byte too many, or one too few, or is of a newer format.
    let body = survey();
    let mut newer = body.clone();
    newer[0] += 1;
    for (body, dead) in [
        ([body.as_slice(), &[0]].concat(), "trailing-bytes"),
        (body[..body.len() - 1].to_vec(), "malformed"),
        (Vec::new(), "empty"),
        (newer, "wrong-version"),
    ] {
        let bytes = envelope::seal(&coordinator(), &right, &body);
        assert_eq!(reason(&mut world, &bytes), Some(dead));
    }
    let oversized = vec![codec::FORMAT; codec::LIMIT_BYTES + 1];
    assert_eq!(reason(&mut world, &oversized), Some("oversized"));
}
