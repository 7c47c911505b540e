//! Goal: a receipt holds for whoever has the manifests, and no field of it can be another one.
//! Method: a conductor drives a rotation to its end among real units; then each field is changed
//! alone, once as anybody could, and once signed anew by the coordinator itself.

use std::sync::Arc;

use crypto::domain;
use crypto::merkle::KeyTree;
use machines::conductor::{Conductor, Effects, Input, Times};
use machines::receipt::{holds, receipt_hash, verify};
use machines::rotation::record::{Record, Verdict};
use machines::trust::Trust;
use protocol::audit::Phase;
use protocol::codec;
use protocol::command::KeystoreCommand;
use protocol::envelope::{Envelope, Kind, Recipient};
use protocol::keystore::KeystoreStanding;
use protocol::manifest::SignedManifest;
use protocol::order::{Authority, Purpose};
use protocol::receipt::{AuditHead, ReceiptError, RotationReceipt};
use protocol::report::{Answering, KeystoreReport};
use protocol::{Digest, Epoch, InstanceId, KeyId, Pattern, RotationId, UnixMillis, VersionId};

use crate::world::{
    ALL, EPOCH, NOW, Run, World, coordinator, id_of, reencryptor, stranger, unit_id,
};

const KEYS: u64 = 3;
const AUDIT: AuditHead = AuditHead { seq: 7, hash: Digest([7; 32]) };

fn key_root() -> Digest {
    let mut keys = KeyTree::new();
    for number in 1..=KEYS as u8 {
        keys.push(KeyId::from_bytes([number; 16]), VersionId::from_bytes([number; 16]));
    }
    keys.root()
}

/// Units that have cleared, and a keystore that is flipped: a coordinator takes the rotation up.
struct Scene {
    world: World,
    conductor: Conductor,
    run: Run,
    is_dropped: bool,
    clock: u64,
}

impl Scene {
    fn new(world: World, run: Run) -> Self {
        let trust = Trust::from_saved(world.instance, world.manifests.clone()).unwrap();
        let conductor = Conductor::new(Arc::new(coordinator()), trust, None, Times::default());
        Self { world, conductor, run, is_dropped: false, clock: 0 }
    }

    fn initialised() -> Self {
        let mut world = World::new();
        let run = world.whole_rotation(Purpose::Initialise, 1);
        Self::new(world, run)
    }

    fn rotated() -> Self {
        let mut world = World::initialised();
        let run = world.whole_rotation(Purpose::Rotate, 2);
        Self::new(world, run)
    }

    fn record(&self) -> Record {
        let mut record = Record::new(self.run.signed.clone(), EPOCH, "ann".to_owned(), NOW);
        record.verdict = Verdict::Decided;
        record
    }

    fn drive(&mut self, record: Record) {
        let effects = self.conductor.recover(NOW, &mut self.world.rng, Some(record));
        let mut waiting = vec![effects];
        while let Some(effects) = waiting.pop() {
            for bytes in self.answers(effects) {
                let input = Input::Message(bytes);
                waiting.push(self.conductor.handle(NOW, &mut self.world.rng, input));
            }
        }
    }

    fn answers(&mut self, effects: Effects) -> Vec<Vec<u8>> {
        let mut answers = Vec::new();
        for message in effects.send {
            match ALL.into_iter().find(|unit| unit_id(*unit) == message.to) {
                None => answers.push(self.keystore_answer(&message.bytes)),
                Some(unit) => {
                    let rng = &mut self.world.rng;
                    let outcome = self.world.units[unit].handle(NOW, rng, &message.bytes);
                    answers.extend(outcome.messages.into_iter().map(|message| message.bytes));
                }
            }
        }
        answers
    }

    fn keystore_answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        let envelope = Envelope::parse(bytes).unwrap();
        let command = codec::decode(envelope.body).unwrap();
        self.is_dropped |= matches!(command, KeystoreCommand::Drop { .. });
        let mut report = self.report();
        report.answering = Some(Answering { message: envelope.header.id, refusal: None });
        self.clock += 1;
        report.clock = NOW.plus_ms(self.clock);
        let to = Recipient::Process(id_of(&coordinator()));
        self.world.seal(&reencryptor(), to, Kind::KeystoreReport, Epoch::default(), &report)
    }

    fn report(&self) -> KeystoreReport {
        let mut report = self.world.flipped(&self.run);
        let row = report.row.as_mut().unwrap();
        let active = row.active.as_mut().unwrap();
        (active.set_count, active.done_count) = (KEYS, KEYS);
        let rotation = row.rotation.as_mut().unwrap();
        rotation.key_root = Some(key_root());
        if self.is_dropped {
            rotation.standing = KeystoreStanding::Dropped;
        }
        report
    }

    fn receipt(&mut self, previous: Option<Digest>) -> RotationReceipt {
        let record = self.record();
        self.drive(record);
        self.conductor.make_receipt(AUDIT, previous).unwrap().unwrap()
    }
}

