//! A key's life, in the shapes that IBM's clients read.

use identity::Role;
use protocol::InstanceId;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::client::{Client, KEY, send};
use crate::cluster::{Cluster, INSTANCE};

const ACTION: &str = "application/vnd.ibm.kms.key_action+json";
const PAYLOAD: &str = "AAECAwQFBgcICQoLDA0ODw==";

fn is_uuid4(text: &Value) -> bool {
    let uuid = uuid::Uuid::parse_str(text.as_str().unwrap()).unwrap();
    uuid.get_version_num() == 4
}

fn is_date(text: &Value) -> bool {
    let text = text.as_str().unwrap();
    text.len() == "2020-03-12T03:37:32Z".len() && text.as_bytes()[10] == b'T' && text.ends_with('Z')
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_key_lives_from_creation_to_purge() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager, Role::KeyPurge]));
    let made = client.create(json!({ "type": KEY, "name": "payroll", "extractable": false }));
    let made = made.await.ok(201);
    assert_eq!(made.header("content-type"), KEY);
    assert_eq!(made.json()["metadata"]["collectionType"], KEY);
    let key = made.only();
    let instance = InstanceId::named(INSTANCE);
    let id = key["id"].as_str().unwrap();
    assert!(is_uuid4(&key["id"]) && is_uuid4(&key["keyVersion"]["id"]));
    assert!(is_date(&key["creationDate"]) && is_date(&key["lastUpdateDate"]));
    let crn = format!("crn:v1:bluemix:public:hs-crypto:local:a/keyhelm:{instance}:key:{id}");
    for (field, wanted) in [
        ("type", json!(KEY)),
        ("name", json!("payroll")),
        ("state", json!(1)),
        ("extractable", json!(false)),
        ("imported", json!(false)),
        ("deleted", json!(false)),
        ("keyRingID", json!("default")),
        ("createdBy", json!("tests/alice")),
        ("algorithmType", json!("AES")),
        ("algorithmMetadata", json!({ "bitLength": "256", "mode": "CBC_PAD" })),
        ("dualAuthDelete", json!({ "enabled": false })),
        ("crn", json!(crn)),
        ("payload", Value::Null),
    ] {
        assert_eq!(key[field], wanted, "{field}");
    }
    let path = format!("/api/v2/keys/{id}");
    for path in [path.clone(), format!("{path}/metadata")] {
        assert_eq!(client.get(&path).await.ok(200).only(), key, "{path}");
    }
    let versions = client.get(&format!("{path}/versions?totalCount=true")).await.ok(200);
    assert_eq!(versions.header("content-type"), "application/vnd.ibm.kms.key.version+json");
    assert_eq!(versions.json()["metadata"]["totalCount"], 1);
    assert_eq!(versions.only(), key["keyVersion"]);
    purge(&cluster, &client, id).await;
}

