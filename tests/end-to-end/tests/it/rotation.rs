//! A rotation over 3,000 keys, looked at with eyes that are not the product's own.

use std::collections::BTreeSet;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crypto::blob::{self, BlobBinding, WrapKeys};
use crypto::master_key::MasterKey;
use end_to_end::cluster::{INSTANCE, UNITS};
use end_to_end::keys::Client;
use end_to_end::{Cluster, Flavour, database, process, tap};
use protocol::report::Standing;
use protocol::{InstanceId, KeyId, Pattern, PublicKey, VersionId};
use serde_json::Value;
use uuid::Uuid;

use crate::{started, verify, words};

/// Keys made inside the units, and keys of chosen bytes.
const MADE: usize = 2_950;
const IMPORTED: usize = 50;
/// Ciphertexts made before the rotation.
const WRAPPED: usize = 50;

/// What a client keeps over the rotation.
struct Witness {
    payloads: Vec<(String, String)>,
    ciphertexts: Vec<(String, String, String)>,
}

impl Witness {
    async fn take(client: &Client) -> Self {
        let made = client.create("made", MADE).await.unwrap();
        let mut witness = Self { payloads: Vec::new(), ciphertexts: Vec::new() };
        for index in 0..IMPORTED {
            let payload = STANDARD.encode(format!("payload that the test chose {index:04}"));
            let id = client.import(&format!("chosen-{index}"), &payload).await.unwrap();
            witness.payloads.push((id, payload));
        }
        for (index, id) in made.into_iter().take(WRAPPED).enumerate() {
            let text = STANDARD.encode(format!("data {index}"));
            let sealed = client.wrap(&id, &text, "context").await.unwrap();
            witness.ciphertexts.push((id, text, sealed));
        }
        witness
    }

    async fn compare(&self, client: &Client) {
        for (id, payload) in &self.payloads {
            assert_eq!(&client.payload(id).await.unwrap(), payload, "imported key {id}");
        }
        for (id, text, sealed) in &self.ciphertexts {
            assert_eq!(&client.unwrap(id, sealed, "context").await.unwrap(), text, "key {id}");
        }
    }
}

/// The last rotation, as the coordinator tells it.
async fn last_rotation(cluster: &Cluster) -> Value {
    let list = cluster.get(&format!("/v1/instances/{INSTANCE}/rotations?limit=1")).await.unwrap();
    list[0].clone()
}

fn pattern(view: &Value, field: &str) -> Pattern {
    view[field].as_str().unwrap().parse().unwrap()
}

/// The master key of a pattern.
pub fn master_key_of(pattern: Pattern) -> MasterKey {
    end_to_end::master_keys::master_key_of(pattern).unwrap()
}

/// How many rows of all wrapped tables the key opens, and how many there are.
async fn opened(cluster: &Cluster, key: &MasterKey) -> (usize, usize) {
    let keys = WrapKeys::derive(key);
    let client = database::connect(&cluster.database.url).await.unwrap();
    let (mut opened, mut all) = (0, 0);
    for table in cluster.database.wrapped_tables().await.unwrap() {
        let sql = format!("SELECT version, key, attributes, blob FROM {table}");
        for row in client.query(&sql, &[]).await.unwrap() {
            let binding = BlobBinding {
                instance: InstanceId::named(INSTANCE),
                version: VersionId::from_uuid(row.get::<_, Uuid>(0)),
                key: KeyId::from_uuid(row.get::<_, Uuid>(1)),
                attributes: row.get::<_, i16>(2) as u8,
            };
            all += 1;
            opened += usize::from(blob::open_blob(&keys, &binding, row.get(3)).is_ok());
        }
    }
    (opened, all)
}

/// Every unit has signed that it cleared, with the new pattern alone in its registers.
async fn every_unit_signed(cluster: &Cluster, messages: &[(String, Vec<u8>)], to: Pattern) {
    let members = cluster.get(&format!("/v1/instances/{INSTANCE}/manifest")).await.unwrap();
    let members = members["manifest"]["members"].as_array().unwrap();
    let mut signed = BTreeSet::new();
    for (name, _) in UNITS {
        let member = members.iter().find(|member| member["name"] == name).unwrap();
        let key: PublicKey = member["identity"].as_str().unwrap().parse().unwrap();
        let reports = verify::reports(&key, messages);
        let last = reports.iter().max_by_key(|report| report.state_counter).unwrap();
        assert_eq!(last.rotation.as_ref().unwrap().standing, Standing::Cleared, "{name}");
        assert_eq!(last.registers.current, Some(to), "{name}");
        assert!(last.registers.new.is_none() && last.registers.retiring.is_none(), "{name}");
        signed.insert(last.unit);
    }
    assert_eq!(signed.len(), UNITS.len());
}

