//! What is refused, and in which words.

use std::time::Duration;

use identity::Role;
use kms_gateway::http::HttpConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Client, KEY, collection, send};
use crate::cluster::{Cluster, INSTANCE, until};

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_instances_are_judged_before_anything_else() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    let now_s = service::now().0 / 1000;
    let bearer = |token: &str| format!("Bearer {token}");
    let expired = cluster.issued(&[Role::Manager], INSTANCE, now_s - 90, now_s - 30);
    let sound = cluster.token(&[Role::Manager]);
    for authorization in [
        None,
        Some("Basic YTpi".to_owned()),
        Some(bearer("")),
        Some(bearer("a.b.c")),
        Some(bearer(&expired)),
        Some(sound.clone()),
    ] {
        let mut request = client.bare("GET", "/api/v2/keys").header("bluemix-instance", INSTANCE);
        if let Some(value) = &authorization {
            request = request.header("authorization", value);
        }
        let said = send(request).await;
        said.refused(401, "UNAUTHORIZED_ERR");
        assert_eq!(said.header("www-authenticate"), "Bearer");
    }
    let asking = |token: &str, instance: Option<&str>| {
        let request = client.bare("GET", "/api/v2/keys").header("authorization", bearer(token));
        match instance {
            Some(instance) => request.header("bluemix-instance", instance),
            None => request,
        }
    };
    for instance in [None, Some(" ")] {
        let said = send(asking(&sound, instance)).await;
        said.refused_for(400, "INVALID_FIELD_ERR", "Bluemix-Instance");
    }
    send(asking(&sound, Some("elsewhere"))).await.refused(403, "UNAUTHORIZED_ERR");
    let foreign = cluster.token_for(&[Role::Manager], "elsewhere");
    send(asking(&foreign, Some(INSTANCE))).await.refused(403, "UNAUTHORIZED_ERR");
    send(asking(&foreign, Some("elsewhere"))).await.refused(404, "INSTANCE_NOT_FOUND_ERR");
    // The instance by its id, the scheme in other letters.
    let id = cluster.instance.to_string();
    let request = client.bare("GET", "/api/v2/keys").header("bluemix-instance", id);
    send(request.header("authorization", format!("bearer {sound}"))).await.ok(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_judged_field_by_field() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    let name = || Value::from("one");
    for (fields, status, code, target) in [
        (json!({}), 400, "BAD_BODY_ERR", "name"),
        (json!({ "name": "" }), 400, "INVALID_FIELD_ERR", "name"),
        (json!({ "name": "a\nb" }), 400, "INVALID_FIELD_ERR", "name"),
        (json!({ "name": "a".repeat(91) }), 400, "INVALID_FIELD_ERR", "name"),
        (json!({ "name": name(), "type": "text" }), 400, "INVALID_FIELD_ERR", "type"),
        (
            json!({ "name": name(), "description": "a".repeat(241) }),
            400,
            "INVALID_FIELD_ERR",
            "description",
        ),
        (json!({ "name": name(), "tags": ["a,b"] }), 400, "INVALID_FIELD_ERR", "tags"),
        (json!({ "name": name(), "tags": vec!["a"; 31] }), 400, "INVALID_FIELD_ERR", "tags"),
        (json!({ "name": name(), "payload": "" }), 400, "INVALID_FIELD_ERR", "payload"),
        (json!({ "name": name(), "payload": "AAA" }), 400, "INVALID_FIELD_ERR", "payload"),
        (json!({ "name": name(), "payload": "AA-_" }), 400, "INVALID_FIELD_ERR", "payload"),
        (
            json!({ "name": name(), "payload": "A".repeat(5464) }),
            400,
            "INVALID_FIELD_ERR",
            "payload",
        ),
        (
            json!({ "name": name(), "extractable": false, "payload": "AAAA" }),
            400,
            "INVALID_FIELD_ERR",
            "payload",
        ),
        (json!({ "name": name(), "colour": "red" }), 400, "BAD_BODY_ERR", "colour"),
        (json!({ "name": name(), "aliases": ["a"] }), 501, "NOT_IMPLEMENTED_ERR", "aliases"),
        (
            json!({ "name": name(), "expirationDate": "2030-01-01T00:00:00Z" }),
            501,
            "NOT_IMPLEMENTED_ERR",
            "expirationDate",
        ),
    ] {
        client.create(fields).await.refused_for(status, code, target);
    }
    // Values of another type: the field is named, the value is not repeated.
    for (field, value) in [
        ("name", json!(["c2VjcmV0"])),
        ("extractable", json!("c2VjcmV0")),
        ("payload", json!({ "a": "c2VjcmV0" })),
        ("tags", json!("c2VjcmV0")),
        ("description", json!(77_777)),
    ] {
        let said = client.create(json!({ field: value })).await;
        let message = said.refused(400, "BAD_BODY_ERR");
        assert!(message.contains(&format!("'{field}'")), "{message}");
        assert!(!said.text.contains("c2VjcmV0") && !said.text.contains("77777"), "{message}");
    }
    assert_eq!(
        client.get("/api/v2/keys?totalCount=true").await.json()["metadata"]["totalCount"],
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_are_of_one_key() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    let one = json!({ "name": "one" });
    let total = |total: Value| json!({ "collectionType": KEY, "collectionTotal": total });
    for (body, code, target) in [
        (json!({ "resources": [one] }), "BAD_BODY_ERR", "metadata"),
        (json!({ "metadata": {}, "resources": [one] }), "BAD_BODY_ERR", "metadata.collectionTotal"),
        (
            json!({ "metadata": { "collectionType": "x", "collectionTotal": 1 }, "resources": [one] }),
            "INVALID_FIELD_ERR",
            "metadata.collectionType",
        ),
        (json!({ "metadata": total(json!(0)) }), "BAD_BODY_ERR", "resources"),
        (
            json!({ "metadata": total(json!(2)), "resources": [one, one] }),
            "BAD_BODY_ERR",
            "resources",
        ),
    ] {
        let said = client.post("/api/v2/keys", body).await;
        said.refused(400, code);
        assert_eq!(said.reason()["target"]["name"], target);
    }
    let body = json!({ "metadata": total(json!(2)), "resources": [one] });
    let said = client.post("/api/v2/keys", body).await;
    said.refused(400, "COLLECTION_TOTAL_MISMATCH_ERR");
    for (body, code) in [
        ("", "NO_BODY_ERR"),
        ("{", "BAD_BODY_ERR"),
        ("[]", "BAD_BODY_ERR"),
        ("\"c2VjcmV0\"", "BAD_BODY_ERR"),
        (r#"{"metadata":"c2VjcmV0"}"#, "BAD_BODY_ERR"),
        (r#"{"resources":["c2VjcmV0"]}"#, "BAD_BODY_ERR"),
        (r#"{"metadata":{"collectionTotal":"c2VjcmV0"}}"#, "BAD_BODY_ERR"),
        (r#"{"keys":[]}"#, "BAD_BODY_ERR"),
    ] {
        let said = send(client.request("POST", "/api/v2/keys").body(body)).await;
        said.refused(400, code);
        assert!(!said.text.contains("c2VjcmV0"), "{}", said.text);
    }
    let large = collection(json!({ "name": "one", "payload": "A".repeat(70_000) }));
    client.post("/api/v2/keys", large.clone()).await.refused(413, "BAD_BODY_ERR");
    // The answer arrives although the body has not been read: by many, as it hangs on timing.
    let reader = Client::new(&cluster, &cluster.token(&[Role::Reader]));
    let huge = json!({ "keys": "A".repeat(3_000_000) });
    for _ in 0..20 {
        client.post("/api/v2/keys", huge.clone()).await.refused(413, "BAD_BODY_ERR");
        reader.post("/v1/key-batches", huge.clone()).await.refused(403, "UNAUTHORIZED_ERR");
    }
    // Likewise where no length is announced.
    let chunks = vec![Ok::<_, std::io::Error>(large.to_string())];
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let said = send(client.request("POST", "/api/v2/keys").body(body)).await;
    said.refused(413, "BAD_BODY_ERR");
    assert_eq!(
        client.get("/api/v2/keys?totalCount=true").await.json()["metadata"]["totalCount"],
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_name_what_is_wrong() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    let key = client.root_key("one").await;
    let act = |action: &str| format!("/api/v2/keys/{key}/actions/{action}");
    let long = json!([("a".repeat(256))]);
    for (action, body, target) in [
        ("wrap", json!({ "plaintext": "not base64" }), "plaintext"),
        ("wrap", json!({ "plaintext": "" }), "plaintext"),
        ("wrap", json!({ "plaintext": format!("{}==", "A".repeat(5466)) }), "plaintext"),
        ("wrap", json!({ "aad": long.clone() }), "aad"),
        ("wrap", json!({ "aad": vec!["a"; 127] }), "aad"),
        ("unwrap", json!({}), "ciphertext"),
        ("unwrap", json!({ "ciphertext": "" }), "ciphertext"),
        ("unwrap", json!({ "ciphertext": "%%" }), "ciphertext"),
        ("unwrap", json!({ "ciphertext": "AAAA", "aad": long }), "aad"),
    ] {
        let said = client.post(&act(action), body).await;
        said.refused_for(400, "INVALID_FIELD_ERR", target);
    }
    client.post(&act("wrap"), json!({ "text": "" })).await.refused(400, "BAD_BODY_ERR");
    send(client.request("POST", &act("unwrap"))).await.refused(400, "NO_BODY_ERR");
    client.post(&act("melt"), json!({})).await.refused(404, "NOT_FOUND_ERR");
    let absent = "/api/v2/keys/fadedbee-0000-4000-8000-1234567890ab";
    for path in [absent, "/api/v2/keys/an-alias"] {
        client.get(path).await.refused(404, "KEY_NOT_FOUND_ERR");
        client.delete(path).await.refused(404, "KEY_NOT_FOUND_ERR");
        let wrap = format!("{path}/actions/wrap");
        client.post(&wrap, json!({})).await.refused(404, "KEY_NOT_FOUND_ERR");
    }
    client.get("/api/v2/nothing").await.refused(404, "NOT_FOUND_ERR");
    let said = send(client.request("PUT", "/api/v2/keys")).await;
    said.refused(405, "METHOD_NOT_ALLOWED_ERR");
    assert!(said.header("allow").contains("POST"), "{}", said.header("allow"));
    client.get("/api/v2/keys/%ff").await.refused(400, "BAD_BODY_ERR");
    for (method, path) in [
        ("POST", act("rewrap")),
        ("POST", act("rotate")),
        ("POST", act("enable")),
        ("POST", act("disable")),
        ("POST", format!("/api/v2/keys/{key}?action=rotate")),
        ("PATCH", format!("/api/v2/keys/{key}")),
        ("POST", format!("/api/v2/keys/{key}/restore")),
        ("GET", format!("/api/v2/keys/{key}/policies")),
        ("POST", format!("/api/v2/keys/{key}/aliases/a")),
        ("GET", "/api/v2/keys/registrations".to_owned()),
        ("POST", "/api/v2/keys_with_policy_overrides".to_owned()),
        ("GET", "/api/v2/key_rings".to_owned()),
        ("POST", "/api/v2/import_token".to_owned()),
        ("GET", "/api/v2/kmip_adapters/a/objects".to_owned()),
    ] {
        let said = send(client.request(method, &path)).await;
        said.refused(501, "NOT_IMPLEMENTED_ERR");
        send(client.bare(method, &path)).await.refused(401, "UNAUTHORIZED_ERR");
    }
    let ring = client.request("GET", "/api/v2/keys").header("x-kms-key-ring", "blue");
    let said = send(ring).await;
    said.refused(501, "NOT_IMPLEMENTED_ERR");
    let ring = client.request("GET", "/api/v2/keys").header("x-kms-key-ring", "default");
    send(ring).await.ok(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn correlation_ids_are_echoed_or_made() {
    let cluster = Cluster::start(HttpConfig::default()).await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    for (header, other) in [
        ("correlation-id", "x-request-id"),
        ("x-correlation-id", "x-nothing"),
        ("X-Request-Id", "a"),
    ] {
        let request = client.request("GET", "/api/v2/keys").header(header, "one-two");
        let said = send(request.header(other, "three")).await.ok(200);
        assert_eq!(said.header("correlation-id"), "one-two", "{header}");
    }
    for given in [None, Some("a".repeat(129))] {
        let mut request = client.bare("GET", "/nowhere");
        if let Some(given) = given {
            request = request.header("correlation-id", given);
        }
        let made = send(request).await.header("correlation-id").to_owned();
        assert!(uuid::Uuid::parse_str(&made).is_ok(), "{made}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_a_manifest_nothing_is_ready_and_nothing_is_made() {
    let cluster = Cluster::start(HttpConfig::default()).await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    assert_eq!(
        send(client.bare("GET", "/healthz")).await.ok(200).json(),
        json!({ "status": "ok" })
    );
    let said = send(client.bare("GET", "/readyz")).await.ok(503).json();
    assert!(said["unmet"][0].as_str().unwrap().contains("no manifest"), "{said}");
    let said = client.create(json!({ "name": "early" })).await;
    assert!(said.refused(503, "NOT_INITIALISED_ERR").contains("auto-init"));
    cluster.found().await;
    until("readiness", async || {
        let said = send(client.bare("GET", "/readyz")).await;
        (said.status == 200).then(|| assert_eq!(said.json(), json!({ "status": "ready" })))
    })
    .await;
    client.create(json!({ "name": "now" })).await.ok(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_the_bound_are_told_to_come_back() {
    let cluster = Cluster::start(HttpConfig { max_in_flight: 1, ..HttpConfig::default() }).await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    // A body that does not come holds the only place.
    let address = cluster.base.strip_prefix("http://").unwrap();
    let mut slow = tokio::net::TcpStream::connect(address).await.unwrap();
    let token = cluster.token(&[Role::Manager]);
    let head = format!(
        "POST /api/v2/keys HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\
         bluemix-instance: {INSTANCE}\r\ncontent-length: 2\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let said = until("a busy answer", async || {
        let said = client.get("/api/v2/keys").await;
        (said.status == 503).then_some(said)
    })
    .await;
    said.refused(503, "TOO_BUSY_ERR");
    assert_eq!(said.header("retry-after"), "1");
    send(client.bare("GET", "/healthz")).await.ok(200);
    slow.write_all(b"{}").await.unwrap();
    let mut answer = vec![0; 12];
    let read = tokio::time::timeout(Duration::from_secs(10), slow.read_exact(&mut answer));
    read.await.unwrap().unwrap();
    assert_eq!(answer, b"HTTP/1.1 400");
    until("a place", async || (client.get("/api/v2/keys").await.status == 200).then_some(())).await;
}
