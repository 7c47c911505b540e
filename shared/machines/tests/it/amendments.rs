//! Goal: while bound, a unit takes one kind of manifest only: an amendment of its rotation, which may
//! remove crypto units as long as somebody who stays holds what is needed. Method: units in the middle
//! of a rotation, and manifests that break one rule each.

use machines::amendment::{self, Binding};
use machines::conductor::{Answer, Ask};
use machines::rewrap;
use machines::trust::Trust;
use protocol::certificate::Certificate;
use protocol::command::{Command, Step};
use protocol::keystore::KeystoreStanding;
use protocol::manifest::{Amendment, Manifest, SignedManifest};
use protocol::order::Purpose;

use crate::starts::{Stage, opened, restarted};
use crate::world::{
    ALL, OP_1, OP_2, OTHERS, REC_1, REC_2, Run, World, id_of, identity, reencryptor,
};

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

/// Amends another rotation: a coordinator with an old record believed that to run.
fn amend_another(world: &mut World, units: &[usize]) {
    world.sign_manifest(units, |manifest| {
        let rotation = protocol::RotationId::from_bytes([0xee; 16]);
        manifest.amendment = Some(Amendment { rotation, holder_report: Vec::new() });
    });
}

#[test]
fn what_amends_another_rotation_is_taken_with_the_next_one_that_amends_this() {
    let mut world = World::initialised();
    let run = world.promoted(Purpose::Rotate, 2);
    amend_another(&mut world, &ALL);
    let command = take(&world);
    world.refuses(OP_1, command, "manifest-refused");
    world.amend(&ALL, &run, REC_1);
    let command = take(&world);
    let answer = world.command(OP_1, command);
    assert_eq!(answer.code(), "taken", "{}", answer.text());
    // So it is with what a certificate carries, and with who is away at inspect.
    let envelope = world.keystore_envelope(&reencryptor(), &world.flipped(&run));
    let manifests = world.manifests[1..].to_vec();
    let mut clear = |manifests: &[SignedManifest]| {
        let envelopes = vec![envelope.clone()];
        let certificate = Certificate { envelopes, manifests: manifests.to_vec() };
        world.step(OP_2, &run, Step::Clear { certificate }).code()
    };
    assert_eq!(clear(&manifests[..1]), "manifest-refused");
    assert_eq!(clear(&manifests), "taken");
}

/// What goes in it must be held all the same.
#[test]
fn what_amends_another_rotation_removes_nobody_without_a_holder() {
    let stay = [OP_1, REC_1, REC_2];
    for (holder, code) in [(OP_1, "manifest-refused"), (REC_2, "taken")] {
        let mut world = World::initialised();
        let run = world.committed(Purpose::Rotate, 2);
        amend_another(&mut world, &stay);
        world.amend(&stay, &run, holder);
        let command = take(&world);
        assert_eq!(world.command(OP_1, command).code(), code);
    }
}

#[test]
fn nothing_but_amendments_comes_between() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    world.next_manifest(&ALL);
    world.amend(&ALL, &run, REC_1);
    let command = take(&world);
    world.refuses(OP_1, command, "manifest-refused");
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
fn who_is_removed_serves_nothing_and_goes_no_further() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    world.amend(&[OP_1, REC_1, REC_2], &run, REC_1);
    assert_eq!(world.command(OP_2, take(&world)).code(), "taken");
    assert!(!world.units[OP_2].takes_pages());
    let commit = Step::Commit { pattern: run.to };
    world.refuses(OP_2, Command::Step { order: run.reference, step: commit }, "removed");
    assert_eq!(OTHERS.len(), 3);
}

/// It is a member again, bound still, and takes no manifest that does not amend what it is bound to.
#[test]
fn who_is_removed_is_let_go_of_what_it_is_bound_to_and_can_be_enrolled_again() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    world.amend(&[OP_1, REC_1, REC_2], &run, REC_1);
    world.take_manifests(OP_2);
    world.next_manifest(&ALL);
    let chain = world.manifests.clone();
    world.refuses(OP_2, Command::TakeManifest { chain }, "manifest-refused");
    assert_eq!(world.abort(OP_2, &run).code(), "taken");
    assert!(world.units[OP_2].state().registers().new.is_none());
    // Nothing else is ended in it.
    let later = world.signed(world.order(Purpose::Rotate, 3));
    world.refuses(OP_2, Command::Abort { order: later.signed }, "removed");
    world.take_manifests(OP_2);
    assert!(world.units[OP_2].takes_pages());
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

