//! What clients get at each phase of a rotation, in mode strict: verb, phase, status.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use end_to_end::cluster::INSTANCE;
use end_to_end::keys::Client;
use end_to_end::process::PATIENCE;
use end_to_end::{Cluster, Flavour};
use serde_json::json;

use crate::{started, words};

/// Phases at which the rotation is held, and whether the key storage refuses then.
const PHASES: [(&str, bool); 8] = [
    ("inspect", false),
    ("generate", false),
    ("commit", false),
    // Held before the generation is opened: the gate closes with the opening.
    ("reencrypt", false),
    ("promote", true),
    ("flip", true),
    // After the flip everything is served again.
    ("clear", false),
    ("drop", false),
];

/// Verbs, their status when served, and when refused.
const VERBS: [(&str, u16, u16); 9] = [
    ("create", 201, 409),
    ("import", 201, 409),
    ("batch", 201, 409),
    ("wrap", 200, 503),
    ("unwrap", 200, 503),
    ("payload", 200, 503),
    ("list", 200, 200),
    ("metadata", 200, 200),
    ("delete", 200, 200),
];

/// Keys that the verbs are tried on.
struct Subjects {
    root: String,
    standard: String,
    ciphertext: String,
}

async fn status(client: &Client, subjects: &Subjects, verb: &str) -> u16 {
    let key = |payload: Option<&str>| {
        json!({
            "metadata": {
                "collectionType": "application/vnd.ibm.kms.key+json", "collectionTotal": 1
            },
            "resources": [{
                "type": "application/vnd.ibm.kms.key+json", "name": "of the table",
                "extractable": false, "payload": payload,
            }],
        })
    };
    let Subjects { root, standard, ciphertext } = subjects;
    let action = |name: &str| format!("/api/v2/keys/{root}/actions/{name}");
    let bytes = STANDARD.encode([7; 32]);
    let (method, path, body) = match verb {
        "create" => ("POST", "/api/v2/keys".to_owned(), Some(key(None))),
        "import" => ("POST", "/api/v2/keys".to_owned(), Some(key(Some(&bytes)))),
        "batch" => ("POST", "/v1/key-batches".to_owned(), Some(json!({ "keys": [{"name": "x"}] }))),
        "wrap" => ("POST", action("wrap"), Some(json!({ "plaintext": bytes }))),
        "unwrap" => ("POST", action("unwrap"), Some(json!({ "ciphertext": ciphertext }))),
        "payload" => ("GET", format!("/api/v2/keys/{standard}"), None),
        "list" => ("GET", "/api/v2/keys?limit=5".to_owned(), None),
        "metadata" => ("GET", format!("/api/v2/keys/{root}/metadata"), None),
        _ => panic!("{verb}"),
    };
    client.call(method, &path, body).await.unwrap().0
}

pub async fn hold(cluster: &Cluster, phase: Option<&str>) {
    let base = format!("http://127.0.0.1:{}/testing/hold", cluster.coordinator_port);
    let http = reqwest::Client::new();
    let answer = match phase {
        Some(phase) => http.put(format!("{base}/{phase}")).send().await.unwrap(),
        None => http.delete(base).send().await.unwrap(),
    };
    assert_eq!(answer.status(), 204);
}

pub async fn until_phase(cluster: &Cluster, phase: &str) {
    let until = Instant::now() + PATIENCE;
    let path = format!("/v1/instances/{INSTANCE}/rotations?limit=1");
    loop {
        let list = cluster.get(&path).await.unwrap();
        if list[0]["phase"] == phase {
            return;
        }
        assert!(Instant::now() < until, "{phase} is not reached: {list}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// One line of the table, with the statuses that differ from what they should be.
async fn line(client: &Client, subjects: &Subjects, phase: &str, is_closed: bool) -> usize {
    // A key of its own is deleted at each phase; where none can be made, it was made before.
    let mut shown = format!("{phase:<10}");
    let mut wrong = 0;
    for (verb, served, refused) in VERBS.into_iter().filter(|(verb, ..)| *verb != "delete") {
        let got = status(client, subjects, verb).await;
        wrong += usize::from(got != if is_closed { refused } else { served });
        shown.push_str(&format!(" {got:>8}"));
    }
    println!("{shown}");
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_each_phase_every_verb_answers_as_the_table_says() {
    let Some(cluster) = started(Flavour::Testing).await else { return };
    let client = Client::of(&cluster).await.unwrap();
    let mut spare = client.create("spare", 40).await.unwrap();
    let root = spare.pop().unwrap();
    let text = STANDARD.encode("some text");
    let body = json!({ "plaintext": text });
    let path = format!("/api/v2/keys/{root}/actions/wrap");
    let wrapped = client.call("POST", &path, Some(body)).await.unwrap().1;
    let ciphertext = wrapped["ciphertext"].as_str().unwrap().to_owned();
    let standard = client.import("standard", &STANDARD.encode([9; 32])).await.unwrap();
    let subjects = Subjects { root, standard, ciphertext };
    let names: Vec<_> = VERBS.iter().map(|(verb, ..)| format!("{verb:>8}")).collect();
    println!("phase      {}", names.join(" "));
    let (mut wrong, mut gone) = (0, Vec::new());
    for (phase, is_closed) in PHASES {
        hold(&cluster, Some(phase)).await;
        let rotation = cluster.begin(&words("auto-mk-rotate --yes")).unwrap();
        until_phase(&cluster, phase).await;
        wrong += line(&client, &subjects, phase, is_closed).await;
        // Deleting works at every phase, and the deleted key is not used again.
        let key = spare.pop().unwrap();
        let path = format!("/api/v2/keys/{key}");
        let (deleted, _) = client.call("DELETE", &path, None).await.unwrap();
        assert!(deleted == 200 || deleted == 204, "delete at {phase}: {deleted}");
        let used = client.call("POST", &format!("{path}/actions/wrap"), Some(json!({}))).await;
        let used = used.unwrap().0;
        assert!((400..=503).contains(&used), "a deleted key wraps at {phase}: {used}");
        gone.push(key);
        hold(&cluster, None).await;
        let ended = rotation.await.unwrap().unwrap();
        assert!(ended.status.success(), "{}", end_to_end::cluster::text_of(&ended));
    }
    assert_eq!(wrong, 0, "statuses that are not as the table says: see above");
    cluster.expect(0, &words("keys check")).await.unwrap();
    for key in gone {
        let found =
            client.call("GET", &format!("/api/v2/keys/{key}/metadata"), None).await.unwrap();
        assert_eq!(found.1["resources"][0]["state"], 5, "{found:?}");
    }
    cluster.stop().await.unwrap();
}
