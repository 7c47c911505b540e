//! What is going on, what is safe, and the one next command, as a real cluster comes to it.

use std::time::Instant;

use protocol::api::{Explanation, RotationView, StartRotation, Started};
use protocol::audit::Phase;
use protocol::codes;
use reqwest::StatusCode;
use serde_json::json;

use crate::api::{Api, PATIENCE, json};
use crate::cluster::{Cluster, UNITS};
use crate::founding::{founded, path, rotated, start};

/// What is explained now; its words are the table's, and there is one next thing at most.
async fn explained(api: &Api) -> Explanation {
    let body: serde_json::Value = api.read(&path("explain")).await;
    crate::schemas::assert_fits("explanation", &body);
    let found: Explanation = serde_json::from_value(body).unwrap();
    let entry = codes::find(&found.code).unwrap();
    assert_eq!((found.headline.as_str(), found.safe.as_str()), (entry.sentence, entry.safe));
    let says_wait = found.details.iter().any(|detail| detail.contains("ust wait"));
    assert_eq!(found.next_command.is_none(), says_wait, "{found:?}");
    found
}

/// Asks until this is explained.
pub async fn until(api: &Api, code: &str) -> Explanation {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = explained(api).await;
        if found.code == code {
            return found;
        }
        assert!(Instant::now() < deadline, "not {code}: {found:#?}");
    }
}

pub fn says(found: &Explanation, word: &str) -> bool {
    found.details.iter().any(|detail| detail.contains(word))
}

#[tokio::test(flavor = "multi_thread")]
async fn before_founding_the_next_command_is_auto_init() {
    let cluster = Cluster::start().await;
    let deadline = Instant::now() + PATIENCE;
    while cluster.api.get(&path("explain")).await.status() != StatusCode::OK {
        assert!(Instant::now() < deadline, "no unit has announced itself");
    }
    let found = until(&cluster.api, "not-initialised").await;
    assert_eq!(found.next_command.as_deref(), Some("keyhelm auto-init"));
    assert!(found.needs_person, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_well_cluster_needs_nobody_and_a_silent_unit_is_to_be_started() {
    let (mut cluster, _) = founded().await;
    let found = explained(&cluster.api).await;
    assert_eq!((found.code.as_str(), found.needs_person), ("all-well", false), "{found:#?}");
    assert!(says(&found, "The first master key was made at"), "{found:#?}");
    assert!(says(&found, "5 of 5 crypto units hold it"), "{found:#?}");
    assert!(says(&found, "allows the next rotation now"), "{found:#?}");
    rotated(&cluster.api).await;
    let found = explained(&cluster.api).await;
    assert!(says(&found, "Backups of the key storage from before"), "{found:#?}");
    cluster.stop_unit("op-3").await;
    let found = explained(&cluster.api).await;
    assert_eq!(found.code, "precheck-unmet");
    assert_eq!(found.next_command.as_deref(), Some("start operational-unit op-3"));
    cluster.start_unit("op-3");
    until(&cluster.api, "all-well").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_waits_says_for_whom_and_for_how_long() {
    let (mut cluster, _) = founded().await;
    for (command, code, until_when) in [
        ("inspect", "waiting-before-decision", "the rotation ends by itself"),
        ("promote", "waiting-after-decision", "as long as it takes"),
    ] {
        cluster.trap_unit("op-1", command).await;
        let rotation = start(&cluster.api).await.rotation;
        cluster.trapped("op-1").await;
        let found = until(&cluster.api, code).await;
        assert_eq!(found.next_command.as_deref(), Some("start operational-unit op-1"));
        assert!(found.needs_person && says(&found, until_when), "{found:#?}");
        let line = format!("operational-unit op-1 has not answered {command}, asked ");
        assert!(says(&found, &line) && says(&found, &rotation.to_string()), "{found:#?}");
        cluster.start_unit("op-1");
        let last = cluster.api.events(rotation, None).await.pop().unwrap();
        assert_eq!(last.rotation.phase, Phase::Done);
        until(&cluster.api, "all-well").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_is_told_while_it_waits_and_when_it_is_complete() {
    let (mut cluster, _) = founded().await;
    cluster.trap_unit("op-1", "inspect").await;
    let rotation = start(&cluster.api).await.rotation;
    cluster.trapped("op-1").await;
    let body = json!({ "because": "the wrong day" });
    let response = cluster.api.post(&format!("/v1/rotations/{rotation}/abort"), &body).await;
    let _: RotationView = json(response, StatusCode::ACCEPTED).await;
    let found = until(&cluster.api, "rotation-aborting").await;
    assert_eq!(found.next_command.as_deref(), Some("start operational-unit op-1"));
    assert!(says(&found, "the wrong day"), "{found:#?}");
    cluster.start_unit("op-1");
    cluster.api.events(rotation, None).await;
    let found = until(&cluster.api, "aborted").await;
    assert_eq!(found.next_command.as_deref(), Some("keyhelm auto-mk-rotate"));
    assert!(says(&found, "before its decision: the wrong day."), "{found:#?}");
    rotated(&cluster.api).await;
    assert_eq!(explained(&cluster.api).await.code, "all-well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_whose_record_was_lost_is_named_and_the_next_command_takes_it_up() {
    let (mut cluster, _) = founded().await;
    cluster.trap_unit("op-1", "inspect").await;
    let rotation = start(&cluster.api).await.rotation;
    cluster.trapped("op-1").await;
    // Nobody answers the coordinator that starts without the record, nor is an answer left of before.
    let queue = cluster.coordinator_queue().await;
    cluster.stop_coordinator().await;
    for (name, _) in UNITS.into_iter().filter(|(name, _)| *name != "op-1") {
        cluster.stop_unit(name).await;
    }
    cluster.empty(&queue).await;
    let records = rusqlite::Connection::open(cluster.folder.path().join("coordinator.db")).unwrap();
    let lost = "DELETE FROM coordinator_rotations WHERE finished_at IS NULL";
    assert_eq!(records.execute(lost, []).unwrap(), 1);
    drop(records);
    cluster.start_coordinator().await;
    let found = until(&cluster.api, "precheck-unmet").await;
    assert!(found.next_command.unwrap().starts_with("start "));
    for (name, _) in UNITS {
        cluster.start_unit(name);
    }
    let deadline = Instant::now() + PATIENCE;
    let found = loop {
        let found = until(&cluster.api, "rotation-undriven").await;
        if found.next_command.as_deref() == Some("keyhelm auto-mk-rotate --yes") {
            break found;
        }
        assert!(Instant::now() < deadline, "{found:#?}");
    };
    assert!(says(&found, &rotation.to_string()), "{found:#?}");
    let response = cluster.api.post(&path("rotations"), &StartRotation::default()).await;
    let started: Started = json(response, StatusCode::OK).await;
    assert!(started.warnings.iter().any(|warning| warning.code == "taken-up"));
    cluster.api.events(rotation, None).await;
    let found = until(&cluster.api, "aborted").await;
    assert!(says(&found, "nobody drove it any more"), "{found:#?}");
}
