//! Goal: while bound, a unit takes one kind of manifest only: an amendment of its rotation, which may
//! remove crypto units as long as somebody who stays holds what is needed. Method: units in the middle
//! of a rotation, and manifests that break one rule each.

use protocol::certificate::Certificate;
use protocol::command::{Command, Step};
use protocol::manifest::{Amendment, Manifest};
use protocol::order::Purpose;

use crate::world::{ALL, OP_1, OP_2, OTHERS, REC_1, REC_2, Run, World, id_of, identity};

fn take(world: &World) -> Command {
    Command::TakeManifest { chain: world.manifests.clone() }
}

fn holder(world: &mut World, unit: usize) -> Vec<u8> {
    world.command(unit, Command::Survey { order: None }).envelope
}

#[test]
fn a_unit_that_is_gone_for_good_is_removed_and_the_others_go_on() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    world.amend(&[OP_1, REC_1, REC_2], &run, REC_1);
    for unit in [OP_1, REC_1, REC_2] {
        let answer = world.command(unit, take(&world));
        assert!(answer.is_changed, "{}", answer.text());
    }
    let reports = [OP_1, REC_1, REC_2].map(|unit| holder(&mut world, unit));
    let certificate = Certificate { envelopes: reports.into(), manifests: Vec::new() };
    for unit in [OP_1, REC_1, REC_2] {
        let certificate = certificate.clone();
        assert_eq!(world.step(unit, &run, Step::Promote { certificate }).code(), "taken");
    }
}

#[test]
fn a_certificate_carries_the_amendments_to_whoever_has_not_taken_them() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    world.amend(&[OP_1, REC_1, REC_2], &run, REC_1);
    let envelopes: Vec<_> = [OP_1, REC_1, REC_2].map(|unit| holder(&mut world, unit)).into();
    let manifests = world.manifests[1..].to_vec();
    let without = Certificate { envelopes: envelopes.clone(), manifests: Vec::new() };
    let promote =
        |certificate| Command::Step { order: run.reference, step: Step::Promote { certificate } };
    world.refuses(OP_1, promote(without), "certificate-refused");
    let answer = world.command(OP_1, promote(Certificate { envelopes, manifests }));
    assert_eq!(answer.code(), "taken", "{}", answer.text());
}

#[test]
fn no_certificate_smuggles_in_a_manifest_that_is_no_amendment() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    world.next_manifest(&[OP_1, REC_1, REC_2]);
    let envelopes = [OP_1, REC_1, REC_2].map(|unit| holder(&mut world, unit)).into();
    let manifests = world.manifests[1..].to_vec();
    let step = Step::Promote { certificate: Certificate { envelopes, manifests } };
    world.refuses(OP_1, Command::Step { order: run.reference, step }, "manifest-refused");
}

/// What is wrong, who stays, and how the manifest is changed.
type Wrong = (&'static str, &'static [usize], fn(&mut Manifest));

#[test]
fn while_bound_every_other_manifest_is_refused() {
    const ALL_BUT_OP_2: &[usize] = &[OP_1, REC_1, REC_2];
    let cases: [Wrong; 8] = [
        ("no amendment", &ALL, |manifest| manifest.amendment = None),
        ("of another rotation", &ALL, |manifest| {
            let amendment = manifest.amendment.as_mut().unwrap();
            amendment.rotation = protocol::RotationId::from_bytes([0xee; 16]);
        }),
        ("another threshold", &ALL, |manifest| manifest.signature_threshold = 1),
        ("one administrator less", &ALL, |manifest| {
            manifest.administrators.pop();
        }),
        ("another keystore", &ALL, |manifest| {
            manifest.keystores.push(protocol::KeystoreId::from_bytes([9; 16]));
        }),
        ("a crypto unit more", &ALL, |manifest| {
            let stranger = identity(70);
            let mut member = manifest.members[0].clone();
            (member.id, member.identity) = (id_of(&stranger), stranger.public_key());
            manifest.members.push(member);
        }),
        ("another role", &ALL, |manifest| {
            manifest.members[OP_2].role = protocol::Role::RecoveryUnit;
        }),
        ("no report of a holder", ALL_BUT_OP_2, |manifest| {
            manifest.amendment.as_mut().unwrap().holder_report = Vec::new();
        }),
    ];
    for (what, stay, change) in cases {
        let mut world = World::initialised();
        let run = world.committed(Purpose::Rotate, 2);
        let holder_report = holder(&mut world, REC_1);
        world.sign_manifest(stay, |manifest| {
            let rotation = run.reference.rotation;
            manifest.amendment = Some(Amendment { rotation, holder_report });
            change(manifest);
        });
        let command = take(&world);
        let answer = world.refuses(OP_1, command, "manifest-refused");
        assert!(!answer.text().is_empty(), "{what}");
    }
}

