//! Goal: a coordinator brings an order to recover to its end, whoever is lost on the way; nothing else
//! runs meanwhile, everything that keeps it from starting is named at once, and one that nobody drives
//! stands in nobody's way. Method: a conductor and four units, one of them without a master key, every
//! message delivered at once or lost.

use std::sync::Arc;

use machines::conductor::{Answer, Ask, Conductor, DraftRequest, Input, Times};
use machines::rotation::record::{Record, Verdict};
use protocol::audit::Phase;
use protocol::keystore::GateMode;
use protocol::order::{Purpose, SignedOrder};
use protocol::{Pattern, ProcessId};

use crate::starts::{Stage, start_ask, unmet};
use crate::world::{ALL, OP_1, OP_2, REC_1, REC_2, World, coordinator, unit_id};

const RECOVER: &str = "keyhelm auto-mk-recover";

fn purpose(target: usize, source: usize) -> Purpose {
    Purpose::Recover { target: unit_id(target), source: unit_id(source) }
}

/// The first operational unit holds no master key.
fn lacking() -> Stage {
    let mut world = World::initialised();
    world.restart_with(OP_1, |state| state.current = None);
    Stage::of(world)
}

fn draft_request(purpose: Purpose) -> Ask {
    Ask::Draft(DraftRequest {
        purpose,
        joining: Vec::new(),
        quarantined: Vec::new(),
        mode: GateMode::Strict,
        hold_after_commit_s: 0,
        hold_before_clear_s: 0,
        valid_for_s: 900,
    })
}

/// Asks, and lets a survey wait in vain for whoever is silent.
fn asked(stage: &mut Stage, ask: Ask) -> Answer {
    stage.handle(Input::Ask(1, ask));
    for _ in 0..3 {
        if stage.answers.is_empty() {
            stage.now = stage.now.plus_ms(2_000);
            stage.tick();
        }
    }
    assert_eq!(stage.answers.len(), 1, "{:?}", stage.answers);
    stage.answers.pop().unwrap()
}

fn started(stage: &mut Stage, order: SignedOrder) -> Answer {
    asked(stage, Ask::Start(Box::new(start_ask(order, false))))
}

/// Drafted by the coordinator, and signed.
fn drafted(stage: &mut Stage, purpose: Purpose) -> SignedOrder {
    let answer = asked(stage, draft_request(purpose));
    let Answer::Drafted(order, ..) = answer else { panic!("{answer:?}") };
    stage.world.signed(*order).signed
}

fn holds(stage: &Stage, unit: usize) -> Option<Pattern> {
    stage.world.units[unit].state().registers().current
}

/// Nobody is bound, and both hold the same master key.
fn is_recovered(stage: &Stage) {
    assert_eq!(holds(stage, OP_1), holds(stage, REC_1));
    assert!(stage.world.units[OP_1].takes_pages());
    for unit in ALL {
        assert!(!stage.world.units[unit].state().is_in_rotation());
    }
}

fn rotation_record(stage: &Stage) -> &Record {
    stage.conductor.rotation().unwrap().record()
}

#[test]
fn a_unit_is_given_its_master_key_and_the_record_says_so() {
    let mut stage = lacking();
    let order = drafted(&mut stage, purpose(OP_1, REC_1));
    let answer = started(&mut stage, order);
    let Answer::Started { rotation, joined: false, .. } = &answer else { panic!("{answer:?}") };
    assert_eq!(rotation.units_total, 2);
    is_recovered(&stage);
    let record = rotation_record(&stage);
    assert_eq!((record.phase(), &record.verdict), (Phase::Done, &Verdict::Decided));
    let phases: Vec<_> = record.phases.iter().map(|(phase, _)| *phase).collect();
    assert_eq!(phases, [Phase::Inspect, Phase::Install, Phase::Clear, Phase::Done]);
    // Nobody else has heard of it, and it leaves no receipt.
    for unit in [OP_2, REC_2] {
        assert_eq!(stage.world.units[unit].state().last_number().number, 1);
    }
    let audit = protocol::receipt::AuditHead { seq: 0, hash: protocol::Digest([0; 32]) };
    assert!(stage.conductor.make_receipt(audit, None).is_none());
    // The next order comes after it.
    let answer = asked(&mut stage, draft_request(Purpose::Rotate));
    let Answer::Drafted(next, ..) = answer else { panic!("{answer:?}") };
    assert_eq!(next.number.number, 3);
}

