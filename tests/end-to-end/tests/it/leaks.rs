//! No secret in any message, log line, row or file of a run; a planted one is found in each place.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use end_to_end::cluster::{INSTANCE, PASSPHRASE};
use end_to_end::keys::Client;
use end_to_end::leaks::Finder;
use end_to_end::tap::{self, Seen};
use end_to_end::{Cluster, Flavour};
use serde_json::Value;
use tokio::process::Command;

use crate::rotation::master_key_of;
use crate::{started, words};

/// Files that hold a secret because that is what they are for.
const HOMES: [&str; 4] = ["storage.key", "passphrase", "issuer.pem", "token"];

/// Everything that is published from now on, by RabbitMQ's own trace.
pub async fn firehose(cluster: &Cluster) -> Seen {
    let (connection, seen) = tap::listen(cluster.amqp_url()).await.unwrap();
    // The listener lives as long as its connection, which the test program keeps.
    std::mem::forget(connection);
    let Ok(environment) = std::env::var("KEYHELM_TEST_RABBITMQ_ENVIRONMENT") else {
        // A broker of somebody else's: whoever runs the tests has switched its trace on.
        return seen;
    };
    let on = format!(". '{environment}' && rabbitmqctl -q trace_on");
    let done = Command::new("sh").args(["-c", &on]).output().await.unwrap();
    assert!(done.status.success(), "{done:?}");
    seen
}

/// Every file below a folder, but the homes of secrets.
fn files(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            files(&path, into);
        } else if !HOMES.contains(&name.as_str()) {
            into.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

/// Storage keys lie in a file of hex digits.
fn storage_keys(cluster: &Cluster) -> Vec<(String, Vec<u8>)> {
    let name = |process: &end_to_end::process::Process| process.name().to_owned();
    let names: Vec<_> = cluster.processes.iter().map(name).collect();
    let key = |name: String| {
        let path = cluster.folder.path().join(&name).join("storage.key");
        let text = std::fs::read_to_string(path).unwrap();
        (format!("storage key of {name}"), hex::decode(text.trim()).unwrap())
    };
    names.into_iter().map(key).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_any_message_log_row_or_file_and_a_planted_one_is_found() {
    let Some(cluster) = started(Flavour::Testing).await else { return };
    let messages = firehose(&cluster).await;
    let client = Client::of(&cluster).await.unwrap();
    let mut secrets = storage_keys(&cluster);
    secrets.push(("passphrase".to_owned(), PASSPHRASE.as_bytes().to_vec()));
    for index in 0..20u8 {
        let payload = format!("secret payload number {index:04} of the test");
        let id = client.import("secret", &STANDARD.encode(&payload)).await.unwrap();
        assert_eq!(client.payload(&id).await.unwrap(), STANDARD.encode(&payload));
        secrets.push((format!("payload {index}"), payload.into_bytes()));
    }
    let made = client.create("root", 300).await.unwrap();
    let text = b"a plaintext that is wrapped and unwrapped";
    let sealed = client.wrap(&made[0], &STANDARD.encode(text), "aad").await.unwrap();
    cluster.expect(0, &words("auto-mk-rotate --yes")).await.unwrap();
    client.unwrap(&made[0], &sealed, "aad").await.unwrap();
    secrets.push(("wrapped plaintext".to_owned(), text.to_vec()));
    let list = format!("/v1/instances/{INSTANCE}/rotations?limit=5");
    for view in cluster.get(&list).await.unwrap().as_array().unwrap() {
        let pattern = Value::as_str(&view["to"]).unwrap().parse().unwrap();
        let key = master_key_of(pattern);
        secrets.push((format!("master key {pattern}"), key.danger_state_bytes().to_vec()));
    }
    // A wrong key in the request: errors must not repeat what they were given.
    let bad =
        serde_json::json!({ "keys": [{ "name": "x", "payload": "bm90IGEga2V5IGxlbmd0aA==" }] });
    let (status, _) = client.call("POST", "/v1/key-batches", Some(bad)).await.unwrap();
    assert!(status >= 400 || status == 201);

    let finder = Finder::new(&secrets).unwrap();
    let mut places = vec![("database".to_owned(), cluster.database.everything().await.unwrap())];
    let published = messages.messages();
    assert!(published.len() > 50, "the trace has seen {} messages only", published.len());
    places.extend(published.into_iter().map(|(key, body)| (format!("message to {key}"), body)));
    files(cluster.folder.path(), &mut places);
    assert!(places.iter().any(|(name, _)| name.ends_with("op-1.log")));
    assert!(places.iter().any(|(name, _)| name.ends_with("unit.sealed")));
    let bytes: usize = places.iter().map(|(_, bytes)| bytes.len()).sum();
    println!("looked for {} secrets in {} places, {bytes} bytes", secrets.len(), places.len());
    for (place, bytes) in &places {
        assert!(finder.found(bytes).is_empty(), "{:?} in {place}", finder.found(bytes));
    }
    planted_secrets_are_found(&finder, &secrets, &places);
    cluster.stop().await.unwrap();
}

/// The same look finds each secret in each kind of place and form.
fn planted_secrets_are_found(
    finder: &Finder,
    secrets: &[(String, Vec<u8>)],
    places: &[(String, Vec<u8>)],
) {
    for (place, bytes) in [&places[0], &places[1], &places[places.len() - 1]] {
        for (name, secret) in secrets {
            for offset in 0..3 {
                let before = vec![b'x'; offset];
                let raw = [bytes, before.as_slice(), secret].concat();
                let coded = STANDARD.encode([before.as_slice(), secret, b"yy"].concat());
                let coded = [bytes, coded.as_bytes()].concat();
                let in_hex = [bytes, hex::encode(secret).as_bytes()].concat();
                for haystack in [raw, coded, in_hex] {
                    assert!(finder.found(&haystack).contains(name.as_str()), "{name} in {place}");
                }
            }
        }
    }
}
