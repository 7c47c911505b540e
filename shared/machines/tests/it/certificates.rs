//! Goal: promote, flip, drop and clear happen only with one report of each unit (or keystore) of
//! the manifest that shows the very step before, in this very order. Method: a certificate that
//! is right but for one thing, signed by whoever it claims to be, so that nothing else refuses it.

use crypto::identity::Identity;
use machines::certificate::{self, CertificateRefusal, Judge, Reached};
use machines::rewrap;
use machines::trust::Trust;
use protocol::certificate::Certificate;
use protocol::codec;
use protocol::command::{Command, Step};
use protocol::envelope::{Kind, Recipient};
use protocol::keystore::{KeystoreRow, KeystoreStanding};
use protocol::manifest::SignedManifest;
use protocol::order::Purpose;
use protocol::report::{KeystoreReport, NewRegister, Standing, UnitReport, UnitRotation};
use protocol::{Digest, Epoch, InstanceId, KeystoreId, Pattern, ProcessId, Role, RotationId};

use crate::world::{
    ALL, EPOCH, NOW, OP_1, OP_2, REC_1, REC_2, Run, World, coordinator, id_of, identity,
    reencryptor, stranger, unit_id,
};

const OTHER_BYTES: [u8; 16] = [0xee; 16];
const OTHER_PATTERN: Pattern = Pattern([0xee; 32]);

fn report_of(world: &World, unit: usize) -> UnitReport {
    world.units[unit].report(NOW, None)
}

fn reports(world: &World) -> Vec<UnitReport> {
    ALL.iter().map(|unit| report_of(world, *unit)).collect()
}

fn to_coordinators() -> Recipient {
    Recipient::Role(Role::Coordinator)
}

fn certificate(envelopes: Vec<Vec<u8>>) -> Certificate {
    Certificate { envelopes, manifests: Vec::new() }
}

/// Each report in an envelope of its own unit.
fn certified(world: &mut World, reports: &[UnitReport]) -> Certificate {
    let envelopes = ALL.iter().zip(reports).map(|(unit, report)| {
        let by = identity(*unit as u8);
        world.seal(&by, to_coordinators(), Kind::UnitReport, EPOCH, report)
    });
    certificate(envelopes.collect())
}

fn rotation(report: &mut UnitReport) -> &mut UnitRotation {
    report.rotation.as_mut().unwrap()
}

type Change<T> = (&'static str, fn(&mut T), &'static str);

const NOT_COMMITTED: &str = "is not committed in this order under this pattern";
const ELSE: &str = "is signed by somebody else";

/// What makes one report of four worthless for a promote.
const REPORT_CHANGES: &[Change<UnitReport>] = &[
    ("no rotation", |it| it.rotation = None, NOT_COMMITTED),
    (
        "another rotation",
        |it| rotation(it).order.rotation = RotationId::from_bytes(OTHER_BYTES),
        NOT_COMMITTED,
    ),
    ("another number", |it| rotation(it).order.number.number += 1, NOT_COMMITTED),
    ("another order", |it| rotation(it).order.digest = Digest([0xee; 32]), NOT_COMMITTED),
    ("an older manifest", |it| it.manifest_serial = 0, NOT_COMMITTED),
    ("another instance", |it| it.instance = InstanceId::from_bytes(OTHER_BYTES), ELSE),
    ("another unit's name", |it| it.unit = unit_id(REC_2), ELSE),
    ("nobody's name", |it| it.unit = ProcessId::from_bytes(OTHER_BYTES), ELSE),
    ("aborted", |it| rotation(it).standing = Standing::Aborted, NOT_COMMITTED),
    ("new is Empty", |it| it.registers.new = None, NOT_COMMITTED),
    (
        "not committed",
        |it| {
            it.registers.new =
                it.registers.new.map(|new| NewRegister { is_committed: false, ..new })
        },
        NOT_COMMITTED,
    ),
    (
        "another pattern",
        |it| it.registers.new = Some(NewRegister { pattern: OTHER_PATTERN, is_committed: true }),
        NOT_COMMITTED,
    ),
];

