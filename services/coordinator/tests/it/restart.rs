//! A coordinator that stops in the middle: its clients are let go, its successor goes on.

use ledger::Records;
use protocol::api::RotationView;
use protocol::audit::Phase;

use crate::cluster::Cluster;
use crate::founding::{founded, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_coordinator_goes_on_and_its_events_too() {
    let (mut cluster, _) = founded().await;
    cluster.trap_unit("op-1", "promote").await;
    let rotation = start(&cluster.api).await.rotation;
    cluster.trapped("op-1").await;
    let mut events = cluster.api.follow(rotation, None).await;
    let mut heard = vec![events.next().await.unwrap()];
    cluster.stop_coordinator().await;
    // The stream ends by itself, so that a server can stop.
    while let Some(event) = events.next().await {
        heard.push(event);
    }
    assert_eq!(heard.last().unwrap().rotation.phase, Phase::Promote);
    cluster.start_unit("op-1");
    cluster.start_coordinator().await;
    let rest = cluster.api.events(rotation, Some(heard.len() as u64)).await;
    assert_eq!(rest[0].seq, heard.len() as u64 + 1);
    assert_eq!(rest.last().unwrap().rotation.phase, Phase::Done);
    let numbers: Vec<_> = heard.iter().chain(&rest).map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let view: RotationView = cluster.api.read(&format!("/v1/rotations/{rotation}")).await;
    let told: Vec<_> = heard.iter().chain(&rest).map(|event| event.rotation.phase).collect();
    for (phase, _) in view.phases.iter().skip(1) {
        assert!(told.contains(phase), "{phase} was never told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_has_stopped_says_so() {
    let (mut cluster, _) = founded().await;
    cluster.stop_coordinator().await;
    let response = cluster.api.get("/v1/instances").await;
    let status = reqwest::StatusCode::SERVICE_UNAVAILABLE;
    crate::api::problem(response, status, "stopped").await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(cluster.api.get(path).await.status(), status, "{path}");
    }
}

/// It was taken up again after a newer one had come, and has no end yet.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_rotation_without_an_end_is_closed_and_the_next_one_starts() {
    let (mut cluster, _) = founded().await;
    let second = start(&cluster.api).await.rotation;
    assert_eq!(cluster.api.events(second, None).await.last().unwrap().rotation.phase, Phase::Done);
    cluster.stop_coordinator().await;
    let records = Records::open(&cluster.folder.path().join("coordinator.db")).await.unwrap();
    let mut first = records.list(Cluster::instance(), 2).await.unwrap().pop().unwrap();
    let id = first.order().unwrap().1.rotation;
    assert_ne!(id, second);
    first.finished_at = None;
    first.phases.pop();
    records.save(Cluster::instance(), &first).await.unwrap();
    cluster.start_coordinator().await;
    let third = start(&cluster.api).await.rotation;
    assert_eq!(cluster.api.events(third, None).await.last().unwrap().rotation.phase, Phase::Done);
    let view: RotationView = cluster.api.read(&format!("/v1/rotations/{id}")).await;
    assert_eq!((view.phase, view.finished_at.is_some()), (Phase::Done, true));
}
