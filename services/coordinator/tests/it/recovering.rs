//! A unit that has lost its master key, over HTTP: what is explained, drafted, started and told.

use std::time::Instant;

use protocol::api::{AuditView, RotationView, StartRotation, Started, UnitsView};
use protocol::audit::Phase;
use protocol::order::Purpose;
use protocol::{Pattern, ProcessId};
use reqwest::StatusCode;
use serde_json::json;

use crate::api::{Api, PATIENCE, json, problem};
use crate::cluster::Cluster;
use crate::explaining::says;
use crate::founding::{draft, founded, path, rotated};

async fn unit(api: &Api, name: &str) -> (ProcessId, Option<Pattern>) {
    let view: UnitsView = api.read(&path("units")).await;
    let found = view.units.iter().find(|unit| unit.member.name == name).unwrap();
    (found.member.id, found.state.as_ref().and_then(|state| state.registers.current))
}

/// The unit comes back as it was before its first manifest, with its identity.
async fn forgets(cluster: &mut Cluster, name: &'static str) {
    cluster.stop_unit(name).await;
    std::fs::remove_file(cluster.folder.path().join(name).join("unit.sealed")).unwrap();
    cluster.start_unit(name);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found: protocol::api::Explanation = cluster.api.read(&path("explain")).await;
        let next = format!("keyhelm auto-mk-recover --unit {name}");
        if found.next_command.as_deref() == Some(next.as_str()) {
            assert!(found.needs_person, "{found:#?}");
            return;
        }
        assert!(Instant::now() < deadline, "{found:#?}");
    }
}

async fn purpose(api: &Api, target: &str, source: &str) -> Purpose {
    let (target, source) = (unit(api, target).await.0, unit(api, source).await.0);
    Purpose::Recover { target, source }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_lost_its_master_key_is_named_and_recovers() {
    let (mut cluster, administrator) = founded().await;
    rotated(&cluster.api).await;
    let (_, held) = unit(&cluster.api, "rec-1").await;
    forgets(&mut cluster, "op-1").await;
    let purpose = purpose(&cluster.api, "op-1", "rec-1").await;
    let order = administrator.order(&draft(&cluster.api, purpose).await);
    let start = StartRotation { order: Some(order), ..StartRotation::default() };
    let response = cluster.api.post(&path("rotations"), &start).await;
    let started: Started = json(response, StatusCode::CREATED).await;
    let view = started.rotation.unwrap();
    assert_eq!((view.purpose, view.units_total, view.from), (purpose, 2, held));
    let events = cluster.api.events(view.rotation, None).await;
    let last = events.last().unwrap();
    assert_eq!((last.rotation.phase, last.text.as_str()), (Phase::Done, "master key recovered"));
    assert_eq!(unit(&cluster.api, "op-1").await.1, held);
    let done: RotationView = cluster.api.read(&format!("/v1/rotations/{}", view.rotation)).await;
    assert_eq!((done.to, done.units_done, done.receipt), (held, 2, None));
    let audit: Vec<AuditView> = cluster.api.read(&path("audit")).await;
    let id = json!(view.rotation);
    assert!(audit.iter().any(|it| it.action == "rotation.done" && it.details["rotation"] == id));
    rotated(&cluster.api).await;
    let found = crate::explaining::until(&cluster.api, "all-well").await;
    assert!(says(&found, "5 of 5 crypto units hold it"), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_goes_on_after_whoever_was_stopped_and_nothing_else_starts_meanwhile() {
    let (mut cluster, administrator) = founded().await;
    for (stopped, command) in
        [("op-1", "inspect"), ("op-1", "install"), ("rec-1", "generate"), ("rec-1", "clear")]
    {
        forgets(&mut cluster, "op-1").await;
        let purpose = purpose(&cluster.api, "op-1", "rec-1").await;
        let order = administrator.order(&draft(&cluster.api, purpose).await);
        cluster.trap_unit(stopped, command).await;
        let start = StartRotation { order: Some(order), ..StartRotation::default() };
        let response = cluster.api.post(&path("rotations"), &start).await;
        let started: Started = json(response, StatusCode::CREATED).await;
        cluster.trapped(stopped).await;
        let other = StartRotation::default();
        let response = cluster.api.post(&path("rotations"), &other).await;
        let refused = response.status();
        assert_eq!(refused, StatusCode::CONFLICT, "{stopped} at {command}");
        cluster.stop_coordinator().await;
        cluster.start_coordinator().await;
        cluster.start_unit(stopped);
        let id = started.rotation.unwrap().rotation;
        let last = cluster.api.events(id, None).await.pop().unwrap();
        assert_eq!(last.rotation.phase, Phase::Done, "{stopped} at {command}");
        assert!(unit(&cluster.api, "op-1").await.1.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_unit_from_recovering_is_named() {
    let (cluster, administrator) = founded().await;
    let purpose = purpose(&cluster.api, "op-1", "op-2").await;
    let request = json!({ "purpose": purpose, "mode": "strict", "valid_for_s": 300 });
    let response = cluster.api.post(&path("order-drafts"), &request).await;
    let refused = problem(response, StatusCode::CONFLICT, "precheck-unmet").await;
    let codes: Vec<_> = refused.unmet.iter().map(|unmet| unmet.code.as_str()).collect();
    assert_eq!(codes, ["current-not-empty", "source-unfit"]);
    // A standing order does not let the coordinator do it either, whatever it is given.
    let mut order = administrator.order(&draft(&cluster.api, Purpose::Rotate).await);
    order.authority = protocol::order::Authority::Quorum(Vec::new());
    let start = StartRotation { order: Some(order), ..StartRotation::default() };
    let response = cluster.api.post(&path("rotations"), &start).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
}
