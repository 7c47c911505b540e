//! A check of all keys before a start, the plan that comes of it, and keys carried in quarantine.

use machines::conductor::{Answer, Ask, Input, StartAsk};
use protocol::api::CheckedPlan;
use protocol::order::SignedOrder;
use protocol::page::UnopenedRow;
use protocol::{Digest, KeyId, VersionId};

use crate::starts::{Stage, start_ask, unmet};

const LOST: KeyId = KeyId::from_bytes([7; 16]);

fn lost() -> Vec<UnopenedRow> {
    let version = VersionId::from_bytes([8; 16]);
    vec![UnopenedRow { version, key: LOST, reason: "it does not open".to_owned() }]
}

fn asked(stage: &mut Stage, order: &SignedOrder, change: impl FnOnce(&mut StartAsk)) -> Answer {
    let mut start = StartAsk { check_keys: true, ..start_ask(order.clone(), false) };
    change(&mut start);
    stage.ask(Ask::Start(Box::new(start)))
}

fn planned(stage: &mut Stage, order: &SignedOrder) -> CheckedPlan {
    let answer = asked(stage, order, |start| start.dry_run = true);
    let Answer::Planned(plan, _) = answer else { panic!("{answer:?}") };
    plan.checked.expect("every key was opened")
}

fn codes(answer: &Answer) -> Vec<&str> {
    unmet(answer).into_iter().map(|(code, _)| code).collect()
}

#[test]
fn a_key_that_does_not_open_is_named_and_nothing_starts() {
    let mut stage = Stage::well();
    stage.checks = Some(lost());
    let order = stage.order(|_| {});
    let before = stage.everything();
    for is_dry in [true, false] {
        let answer = asked(&mut stage, &order, |start| start.dry_run = is_dry);
        let Answer::Unmet(findings) = &answer else { panic!("{answer:?}") };
        assert_eq!(codes(&answer), ["key-unopened"]);
        let found = &findings.unmet[0];
        assert!(found.subject.ends_with(&LOST.to_string()), "{found:?}");
        assert!(found.mend.ends_with(&format!("--quarantine {LOST}")), "{found:?}");
        assert!(stage.everything() == before, "something has changed");
    }
    // Without a check nobody knows of it yet.
    let answer = asked(&mut stage, &order, |start| start.check_keys = false);
    assert!(matches!(answer, Answer::Started { joined: false, .. }), "{answer:?}");
}

#[test]
fn an_order_that_carries_the_key_starts() {
    let mut stage = Stage::well();
    stage.checks = Some(lost());
    let other = stage.order(|order| order.quarantined = vec![KeyId::from_bytes([6; 16])]);
    let answer = asked(&mut stage, &other, |start| start.dry_run = true);
    assert_eq!(codes(&answer), ["key-unopened"], "another key is named in the order");
    let order = stage.order(|order| order.quarantined = vec![LOST]);
    let plan = planned(&mut stage, &order);
    assert_eq!((plan.opened_count, plan.quarantined_count), (9, 1));
    let answer = asked(&mut stage, &order, |_| {});
    assert!(matches!(answer, Answer::Started { joined: false, .. }), "{answer:?}");
}

#[test]
fn a_plan_is_the_same_until_something_that_it_depends_on_moves() {
    let mut stage = Stage::well();
    let order = stage.order(|_| {});
    let plan = planned(&mut stage, &order);
    assert!(plan.estimate_ms >= plan.check_ms);
    let anew = stage.order(|_| {});
    assert_eq!(planned(&mut stage, &anew).hash, plan.hash, "another draft of the same");

    let before = stage.everything();
    let refused = |stage: &mut Stage, order: &SignedOrder, what: &str| {
        let answer = asked(stage, order, |start| start.plan = Some(plan.hash));
        assert_eq!(codes(&answer), ["plan-moved"], "{what}");
    };
    let held = stage.order(|order| order.hold_before_clear_s = 60);
    refused(&mut stage, &held, "a hold");
    stage.row.version_count += 1;
    refused(&mut stage, &order, "another set of keys");
    stage.row.version_count -= 1;
    assert!(stage.everything() == before, "something has changed");

    let wrong = asked(&mut stage, &order, |start| start.plan = Some(Digest([0; 32])));
    assert_eq!(codes(&wrong), ["plan-moved"]);
    let answer = asked(&mut stage, &order, |start| {
        (start.check_keys, start.plan) = (false, Some(plan.hash));
    });
    assert!(matches!(answer, Answer::Started { joined: false, .. }), "{answer:?}");
    // The same command again joins.
    let answer = asked(&mut stage, &order, |start| start.plan = Some(plan.hash));
    assert!(matches!(answer, Answer::Started { joined: true, .. }), "{answer:?}");
}

#[test]
fn a_check_that_does_not_come_further_is_given_up_and_shared_meanwhile() {
    let mut stage = Stage::well();
    stage.checks = None;
    let order = stage.order(|_| {});
    for id in [1, 2] {
        let start = StartAsk { check_keys: true, ..start_ask(order.clone(), false) };
        stage.handle(Input::Ask(id, Ask::Start(Box::new(start))));
    }
    assert!(stage.answers.is_empty(), "both wait for the check");
    let check = stage.conductor.key_check().unwrap();
    assert!(!check.is_ended && check.keystores[0].end.is_none());
    while stage.answers.len() < 2 {
        stage.now = stage.conductor.next_tick().expect("it waits for ever");
        stage.handle(Input::Tick);
    }
    for answer in std::mem::take(&mut stage.answers) {
        assert_eq!(codes(&answer), ["key-check-failed"]);
    }
    assert_eq!(stage.conductor.key_check().unwrap().check, check.check, "there was one check");
    stage.checks = Some(Vec::new());
    let answer = asked(&mut stage, &order, |_| {});
    assert!(matches!(answer, Answer::Started { joined: false, .. }), "{answer:?}");
}

#[test]
fn what_cannot_start_opens_no_keys() {
    let mut stage = Stage::well();
    let order = stage.order(|_| {});
    let answer = asked(&mut stage, &order, |start| {
        start.expect_current = Some(protocol::Pattern([9; 32]));
    });
    assert_eq!(codes(&answer), ["unexpected-pattern"]);
    assert!(stage.conductor.key_check().is_none());
}
