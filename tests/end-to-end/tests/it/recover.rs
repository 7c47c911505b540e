//! Goal: a unit that has lost its master key gets it back by the one command that `explain` names, serves
//! again, and takes part in the next rotation; whoever is killed meanwhile, the same command again is
//! right. Method: an operational unit is stopped, its state removed and its identity kept, and started.

use std::time::{Duration, Instant};

use end_to_end::cluster::{INSTANCE, text_of};
use end_to_end::process::PATIENCE;
use end_to_end::{Cluster, Flavour};
use serde_json::Value;

use crate::gate::{hold, until_phase};
use crate::{started, words};

/// The unit comes back as it was before `auto-init`.
async fn forgets(cluster: &mut Cluster, name: &str) {
    let sealed = cluster.folder.path().join(name).join("unit.sealed");
    let process = cluster.process(name).unwrap();
    assert_eq!(process.terminate().await.unwrap(), 0);
    std::fs::remove_file(sealed).unwrap();
    cluster.process(name).unwrap().start().unwrap();
}

pub async fn explained(cluster: &Cluster) -> Value {
    cluster.get(&format!("/v1/instances/{INSTANCE}/explain")).await.unwrap()
}

/// Asks until the next command is to recover.
async fn next_is_to_recover(cluster: &Cluster) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = explained(cluster).await;
        let next = found["next_command"].as_str().unwrap_or_default();
        if next.starts_with("keyhelm auto-mk-recover") {
            return next.to_owned();
        }
        assert!(Instant::now() < until, "{found:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Types a command as it stands; the passphrase comes from where the environment says.
pub async fn typed(cluster: &Cluster, command: &str) -> std::process::Output {
    let arguments = words(command.strip_prefix("keyhelm ").unwrap());
    let mut run = cluster.command(&arguments).unwrap();
    run.env("KEYHELM_PASSPHRASE_FILE", "passphrase").output().await.unwrap()
}

async fn registers(cluster: &Cluster) -> Vec<(String, Value)> {
    let view = cluster.get(&format!("/v1/instances/{INSTANCE}/units")).await.unwrap();
    let of = |unit: &Value| {
        let name = unit["member"]["name"].as_str().unwrap().to_owned();
        (name, unit["state"]["registers"]["current"].clone())
    };
    view["units"].as_array().unwrap().iter().map(of).collect()
}

pub async fn all_hold_the_same(cluster: &Cluster) {
    let all = registers(cluster).await;
    let first = all[0].1.clone();
    assert!(first.is_string() && all.iter().all(|(_, held)| *held == first), "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_explain_names_gives_a_unit_its_master_key_back_and_the_next_rotation_succeeds() {
    let Some(mut cluster) = started(Flavour::Release).await else { return };
    cluster.expect(0, &words("keys create --count 200")).await.unwrap();
    cluster.expect(0, &words("auto-mk-rotate --yes")).await.unwrap();
    let nothing = cluster.expect(0, &words("auto-mk-recover")).await.unwrap();
    assert!(nothing.contains("nothing to recover"), "{nothing}");
    forgets(&mut cluster, "op-1").await;
    let next = next_is_to_recover(&cluster).await;
    assert_eq!(next, "keyhelm auto-mk-recover --unit op-1");
    // A rotation does not start over its head, and names the same command.
    let refused = cluster.keyhelm(&words("auto-mk-rotate --yes")).await.unwrap();
    assert_eq!(refused.status.code(), Some(3), "{}", text_of(&refused));
    assert!(text_of(&refused).contains(&next), "{}", text_of(&refused));
    let tried = cluster.expect(0, &words("auto-mk-recover --dry-run")).await.unwrap();
    assert!(tried.contains("op-1") && tried.contains("nothing has changed"), "{tried}");
    let done = typed(&cluster, &next).await;
    assert!(done.status.success(), "{}", text_of(&done));
    all_hold_the_same(&cluster).await;
    let found = explained(&cluster).await;
    assert_eq!(found["code"], "all-well", "{found:#}");
    // It is the only one left to serve.
    for name in ["op-2", "op-3"] {
        assert_eq!(cluster.process(name).unwrap().terminate().await.unwrap(), 0);
    }
    cluster.expect(0, &words("keys check")).await.unwrap();
    for name in ["op-2", "op-3"] {
        cluster.process(name).unwrap().start().unwrap();
    }
    cluster.announced().await.unwrap();
    rotates(&cluster).await;
    cluster.stop().await.unwrap();
}

pub async fn rotates(cluster: &Cluster) {
    let until = Instant::now() + PATIENCE;
    loop {
        let ran = cluster.keyhelm(&words("auto-mk-rotate --yes")).await.unwrap();
        if ran.status.success() {
            break;
        }
        assert!(Instant::now() < until, "{}", text_of(&ran));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    all_hold_the_same(cluster).await;
    cluster.expect(0, &words("keys check")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_while_a_unit_recovers_the_same_command_again_ends_it_well() {
    let Some(mut cluster) = started(Flavour::Testing).await else { return };
    cluster.expect(0, &words("keys create --count 200")).await.unwrap();
    for (phase, name) in [
        ("inspect", "op-1"),
        ("install", "op-1"),
        ("clear", "op-1"),
        ("install", "rec-1"),
        ("clear", "rec-1"),
        ("install", "coordinator"),
    ] {
        forgets(&mut cluster, "op-1").await;
        let next = next_is_to_recover(&cluster).await;
        hold(&cluster, Some(phase)).await;
        let arguments = words(next.strip_prefix("keyhelm ").unwrap());
        let mut first = cluster.command(&arguments).unwrap();
        let first = first.env("KEYHELM_PASSPHRASE_FILE", "passphrase").spawn().unwrap();
        until_phase(&cluster, phase).await;
        let process = cluster.process(name).unwrap();
        process.kill().await.unwrap();
        if name != "coordinator" {
            hold(&cluster, None).await;
        }
        cluster.process(name).unwrap().start().unwrap();
        let ended = tokio::time::timeout(2 * PATIENCE, first.wait_with_output()).await;
        let ended = ended.unwrap().unwrap();
        let again = typed(&cluster, &next).await;
        let (ended, said) = (text_of(&ended), text_of(&again));
        assert!(again.status.success(), "{name} killed at {phase}: {ended}\n{said}");
        all_hold_the_same(&cluster).await;
        println!("{name} killed at {phase}: {}", ended.lines().next().unwrap_or_default());
    }
    rotates(&cluster).await;
    cluster.stop().await.unwrap();
}
