//! Events of a rotation: each once, in order, from any place, from memory and from the audit log.

use protocol::api::RotationEvent;
use protocol::audit::Phase;
use reqwest::{Method, StatusCode};

use crate::founding::{founded, rotated, start};

fn summary(events: &[RotationEvent]) -> Vec<(u64, Phase, &str)> {
    events.iter().map(|event| (event.seq, event.rotation.phase, event.text.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_after_any_event_are_exactly_the_rest() {
    let (cluster, _) = founded().await;
    let rotation = start(&cluster.api).await.rotation;
    let all = cluster.api.events(rotation, None).await;
    let numbers: Vec<_> = all.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=all.len() as u64).collect::<Vec<_>>());
    let phases: Vec<_> = all.iter().map(|event| event.rotation.phase).collect();
    assert!(phases.is_sorted(), "{phases:?}");
    assert_eq!(phases.last(), Some(&Phase::Done));
    for after in 0..all.len() {
        let rest = cluster.api.events(rotation, Some(after as u64)).await;
        assert_eq!(rest, all[after..], "after {after}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_that_come_and_go_while_it_runs_miss_nothing_and_hear_nothing_twice() {
    let (mut cluster, _) = founded().await;
    cluster.trap_unit("op-1", "promote").await;
    let rotation = start(&cluster.api).await.rotation;
    let mut first = cluster.api.follow(rotation, None).await;
    let mut heard = vec![first.next().await.unwrap(), first.next().await.unwrap()];
    drop(first);
    let api = cluster.api.clone();
    let last_seq = heard.last().unwrap().seq;
    let rest = tokio::spawn(async move { api.events(rotation, Some(last_seq)).await });
    cluster.free_unit("op-1").await;
    heard.extend(rest.await.unwrap());
    assert_eq!(heard, cluster.api.events(rotation, None).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_an_older_rotation_are_read_from_the_audit_log() {
    let (cluster, _) = founded().await;
    let rotation = start(&cluster.api).await.rotation;
    let live = cluster.api.events(rotation, None).await;
    rotated(&cluster.api).await;
    let read_back = cluster.api.events(rotation, None).await;
    assert_eq!(summary(&read_back), summary(&live));
    let half = live.len() / 2;
    let rest = cluster.api.events(rotation, Some(half as u64)).await;
    assert_eq!(summary(&rest), summary(&live[half..]));
    let (last, first) = (read_back.last().unwrap(), &read_back[0]);
    assert_eq!(last.rotation.to, live.last().unwrap().rotation.to);
    assert!(first.rotation.finished_at.is_none() && !first.rotation.is_decided);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_heard_the_end_is_told_not_to_come_back() {
    let (cluster, _) = founded().await;
    let rotation = start(&cluster.api).await.rotation;
    let last = cluster.api.events(rotation, None).await.pop().unwrap();
    let path = format!("/v1/rotations/{rotation}/events");
    let request = cluster.api.request(Method::GET, &path).header("Last-Event-ID", last.seq);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::NO_CONTENT);
}