/// Two amendments without the second operational unit: with the report of one that is no holder, and
/// with that of one that is.
fn bad_and_good(world: &mut World, run: &Run) -> [SignedManifest; 2] {
    let stay = [OP_1, REC_1, REC_2];
    let mut signed = |holder| {
        world.amend(&stay, run, holder);
        world.manifests.pop().unwrap()
    };
    [signed(OP_1), signed(REC_2)]
}

#[test]
fn a_coordinator_takes_no_amendment_that_the_units_would_refuse() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    world.promote(OP_1, &run);
    let [bad, good] = bad_and_good(&mut world, &run);
    let mut stage = Stage::of(world);
    opened(&mut stage, &run);
    stage.silent = Some(OP_2);
    restarted(&mut stage);
    stage.now = stage.now.plus_ms(60_000);
    stage.tick();
    assert!(stage.conductor.is_rotating());
    let answer = stage.ask(Ask::Manifest(bad, None));
    let Answer::Refused(refusal) = &answer else { panic!("{answer:?}") };
    assert_eq!(refusal.code, "not-taken");
    assert!(refusal.text.contains("the holder is no recovery unit"), "{}", refusal.text);
    assert_eq!(stage.conductor.trust().serial(), 1, "nothing has changed");
    let answer = stage.ask(Ask::Manifest(good, None));
    assert!(matches!(answer, Answer::Taken), "{answer:?}");
    for unit in [OP_1, REC_1, REC_2] {
        assert_eq!(stage.world.units[unit].state().trust.serial(), 2);
    }
}

#[test]
fn with_a_holder_that_has_aborted_everybody_who_stays_must_have_said_how_it_stands() {
    for silent in [None, Some(OP_1), Some(OP_2)] {
        let mut world = World::initialised();
        let run = world.committed(Purpose::Rotate, 2);
        let certificate = world.unit_certificate();
        world.step(OP_2, &run, Step::Promote { certificate });
        world.abort(REC_1, &run);
        world.amend(&[OP_1, REC_1, REC_2], &run, REC_1);
        let signed = world.manifests.pop().unwrap();
        let mut stage = Stage::of(world);
        opened(&mut stage, &run);
        stage.silent = silent;
        restarted(&mut stage);
        stage.now = stage.now.plus_ms(60_000);
        stage.tick();
        let answer = stage.ask(Ask::Manifest(signed, None));
        match (silent, &answer) {
            (Some(OP_1), Answer::Refused(refusal)) => {
                assert!(refusal.text.contains("has not said how it stands"), "{}", refusal.text);
            }
            (None | Some(OP_2), Answer::Taken) => {}
            _ => panic!("{silent:?}: {answer:?}"),
        }
    }
}

#[test]
fn a_reencryptor_judges_an_amendment_as_the_units_do() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let [bad, good] = bad_and_good(&mut world, &run);
    let mut stage = Stage::of(world);
    opened(&mut stage, &run);
    let (who, first) = (id_of(&reencryptor()), stage.world.manifests.clone());
    let instance = stage.world.instance;
    let take = |row: &_, signed: &SignedManifest| {
        let mut trust = Trust::from_saved(instance, first.clone()).unwrap();
        rewrap::take_manifests(&mut trust, std::slice::from_ref(signed), row, (who, &[]))
            .map_err(|refusal| refusal.to_report().code)
    };
    assert_eq!(take(&stage.row, &bad), Err("manifest-refused".to_owned()));
    assert_eq!(take(&stage.row, &good), Ok(true));
    // Once it has flipped, one that amends nothing is taken too: units that have cleared take it.
    stage.world.manifests.truncate(1);
    stage.world.next_manifest(&[OP_1, REC_1, REC_2]);
    let next = stage.world.manifests[1].clone();
    let standing = |stage: &mut Stage, standing| {
        stage.row.rotation.as_mut().unwrap().standing = standing;
    };
    for before in [KeystoreStanding::Open, KeystoreStanding::Complete, KeystoreStanding::Switched] {
        standing(&mut stage, before);
        assert_eq!(take(&stage.row, &next), Err("manifest-refused".to_owned()), "{before:?}");
    }
    standing(&mut stage, KeystoreStanding::Flipped);
    assert_eq!(take(&stage.row, &next), Ok(true));
    assert_eq!(take(&stage.row, &bad), Err("manifest-refused".to_owned()));
    // After the end there is nothing to be held.
    stage.row.rotation.as_mut().unwrap().standing = KeystoreStanding::Aborted;
    assert_eq!(take(&stage.row, &bad), Ok(true));
}