/// A changed row and a missing one are named by `keys check`, which exits 1.
async fn a_broken_row_is_named(cluster: &Cluster, witness: &Witness) {
    let client = database::connect(&cluster.database.url).await.unwrap();
    let table = cluster.database.wrapped_tables().await.unwrap().remove(0);
    let id: Uuid = witness.payloads[7].0.parse().unwrap();
    let select = format!("SELECT version, attributes, born, blob FROM {table} WHERE key = $1");
    let row = client.query_one(&select, &[&id]).await.unwrap();
    let (version, attributes, born): (Uuid, i16, i64) = (row.get(0), row.get(1), row.get(2));
    let good: Vec<u8> = row.get(3);
    let mut bad = good.clone();
    bad[70] ^= 1;
    let update = format!("UPDATE {table} SET blob = $2 WHERE key = $1");
    client.execute(&update, &[&id, &bad]).await.unwrap();
    let said = end_to_end::cluster::text_of(&cluster.keyhelm(&["keys", "check"]).await.unwrap());
    assert!(said.starts_with("exit status: 1") && said.contains(&id.to_string()), "{said}");
    client.execute(&format!("DELETE FROM {table} WHERE key = $1"), &[&id]).await.unwrap();
    let said = end_to_end::cluster::text_of(&cluster.keyhelm(&["keys", "check"]).await.unwrap());
    assert!(said.starts_with("exit status: 1") && said.contains(&id.to_string()), "{said}");
    let insert = format!(
        "INSERT INTO {table} (version, key, attributes, born, blob) VALUES ($1, $2, $3, $4, $5)"
    );
    client.execute(&insert, &[&version, &id, &attributes, &born, &good]).await.unwrap();
    cluster.expect(0, &["keys", "check"]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_thousand_keys_are_rotated_and_everything_is_as_it_should_be() {
    let Some(mut cluster) = started(Flavour::Testing).await else { return };
    let client = Client::of(&cluster).await.unwrap();
    let witness = Witness::take(&client).await;
    let before = pattern(&last_rotation(&cluster).await, "to");
    let (old, total) = (master_key_of(before), MADE + IMPORTED);
    assert_eq!(opened(&cluster, &old).await, (total, total));

    let tapped = crate::leaks::firehose(&cluster).await;
    cluster.expect(0, &words("auto-mk-rotate --yes")).await.unwrap();
    let view = last_rotation(&cluster).await;
    println!("rotation over RabbitMQ and PostgreSQL: {view}");
    let after = pattern(&view, "to");
    assert_eq!((view["phase"].as_str(), pattern(&view, "from")), (Some("done"), before));
    assert_eq!(view["keys_done"], total);
    assert_ne!(before, after);
    witness.compare(&client).await;
    cluster.expect(0, &["keys", "check"]).await.unwrap();
    assert_eq!(opened(&cluster, &old).await, (0, total));
    assert_eq!(opened(&cluster, &master_key_of(after)).await, (total, total));
    assert_eq!(cluster.database.wrapped_tables().await.unwrap().len(), 1);
    every_unit_signed(&cluster, &tapped.messages(), after).await;
    a_broken_row_is_named(&cluster, &witness).await;

    // Everybody stops as asked, starts again, and goes on: the next request comes by the queue.
    for process in &mut cluster.processes {
        assert_eq!(process.terminate().await.unwrap(), 0, "{}", process.name());
        process.start().unwrap();
    }
    by_a_message_on_the_queue(&cluster).await;
    assert_ne!(pattern(&last_rotation(&cluster).await, "to"), after);
    witness.compare(&client).await;
    cluster.stop().await.unwrap();
}

/// Posts the JSON request as any AMQP client would, and follows the events.
async fn by_a_message_on_the_queue(cluster: &Cluster) {
    let (events, answers) = tap::ask_by_queue(cluster.amqp_url(), INSTANCE).await.unwrap();
    let until = Instant::now() + process::PATIENCE;
    let is_done = |(key, _): &(String, Vec<u8>)| key.ends_with(".done");
    while !events.messages().iter().any(is_done) {
        assert!(Instant::now() < until, "answers: {:?}", answers.texts());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(answers.texts().iter().any(|text| text.contains("started")), "{:?}", answers.texts());
}