#[test]
fn a_unit_whose_state_is_from_before_the_first_key_is_reminded_and_recovers() {
    let mut stage = Stage::of(World::initialised());
    asked(&mut stage, Ask::Look);
    let highest = stage.conductor.heard().highest_counter(unit_id(OP_1));
    let imprint = machines::unit::state::UnitState::imprint(stage.world.instance);
    let config = crate::world::config(OP_1);
    let identity = crate::world::identity(OP_1 as u8);
    stage.world.units[OP_1] = machines::unit::Unit::new(config, identity, imprint);
    // It is handed the manifest as soon as it says anything, and then its own report.
    asked(&mut stage, Ask::Look);
    let answer = asked(&mut stage, Ask::Look);
    let Answer::Looked(findings) = &answer else { panic!("{answer:?}") };
    let mend = "keyhelm auto-mk-recover --unit op-1";
    assert!(findings.unmet.iter().any(|it| it.code == "current-empty" && it.mend == mend));
    let order = drafted(&mut stage, purpose(OP_1, REC_2));
    assert!(stage.world.units[OP_1].state().reminder.is_some());
    started(&mut stage, order);
    is_recovered(&stage);
    assert!(stage.world.units[OP_1].state().counter > highest);
    assert!(stage.world.units[OP_1].state().reminder.is_none());
}

/// It knows, and has saved it.
fn loses_its_master_key(stage: &mut Stage, unit: usize) {
    stage
        .world
        .restart_with(unit, |state| (state.current, state.counter) = (None, state.counter + 1));
}

/// All that is lacking, at once, and nothing has changed.
fn refused(stage: &mut Stage, purpose: Purpose, expected: &[(&str, &str)]) {
    let before = stage.everything();
    let answer = asked(stage, draft_request(purpose));
    assert_eq!(unmet(&answer), expected, "{answer:?}");
    assert!(stage.everything() == before, "something has changed");
}

#[test]
fn everything_that_keeps_it_from_starting_is_named_at_once() {
    let mut stage = Stage::well();
    refused(&mut stage, purpose(OP_1, REC_1), &[("current-not-empty", RECOVER)]);
    let mut stage = lacking();
    let give = "keyhelm auto-mk-recover --unit op-1";
    refused(&mut stage, purpose(OP_1, OP_2), &[("source-unfit", give)]);
    refused(
        &mut stage,
        purpose(OP_1, OP_1),
        &[("source-unfit", give), ("target-unfit", "keyhelm cryptounits")],
    );
    let stranger =
        Purpose::Recover { target: ProcessId::from_bytes([9; 16]), source: unit_id(REC_1) };
    refused(&mut stage, stranger, &[("target-unfit", "keyhelm cryptounits")]);
    // The target is silent, and the source has lost its own.
    let rec_1 = stage.world.state_bytes(REC_1);
    loses_its_master_key(&mut stage, REC_1);
    stage.silent = Some(OP_1);
    let expected = [("silent", "start operational-unit op-1"), ("source-unfit", give)];
    let mut expected = expected.to_vec();
    expected.sort_by_key(|(code, _)| *code);
    refused(&mut stage, purpose(OP_1, REC_1), &expected);
    // Whoever else is silent, or empty, does not stand in its way.
    let counter = stage.world.units[REC_1].state().counter;
    stage.world.put_back(REC_1, &rec_1);
    stage.world.restart_with(REC_1, |state| state.counter = counter + 1);
    loses_its_master_key(&mut stage, REC_2);
    stage.silent = Some(OP_2);
    let order = drafted(&mut stage, purpose(OP_1, REC_1));
    started(&mut stage, order);
    is_recovered(&stage);
    // Where no recovery unit holds it, only a rotation gives another one.
    let mut stage = lacking();
    for unit in [REC_1, REC_2] {
        loses_its_master_key(&mut stage, unit);
    }
    let join = "keyhelm auto-mk-rotate --join op-1";
    refused(&mut stage, purpose(OP_1, REC_1), &[("source-unfit", join)]);
}

#[test]
fn a_source_with_another_key_than_the_key_storage_gives_nothing() {
    let mut stage = lacking();
    let mut rng = stage.world.rng.clone();
    stage.world.restart_with(REC_1, |state| {
        state.current = Some(crypto::master_key::MasterKey::generate(&mut rng));
    });
    let give = "keyhelm auto-mk-recover --unit op-1";
    refused(&mut stage, purpose(OP_1, REC_1), &[("source-unfit", give)]);
    let order = drafted(&mut stage, purpose(OP_1, REC_2));
    assert!(matches!(started(&mut stage, order), Answer::Started { .. }));
    assert_eq!(holds(&stage, OP_1), holds(&stage, REC_2));
}

#[test]
fn an_order_that_is_not_signed_by_a_quorum_starts_nothing() {
    let mut stage = lacking();
    let mut order = drafted(&mut stage, purpose(OP_1, REC_1));
    let protocol::order::Authority::Quorum(given) = &mut order.authority else { panic!() };
    given.truncate(1);
    let before = stage.everything();
    let answer = started(&mut stage, order);
    assert_eq!(unmet(&answer), [("no-leave", RECOVER)], "{answer:?}");
    assert!(stage.everything() == before);
}

