//! While the master key rotates: what is served, what is refused, and how.

use std::time::Duration;

use identity::Role;
use keystore::SqliteKeystore;
use machines::gate::{AbortRequest, OpenRequest};
use protocol::keystore::GateMode;
use protocol::order::OrderRef;
use protocol::{Digest, Epoch, GenerationId, OrderNumber, Pattern, RotationId};
use serde_json::json;
use uuid::Uuid;

use crate::client::{Client, Said, send};
use crate::cluster::{Cluster, until};

const CODE: &str = "MASTER_KEY_ROTATION_IN_PROGRESS_ERR";

fn refused_by_gate(said: &Said, status: u16) {
    said.refused(status, CODE);
    assert_eq!(said.header("retry-after"), "1");
}

/// A rotation that stands still: a generation is opened by hand, and aborted.
struct Held {
    store: SqliteKeystore,
    order: OrderRef,
    from: Option<Pattern>,
    epoch: Epoch,
}

const TO: Pattern = Pattern([7; 32]);

impl Held {
    async fn open(cluster: &Cluster, mode: GateMode) -> Self {
        let store = SqliteKeystore::open(&cluster.keystore()).await.unwrap();
        let row = store.row(cluster.instance).await.unwrap().unwrap();
        let order = OrderRef {
            rotation: RotationId::from_uuid(Uuid::now_v7()),
            number: OrderNumber { manifest_serial: 1, number: 1_000 },
            digest: Digest([9; 32]),
        };
        let from = row.active.map(|active| active.pattern);
        let request = OpenRequest {
            order,
            epoch: row.epoch,
            from,
            to: TO,
            generation: GenerationId::from_uuid(Uuid::new_v4()),
            mode,
        };
        store.open_generation(cluster.instance, request).await.unwrap();
        Self { store, order, from, epoch: row.epoch }
    }

    async fn abort(self, cluster: &Cluster) {
        let (order, epoch, from_to) = (self.order, self.epoch, (self.from, TO));
        let request = AbortRequest { order, epoch, from_to, is_taken: true };
        let aborted = self.store.abort(cluster.instance, request).await;
        assert!(aborted.unwrap().open.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_rotation_refuses_as_documented_and_leaves_no_trace() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager, Role::KeyPurge]));
    let root = format!("/api/v2/keys/{}", client.root_key("root").await);
    let standard = format!("/api/v2/keys/{}", client.standard_key("standard", "c2VjcmV0").await);
    let doomed = format!("/api/v2/keys/{}", client.root_key("doomed").await);
    let purged = format!("/api/v2/keys/{}", client.root_key("purged").await);
    let text = json!({ "plaintext": "c2VjcmV0" });
    let wrapped = client.post(&format!("{root}/actions/wrap"), text.clone()).await.ok(200).json();
    let unwrap = json!({ "ciphertext": wrapped["ciphertext"] });
    client.delete(&purged).await.ok(204);
    let database = rusqlite::Connection::open(cluster.keystore()).unwrap();
    database.execute("UPDATE keys SET deleted_at = 1000 WHERE state = 5", []).unwrap();

    let held = Held::open(&cluster, GateMode::Strict).await;
    refused_by_gate(&client.create(json!({ "name": "late" })).await, 409);
    refused_by_gate(&client.create(json!({ "name": "late", "payload": "AAAA" })).await, 409);
    let batch = json!({ "keys": [{ "name": "late" }] });
    refused_by_gate(&client.post("/v1/key-batches", batch).await, 409);
    refused_by_gate(&client.post(&format!("{root}/actions/wrap"), text.clone()).await, 503);
    refused_by_gate(&client.post(&format!("{root}?action=wrap"), text).await, 503);
    refused_by_gate(&client.post(&format!("{root}/actions/unwrap"), unwrap.clone()).await, 503);
    refused_by_gate(&client.get(&standard).await, 503);
    // Looking and ending go on.
    assert_eq!(
        client.get("/api/v2/keys?totalCount=true").await.ok(200).json()["metadata"]["totalCount"],
        3
    );
    let counted = send(client.request("HEAD", "/api/v2/keys")).await.ok(200);
    assert_eq!(counted.header("key-total"), "3");
    client.get(&root).await.ok(200);
    client.get(&format!("{standard}/metadata")).await.ok(200);
    client.get(&format!("{root}/versions")).await.ok(200);
    client.delete(&doomed).await.ok(204);
    client.delete(&format!("{purged}/purge")).await.ok(204);
    client.get(&purged).await.refused(404, "KEY_NOT_FOUND_ERR");
    send(client.bare("GET", "/readyz")).await.ok(200);
    held.abort(&cluster).await;

    let after = client.post(&format!("{root}/actions/unwrap"), unwrap).await.ok(200).json();
    assert_eq!(after["plaintext"], "c2VjcmV0");
    assert_eq!(client.get(&standard).await.ok(200).only()["payload"], "c2VjcmV0");
    assert_eq!(client.get(&doomed).await.ok(200).only()["state"], 5);
    client.get(&purged).await.refused(404, "KEY_NOT_FOUND_ERR");
    client.create(json!({ "name": "late" })).await.ok(201);
    assert_eq!(
        client.get("/api/v2/keys?totalCount=true").await.json()["metadata"]["totalCount"],
        3
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_used_while_a_rotation_stands_still_and_refused_once_it_goes_on() {
    let cluster = Cluster::founded_with_stall(Duration::from_secs(2)).await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    let root = format!("/api/v2/keys/{}/actions/wrap", client.root_key("root").await);
    let standard = format!("/api/v2/keys/{}", client.standard_key("standard", "c2VjcmV0").await);
    let text = json!({ "plaintext": "c2VjcmV0" });
    let held = Held::open(&cluster, GateMode::Strict).await;
    refused_by_gate(&client.post(&root, text.clone()).await, 503);
    refused_by_gate(&client.get(&standard).await, 503);
    let used = || async {
        let said = client.post(&root, text.clone()).await;
        if said.status != 200 {
            refused_by_gate(&said, 503);
        }
        (said.status == 200).then_some(())
    };
    until("the stall is seen", used).await;
    assert_eq!(client.get(&standard).await.ok(200).only()["payload"], "c2VjcmV0");
    refused_by_gate(&client.create(json!({ "name": "late" })).await, 409);
    // A chunk is written.
    let number = held.store.row(cluster.instance).await.unwrap().unwrap().open.unwrap().number;
    let database = rusqlite::Connection::open(cluster.keystore()).unwrap();
    let chunk = "INSERT INTO chunks (instance, generation, after, upto, done, new_digest, receipt,
         quarantined) VALUES (?1, ?2, zeroblob(16), randomblob(16), 0, zeroblob(32), zeroblob(1), 0)";
    database.execute(chunk, (cluster.instance.bytes(), number)).unwrap();
    let refused = || async { (client.get(&standard).await.status == 503).then_some(()) };
    until("it is seen to go on", refused).await;
    until("the next stall is seen", used).await;
    held.abort(&cluster).await;
    client.get(&standard).await.ok(200);
}