/// The reports of all units, one of them spoilt, in every way; each with its name and the refusal.
fn spoilt(world: &World) -> Vec<(&'static str, Vec<UnitReport>, &'static str)> {
    let mut all = Vec::new();
    for odd_one in ALL {
        for (name, change, reason) in REPORT_CHANGES {
            let mut reports = reports(world);
            change(&mut reports[odd_one]);
            // A change may be none for this unit (rec-2 in its own name).
            if reports[odd_one] != report_of(world, odd_one) {
                all.push((*name, reports, *reason));
            }
        }
    }
    all
}

fn promote(run: &Run, certificate: Certificate) -> Command {
    Command::Step { order: run.reference, step: Step::Promote { certificate } }
}

#[test]
fn a_promote_needs_every_unit_committed_in_this_order() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    for unit in [OP_1, REC_1] {
        for (name, reports, reason) in spoilt(&world) {
            let certificate = certified(&mut world, &reports);
            let answer = world.refuses(unit, promote(&run, certificate), "certificate-refused");
            assert!(answer.text().contains(reason), "{name}: {}", answer.text());
        }
    }
    let reports = reports(&world);
    let right = certified(&mut world, &reports);
    assert_eq!(world.command(OP_1, promote(&run, right)).code(), "taken");
}

/// An order alone opens nothing: who has the administrators' leave to give them would close the gate and
/// spend the keystore's numbers.
#[test]
fn an_opening_needs_every_unit_committed_and_one_that_can_still_re_wrap() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let trust = Trust::from_saved(world.instance, world.manifests.clone()).unwrap();
    let judged = |to: Pattern, certificate: &Certificate| {
        let judged = rewrap::judge_opening(&run.signed, to, certificate, &trust);
        judged.map(|(_, reference)| reference).map_err(|refusal| refusal.to_string())
    };
    let right = world.unit_certificate();
    assert_eq!(judged(run.to, &right), Ok(run.reference));
    assert!(judged(OTHER_PATTERN, &right).unwrap_err().contains(NOT_COMMITTED));
    assert!(judged(run.to, &Certificate::default()).unwrap_err().contains("has no report of"));
    for (name, reports, reason) in spoilt(&world) {
        let refused = judged(run.to, &certified(&mut world, &reports)).unwrap_err();
        assert!(refused.contains(reason), "{name}: {refused}");
    }
    for unit in ALL {
        world.promote(unit, &run);
    }
    assert_eq!(judged(run.to, &world.unit_certificate()), Ok(run.reference), "a restored keystore");
    world.clear(OP_1, &run);
    assert_eq!(judged(run.to, &world.unit_certificate()), Ok(run.reference), "op-2 can re-wrap");
    world.clear(OP_2, &run);
    let refused = judged(run.to, &world.unit_certificate()).unwrap_err();
    assert!(refused.contains("committed and not cleared"), "{refused}");
}

/// What is wrong with the envelopes, whatever the reports say.
#[test]
fn a_promote_needs_exactly_one_genuine_report_of_each_unit() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let right = world.unit_certificate().envelopes;
    let mut refused: Vec<(String, Vec<Vec<u8>>, &str)> = vec![
        ("nothing".to_owned(), Vec::new(), "has no report of"),
        ("no envelope".to_owned(), vec![Vec::new()], "refused"),
    ];
    for odd_one in ALL {
        let with = |bytes: Vec<u8>| {
            let mut envelopes = right.clone();
            envelopes[odd_one] = bytes;
            envelopes
        };
        let lacking: Vec<_> =
            ALL.iter().filter(|unit| **unit != odd_one).map(|unit| right[*unit].clone()).collect();
        refused.push((format!("without {odd_one}"), lacking, "has no report of"));
        let twice = [right.clone(), vec![right[odd_one].clone()]].concat();
        refused.push((format!("{odd_one} twice"), twice, "two reports of"));
        let other = right[(odd_one + 1) % ALL.len()].clone();
        refused.push((format!("another for {odd_one}"), with(other), "two reports of"));
        let report = report_of(&world, odd_one);
        for (name, forger) in [
            ("a stranger", stranger()),
            ("a coordinator", coordinator()),
            ("a unit", next(odd_one)),
        ] {
            let forged = world.seal(&forger, to_coordinators(), Kind::UnitReport, EPOCH, &report);
            refused.push((format!("{name} for {odd_one}"), with(forged), ""));
        }
        let announced = identity(odd_one as u8);
        let other_kind =
            world.seal(&announced, to_coordinators(), Kind::Announcement, EPOCH, &report);
        refused.push((format!("other kind {odd_one}"), with(other_kind), "has no report of"));
        for byte in 0..right[odd_one].len() {
            let mut changed = right[odd_one].clone();
            changed[byte] ^= 1;
            refused.push((format!("byte {byte} of {odd_one}"), with(changed), ""));
        }
        let mut longer = right[odd_one].clone();
        longer.push(0);
        refused.push((format!("a longer {odd_one}"), with(longer), "signature"));
    }
    for (name, envelopes, reason) in refused {
        let command = promote(&run, certificate(envelopes));
        let answer = world.refuses(OP_2, command, "certificate-refused");
        assert!(answer.text().contains(reason), "{name}: {}", answer.text());
    }
    assert_eq!(world.command(OP_2, promote(&run, certificate(right))).code(), "taken");
}