/// Lets messages through until one of them to this unit is lost; whoever is silent stays so.
fn begun(stage: &mut Stage, silent: usize) -> SignedOrder {
    let order = drafted(stage, purpose(OP_1, REC_1));
    let ask = Ask::Start(Box::new(start_ask(order.clone(), false)));
    let now = stage.now.plus_ms(1);
    stage.now = now;
    // Surveys are answered, then nothing more reaches the unit.
    let effects = stage.conductor.handle(now, &mut stage.world.rng, Input::Ask(1, ask));
    stage.silent_after_surveys = Some(silent);
    stage.settle(effects);
    assert!(matches!(stage.answers.pop(), Some(Answer::Started { .. })));
    order
}

pub fn restarted_with(stage: &mut Stage, record: Option<Record>) {
    let trust = stage.conductor.trust().clone();
    stage.conductor = Conductor::new(Arc::new(coordinator()), trust, None, Times::default());
    let effects = stage.conductor.recover(stage.now, &mut stage.world.rng, record);
    stage.settle(effects);
}

#[test]
fn nothing_else_runs_meanwhile_and_the_same_is_joined() {
    let mut stage = lacking();
    let order = begun(&mut stage, REC_1);
    assert!(stage.conductor.is_rotating());
    let id = stage.conductor.rotation().unwrap().reference().rotation;
    let follow = format!("keyhelm rotations {id} --follow");
    let rotate = stage.order(|order| order.number.number = 9);
    assert_eq!(unmet(&stage.start(rotate, false)), [("recovery-running", follow.as_str())]);
    let answer = started(&mut stage, order);
    assert!(matches!(answer, Answer::Started { joined: true, .. }), "{answer:?}");
    // And the other way round.
    let mut stage = Stage::well();
    let rotate = stage.order(|_| {});
    assert!(matches!(stage.start(rotate, false), Answer::Started { .. }));
    let id = stage.conductor.rotation().unwrap().reference().rotation;
    let follow = format!("keyhelm rotations {id} --follow");
    let answer = asked(&mut stage, draft_request(purpose(OP_1, REC_1)));
    assert_eq!(unmet(&answer), [("rotation-running", follow.as_str())]);
    let recover = stage.order(|order| order.purpose = purpose(OP_1, REC_1));
    assert_eq!(unmet(&stage.start(recover, false)), [("rotation-running", follow.as_str())]);
}

#[test]
fn whoever_was_away_is_asked_again_and_a_coordinator_that_starts_goes_on() {
    for away in [OP_1, REC_1] {
        for has_restarted in [false, true] {
            let mut stage = lacking();
            begun(&mut stage, away);
            let record = rotation_record(&stage).clone();
            stage.silent_after_surveys = None;
            if has_restarted {
                restarted_with(&mut stage, Some(record));
            }
            stage.pass(3_000);
            is_recovered(&stage);
            assert_eq!(rotation_record(&stage).phase(), Phase::Done);
        }
    }
}

#[test]
fn with_the_record_lost_it_ends_and_is_asked_for_once_more() {
    for away in [OP_1, REC_1] {
        let mut stage = lacking();
        begun(&mut stage, away);
        stage.silent_after_surveys = None;
        restarted_with(&mut stage, None);
        assert!(!stage.conductor.is_rotating());
        for unit in ALL {
            assert!(!stage.world.units[unit].state().is_in_rotation());
        }
        let order = drafted(&mut stage, purpose(OP_1, REC_1));
        started(&mut stage, order);
        is_recovered(&stage);
    }
    // Once the target holds the master key, the source only has to hear of it.
    let mut stage = lacking();
    let order = drafted(&mut stage, purpose(OP_1, REC_1));
    stage.deaf_to_clear = Some(REC_1);
    started(&mut stage, order);
    stage.deaf_to_clear = None;
    assert!(stage.world.units[REC_1].state().is_in_rotation());
    restarted_with(&mut stage, None);
    is_recovered(&stage);
    assert_eq!(rotation_record(&stage).phase(), Phase::Done);
}

#[test]
fn a_silent_unit_ends_it_and_keeps_nobody_else_from_recovering() {
    let mut stage = lacking();
    begun(&mut stage, OP_1);
    stage.pass(64_000);
    let record = rotation_record(&stage);
    assert!(matches!(record.verdict, Verdict::Aborted { .. }), "{record:?}");
    stage.pass(64_000);
    assert_eq!(rotation_record(&stage).phase(), Phase::Aborted);
    assert!(!stage.world.units[REC_1].state().is_in_rotation());
    // Another one recovers meanwhile.
    stage.world.restart_with(OP_2, |state| state.current = None);
    let order = drafted(&mut stage, purpose(OP_2, REC_1));
    started(&mut stage, order);
    assert_eq!(holds(&stage, OP_2), holds(&stage, REC_1));
    // And the silent one when it is back.
    stage.silent_after_surveys = None;
    let order = drafted(&mut stage, purpose(OP_1, REC_1));
    started(&mut stage, order);
    is_recovered(&stage);
}

