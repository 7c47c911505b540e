//! Batches and checks.

use identity::Role;
use protocol::key_api::{BatchAnswer, CheckView};
use protocol::{KeyId, VersionId};
use rusqlite::Connection;
use serde_json::json;

use crate::client::{Client, Said};
use crate::cluster::Cluster;

const ID: &str = "fadedbee-0000-4000-8000-1234567890ab";

async fn total(client: &Client) -> u64 {
    let body = client.get("/api/v2/keys?limit=1&totalCount=true").await.json();
    body["metadata"]["totalCount"].as_u64().unwrap()
}

fn answer(said: Said) -> BatchAnswer {
    let said = said.ok(201);
    assert_eq!(said.header("content-type"), "application/json");
    serde_json::from_str(&said.text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_written_whole_or_not_at_all() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    let keys: Vec<_> = (0..1000).map(|at| json!({ "name": format!("key-{at:04}") })).collect();
    let made = answer(client.post("/v1/key-batches", json!({ "keys": keys })).await);
    assert_eq!(made.keys.len(), 1000);
    let in_order = |(at, key): (usize, &protocol::key_api::BatchWritten)| {
        assert_eq!(key.name, format!("key-{at:04}"));
    };
    made.keys.iter().enumerate().for_each(in_order);
    let keys = json!([
        { "name": "root", "extractable": false, "payload": "AAECAwQFBgcICQoLDA0ODw==" },
        { "name": "standard", "extractable": true, "payload": "c2VjcmV0", "id": ID },
    ]);
    let imported = answer(client.post("/v1/key-batches", json!({ "keys": keys })).await);
    assert_eq!(imported.keys[1].id.to_string(), ID);
    let path = format!("/api/v2/keys/{ID}");
    assert_eq!(client.get(&path).await.ok(200).only()["payload"], "c2VjcmV0");
    // By default a key of a batch is a root key; a standard key's id may be given too.
    let kept = "fadedbee-0000-4000-8000-1234567890ac";
    let keys = json!([{ "name": "a", "id": kept }, { "name": "b", "extractable": true }]);
    let made = answer(client.post("/v1/key-batches", json!({ "keys": keys })).await);
    assert_eq!(made.keys[0].id.to_string(), kept);
    let kinds = [false, true];
    for (key, is_extractable) in made.keys.iter().zip(kinds) {
        let found = client.get(&format!("/api/v2/keys/{}", key.id)).await.only();
        assert_eq!(found["extractable"], is_extractable);
    }
    assert_eq!(total(&client).await, 1004);
    refused(&client).await;
    assert_eq!(total(&client).await, 1004, "a refused batch left a key behind");
}

async fn refused(client: &Client) {
    let taken = json!([{ "name": "new" }, { "name": "taken", "id": ID }]);
    let twice = "fadedbee-0000-4000-8000-1234567890ad";
    let twice = json!([{ "name": "new", "id": twice }, { "name": "again", "id": twice }]);
    for keys in [taken, twice] {
        let said = client.post("/v1/key-batches", json!({ "keys": keys })).await;
        said.refused(409, "KEY_ALREADY_EXISTS_ERR");
    }
    let many: Vec<_> = (0..1001).map(|_| json!({ "name": "many" })).collect();
    // 300 keys of 4096 bytes: more than goes into one message to a unit.
    let payload = format!("{}==", "A".repeat(5462));
    let heavy = vec![json!({ "name": "heavy", "extractable": true, "payload": payload }); 300];
    for (keys, target) in [
        (json!([]), "keys"),
        (json!(many), "keys"),
        (json!(heavy), "keys"),
        (json!([{ "name": "a" }, { "name": "b", "payload": "AAAA" }]), "payload"),
        (json!([{ "name": "a" }, { "name": "" }]), "name"),
    ] {
        let said = client.post("/v1/key-batches", json!({ "keys": keys })).await;
        said.refused(400, "INVALID_FIELD_ERR");
        assert_eq!(said.reason()["target"]["name"], target);
    }
    for keys in [json!([{ "name": "a", "colour": "red" }]), json!("c2VjcmV0"), json!([{}])] {
        let said = client.post("/v1/key-batches", json!({ "keys": keys })).await;
        said.refused(400, "BAD_BODY_ERR");
        assert!(!said.text.contains("c2VjcmV0"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_what_is_changed_and_what_is_missing() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    let check = async || {
        let said = client.post("/v1/key-checks", json!({})).await.ok(200);
        serde_json::from_str::<CheckView>(&said.text).unwrap()
    };
    let keys: Vec<_> = (0..40).map(|at| json!({ "name": format!("key-{at:02}") })).collect();
    let made = answer(client.post("/v1/key-batches", json!({ "keys": keys })).await).keys;
    let sound = CheckView { checked: 40, opened: 40, ..CheckView::default() };
    assert_eq!(check().await, sound);
    let database = Connection::open(cluster.keystore()).unwrap();
    let table: String = database
        .query_row(
            "SELECT name FROM sqlite_master
             WHERE type = 'table' AND name LIKE 'wrapped\\_%' ESCAPE '\\'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let (changed, removed) = (&made[7], &made[23]);
    let (mut blob, version): (Vec<u8>, [u8; 16]) = database
        .query_row(
            &format!("SELECT blob, version FROM {table} WHERE key = ?1"),
            [changed.id.bytes()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    *blob.last_mut().unwrap() ^= 1;
    let update = format!("UPDATE {table} SET blob = ?1 WHERE key = ?2");
    assert_eq!(database.execute(&update, (&blob, changed.id.bytes())).unwrap(), 1);
    let delete = format!("DELETE FROM {table} WHERE key = ?1");
    assert_eq!(database.execute(&delete, [removed.id.bytes()]).unwrap(), 1);
    let found = check().await;
    assert_eq!((found.checked, found.opened), (40, 38));
    let named = |key: KeyId| found.failures.iter().find(|failure| failure.id == key).unwrap();
    assert_eq!(found.failures.len(), 2);
    assert_eq!(named(changed.id).name, "key-07");
    assert_eq!(named(changed.id).version, VersionId::from_bytes(version));
    assert_eq!(named(removed.id).name, "key-23");
    assert_eq!(named(removed.id).reason, "its wrapped key is missing");
    // Whoever uses them is told that they are damaged, not that there are none.
    for key in [changed.id, removed.id] {
        let wrap = format!("/api/v2/keys/{key}/actions/wrap");
        client.post(&wrap, json!({})).await.refused(500, "KEY_DOES_NOT_OPEN_ERR");
    }
    *blob.last_mut().unwrap() ^= 1;
    database.execute(&update, (&blob, changed.id.bytes())).unwrap();
    assert_eq!(check().await.opened, 39);
}