/// The subjects of the checks that fail.
fn failing(
    receipt: &RotationReceipt,
    chain: &[SignedManifest],
    previous: Option<&RotationReceipt>,
) -> Vec<&'static str> {
    let checks = verify(receipt, chain, previous);
    checks.iter().filter(|check| check.found.is_err()).map(|check| check.subject).collect()
}

fn sign(receipt: &mut RotationReceipt) {
    let message = receipt.signed_bytes();
    receipt.signature = coordinator().sign(domain::ROTATION_RECEIPT, &message);
}

#[test]
fn a_rotation_that_has_ended_leaves_one_receipt_and_it_holds() {
    let mut scene = Scene::rotated();
    let receipt = scene.receipt(None);
    let checks = verify(&receipt, &scene.world.manifests, None);
    assert!(holds(&checks), "{checks:?}");
    assert_eq!((receipt.key_versions, receipt.keystores[0].key_root), (KEYS, key_root()));
    assert_eq!((receipt.audit, receipt.to), (AUDIT, scene.run.to));
    assert!(scene.conductor.make_receipt(AUDIT, None).is_none(), "it is made once");
    let noted = scene.conductor.rotation().unwrap().record().receipt;
    assert_eq!(noted, Some(receipt_hash(&receipt)));
    assert_eq!(scene.conductor.rotation().unwrap().to_view().receipt, noted);

    let text = receipt.to_text();
    assert_eq!(RotationReceipt::read(text.as_bytes()), Ok(receipt.clone()));
    let compact = String::from_utf8(receipt.canonical_bytes()).unwrap();
    assert_eq!(RotationReceipt::read(compact.as_bytes()), Ok(receipt), "however it is laid out");
}

/// The keystore's last word is *dropped*; the receipt has its word for *flipped*.
#[test]
fn the_flipped_report_is_kept_beyond_the_drop_and_over_a_restart() {
    let mut scene = Scene::rotated();
    let first = scene.receipt(None);
    assert!(scene.is_dropped);
    let standing = |receipt: &RotationReceipt| {
        let body = Envelope::parse(&receipt.keystores[0].report).unwrap().body;
        let report: KeystoreReport = codec::decode(body).unwrap();
        report.row.unwrap().rotation.unwrap().standing
    };
    assert_eq!(standing(&first), KeystoreStanding::Flipped);

    // What is saved when the clear begins is all that is left of it after a crash.
    let saved = scene.conductor.rotation().unwrap().record().clone();
    let record = Record { finished_at: None, receipt: None, ..saved };
    let phases = record.phases.iter().copied().take_while(|(phase, _)| *phase <= Phase::Clear);
    let record = Record { phases: phases.collect(), ..record };
    let mut again = Scene::new(scene.world, scene.run);
    again.is_dropped = true;
    again.drive(record);
    let second = again.conductor.make_receipt(AUDIT, None).unwrap().unwrap();
    assert_eq!(standing(&second), KeystoreStanding::Flipped);
    assert_eq!(failing(&second, &again.world.manifests, None), [""; 0]);

    // Without any record, the keystore's word for what comes after it.
    let record = again.record();
    let mut third = Scene::new(again.world, again.run);
    third.is_dropped = true;
    third.drive(record);
    let receipt = third.conductor.make_receipt(AUDIT, None).unwrap().unwrap();
    assert_eq!(standing(&receipt), KeystoreStanding::Dropped);
    assert_eq!(failing(&receipt, &third.world.manifests, None), [""; 0]);
}

#[test]
fn nothing_is_made_before_the_end() {
    let mut scene = Scene::rotated();
    assert!(scene.conductor.make_receipt(AUDIT, None).is_none(), "there is no rotation");
    let record = scene.record();
    let effects = scene.conductor.recover(NOW, &mut scene.world.rng, Some(record));
    for bytes in scene.answers(effects) {
        let input = Input::Message(bytes);
        _ = scene.conductor.handle(NOW, &mut scene.world.rng, input);
        assert!(scene.conductor.make_receipt(AUDIT, None).is_none());
    }
}