#[test]
fn a_source_that_falls_silent_when_it_has_given_the_key_is_not_waited_for() {
    let mut stage = lacking();
    let order = drafted(&mut stage, purpose(OP_1, REC_1));
    stage.deaf_to_clear = Some(REC_1);
    started(&mut stage, order);
    assert_eq!(rotation_record(&stage).phase(), Phase::Clear);
    stage.pass(64_000);
    assert_eq!(rotation_record(&stage).phase(), Phase::Done);
    // It is let go of before the next order is drafted.
    stage.deaf_to_clear = None;
    let answer = asked(&mut stage, draft_request(purpose(OP_1, REC_1)));
    assert_eq!(unmet(&answer), [("recovery-running", RECOVER)]);
    stage.pass(1_000);
    is_recovered(&stage);
}

#[test]
fn one_that_nobody_drives_ends_before_anything_is_drafted() {
    let mut stage = lacking();
    let mut order = stage.world.order(purpose(OP_1, REC_1), 2);
    order.generator = unit_id(REC_1);
    let run = stage.world.signed(order);
    assert_eq!(stage.world.inspect(OP_1, &run).code(), "taken");
    stage.silent = Some(OP_2);
    let answer = asked(&mut stage, Ask::Look);
    let Answer::Looked(findings) = &answer else { panic!("{answer:?}") };
    assert!(findings.unmet.iter().any(|it| it.code == "bound" && it.mend == RECOVER));
    let answer = asked(&mut stage, draft_request(purpose(OP_1, REC_1)));
    assert_eq!(unmet(&answer), [("recovery-running", RECOVER)]);
    stage.pass(1_000);
    assert!(!stage.world.units[OP_1].state().is_in_rotation());
    let order = drafted(&mut stage, purpose(OP_1, REC_1));
    started(&mut stage, order);
    is_recovered(&stage);
}

#[test]
fn it_is_aborted_by_hand_until_the_target_holds_the_key() {
    let mut stage = lacking();
    begun(&mut stage, REC_1);
    stage.silent_after_surveys = None;
    let because = "by hand".to_owned();
    let answer = asked(&mut stage, Ask::Abort { rotation: None, because });
    assert!(matches!(answer, Answer::Aborting(_)), "{answer:?}");
    stage.pass(4_000);
    assert_eq!(rotation_record(&stage).phase(), Phase::Aborted);
    assert_eq!(holds(&stage, OP_1), None);
    let order = drafted(&mut stage, purpose(OP_1, REC_1));
    started(&mut stage, order);
    is_recovered(&stage);
    let answer = asked(&mut stage, Ask::Abort { rotation: None, because: "too late".to_owned() });
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
}

#[test]
fn a_new_manifest_ends_it_and_its_units_take_it() {
    let mut stage = lacking();
    begun(&mut stage, REC_1);
    stage.silent_after_surveys = None;
    assert!(stage.world.units[OP_1].state().is_in_rotation());
    stage.world.next_manifest(&[OP_1, OP_2, REC_1]);
    let next = stage.world.manifests[1].clone();
    let answer = asked(&mut stage, Ask::Manifest(next, None));
    assert!(matches!(answer, Answer::Taken), "{answer:?}");
    assert!(!stage.conductor.is_rotating());
    assert_eq!(rotation_record(&stage).phase(), Phase::Aborted);
    for unit in [OP_1, OP_2, REC_1] {
        let state = stage.world.units[unit].state();
        assert_eq!((state.trust.serial(), state.is_in_rotation()), (2, false));
    }
    let order = drafted(&mut stage, purpose(OP_1, REC_1));
    started(&mut stage, order);
    is_recovered(&stage);
}

/// A record of before, whatever it had come to, knows nothing of the manifest that has ended the order.
#[test]
fn an_old_record_of_one_whose_target_was_removed_since_is_ended() {
    for verdict in [Verdict::Open, Verdict::Decided] {
        let mut stage = lacking();
        begun(&mut stage, REC_1);
        stage.silent_after_surveys = None;
        let mut old = rotation_record(&stage).clone();
        old.verdict = verdict.clone();
        stage.world.next_manifest(&[OP_2, REC_1, REC_2]);
        let next = stage.world.manifests[1].clone();
        let answer = asked(&mut stage, Ask::Manifest(next, None));
        assert!(matches!(answer, Answer::Taken), "{answer:?}");
        restarted_with(&mut stage, Some(old));
        stage.pass(5_000);
        assert!(!stage.conductor.is_rotating(), "{verdict:?}");
    }
}
