//! Starting, joining, trying out, aborting; what a repeat hears; the list.

use protocol::RotationId;
use protocol::api::{RotationView, StartRotation, Started, UnitsView};
use protocol::audit::Phase;
use protocol::order::Purpose;
use reqwest::StatusCode;
use serde_json::json;

use crate::api::{PATIENCE, json, problem};
use crate::founding::{draft, founded, path, rotated, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_joins_the_rotation_that_runs_and_events_tell_it_to_its_end() {
    let (mut cluster, _) = founded().await;
    cluster.trap_unit("op-1", "inspect").await;
    let response = cluster.api.post(&path("rotations"), &StartRotation::default()).await;
    let (status, place) = (response.status(), response.headers()["location"].clone());
    assert_eq!(status, StatusCode::CREATED);
    let first: Started = json(response, StatusCode::CREATED).await;
    let rotation = first.rotation.unwrap().rotation;
    assert_eq!(place, format!("/v1/rotations/{rotation}"));
    let response = cluster.api.post(&path("rotations"), &StartRotation::default()).await;
    let second: Started = json(response, StatusCode::OK).await;
    assert!(second.joined);
    assert_eq!(second.rotation.unwrap().rotation, rotation);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let waiting = loop {
        // The others may not have answered yet.
        let view: RotationView = cluster.api.read(&place_of(rotation)).await;
        match view.waiting_for.len() {
            1 => break view,
            _ => assert!(tokio::time::Instant::now() < deadline, "{:?}", view.waiting_for),
        }
    };
    assert_eq!(waiting.phase, Phase::Inspect);
    assert_eq!(waiting.waiting_for[0].name, "op-1");
    let mut events = cluster.api.follow(rotation, None).await;
    cluster.free_unit("op-1").await;
    let last = events.until(Phase::Done).await;
    assert!(events.next().await.is_none(), "the stream ends after the rotation");
    assert_eq!(last.rotation.units_done, 5);
    let done: RotationView = cluster.api.read(&place_of(rotation)).await;
    assert_eq!((done.phase, done.to), (Phase::Done, last.rotation.to));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_names_another_rotation_or_pattern_does_not_join_this_one() {
    let (mut cluster, administrator) = founded().await;
    let order = administrator.order(&draft(&cluster.api, Purpose::Rotate).await);
    cluster.trap_unit("op-1", "inspect").await;
    let running = start(&cluster.api).await;
    let other = StartRotation { order: Some(order), ..StartRotation::default() };
    let response = cluster.api.post(&path("rotations"), &other).await;
    let refused = problem(response, StatusCode::CONFLICT, "other-rotation").await;
    assert!(refused.detail.contains(&running.rotation.to_string()), "{}", refused.detail);
    let pattern = Some(protocol::Pattern([7; 32]));
    let other = StartRotation { expect_current_pattern: pattern, ..StartRotation::default() };
    let response = cluster.api.post(&path("rotations"), &other).await;
    problem(response, StatusCode::CONFLICT, "other-rotation").await;
    let same = StartRotation { expect_current_pattern: running.from, ..StartRotation::default() };
    let response = cluster.api.post(&path("rotations"), &same).await;
    assert!(json::<Started>(response, StatusCode::OK).await.joined);
    cluster.free_unit("op-1").await;
    cluster.api.events(running.rotation, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let (cluster, _) = founded().await;
    let before: UnitsView = cluster.api.read(&path("units")).await;
    let dry = StartRotation { dry_run: true, ..StartRotation::default() };
    let response = cluster.api.post(&path("rotations"), &dry).await;
    let planned: Started = json(response, StatusCode::OK).await;
    assert!(!planned.joined && planned.rotation.is_none());
    let plan = planned.plan.unwrap();
    assert_eq!((plan.units, plan.generator_name.as_str()), (5, "rec-1"));
    assert_eq!(plan.from, before.units[0].state.as_ref().unwrap().registers.current);
    let after: UnitsView = cluster.api.read(&path("units")).await;
    let counters = |view: &UnitsView| -> Vec<_> {
        view.units.iter().map(|unit| unit.state.as_ref().unwrap().state_counter).collect()
    };
    assert_eq!(counters(&before), counters(&after));
    assert_eq!(before.keystores, after.keystores);
    let list: Vec<RotationView> = cluster.api.read(&path("rotations")).await;
    assert_eq!(list.len(), 1, "only that of the founding");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_cannot_be_names_every_unmet_condition_and_changes_nothing() {
    let (mut cluster, _) = founded().await;
    cluster.stop_unit("op-2").await;
    cluster.stop_unit("rec-2").await;
    let pattern = Some(protocol::Pattern([7; 32]));
    let body = StartRotation { expect_current_pattern: pattern, ..StartRotation::default() };
    let response = cluster.api.post(&path("rotations"), &body).await;
    let unmet = problem(response, StatusCode::CONFLICT, "precheck-unmet").await;
    let found: Vec<_> =
        unmet.unmet.iter().map(|one| (one.code.as_str(), one.subject.as_str())).collect();
    let expected = [("silent", "op-2"), ("silent", "rec-2"), ("unexpected-pattern", "instance")];
    assert_eq!(found, expected);
    assert!(unmet.detail.contains("op-2") && unmet.detail.contains("rec-2"), "{}", unmet.detail);
    assert_eq!(unmet.safe, "Nothing has changed.");
    let view: UnitsView = cluster.api.read(&path("units")).await;
    let current = view.units[0].state.as_ref().unwrap().registers.current.unwrap();
    let next = format!("keyhelm auto-mk-rotate --expect-current-pattern {current}");
    assert_eq!(unmet.next_command, Some(next));
    let is_bound = |unit: &protocol::api::UnitView| {
        let rotation = unit.state.as_ref().and_then(|state| state.rotation);
        rotation.is_some_and(|(_, standing)| standing == protocol::report::Standing::Bound)
    };
    assert!(!view.units.iter().any(is_bound));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_before_the_decision_ends_the_rotation_in_every_unit() {
    let (mut cluster, _) = founded().await;
    let before: UnitsView = cluster.api.read(&path("units")).await;
    cluster.trap_unit("op-1", "inspect").await;
    let rotation = start(&cluster.api).await.rotation;
    cluster.trapped("op-1").await;
    let mut events = cluster.api.follow(rotation, None).await;
    let body = json!({ "because": "the wrong day" });
    let response = cluster.api.post(&abort_of(rotation), &body).await;
    let view: RotationView = json(response, StatusCode::ACCEPTED).await;
    assert_eq!(view.rotation, rotation);
    let told = events.until(Phase::Aborting).await;
    assert_eq!(told.text, "the wrong day");
    cluster.start_unit("op-1");
    let last = events.until(Phase::Aborted).await;
    assert_eq!(last.rotation.aborted_because.as_deref(), Some("the wrong day"));
    assert!(events.next().await.is_none());
    let after: UnitsView = cluster.api.read(&path("units")).await;
    for (before, after) in before.units.iter().zip(&after.units) {
        let (before, after) = (before.state.as_ref().unwrap(), after.state.as_ref().unwrap());
        assert_eq!(before.registers, after.registers);
        assert_eq!(after.rotation, Some((rotation, protocol::report::Standing::Aborted)));
    }
    let response = cluster.api.post(&abort_of(rotation), &body).await;
    problem(response, StatusCode::CONFLICT, "not-running").await;
    rotated(&cluster.api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_after_the_decision_is_refused_and_the_rotation_goes_on() {
    let (mut cluster, _) = founded().await;
    cluster.trap_unit("op-1", "promote").await;
    let rotation = start(&cluster.api).await.rotation;
    cluster.trapped("op-1").await;
    let body = json!({ "because": "too late" });
    let response = cluster.api.post(&abort_of(rotation), &body).await;
    let refused = problem(response, StatusCode::CONFLICT, "decided").await;
    assert!(refused.detail.contains("only goes forward"), "{}", refused.detail);
    assert_eq!(refused.next_command, Some(format!("keyhelm rotations {rotation}")));
    cluster.start_unit("op-1");
    let last = cluster.api.events(rotation, None).await.pop().unwrap();
    assert_eq!(last.rotation.phase, Phase::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_id_is_answered_as_the_first_and_starts_nothing() {
    let (cluster, _) = founded().await;
    let body = StartRotation { request_id: Some("monday".to_owned()), ..StartRotation::default() };
    let response = cluster.api.post(&path("rotations"), &body).await;
    let first: Started = json(response, StatusCode::CREATED).await;
    let rotation = first.rotation.as_ref().unwrap().rotation;
    cluster.api.events(rotation, None).await;
    let response = cluster.api.post(&path("rotations"), &body).await;
    assert_eq!(json::<Started>(response, StatusCode::CREATED).await, first);
    let list: Vec<RotationView> = cluster.api.read(&path("rotations")).await;
    assert_eq!(list.len(), 2);
    let tuesday = StartRotation { request_id: Some("tuesday".to_owned()), ..body };
    let response = cluster.api.post(&path("rotations"), &tuesday).await;
    let second: Started = json(response, StatusCode::CREATED).await;
    assert_ne!(second.rotation.unwrap().rotation, rotation);
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_are_listed_newest_first_finished_ones_from_their_records() {
    let (cluster, _) = founded().await;
    let second = rotated(&cluster.api).await;
    let third = rotated(&cluster.api).await;
    let list: Vec<RotationView> = cluster.api.read(&path("rotations")).await;
    let ids: Vec<_> = list.iter().map(|view| view.rotation).collect();
    assert_eq!(ids[..2], [third.rotation, second.rotation]);
    assert_eq!(list.len(), 3);
    for view in &list {
        assert_eq!((view.phase, view.units_done, view.units_total), (Phase::Done, 5, 5));
        assert!(view.finished_at.is_some() && view.to.is_some() && view.is_decided);
        let one: RotationView = cluster.api.read(&place_of(view.rotation)).await;
        assert_eq!(one, *view);
    }
    assert_eq!(list[2].purpose, Purpose::Initialise);
    let newest: Vec<RotationView> = cluster.api.read(&path("rotations?limit=1")).await;
    assert_eq!(newest, list[..1]);
}

fn place_of(rotation: RotationId) -> String {
    format!("/v1/rotations/{rotation}")
}

fn abort_of(rotation: RotationId) -> String {
    format!("/v1/rotations/{rotation}/abort")
}
