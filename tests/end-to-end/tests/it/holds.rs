//! A standing order that holds before the clear, over real servers: the command ends while the old
//! master key is kept, the administrators end the hold, and a unit that dies in one is removed.

use std::path::Path;
use std::process::Command;

use end_to_end::cluster::{INSTANCE, text_of};
use end_to_end::{Cluster, Flavour};
use serde_json::Value;

use crate::{servers_or_not, words};

/// Founds the instance with a standing order whose rotations hold for an hour.
async fn founded() -> Option<Cluster> {
    servers_or_not()?;
    let cluster = Cluster::start(Flavour::Release).await.unwrap();
    cluster.announced().await.unwrap();
    cluster.expect(0, &words("sigkey-add alice --passphrase-file passphrase")).await.unwrap();
    let init = "auto-init --standing-order 2h --hold-before-clear 1h --trust-first-use \
                --passphrase-file passphrase";
    cluster.expect(0, &words(init)).await.unwrap();
    Some(cluster)
}

async fn newest(cluster: &Cluster) -> Value {
    let list = cluster.get(&format!("/v1/instances/{INSTANCE}/rotations?limit=1")).await.unwrap();
    list[0].clone()
}

/// How many units still keep an old master key, of how many that answer.
async fn retiring(cluster: &Cluster) -> (usize, usize) {
    let view = cluster.get(&format!("/v1/instances/{INSTANCE}/units")).await.unwrap();
    let units = view["units"].as_array().unwrap();
    let answer: Vec<_> = units.iter().filter(|unit| !unit["state"].is_null()).collect();
    let keep = |unit: &&&Value| !unit["state"]["registers"]["retiring"].is_null();
    (answer.iter().filter(keep).count(), answer.len())
}

/// The receipt holds for both verifiers.
async fn verified(cluster: &Cluster, rotation: &str, manifests: &str) {
    let receipt = format!("{rotation}.json");
    cluster.expect(0, &["receipt", rotation, "--out", &receipt]).await.unwrap();
    cluster.expect(0, &["manifest", "--out", manifests]).await.unwrap();
    let verify = ["verify-receipt", &receipt, "--manifest", manifests];
    cluster.expect(0, &verify).await.unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../receipt/verify.py");
    let mut python = Command::new("python3");
    python.arg("-B").arg(script).args([&receipt, manifests]).current_dir(cluster.folder.path());
    match python.output() {
        Ok(output) => assert!(output.status.success(), "{}", text_of(&output)),
        Err(error) => {
            let required = std::env::var("KEYHELM_REQUIRE").unwrap_or_default().contains("python");
            assert!(!required, "python3 is required: {error}");
            println!("NOT RUN: the receipt in Python (no python3)");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_rotation_is_ended_by_its_administrators_and_survives_the_loss_of_a_unit() {
    let Some(mut cluster) = founded().await else { return };
    cluster.expect(0, &words("keys create --count 400")).await.unwrap();
    let held = cluster.expect(0, &words("auto-mk-rotate --yes")).await.unwrap();
    let start = "OK  Master key rotated and in use: 400 keys. The old one is kept until ";
    assert!(held.starts_with(start), "{held}");
    let view = newest(&cluster).await;
    let first = view["rotation"].as_str().unwrap().to_owned();
    assert_eq!((&view["phase"], &view["receipt"]), (&"hold-before-clear".into(), &Value::Null));
    assert_eq!(retiring(&cluster).await, (5, 5));
    cluster.expect(0, &words("keys check")).await.unwrap();
    cluster.expect(0, &words("keys create --count 20 --name-prefix later")).await.unwrap();
    let dry = cluster.keyhelm(&words("auto-mk-rotate --dry-run")).await.unwrap();
    let said = text_of(&dry);
    assert!(dry.status.code() == Some(3) && said.contains("done but for its hold"), "{said}");
    let end = "hold-end --yes --passphrase-file passphrase";
    let done = cluster.expect(0, &words(end)).await.unwrap();
    assert!(done.starts_with("OK  Master key rotated: 400 keys, 0 failed, 5 of 5"), "{done}");
    assert_eq!(retiring(&cluster).await, (0, 5));
    cluster.expect(0, &words("keys check")).await.unwrap();
    verified(&cluster, &first, "manifests-1.json").await;

    // In the next hold a unit dies for good. It never clears: without an amendment the rotation would
    // wait for ever.
    let again = "auto-mk-rotate --yes --sign --hold-before-clear 1h --passphrase-file passphrase";
    cluster.expect(0, &words(again)).await.unwrap();
    let view = newest(&cluster).await;
    let second = view["rotation"].as_str().unwrap().to_owned();
    assert_eq!((second != first, &view["phase"]), (true, &"hold-before-clear".into()));
    cluster.process("op-3").unwrap().kill().await.unwrap();
    let waits = format!("{end} --timeout 3s");
    let waits = cluster.keyhelm(&words(&waits)).await.unwrap();
    assert_eq!(waits.status.code(), Some(4), "{}", text_of(&waits));
    let explained = cluster.keyhelm(&words("explain")).await.unwrap();
    assert!(text_of(&explained).contains("op-3"), "{}", text_of(&explained));
    let retire = "cryptounit-retire op-3 --yes --passphrase-file passphrase";
    cluster.expect(0, &words(retire)).await.unwrap();
    let follow = ["rotations", &second, "--follow"];
    let done = cluster.expect(0, &follow).await.unwrap();
    assert!(done.starts_with("OK  Master key rotated: 420 keys, 0 failed, 4 of 4"), "{done}");
    assert_eq!(retiring(&cluster).await, (0, 4));
    cluster.expect(0, &words("keys check")).await.unwrap();
    verified(&cluster, &second, "manifests-2.json").await;
    let third = "auto-mk-rotate --yes --sign --passphrase-file passphrase";
    let done = cluster.expect(0, &words(third)).await.unwrap();
    assert!(done.contains("4 of 4 crypto units"), "{done}");
    cluster.stop().await.unwrap();
}