fn next(unit: usize) -> Identity {
    identity(((unit + 1) % ALL.len()) as u8)
}

/// Whom a report was for, at which epoch, in which order, and how much further its unit has come
/// since does not matter; nor what else is in the certificate.
#[test]
fn what_is_not_judged_inside_a_certificate() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    world.promote(REC_1, &run);
    let later = Epoch { number: 77, ..EPOCH };
    let somebody = Recipient::Process(unit_id(OP_2));
    let keystore = world.flipped(&run);
    let mut envelopes = vec![world.keystore_envelope(&reencryptor(), &keystore)];
    for unit in [REC_2, OP_1, REC_1, OP_2] {
        let report = report_of(&world, unit);
        let by = identity(unit as u8);
        envelopes.push(world.seal(&by, somebody, Kind::UnitReport, later, &report));
    }
    assert_eq!(world.command(OP_1, promote(&run, certificate(envelopes))).code(), "taken");
}

/// A certificate brings the manifests since; the reports of units that they remove do not count.
#[test]
fn certificates_are_judged_by_the_newest_manifest() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let of_all = world.unit_certificate();
    let without_op_2 = Certificate {
        envelopes: [OP_1, REC_1, REC_2].map(|unit| of_all.envelopes[unit].clone()).into(),
        manifests: Vec::new(),
    };
    world.refuses(OP_1, promote(&run, without_op_2.clone()), "certificate-refused");
    world.amend(&[OP_1, REC_1, REC_2], &run, REC_1);
    let newest = world.manifests.clone();
    let removed = Certificate { manifests: newest.clone(), ..without_op_2.clone() };
    let trust = world.units[OP_1].state().trust.clone();
    let judge = |given: &Certificate, needed| {
        certificate::verify_units(given, &run.reference, run.to, needed, Judge::by(&trust))
            .map(drop)
    };
    assert_eq!(judge(&removed, Reached::Committed), Ok(()));
    let mut forged = newest;
    forged[1].signatures.pop();
    let unsigned = Certificate { manifests: forged, ..without_op_2 };
    let refused = judge(&unsigned, Reached::Committed);
    assert!(matches!(refused, Err(CertificateRefusal::Manifests(_))), "{refused:?}");
}

#[test]
fn each_step_needs_every_unit_that_far() {
    let mut world = World::initialised();
    type GoOn = fn(&mut World, usize, &Run);
    let points: [(Reached, GoOn); 2] = [
        (Reached::Promoted, |world, unit, run| _ = world.promote(unit, run)),
        (Reached::Cleared, |world, unit, run| _ = world.clear(unit, run)),
    ];
    let run = world.committed(Purpose::Rotate, 2);
    let trust = world.units[OP_1].state().trust.clone();
    let mut row = world.flipped(&run).row.unwrap();
    row.rotation.as_mut().unwrap().standing = KeystoreStanding::Complete;
    let reached_by_all = [Reached::Committed, Reached::Promoted, Reached::Cleared];
    for (point, go_on) in points {
        for unit in ALL {
            let given = world.unit_certificate();
            // Some have come to this point, the others only to the one before.
            for needed in reached_by_all {
                let judged = certificate::verify_units(
                    &given,
                    &run.reference,
                    run.to,
                    needed,
                    Judge::by(&trust),
                )
                .map(drop);
                assert_eq!(judged.is_ok(), needed < point, "{needed:?} before {point:?}");
            }
            let flip = rewrap::judge_flip(&row, &run.reference, &given, &trust);
            assert_eq!(flip.is_ok(), point > Reached::Promoted);
            let drop = rewrap::judge_drop(&row, &run.reference, &given, &trust);
            assert!(drop.is_err(), "before {unit} was cleared");
            go_on(&mut world, unit, &run);
        }
    }
    let given = world.unit_certificate();
    assert_eq!(rewrap::judge_flip(&row, &run.reference, &given, &trust), Ok(run.to));
    assert_eq!(rewrap::judge_drop(&row, &run.reference, &given, &trust), Ok(()));
}