#[test]
fn who_has_refused_an_amendment_takes_it_with_one_that_brings_another_holder() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let stay = [OP_1, REC_1, REC_2];
    world.amend(&stay, &run, OP_1);
    let command = take(&world);
    world.refuses(REC_1, command, "manifest-refused");
    world.amend(&stay, &run, REC_2);
    let command = take(&world);
    let answer = world.command(REC_1, command);
    assert_eq!(answer.code(), "taken", "{}", answer.text());
    assert_eq!(world.units[REC_1].state().trust.serial(), 3);
    // A later one that removes nobody needs no holder: the report of before still tells.
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    world.amend(&stay, &run, REC_2);
    world.amend(&stay, &run, OP_1);
    let command = take(&world);
    assert_eq!(world.command(REC_1, command).code(), "taken");
    // One that goes later takes its word with it.
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    world.amend(&stay, &run, REC_2);
    world.amend(&[OP_1, REC_1], &run, OP_1);
    let command = take(&world);
    world.refuses(REC_1, command, "manifest-refused");
}

/// A unit is to be removed that has promoted and not cleared, and a recovery unit that has cleared was moved on
/// by a later order: it holds all that is needed. One that did not come so far holds the old key.
#[test]
fn who_has_gone_on_with_the_new_key_can_vouch_for_it() {
    let mut world = World::initialised();
    let run = world.promoted(Purpose::Rotate, 2);
    for unit in [OP_1, REC_1] {
        assert_eq!(world.clear(unit, &run).code(), "taken");
    }
    let later = world.signed(world.order(Purpose::Rotate, 3));
    assert_eq!(world.inspect(REC_1, &later).code(), "taken");
    let first = world.manifests.clone();
    world.amend(&[OP_1, REC_1, REC_2], &run, REC_1);
    let signed = world.manifests[1].clone();
    let judged = |to| {
        let mut trust = Trust::from_saved(world.instance, first.clone()).unwrap();
        let who = id_of(&crate::world::coordinator());
        let (order, from) = (run.reference, run.order.from);
        let binding = Binding { order, from, to, is_promoted: true, who };
        amendment::take(&mut trust, std::slice::from_ref(&signed), &binding).is_ok()
    };
    assert!(judged(Some(run.to)));
    assert!(!judged(run.order.from), "it does not hold this one");
    assert!(!judged(None), "nobody knows which master key that is");
}

/// A unit that is to go has promoted, and a recovery unit that had not was moved on by a later order: with it
/// the rotation ends, where nobody that stays has promoted it.
#[test]
fn who_has_gone_on_with_the_old_key_can_vouch_for_the_end() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    assert_eq!(world.promote(OP_2, &run).code(), "taken");
    let later = world.signed(world.order(Purpose::Rotate, 3));
    assert_eq!(world.abort(REC_1, &run).code(), "taken");
    assert_eq!(world.abort(REC_1, &later).code(), "taken");
    world.amend(&[OP_1, REC_1, REC_2], &run, REC_1);
    let command = take(&world);
    assert_eq!(world.command(REC_2, command.clone()).code(), "taken");
    assert_eq!(world.promote(OP_1, &run).code(), "certificate-refused");
    // Where one that stays has promoted it the new key is needed.
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    assert_eq!(world.promote(OP_1, &run).code(), "taken");
    assert_eq!(world.abort(REC_1, &run).code(), "taken");
    assert_eq!(world.abort(REC_1, &later).code(), "taken");
    world.amend(&[OP_1, REC_1, REC_2], &run, REC_1);
    let command = take(&world);
    world.refuses(OP_1, command, "manifest-refused");
}
