//! Goal: a coordinator, or a reencryptor, whose data folder is lost in the midst of a rotation is replaced by one
//! command, and the rotation goes on. Method: it is killed while units re-encrypt, and started as another.

use std::io;
use std::process::Output;
use std::time::{Duration, Instant};

use end_to_end::cluster::text_of;
use end_to_end::process::PATIENCE;
use end_to_end::{Cluster, Flavour};
use tokio::task::JoinHandle;

use crate::gate::{hold, until_phase};
use crate::recover::{all_hold_the_same, explained, rotates, typed};
use crate::{started, words};

/// A command that is under way.
type Running = JoinHandle<io::Result<Output>>;

/// A rotation that does not get past the beginning of its re-encryption, and its command.
async fn stands_at_reencrypt(cluster: &Cluster) -> Running {
    cluster.expect(0, &words("keys create --count 200")).await.unwrap();
    hold(cluster, Some("reencrypt")).await;
    let first = cluster.begin(&words("auto-mk-rotate --yes")).unwrap();
    until_phase(cluster, "reencrypt").await;
    first
}

async fn goes_on(cluster: &Cluster, first: Running) {
    let ended = tokio::time::timeout(2 * PATIENCE, first).await.unwrap().unwrap().unwrap();
    assert!(ended.status.success(), "it goes on: {}", text_of(&ended));
    all_hold_the_same(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_coordinator_is_replaced_in_the_midst_of_a_rotation() {
    let Some(mut cluster) = started(Flavour::Testing).await else { return };
    let first = stands_at_reencrypt(&cluster).await;
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
    goes_on(&cluster, first).await;
    assert_eq!(explained(&cluster).await["code"], "all-well");
    rotates(&cluster).await;
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reencryptor_is_replaced_in_the_midst_of_a_rotation() {
    let Some(mut cluster) = started(Flavour::Testing).await else { return };
    let first = stands_at_reencrypt(&cluster).await;
    cluster.process("reencryptor").unwrap().kill().await.unwrap();
    hold(&cluster, None).await;
    let folder = cluster.folder.path().join("reencryptor");
    for file in std::fs::read_dir(&folder).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    cluster.process("reencryptor").unwrap().start().unwrap();
    let enroll = "keyhelm cryptounit-enroll reencryptor --replace --trust-first-use \
                  --keep-standing-order --yes";
    let until = Instant::now() + PATIENCE;
    // Until its successor has announced itself, the one that is lost is the member that goes by this name.
    loop {
        let tried = typed(&cluster, enroll).await;
        if text_of(&tried).contains("amends it") {
            break assert!(tried.status.success(), "{}", text_of(&tried));
        }
        assert!(Instant::now() < until, "{}", text_of(&tried));
    }
    goes_on(&cluster, first).await;
    rotates(&cluster).await;
    cluster.stop().await.unwrap();
}

fn explain_path() -> String {
    format!("/v1/instances/{}/explain", end_to_end::cluster::INSTANCE)
}