fn row(report: &mut KeystoreReport) -> &mut KeystoreRow {
    report.row.as_mut().unwrap()
}

fn set_standing(report: &mut KeystoreReport, standing: KeystoreStanding) {
    row(report).rotation.as_mut().unwrap().standing = standing;
}

const NOT_FLIPPED: &str = "is not flipped in this order under this pattern";

/// What makes a keystore's report worthless for a clear.
const FLIPPED_CHANGES: &[Change<KeystoreReport>] = &[
    ("no row", |it| it.row = None, "has no report of"),
    ("another keystore", |it| row(it).keystore = KeystoreId::from_bytes([9; 16]), "no report of"),
    ("another instance", |it| row(it).instance = InstanceId::from_bytes(OTHER_BYTES), NOT_FLIPPED),
    ("no rotation", |it| row(it).rotation = None, NOT_FLIPPED),
    (
        "another rotation",
        |it| row(it).rotation.as_mut().unwrap().rotation = RotationId::from_bytes(OTHER_BYTES),
        NOT_FLIPPED,
    ),
    ("another number", |it| row(it).rotation.as_mut().unwrap().number.number += 1, NOT_FLIPPED),
    (
        "another order",
        |it| row(it).rotation.as_mut().unwrap().order_digest = Digest([0xee; 32]),
        NOT_FLIPPED,
    ),
    ("to another pattern", |it| row(it).rotation.as_mut().unwrap().to = OTHER_PATTERN, NOT_FLIPPED),
    ("open", |it| set_standing(it, KeystoreStanding::Open), NOT_FLIPPED),
    ("complete", |it| set_standing(it, KeystoreStanding::Complete), NOT_FLIPPED),
    ("not read back", |it| set_standing(it, KeystoreStanding::Switched), NOT_FLIPPED),
    ("aborted", |it| set_standing(it, KeystoreStanding::Aborted), NOT_FLIPPED),
    ("nothing active", |it| row(it).active = None, NOT_FLIPPED),
    (
        "another pattern active",
        |it| row(it).active.as_mut().unwrap().pattern = OTHER_PATTERN,
        NOT_FLIPPED,
    ),
    ("another's name", |it| it.reencryptor = unit_id(OP_1), ELSE),
];

fn clear(run: &Run, envelopes: Vec<Vec<u8>>) -> Command {
    let certificate = certificate(envelopes);
    Command::Step { order: run.reference, step: Step::Clear { certificate } }
}

