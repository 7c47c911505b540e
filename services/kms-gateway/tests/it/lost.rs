//! A database that is lost at the worst moment: it has committed, and its answer does not arrive. A key
//! is made once all the same, and where that cannot be known nobody is told otherwise.

use std::sync::Arc;

use identity::Role;
use keystore::Keystore;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::client::Client;
use crate::cluster::{Cluster, until};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// The next commit of new keys arrives, its answer does not: the way is this one then.
    LosesNextCommit(After),
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Open,
    Closed,
}

/// A database with a schema of its own, and a way to it that a test can close.
struct Relay {
    way: Arc<watch::Sender<Way>>,
    url: String,
    relayed: String,
}

impl Relay {
    /// None, said aloud, where there is no PostgreSQL and none is required.
    async fn open() -> Option<Self> {
        let Ok(url) = std::env::var("KEYHELM_TEST_POSTGRES_URL") else {
            let required = std::env::var("KEYHELM_REQUIRE").unwrap_or_default();
            assert!(!required.contains("postgres"), "KEYHELM_TEST_POSTGRES_URL is required");
            println!("NOT RUN: PostgreSQL (KEYHELM_TEST_POSTGRES_URL unset)");
            return None;
        };
        let schema = format!("gateway_{}", Uuid::new_v4().simple());
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(&format!("CREATE SCHEMA {schema}")).await.unwrap();
        let joint = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{joint}options=-csearch_path%3D{schema}");
        let target = authority(&url).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relayed = url.replace(&target, &listener.local_addr().unwrap().to_string());
        let way = Arc::new(watch::Sender::new(Way::Open));
        let at = way.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&target).await.unwrap();
                tokio::spawn(carry(client, server, at.clone()));
            }
        });
        Some(Self { way, url, relayed })
    }

    /// A cluster whose gateway goes this way, and whose reencryptor does not.
    async fn founded(&self) -> Cluster {
        let gateways = Keystore::open(&self.relayed, None).await.unwrap();
        let reencryptors = Keystore::open(&self.url, None).await.unwrap();
        Cluster::founded_on(gateways, reencryptors).await
    }

    fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    fn is(&self, way: Way) -> bool {
        *self.way.borrow() == way
    }
}

/// Host and port of a URL.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").unwrap().1;
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap()
}

/// Carries what both sides say, until one of them ends or the way is closed.
async fn carry(mut client: TcpStream, mut server: TcpStream, way: Arc<watch::Sender<Way>>) {
    let mut closing = way.subscribe();
    let (mut asked, mut said) = (vec![0; 65_536], vec![0; 65_536]);
    let mut has_new_keys = false;
    loop {
        let carried = tokio::select! {
            () = async { drop(closing.wait_for(|way| *way == Way::Closed).await) } => return,
            read = server.read(&mut said) => match read {
                Ok(0) | Err(_) => return,
                Ok(length) => client.write_all(&said[..length]).await,
            },
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                has_new_keys |= contains(&asked[..length], "INSERT INTO keys (");
                let carried = server.write_all(&asked[..length]).await;
                let is_commit = has_new_keys && contains(&asked[..length], "COMMIT");
                let now = *way.borrow();
                if let (Way::LosesNextCommit(after), true) = (now, is_commit) {
                    // It has committed when it says so.
                    assert!(server.read(&mut said).await.unwrap() > 0);
                    way.send_replace(match after {
                        After::Open => Way::Open,
                        After::Closed => Way::Closed,
                    });
                    return;
                }
                carried
            }
        };
        if carried.is_err() {
            return;
        }
    }
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

async fn names(client: &Client) -> Vec<Value> {
    let body = client.get("/api/v2/keys").await.ok(200).json();
    body["resources"].as_array().unwrap().iter().map(|key| key["name"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_once_where_the_answer_to_its_commit_is_lost() {
    let Some(relay) = Relay::open().await else { return };
    let cluster = relay.founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    relay.set(Way::LosesNextCommit(After::Open));
    let key = client.root_key("once").await;
    assert!(relay.is(Way::Open), "no commit was lost");
    assert_eq!(names(&client).await, ["once"]);
    let wrap = format!("/api/v2/keys/{key}/actions/wrap");
    client.post(&wrap, json!({ "plaintext": "c2VjcmV0" })).await.ok(200);
    // Many at once, under ids of the caller's.
    relay.set(Way::LosesNextCommit(After::Open));
    let id = Uuid::new_v4();
    let batch = json!({ "keys": [{ "name": "two", "id": id }, { "name": "three" }] });
    client.post("/v1/key-batches", batch.clone()).await.ok(201);
    assert!(relay.is(Way::Open), "no commit was lost");
    client.post("/v1/key-batches", batch).await.refused(409, "KEY_ALREADY_EXISTS_ERR");
    assert_eq!(names(&client).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_know_whether_a_key_is_made_does_not_say_that_none_is() {
    let Some(relay) = Relay::open().await else { return };
    let cluster = relay.founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    relay.set(Way::LosesNextCommit(After::Closed));
    let said = client.create(json!({ "name": "perhaps" })).await;
    let message = said.refused(409, "KEY_WRITE_UNCLEAR_ERR");
    assert!(relay.is(Way::Closed), "no commit was lost");
    assert!(!message.contains("nothing has been changed"), "{message}");
    assert_eq!(said.header("retry-after"), "", "a client would make it once more by itself");
    // Where nothing was sent to be written, that is known.
    let said = client.create(json!({ "name": "never" })).await;
    let text = said.refused(503, "KEYSTORE_UNAVAILABLE_ERR");
    assert!(text.contains("nothing has been changed"), "{text}");
    relay.set(Way::Open);
    let is_not_of_an_id = |c: char| c != '-' && !c.is_ascii_hexdigit();
    let id = message.split(is_not_of_an_id).find(|word| Uuid::parse_str(word).is_ok()).unwrap();
    let found = until("the keystore", async || {
        let said = client.get(&format!("/api/v2/keys/{id}")).await;
        (said.status == 200).then(|| said.only())
    })
    .await;
    assert_eq!(found["name"], "perhaps");
    assert_eq!(names(&client).await, ["perhaps"]);
}