#[test]
fn receipts_follow_one_another_from_the_first_master_key_on() {
    let mut scene = Scene::initialised();
    let first = scene.receipt(None);
    assert_eq!((first.from, first.previous), (None, None));
    assert_eq!(failing(&first, &scene.world.manifests, None), [""; 0]);
    // A world of its own, in which the same has happened before.
    let mut scene = Scene::rotated();
    assert_eq!(scene.run.order.from, Some(first.to));
    let second = scene.receipt(Some(receipt_hash(&first)));
    let chain = &scene.world.manifests;
    assert_eq!(failing(&second, chain, None), [""; 0]);
    assert_eq!(failing(&second, chain, Some(&first)), [""; 0]);
    assert_eq!(failing(&second, chain, Some(&second)), ["former receipt"]);
    assert_eq!(failing(&first, chain, Some(&second)), ["former receipt"]);

    // Another one that the coordinator signs, under the name of the first.
    for change in [(|it| it.to = Pattern([1; 32])) as fn(&mut RotationReceipt), |it| {
        it.instance = InstanceId::named("other")
    }] {
        let mut forged = first.clone();
        change(&mut forged);
        let mut after = second.clone();
        after.previous = Some(receipt_hash(&forged));
        sign(&mut after);
        assert_eq!(failing(&after, chain, Some(&forged)), ["former receipt"]);
    }
}

/// A field, what is changed in it, and which check finds it even if the coordinator has signed the
/// change; none where it is its word alone.
type Tampering = (&'static str, fn(&mut RotationReceipt), Option<&'static str>);

const TAMPERINGS: &[Tampering] = &[
    ("instance", |it| it.instance = InstanceId::named("other"), Some("manifests")),
    ("instance_name", |it| it.instance_name = "other".to_owned(), Some("manifests")),
    ("rotation", |it| it.rotation = RotationId::from_bytes([9; 16]), Some("order")),
    ("purpose", |it| it.purpose = Purpose::Initialise, Some("order")),
    ("order.bytes", |it| *it.order.bytes.last_mut().unwrap() ^= 1, Some("order")),
    (
        "order.bytes, sound",
        |it| {
            let mut order = it.order.unverified().unwrap();
            order.expires_at = order.expires_at.plus_ms(1);
            it.order.bytes = codec::encode(&order);
        },
        Some("order"),
    ),
    (
        "order.authority, too few",
        |it| {
            let Authority::Quorum(signatures) = &mut it.order.authority else { panic!() };
            signatures.pop();
        },
        Some("order"),
    ),
    (
        "order.authority, one twice",
        |it| {
            let Authority::Quorum(signatures) = &mut it.order.authority else { panic!() };
            signatures[1] = signatures[0].clone();
        },
        Some("order"),
    ),
    (
        "order.authority, of somebody else",
        |it| {
            let Authority::Quorum(signatures) = &mut it.order.authority else { panic!() };
            signatures[0].signature.0[0] ^= 1;
        },
        Some("order"),
    ),
    ("order_digest", |it| it.order_digest.0[0] ^= 1, Some("order")),
    ("manifest.serial", |it| it.manifest.serial = 2, Some("manifests")),
    ("manifest.serial, none", |it| it.manifest.serial = 0, Some("manifests")),
    ("manifest.digest", |it| it.manifest.digest.0[0] ^= 1, Some("manifests")),
    ("from", |it| it.from = Some(Pattern([1; 32])), Some("order")),
    ("from, none", |it| it.from = None, Some("order")),
    ("to", |it| it.to = Pattern([1; 32]), Some("crypto units")),
    ("phases, the last", |it| it.phases.truncate(it.phases.len() - 1), Some("times")),
    ("phases, swapped", |it| it.phases.swap(0, 1), Some("times")),
    ("phases, one's time", |it| it.phases[0].1 = UnixMillis(1), None),
    ("finished_at", |it| it.finished_at = UnixMillis(1), Some("times")),
    ("gate_closed_ms", |it| it.gate_closed_ms = Some(1), None),
    ("key_versions", |it| it.key_versions += 1, Some("keys")),
    ("units, one less", |it| drop(it.units.pop()), Some("crypto units")),
    ("units, one twice", |it| it.units[1] = it.units[0].clone(), Some("crypto units")),
    ("units, one more", |it| it.units.push(it.units[0].clone()), Some("crypto units")),
    ("units, another order", |it| it.units.swap(0, 1), Some("crypto units")),
    ("units.unit", |it| it.units[0].unit = id_of(&stranger()), Some("crypto units")),
    ("units.name", |it| it.units[0].name = "op-9".to_owned(), Some("crypto units")),
    ("units.report", |it| *it.units[0].report.last_mut().unwrap() ^= 1, Some("crypto units")),
    (
        "units.report, of another",
        |it| it.units[0].report = it.units[1].report.clone(),
        Some("crypto units"),
    ),
    ("keystores, none", |it| it.keystores.clear(), Some("keystores")),
    ("keystores, twice", |it| it.keystores.push(it.keystores[0].clone()), Some("keystores")),
    (
        "keystores.keystore",
        |it| it.keystores[0].keystore = protocol::KeystoreId::from_bytes([9; 16]),
        Some("keystores"),
    ),
    ("keystores.key_versions", |it| it.keystores[0].key_versions += 1, Some("keystores")),
    ("keystores.quarantined_count", |it| it.keystores[0].quarantined_count += 1, Some("keystores")),
    ("keystores.key_root", |it| it.keystores[0].key_root.0[0] ^= 1, Some("keystores")),
    ("keystores.report", |it| it.keystores[0].report[80] ^= 1, Some("keystores")),
    (
        "keystores.report, of a unit",
        |it| it.keystores[0].report = it.units[0].report.clone(),
        Some("keystores"),
    ),
    ("audit.seq", |it| it.audit.seq += 1, None),
    ("audit.hash", |it| it.audit.hash.0[0] ^= 1, None),
    ("previous", |it| it.previous = Some(Digest([1; 32])), None),
    ("note", |it| it.note = "All backups are fine.".to_owned(), Some("backups")),
    ("coordinator", |it| it.coordinator = it.units[0].unit, Some("coordinator")),
];