/// Removes all recovery units but this one, and takes its report as the holder's.
fn removal_held_by(world: &mut World, run: &Run, unit: usize) -> Command {
    let stay: Vec<_> = ALL.into_iter().filter(|it| *it == unit || *it < REC_1).collect();
    world.amend(&stay, run, unit);
    take(world)
}

#[test]
fn who_stays_must_hold_the_master_keys_that_are_still_needed() {
    // The other recovery unit has not got the new one yet, this unit has.
    let mut world = World::initialised();
    let run = world.generated(Purpose::Rotate, 2);
    world.install(OP_1, &run);
    let command = removal_held_by(&mut world, &run, REC_2);
    world.refuses(OP_1, command, "manifest-refused");
    // An operational unit never exports, so it is no holder.
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    world.amend(&[OP_1, OP_2, REC_1], &run, OP_2);
    let command = take(&world);
    world.refuses(OP_1, command, "manifest-refused");
    // With both it is one.
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let command = removal_held_by(&mut world, &run, REC_2);
    assert_eq!(world.command(OP_1, command).code(), "taken");
}

#[test]
fn an_order_is_still_taken_after_its_manifest_was_amended_for_it() {
    let mut world = World::initialised();
    let run = world.signed(world.order(Purpose::Rotate, 2));
    for unit in [OP_1, REC_1, REC_2] {
        assert_eq!(world.inspect(unit, &run).code(), "taken");
    }
    world.amend(&[OP_1, OP_2, REC_1], &run, REC_1);
    // It was away at inspect, and learns of the amendment first.
    assert_eq!(world.command(OP_2, take(&world)).code(), "taken");
    let answer = world.inspect(OP_2, &run);
    assert_eq!(answer.code(), "taken", "{}", answer.text());
    // After any other manifest it is not.
    let mut world = World::initialised();
    let run = world.signed(world.order(Purpose::Rotate, 2));
    world.next_manifest(&ALL);
    world.take_manifests(OP_2);
    let inspect = Command::Inspect { order: run.signed.clone() };
    world.refuses(OP_2, inspect, "other-manifest");
}

#[test]
fn who_is_removed_serves_nothing_and_obeys_nobody() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    world.amend(&[OP_1, REC_1, REC_2], &run, REC_1);
    assert_eq!(world.command(OP_2, take(&world)).code(), "taken");
    assert!(!world.units[OP_2].takes_pages());
    let commit = Step::Commit { pattern: run.to };
    world.refuses(OP_2, Command::Step { order: run.reference, step: commit }, "removed");
    assert_eq!(OTHERS.len(), 3);
}

/// Goal: an order whose manifest has been followed by another one cannot be taken any more, but must be
/// remembered as ended, or its abort never comes to an end.
#[test]
fn an_abort_is_judged_by_the_manifest_of_its_own_order() {
    let mut world = World::initialised();
    let run = world.signed(world.order(Purpose::Rotate, 2));
    world.next_manifest(&ALL);
    world.take_manifests(OP_2);
    world.refuses(OP_2, Command::Inspect { order: run.signed.clone() }, "other-manifest");
    assert_eq!(world.abort(OP_2, &run).code(), "taken");
    let mut forged = run.signed.clone();
    forged.bytes[0] ^= 1;
    assert!(world.command(OP_1, Command::Abort { order: forged }).report.answering.is_some());
}

/// Goal: what a holder's report showed when it was signed may be too little when it comes; the next
/// amendment mends it. Method: the amendment overtakes no key, the key overtakes the amendment.
#[test]
fn a_later_amendment_mends_the_report_of_a_holder() {
    let mut world = World::initialised();
    let run = world.inspected(Purpose::Rotate, 2);
    world.amend(&[OP_1, REC_1, REC_2], &run, REC_1);
    let offers = vec![world.offer(OP_1)];
    assert_eq!(world.step(REC_1, &run, Step::Generate { offers }).code(), "taken");
    let command = take(&world);
    world.refuses(REC_1, command, "manifest-refused");
    world.amend(&[OP_1, REC_1, REC_2], &run, REC_1);
    let command = take(&world);
    assert_eq!(world.command(REC_1, command).code(), "taken");
}
