//! A coordinator that stops in the middle: its clients are let go, its successor goes on.

use protocol::api::RotationView;
use protocol::audit::Phase;

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