#[test]
fn a_clear_needs_the_keystore_flipped_and_read_back_in_this_order() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let right = world.flipped(&run);
    let envelope = world.keystore_envelope(&reencryptor(), &right);
    world.refuses(OP_1, clear(&run, vec![envelope.clone()]), "new-register");
    for unit in ALL {
        world.promote(unit, &run);
    }
    for (name, change, reason) in FLIPPED_CHANGES {
        let mut report = right.clone();
        change(&mut report);
        let envelope = world.keystore_envelope(&reencryptor(), &report);
        let answer = world.refuses(OP_1, clear(&run, vec![envelope]), "certificate-refused");
        assert!(answer.text().contains(reason), "{name}: {}", answer.text());
    }
    let members = [coordinator(), identity(OP_1 as u8), identity(REC_1 as u8)];
    let members = members.into_iter().map(|member| (member, ELSE));
    for (forger, reason) in members.chain([(stranger(), "is not in the manifest")]) {
        let report = KeystoreReport { reencryptor: id_of(&forger), ..right.clone() };
        let envelope = world.keystore_envelope(&forger, &report);
        let answer = world.refuses(OP_1, clear(&run, vec![envelope]), "certificate-refused");
        assert!(answer.text().contains(reason), "{}", answer.text());
    }
    world.refuses(OP_1, clear(&run, Vec::new()), "certificate-refused");
    let twice = vec![envelope.clone(), envelope.clone()];
    world.refuses(OP_1, clear(&run, twice), "certificate-refused");
    let of_units = world.unit_certificate().envelopes;
    world.refuses(OP_1, clear(&run, of_units), "certificate-refused");
    for byte in 0..envelope.len() {
        let mut changed = envelope.clone();
        changed[byte] ^= 1;
        world.refuses(OP_1, clear(&run, vec![changed]), "certificate-refused");
    }
    assert_eq!(world.units[OP_1].state().registers().retiring, run.order.from);
    for standing in [KeystoreStanding::Flipped, KeystoreStanding::Dropped] {
        let mut report = right.clone();
        set_standing(&mut report, standing);
        let unit = if standing == KeystoreStanding::Flipped { OP_1 } else { OP_2 };
        let envelope = world.keystore_envelope(&reencryptor(), &report);
        assert_eq!(world.command(unit, clear(&run, vec![envelope])).code(), "taken");
        assert_eq!(world.units[unit].state().registers().retiring, None);
    }
}

/// The reports of an earlier rotation are genuine, and worth nothing in the next one.
/// No process takes such a manifest any more; one that has it from before loses nothing by it.
#[test]
fn without_a_keystore_nothing_shows_that_the_old_key_may_go() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    for unit in ALL {
        world.promote(unit, &run);
    }
    let mut manifest = world.manifests[0].unverified().unwrap();
    manifest.keystores.clear();
    let bytes = codec::encode(&manifest);
    let chain = vec![SignedManifest { bytes, signatures: Vec::new() }];
    let trust = Trust::from_saved(world.instance, chain).unwrap();
    world.restart_with(OP_1, |state| state.trust = trust);
    let answer = world.refuses(OP_1, clear(&run, Vec::new()), "certificate-refused");
    assert!(answer.text().contains("keystore"), "{}", answer.text());
}

#[test]
fn certificates_of_an_earlier_rotation_are_worth_nothing() {
    let mut world = World::initialised();
    let first = world.committed(Purpose::Rotate, 2);
    let committed = world.unit_certificate();
    for unit in ALL {
        world.promote(unit, &first);
    }
    let promoted = world.unit_certificate();
    for unit in ALL {
        world.clear(unit, &first);
    }
    let flipped = world.flipped(&first);
    let flipped = world.keystore_envelope(&reencryptor(), &flipped);
    let cleared = world.unit_certificate();
    let second = world.committed(Purpose::Rotate, 3);
    for earlier in [&committed, &promoted, &cleared] {
        world.refuses(OP_1, promote(&second, earlier.clone()), "certificate-refused");
        let mut mixed = world.unit_certificate();
        mixed.envelopes[REC_2].clone_from(&earlier.envelopes[REC_2]);
        world.refuses(OP_1, promote(&second, mixed), "certificate-refused");
    }
    for unit in ALL {
        world.promote(unit, &second);
    }
    world.refuses(OP_1, clear(&second, vec![flipped]), "certificate-refused");
}

/// A unit that has cleared and lost its master key since keeps no keystore from dropping what is under
/// the old one, which nobody holds any more.
#[test]
fn who_has_cleared_and_lost_its_master_key_since_is_rid_of_the_old_one() {
    let mut world = World::initialised();
    let run = world.whole_rotation(Purpose::Rotate, 2);
    world.restart_with(OP_2, |state| state.current = None);
    let trust = Trust::from_saved(world.instance, world.manifests.clone()).unwrap();
    let certificate = world.unit_certificate();
    let judged = |needed| {
        let judge = Judge::by(&trust);
        certificate::verify_units(&certificate, &run.reference, run.to, needed, judge)
    };
    assert!(judged(Reached::Cleared).is_ok());
    assert!(judged(Reached::Promoted).is_err(), "it does not hold the new one");
}