/// Each byte of the document as it is written: with one bit changed, with each of some others in its place, or
/// gone. It is refused, or says the same (a blank for another one, a digit of a digest in capitals).
#[test]
fn each_byte_of_the_document_counts() {
    let mut scene = Scene::rotated();
    let receipt = scene.receipt(None);
    let chain = scene.world.manifests.clone();
    let text = receipt.to_text().into_bytes();
    let mut the_same = 0;
    for at in 0..text.len() {
        let flipped = text[at] ^ 1;
        let others =
            [flipped, b'0', b'9', b'f', b'"', b' '].into_iter().filter(|it| *it != text[at]);
        let mut changed: Vec<_> =
            others.map(|other| [&text[..at], &[other], &text[at + 1..]].concat()).collect();
        changed.push([&text[..at], &text[at + 1..]].concat());
        for bytes in changed {
            let Ok(read) = RotationReceipt::read(&bytes) else { continue };
            match read == receipt {
                true => the_same += 1,
                false => {
                    assert!(!failing(&read, &chain, None).is_empty(), "byte {at} is no matter")
                }
            }
        }
    }
    println!("{} bytes, {the_same} changes that change nothing", text.len());
}

#[test]
fn each_field_that_is_changed_alone_is_found() {
    let mut scene = Scene::rotated();
    let receipt = scene.receipt(None);
    let chain = &scene.world.manifests;
    for (field, change, finder) in TAMPERINGS {
        let mut changed = receipt.clone();
        change(&mut changed);
        assert_ne!(changed, receipt, "{field}");
        let found = failing(&changed, chain, None);
        let stops = matches!(finder, Some("manifests" | "order"));
        assert!(stops || found.contains(&"coordinator"), "{field}: {found:?}");
        assert!(!found.is_empty(), "{field}");
        sign(&mut changed);
        let found = failing(&changed, chain, None);
        assert_eq!(found.first(), finder.as_ref(), "{field}, signed anew: {found:?}");
    }
    let mut changed = receipt.clone();
    changed.signature.0[0] ^= 1;
    assert_eq!(failing(&changed, chain, None), ["coordinator"]);
    for (kind, version) in [("keyhelm.other", 1), ("keyhelm.rotation-receipt", 2)] {
        let mut changed = receipt.clone();
        (changed.kind, changed.version) = (kind.to_owned(), version);
        sign(&mut changed);
        let refused = RotationReceipt::read(changed.to_text().as_bytes()).unwrap_err();
        let expected = [ReceiptError::OtherType, ReceiptError::Newer(2)];
        assert!(expected.contains(&refused), "{refused}");
    }
}