/// Statuses of one request after the other, until the rotation has ended.
async fn during(cluster: &Cluster, ask: impl AsyncFn() -> Said) -> Vec<u16> {
    let rotation = cluster.rotate(None, GateMode::Strict);
    tokio::pin!(rotation);
    let mut statuses = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = &mut rotation => return statuses,
            said = ask() => {
                if !said.status.is_success() {
                    said.reason();
                }
                statuses.push(said.status.as_u16());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_under_load_lose_nothing() {
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    let keys: Vec<_> = (0..900).map(|at| json!({ "name": format!("key-{at}") })).collect();
    client.post("/v1/key-batches", json!({ "keys": keys })).await.ok(201);
    let root = client.root_key("root").await;
    let path = format!("/api/v2/keys/{root}");
    let before = client.get(&path).await.only();
    let text = json!({ "plaintext": "c2VjcmV0", "aad": ["x"] });
    let wrapped = client.post(&format!("{path}/actions/wrap"), text).await.ok(200).json();
    let unwrap = json!({ "ciphertext": wrapped["ciphertext"], "aad": ["x"] });

    let created = during(&cluster, async || client.create(json!({ "name": "load" })).await).await;
    assert!(created.iter().all(|status| [201, 409].contains(status)), "{created:?}");
    let unwrapped = during(&cluster, async || {
        let said = client.post(&format!("{path}/actions/unwrap"), unwrap.clone()).await;
        if said.status == 200 {
            assert_eq!(said.json()["plaintext"], "c2VjcmV0");
        }
        said
    });
    let unwrapped = unwrapped.await;
    assert!(unwrapped.iter().all(|status| [200, 503].contains(status)), "{unwrapped:?}");
    let listed = during(&cluster, async || client.get("/api/v2/keys?limit=5").await).await;
    assert!(listed.iter().all(|status| *status == 200), "{listed:?}");
    println!(
        "during rotations: {} creates ({} refused), {} unwraps ({} refused), {} lists",
        created.len(),
        created.iter().filter(|status| **status == 409).count(),
        unwrapped.len(),
        unwrapped.iter().filter(|status| **status == 503).count(),
        listed.len()
    );

    let after = client.post(&format!("{path}/actions/unwrap"), unwrap).await.ok(200).json();
    assert_eq!(after["plaintext"], "c2VjcmV0");
    assert_eq!(client.get(&path).await.only(), before, "a rotation changed what clients see");
    let written = created.iter().filter(|status| **status == 201).count() as u64;
    let checked = client.post("/v1/key-checks", json!({})).await.ok(200).json();
    // One create may have been cut off by the end of the rotation, written or not.
    let all = checked["checked"].as_u64().unwrap();
    assert!((901 + written..=902 + written).contains(&all), "{all} of {written}");
    assert_eq!((&checked["opened"], &checked["failures"]), (&json!(all), &json!([])));
}
