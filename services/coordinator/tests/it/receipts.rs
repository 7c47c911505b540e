//! Receipts: there from the moment at which the end is told, chained, and in the audit log.

use identity::Role;
use machines::receipt::{holds, receipt_hash, verify};
use protocol::RotationId;
use protocol::api::{AuditView, ManifestView, RotationView};
use protocol::audit::Phase;
use protocol::keystore::KeystoreStanding;
use protocol::receipt::RotationReceipt;
use protocol::report::KeystoreReport;
use reqwest::{StatusCode, header};

use crate::api::{Api, problem, token};
use crate::cluster::INSTANCE;
use crate::founding::{founded, path, rotated, start};

async fn receipt(api: &Api, rotation: RotationId) -> RotationReceipt {
    let response = api.get(&format!("/v1/rotations/{rotation}/receipt")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let shown = response.headers()[header::CONTENT_DISPOSITION].to_str().unwrap().to_owned();
    assert_eq!(shown, format!("attachment; filename=\"receipt-{rotation}.json\""));
    RotationReceipt::read(&response.bytes().await.unwrap()).unwrap()
}

async fn judged(api: &Api, receipt: &RotationReceipt, previous: Option<&RotationReceipt>) {
    let view: ManifestView = api.read(&path("manifest")).await;
    let checks = verify(receipt, &view.chain, previous);
    assert!(holds(&checks), "{checks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rotation_has_one_that_names_the_former_and_the_log() {
    let (cluster, _) = founded().await;
    let api = &cluster.api;
    let all: Vec<RotationView> = api.read(&path("rotations")).await;
    let first = receipt(api, all[0].rotation).await;
    assert_eq!((first.previous, first.from), (None, None));
    judged(api, &first, None).await;
    let told = rotated(api).await;
    let second = receipt(api, told.rotation).await;
    judged(api, &second, Some(&first)).await;
    let hash = receipt_hash(&second);
    assert_eq!(told.receipt, Some(hash), "the end is told with it");
    let view: RotationView = api.read(&format!("/v1/rotations/{}", told.rotation)).await;
    assert_eq!(view.receipt, Some(hash));
    assert_eq!(view.phases, second.phases);

    let log: Vec<AuditView> = api.read(&path("audit")).await;
    let named = log.iter().find(|entry| entry.seq == second.audit.seq).unwrap();
    assert_eq!(named.hash, second.audit.hash);
    let of_this = |entry: &&AuditView| entry.details["rotation"] == told.rotation.to_string();
    let (done, before): (Vec<_>, Vec<_>) =
        log.iter().filter(of_this).partition(|entry| entry.action == "rotation.done");
    assert_eq!(done.len(), 1);
    assert_eq!(done[0].details["receipt"], hash.to_string());
    assert!(done[0].seq > named.seq);
    assert!(before.iter().all(|entry| entry.details.get("receipt").is_none()), "{before:?}");
    let events = api.events(told.rotation, Some(0)).await;
    let with: Vec<_> = events.iter().filter(|event| event.rotation.receipt.is_some()).collect();
    assert_eq!(with.len(), 1);
    assert_eq!(with[0].rotation.phase, Phase::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_none_of_what_runs_was_aborted_or_never_was() {
    let (mut cluster, _) = founded().await;
    cluster.trap_unit("op-1", "commit").await;
    let rotation = start(&cluster.api).await.rotation;
    cluster.trapped("op-1").await;
    let place = format!("/v1/rotations/{rotation}/receipt");
    let missing = StatusCode::NOT_FOUND;
    let found = problem(cluster.api.get(&place).await, missing, "receipt-not-yet").await;
    assert!(found.next_command.unwrap().ends_with("--follow"));
    let because = serde_json::json!({ "because": "the wrong day" });
    cluster.api.post(&format!("/v1/rotations/{rotation}/abort"), &because).await;
    cluster.start_unit("op-1");
    let last = cluster.api.events(rotation, None).await.pop().unwrap().rotation;
    assert_eq!((last.phase, last.receipt), (Phase::Aborted, None));
    problem(cluster.api.get(&place).await, missing, "no-receipt").await;
    let nobodys = format!("/v1/rotations/{}/receipt", RotationId::from_bytes([7; 16]));
    problem(cluster.api.get(&nobodys).await, missing, "unknown-rotation").await;
    let other = token(&cluster.issuer, "eve", &[Role::Reader], &["another"]);
    let response = cluster.api.with(Some(other)).get(&place).await;
    problem(response, StatusCode::FORBIDDEN, "instance-not-covered").await;
    let known = token(&cluster.issuer, "bob", &[Role::Reader], &[INSTANCE]);
    problem(cluster.api.with(Some(known)).get(&place).await, missing, "no-receipt").await;
}

/// The end of the rotation comes to another process than the one that heard of the flip.
#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_stops_before_the_end_leaves_the_receipt_to_the_next() {
    let (mut cluster, _) = founded().await;
    let all: Vec<RotationView> = cluster.api.read(&path("rotations")).await;
    let first = receipt(&cluster.api, all[0].rotation).await;
    cluster.trap_unit("op-1", "clear").await;
    let rotation = start(&cluster.api).await.rotation;
    cluster.trapped("op-1").await;
    cluster.stop_coordinator().await;
    cluster.start_unit("op-1");
    cluster.start_coordinator().await;
    cluster.api.events(rotation, None).await;
    let second = receipt(&cluster.api, rotation).await;
    judged(&cluster.api, &second, Some(&first)).await;
    let body = protocol::Envelope::parse(&second.keystores[0].report).unwrap().body;
    let row = protocol::codec::decode::<KeystoreReport>(body).unwrap().row.unwrap();
    assert_eq!(row.rotation.unwrap().standing, KeystoreStanding::Flipped);

    // What was saved is what is served after another start.
    cluster.stop_coordinator().await;
    cluster.start_coordinator().await;
    assert_eq!(receipt(&cluster.api, rotation).await, second);
    let third = rotated(&cluster.api).await;
    judged(&cluster.api, &receipt(&cluster.api, third.rotation).await, Some(&second)).await;
}
