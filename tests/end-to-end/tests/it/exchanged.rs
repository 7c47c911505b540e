//! Goal: a coordinator whose identity is lost in the midst of a rotation is replaced by the one command that
//! `explain` names, and the rotation goes on. Method: the coordinator is killed while units re-encrypt, its
//! identity removed, and started as another.

use std::time::{Duration, Instant};

use end_to_end::Flavour;
use end_to_end::cluster::text_of;
use end_to_end::process::PATIENCE;

use crate::gate::{hold, until_phase};
use crate::recover::{all_hold_the_same, explained, rotates, typed};
use crate::{started, words};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_coordinator_is_replaced_in_the_midst_of_a_rotation() {
    let Some(mut cluster) = started(Flavour::Testing).await else { return };
    cluster.expect(0, &words("keys create --count 200")).await.unwrap();
    hold(&cluster, Some("reencrypt")).await;
    let first = cluster.begin(&words("auto-mk-rotate --yes")).unwrap();
    until_phase(&cluster, "reencrypt").await;
    cluster.process("coordinator").unwrap().kill().await.unwrap();
    std::fs::remove_file(cluster.folder.path().join("coordinator/identity.sealed")).unwrap();
    cluster.process("coordinator").unwrap().start().unwrap();
    let until = Instant::now() + PATIENCE;
    let next = loop {
        let found = cluster.get(&explain_path()).await.unwrap_or_default();
        if found["code"] == "coordinator-unknown" {
            break found["next_command"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < until, "{found:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let enroll = format!("{next} --trust-first-use --keep-standing-order --yes");
    let enrolled = typed(&cluster, &enroll).await;
    assert!(enrolled.status.success(), "{}", text_of(&enrolled));
    assert!(text_of(&enrolled).contains("amends it"), "{}", text_of(&enrolled));
    let ended = tokio::time::timeout(2 * PATIENCE, first).await.unwrap().unwrap().unwrap();
    assert!(ended.status.success(), "it goes on: {}", text_of(&ended));
    all_hold_the_same(&cluster).await;
    assert_eq!(explained(&cluster).await["code"], "all-well");
    rotates(&cluster).await;
    cluster.stop().await.unwrap();
}

fn explain_path() -> String {
    format!("/v1/instances/{}/explain", end_to_end::cluster::INSTANCE)
}