/// A unit's own word counts for what it was about, and when.
#[test]
fn a_report_of_an_earlier_step_or_another_rotation_proves_nothing() {
    let mut scene = Scene::rotated();
    let receipt = scene.receipt(None);
    let chain = scene.world.manifests.clone();
    let mut other = World::initialised();
    let promoted = other.promoted(Purpose::Rotate, 2);
    assert_eq!(promoted.reference, scene.run.reference, "the same order");
    let with = |reports: Vec<Vec<u8>>| {
        let mut changed = receipt.clone();
        for (proof, report) in changed.units.iter_mut().zip(reports) {
            proof.report = report;
        }
        sign(&mut changed);
        failing(&changed, &chain, None)
    };
    assert_eq!(with(other.unit_certificate().envelopes), ["crypto units"], "promoted only");
    let mut later = World::initialised();
    for number in [2, 3] {
        later.whole_rotation(Purpose::Rotate, number);
    }
    assert_eq!(with(later.unit_certificate().envelopes), ["crypto units"], "a later one");
}

/// The coordinator may sign whatever it likes; the reencryptor has not signed it.
#[test]
fn a_keystore_that_is_not_flipped_or_shows_no_root_is_found() {
    let mut scene = Scene::rotated();
    let receipt = scene.receipt(None);
    scene.is_dropped = false;
    type Change = fn(&mut KeystoreReport);
    let changes: [(bool, Change); 6] = [
        (true, |_| {}),
        (false, |report| {
            let rotation = report.row.as_mut().unwrap().rotation.as_mut();
            rotation.unwrap().standing = KeystoreStanding::Switched;
        }),
        (false, |report| {
            report.row.as_mut().unwrap().rotation.as_mut().unwrap().key_root = None;
        }),
        (false, |report| {
            report.row.as_mut().unwrap().rotation.as_mut().unwrap().from = None;
        }),
        (false, |report| report.row.as_mut().unwrap().active.as_mut().unwrap().done_count = 1),
        (false, |report| report.row = None),
    ];
    for (index, (is_sound, change)) in changes.into_iter().enumerate() {
        let mut report = scene.report();
        change(&mut report);
        let mut changed = receipt.clone();
        changed.keystores[0].report = scene.world.keystore_envelope(&reencryptor(), &report);
        sign(&mut changed);
        let found = failing(&changed, &scene.world.manifests, None);
        assert_eq!(found.is_empty(), is_sound, "{index}: {found:?}");
        // The same words of somebody who is no reencryptor.
        changed.keystores[0].report = scene.world.keystore_envelope(&coordinator(), &report);
        sign(&mut changed);
        assert_eq!(failing(&changed, &scene.world.manifests, None), ["keystores"], "{index}");
    }
}

#[test]
fn later_manifests_may_stand_in_the_file_and_foreign_ones_may_not() {
    let mut scene = Scene::rotated();
    let receipt = scene.receipt(None);
    scene.world.next_manifest(&ALL);
    let mut chain = scene.world.manifests.clone();
    assert_eq!(failing(&receipt, &chain, None), [""; 0]);
    assert_eq!(failing(&receipt, &chain[1..], None), ["manifests"], "without the first");
    assert_eq!(failing(&receipt, &[], None), ["manifests"]);
    chain[1].signatures.pop();
    assert_eq!(failing(&receipt, &chain, None), ["manifests"], "one that is not signed");
    let doubled = [chain[0].clone(), chain[0].clone()];
    assert_eq!(failing(&receipt, &doubled, None), [""; 0], "the same one again says nothing new");
}

#[test]
fn what_is_no_receipt_is_not_read() {
    let mut scene = Scene::initialised();
    let text = scene.receipt(None).to_text();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        RotationReceipt::read(text.replacen(from, to, 1).as_bytes())
    };
    let more = "{\n  \"more\": 1,";
    assert!(matches!(with("{", more), Err(ReceiptError::Malformed(_))), "an unknown field");
    let twice = "{\n  \"note\": \"other\",";
    assert!(matches!(with("{", twice), Err(ReceiptError::Malformed(_))), "a field twice");
    assert_eq!(with("\"bytes\":", "\"more\": 1, \"bytes\":"), Err(ReceiptError::NotExact));
    let odd = with("\"report\": \"0", "\"report\": \"00");
    assert!(matches!(odd, Err(ReceiptError::Malformed(_))), "an odd number of digits");
    assert!(RotationReceipt::read(b"[]").is_err());
    assert_eq!(RotationReceipt::read(b"{}"), Err(ReceiptError::OtherType));
    assert_eq!(RotationReceipt::read(&vec![b' '; 5_000_000]), Err(ReceiptError::TooLong));
}