async fn purge(cluster: &Cluster, client: &Client, id: &str) {
    let path = format!("/api/v2/keys/{id}");
    let purge = format!("{path}/purge");
    client.delete(&purge).await.refused(409, "KEY_ACTION_INVALID_STATE_ERR");
    let request = client.request("DELETE", &format!("{path}?force=true"));
    let gone = send(request.header("prefer", "return=representation")).await.ok(200).only();
    assert_eq!((&gone["state"], &gone["deleted"]), (&json!(5), &json!(true)));
    assert_eq!(gone["purgeAllowed"], false);
    assert!(is_date(&gone["deletionDate"]) && is_date(&gone["purgeAllowedFrom"]));
    client.delete(&path).await.refused(410, "KEY_DELETED_ERR");
    assert_eq!(client.get(&path).await.ok(200).only(), gone);
    let wrap = format!("{path}/actions/wrap");
    client.post(&wrap, json!({})).await.refused(409, "KEY_ACTION_INVALID_STATE_ERR");
    client.get(&format!("{path}/versions")).await.refused(410, "KEY_DELETED_ERR");
    client.get(&format!("{path}/versions?allKeyStates=true")).await.ok(200).only();
    client.delete(&purge).await.refused(409, "REQ_TOO_EARLY_ERR");
    let database = Connection::open(cluster.keystore()).unwrap();
    let hours = |hours: i64| hours * 3_600_000;
    let age = "UPDATE keys SET deleted_at = deleted_at - ?1 WHERE state = 5";
    assert_eq!(database.execute(age, [hours(4) - 60_000]).unwrap(), 1);
    client.delete(&purge).await.refused(409, "REQ_TOO_EARLY_ERR");
    assert_eq!(database.execute(age, [60_000]).unwrap(), 1);
    assert_eq!(client.get(&path).await.only()["purgeAllowed"], true);
    assert_eq!(client.delete(&purge).await.ok(204).text, "");
    client.get(&path).await.refused(404, "KEY_NOT_FOUND_ERR");
    client.delete(&purge).await.refused(404, "KEY_NOT_FOUND_ERR");
    let left: i64 = database.query_row("SELECT count(*) FROM keys", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrapped_is_unwrapped_by_the_same_key_and_data_only() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Writer]));
    let (one, other) = (client.root_key("one").await, client.root_key("other").await);
    let act = |key: &str, action: &str| format!("/api/v2/keys/{key}/actions/{action}");
    let text = json!({ "plaintext": "c2VjcmV0", "aad": ["a", "b"] });
    let wrapped = client.post(&act(&one, "wrap"), text).await.ok(200);
    assert_eq!(wrapped.header("content-type"), ACTION);
    let wrapped = wrapped.json();
    assert!(wrapped.get("plaintext").is_none(), "{wrapped}");
    let version = client.get(&format!("/api/v2/keys/{one}")).await.only()["keyVersion"].clone();
    assert_eq!(wrapped["keyVersion"]["id"], version["id"]);
    let asked = json!({ "ciphertext": wrapped["ciphertext"], "aad": ["a", "b"] });
    for path in [act(&one, "unwrap"), format!("/api/v2/keys/{one}?action=unwrap")] {
        let text = client.post(&path, asked.clone()).await.ok(200).json();
        assert_eq!(text["plaintext"], "c2VjcmV0");
        assert_eq!(text["keyVersion"]["id"], version["id"]);
    }
    let code = "UNPROCESSABLE_CIPHERTEXT_ERR";
    client.post(&act(&other, "unwrap"), asked).await.refused(422, code);
    for aad in [json!(null), json!(["a"]), json!(["b", "a"]), json!(["ab"])] {
        let asked = json!({ "ciphertext": wrapped["ciphertext"], "aad": aad });
        client.post(&act(&one, "unwrap"), asked).await.refused(422, code);
    }
    client.post(&act(&one, "unwrap"), json!({ "ciphertext": "AAAA" })).await.refused(422, code);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrap_without_a_plaintext_makes_one() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Writer]));
    let key = client.root_key("one").await;
    let wrap = format!("/api/v2/keys/{key}/actions/wrap");
    // Nothing, whitespace and an empty object; with content types that a parser might refuse.
    for (body, content_type) in [("", "text/plain"), (" \n", "application/xml"), ("{}", "x/y")] {
        let request = client.request("POST", &wrap).header("content-type", content_type);
        let made = send(request.body(body)).await.ok(200).json();
        let text = made["plaintext"].as_str().unwrap();
        assert_eq!(text.len(), 44, "32 bytes in base64");
        let unwrap = format!("/api/v2/keys/{key}/actions/unwrap");
        let asked = json!({ "ciphertext": made["ciphertext"] });
        assert_eq!(client.post(&unwrap, asked).await.ok(200).json()["plaintext"], text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standard_key_gives_its_bytes_and_wraps_nothing() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    let made = client.create(json!({ "name": "shared", "payload": PAYLOAD })).await.ok(201).only();
    assert_eq!((&made["extractable"], &made["imported"]), (&json!(true), &json!(true)));
    assert!(made.get("payload").is_none() && made.get("algorithmBitSize").is_none());
    let path = format!("/api/v2/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(client.get(&path).await.ok(200).only()["payload"], PAYLOAD);
    let seen = client.get(&format!("{path}/metadata")).await.ok(200).only();
    assert!(seen.get("payload").is_none());
    for action in ["wrap", "unwrap"] {
        let asked = match action {
            "wrap" => json!({}),
            _ => json!({ "ciphertext": "A".repeat(120) }),
        };
        let said = client.post(&format!("{path}/actions/{action}"), asked).await;
        said.refused(400, "KEY_ROOT_REQ_ERR");
    }
    // A unit makes the bytes where none are given.
    let made = client.create(json!({ "name": "made" })).await.ok(201).only();
    assert_eq!((&made["extractable"], &made["imported"]), (&json!(true), &json!(false)));
    let id = made["id"].as_str().unwrap();
    let payload = client.get(&format!("/api/v2/keys/{id}")).await.only()["payload"].clone();
    assert_eq!(payload.as_str().unwrap().len(), 44);
    // A deleted key's bytes are not handed out.
    assert_eq!(client.delete(&path).await.ok(204).text, "");
    let deleted = client.get(&path).await.ok(200).only();
    assert_eq!((deleted.get("payload"), &deleted["state"]), (None, &json!(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_length_are_imported_and_preferences_are_met() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Writer]));
    for payload in [PAYLOAD, &"A".repeat(32), &format!("{}=", "A".repeat(43))] {
        let fields = json!({ "name": "imported", "extractable": false, "payload": payload });
        let key = client.create(fields).await.ok(201).only();
        assert_eq!((&key["extractable"], &key["imported"]), (&json!(false), &json!(true)));
        let id = key["id"].as_str().unwrap();
        let wrap = format!("/api/v2/keys/{id}/actions/wrap");
        client.post(&wrap, json!({ "plaintext": "YQ==" })).await.ok(200);
    }
    // 4096 bytes is the longest standard key.
    let longest = format!("{}==", "A".repeat(5462));
    let id = client.standard_key("longest", &longest).await;
    assert_eq!(client.get(&format!("/api/v2/keys/{id}")).await.only()["payload"], longest);
    let body = crate::client::collection(json!({ "name": "minimal", "description": "not kept" }));
    let request = client.request("POST", "/api/v2/keys").header("prefer", "return=minimal");
    let said = send(request.body(body.to_string())).await.ok(201);
    assert_eq!(said.header("keyhelm-not-stored"), "description");
    let fields: Vec<_> = said.only().as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["id", "type"]);
}
