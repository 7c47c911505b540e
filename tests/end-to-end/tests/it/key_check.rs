//! Goal: every key is opened before a rotation where that is asked for; one that does not open is
//! named and stops it, or is carried in quarantine by an order that names it; a plan holds only as long
//! as nothing has moved. Method: a bit is flipped in PostgreSQL, and the commands are run as people do.

use end_to_end::Cluster;
use end_to_end::Flavour;
use end_to_end::cluster::text_of;
use end_to_end::keys::Client;
use serde_json::Value;

use crate::{started, words};

const KEYS: usize = 60;

/// Changes the last byte of a key's blob in the active generation, or changes it back.
async fn flip_bit(cluster: &Cluster, key: &str) {
    let tables = cluster.database.wrapped_tables().await.unwrap();
    let [table] = &tables[..] else { panic!("{tables:?}") };
    cluster.database.flip_bit(table, key).await.unwrap();
}

/// The line of this type that a command prints with `--json`.
fn object(printed: &str, kind: &str) -> Value {
    let lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = lines.into_iter().rfind(|line| line["type"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {printed}"))
}

async fn planned(cluster: &Cluster) -> Value {
    let printed = cluster.expect(0, &words("auto-mk-rotate --dry-run --json")).await.unwrap();
    object(&printed, "plan")["plan"]["checked"].clone()
}

/// Runs the command and wants conditions to be unmet, one with these words; answers all that it said.
async fn unmet(cluster: &Cluster, line: &str, words_of_it: &str) -> String {
    let said = text_of(&cluster.keyhelm(&words(line)).await.unwrap());
    assert!(said.starts_with("exit status: 3") && said.contains(words_of_it), "{line}: {said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_does_not_open_stops_a_rotation_or_goes_into_quarantine() {
    let Some(cluster) = started(Flavour::Release).await else { return };
    let client = Client::of(&cluster).await.unwrap();
    let keys = client.create("key", KEYS).await.unwrap();
    let plan = planned(&cluster).await;
    assert_eq!(
        (plan["opened_count"].as_u64(), plan["quarantined_count"].as_u64()),
        (Some(60), Some(0))
    );
    let hash = plan["hash"].as_str().unwrap().to_owned();
    assert_eq!(planned(&cluster).await["hash"].as_str(), Some(hash.as_str()), "nothing has moved");

    let lost = &keys[17];
    flip_bit(&cluster, lost).await;
    let before = cluster.database.everything().await.unwrap();
    for line in ["auto-mk-rotate --dry-run", "auto-mk-rotate --check-keys --yes"] {
        let said = unmet(&cluster, line, "does not open").await;
        assert!(said.contains(&format!("--quarantine {lost}")), "{said}");
    }
    unmet(&cluster, &format!("auto-mk-rotate --plan {hash} --yes"), "does not open").await;
    assert!(cluster.database.everything().await.unwrap() == before, "something has changed");

    // Without a check the unit that re-wraps finds it, and the rotation ends itself.
    let output = cluster.keyhelm(&words("auto-mk-rotate --yes")).await.unwrap();
    let said = text_of(&output);
    assert!(!output.status.success() && said.contains(lost), "{said}");

    // The plan of before holds once the row is as it was.
    flip_bit(&cluster, lost).await;
    unmet(&cluster, &format!("auto-mk-rotate --plan {} --yes", "0".repeat(64)), "the plan is now")
        .await;
    let by_plan = format!("auto-mk-rotate --plan {hash} --verify all --yes");
    cluster.expect(0, &words(&by_plan)).await.unwrap();
    unmet(&cluster, &by_plan, "the plan is now").await;

    flip_bit(&cluster, lost).await;
    let carry = format!("auto-mk-rotate --quarantine {lost} --passphrase-file passphrase");
    let dry = text_of(&cluster.keyhelm(&words(&format!("{carry} --dry-run"))).await.unwrap());
    assert!(dry.contains("1 key version would be carried as they are"), "{dry}");
    let said = text_of(&cluster.keyhelm(&words(&format!("{carry} --yes"))).await.unwrap());
    assert!(said.starts_with("exit status: 0") && said.contains("1 in quarantine"), "{said}");
    kept(&cluster, &client, &keys, lost).await;
    receipt_says_so(&cluster).await;
    cluster.stop().await.unwrap();
}

/// All but the one can be used; that one is named, kept, and survives the next rotation.
async fn kept(cluster: &Cluster, client: &Client, keys: &[String], lost: &str) {
    for _ in 0..2 {
        let checked = cluster.expect(0, &words("keys check --json")).await.unwrap();
        let checked: Value = serde_json::from_str(&checked).unwrap();
        assert_eq!((checked["checked"].as_u64(), checked["opened"].as_u64()), (Some(59), Some(59)));
        assert_eq!(checked["quarantined"][0]["id"], lost);
        for key in keys {
            let wrapped = client.wrap(key, "aGVsbG8=", "").await;
            assert_eq!(wrapped.is_ok(), key != lost, "{key}: {wrapped:?}");
            if let Err(error) = wrapped {
                assert!(error.to_string().contains("KEY_IN_QUARANTINE_ERR"), "{error}");
            }
        }
        cluster.expect(0, &words("auto-mk-rotate --check-keys --yes")).await.unwrap();
    }
}

/// The receipt of the rotation that carried it counts it, and is verified by ours.
async fn receipt_says_so(cluster: &Cluster) {
    let list = cluster.expect(0, &words("rotations --json")).await.unwrap();
    let rotations: Vec<Value> = list.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let all = rotations.iter().flat_map(|it| match it.as_array() {
        Some(list) => list.clone(),
        None => vec![it.clone()],
    });
    let carried = all.into_iter().find(|it| it["keys_quarantined"] == 1).expect(&list);
    let id = carried["rotation"].as_str().unwrap();
    cluster.expect(0, &words(&format!("receipt {id} --out receipt.json"))).await.unwrap();
    cluster.expect(0, &words("manifest --out manifest.json")).await.unwrap();
    let verify = words("verify-receipt receipt.json --manifest manifest.json");
    let said = cluster.expect(0, &verify).await.unwrap();
    assert!(said.contains("1 in quarantine"), "{said}");
}
