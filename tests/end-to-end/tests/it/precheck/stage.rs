//! A cluster on which conditions are broken, what a run of it says, and whether anything changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use end_to_end::cluster::{INSTANCE, SHARED_QUEUES, text_of};
use end_to_end::process::PATIENCE;
use end_to_end::{Cluster, database, tap};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::words;

/// A condition that is not met: code, subject, mend.
pub type Unmet = (String, String, String);

/// How a rotation is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// By these words of the command line, which must exit 3.
    Keyhelm(&'static str),
    /// By `POST` of a body to this resource of the instance, which must answer 409.
    Http(&'static str, &'static str),
    /// By a request on the queue with these fields more, which must be answered *unmet*.
    Queue(&'static str),
}

/// What a case has put aside, to be brought back.
#[derive(Default)]
pub struct Kept {
    /// Rows of the coordinator's documents: kind, name, bytes.
    pub documents: Vec<(String, String, Vec<u8>)>,
    /// The keystore's row that belongs to the units.
    pub keystore: Option<String>,
    /// The row in mid-rotation, as a backup may have it.
    pub open_keystore: Option<String>,
}

/// The cluster of the cases.
pub struct Stage {
    pub cluster: Cluster,
    pub kept: Kept,
}

impl Stage {
    /// A survey that waits less for who is silent: many of them are. `more` operational units are
    /// there to be retired.
    pub async fn start(more: &[&'static str]) -> Option<Self> {
        crate::servers_or_not()?;
        let flavour = end_to_end::Flavour::Testing;
        let short = [("KEYHELM_SURVEY_MS", "1000")];
        let cluster = Cluster::start_with(flavour, more, &short).await.unwrap();
        cluster.announced().await.unwrap();
        let add = "sigkey-add alice --passphrase-file passphrase";
        cluster.expect(0, &words(add)).await.unwrap();
        Some(Self { cluster, kept: Kept::default() })
    }

    /// Waits until the coordinator, started again, serves.
    pub async fn coordinator_is_back(&self) {
        let until = Instant::now() + PATIENCE;
        let is_known = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
        while !self.cluster.get("/v1/instances").await.as_ref().is_ok_and(is_known) {
            assert!(Instant::now() < until, "the coordinator does not come back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn sql(&self) -> tokio_postgres::Client {
        database::connect(&self.cluster.database.url).await.unwrap()
    }

    pub async fn keystore_row(&self) -> String {
        let row = self.sql().await.query_one("SELECT row FROM keystores", &[]).await.unwrap();
        row.get(0)
    }

    pub async fn put_keystore_row(&self, row: &str) {
        self.sql().await.execute("UPDATE keystores SET row = $1", &[&row]).await.unwrap();
    }

    pub async fn documents(&self) -> Vec<(String, String, Vec<u8>)> {
        let sql = "SELECT kind, name, bytes FROM coordinator_documents";
        let rows = self.sql().await.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    }

    pub async fn put_documents(&self, documents: &[(String, String, Vec<u8>)]) {
        let mut client = self.sql().await;
        let instance: Uuid = protocol::InstanceId::named(INSTANCE).uuid();
        let tx = client.transaction().await.unwrap();
        tx.execute("DELETE FROM coordinator_documents", &[]).await.unwrap();
        let sql = "INSERT INTO coordinator_documents (instance, kind, name, bytes)
                   VALUES ($1, $2, $3, $4)";
        for (kind, name, bytes) in documents {
            tx.execute(sql, &[&instance, kind, name, bytes]).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// Everything that a rotation could have changed: sealed files and all rows. In the queues that outlive a
    /// broker nothing waits, but for requests that were refused, which lie in the dead queue.
    pub async fn everything(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for process in &self.cluster.processes {
            let folder = self.cluster.folder.path().join(process.name());
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "sealed") {
                    found.insert(path.display().to_string(), std::fs::read(&path).unwrap());
                }
            }
        }
        let rows = self.cluster.database.everything().await.unwrap();
        // The lease is renewed all the time; it is no state of a rotation.
        let is_lease = |line: &&[u8]| line.starts_with(b"(1,") || line.starts_with(b"(t,");
        let rows: Vec<_> =
            rows.split(|byte| *byte == b'\n').filter(|line| !is_lease(line)).collect();
        found.insert("rows".to_owned(), rows.join(&b'\n'));
        for (queue, depth) in tap::depths(self.cluster.amqp_url(), &SHARED_QUEUES).await.unwrap() {
            assert!(queue == "keyhelm.dead" || depth == 0, "{depth} messages wait in {queue}");
        }
        found
    }

    /// What keeps a rotation from starting, as `cryptounit-compare` says.
    pub async fn compared(&self) -> BTreeSet<Unmet> {
        let said = self.cluster.expect(0, &words("cryptounit-compare --json")).await.unwrap();
        let view: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
        unmet_of(&view["unmet"])
    }

    /// Waits until `cryptounit-compare` says exactly this, and no rotation is under way.
    pub async fn settles_at(&self, name: &str, expected: &BTreeSet<Unmet>) {
        let until = Instant::now() + PATIENCE;
        loop {
            let found = self.compared().await;
            let is_idle =
                self.cluster.get("/v1/instances").await.unwrap()[0]["open_rotation"].is_null();
            if found == *expected && is_idle {
                return;
            }
            assert!(Instant::now() < until, "{name}: {found:#?}, expected {expected:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the refused run says.
    pub async fn refused(&self, name: &str, run: Run) -> BTreeSet<Unmet> {
        match run {
            Run::Keyhelm(line) => {
                let arguments: Vec<_> = words(line).into_iter().chain(["--json"]).collect();
                let output = self.cluster.keyhelm(&arguments).await.unwrap();
                let text = text_of(&output);
                assert_eq!(output.status.code(), Some(3), "{name}: {text}");
                let said = String::from_utf8(output.stderr).unwrap();
                let failure: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
                unmet_of(&failure["failure"]["unmet"])
            }
            Run::Http(resource, body) => {
                let (status, answer) = self.post(resource, body).await;
                assert_eq!(status, 409, "{name}: {answer}");
                assert_eq!(answer["safe"], "Nothing has changed.", "{name}");
                unmet_of(&answer["unmet"])
            }
            Run::Queue(more) => {
                let mut body: Value = serde_json::from_str(more).unwrap();
                body["type"] = json!("keyhelm.rotation-request");
                body["version"] = json!(1);
                body["instance"] = json!(INSTANCE);
                let url = self.cluster.amqp_url();
                let (_, answers) = tap::post_request(url, &body).await.unwrap();
                let until = Instant::now() + PATIENCE;
                while answers.texts().is_empty() {
                    assert!(Instant::now() < until, "{name}: no answer");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                let answer: Value = serde_json::from_str(&answers.texts()[0]).unwrap();
                assert_eq!(answer["status"], "unmet", "{name}: {answer}");
                unmet_of(&answer["unmet"])
            }
        }
    }

    pub async fn post(&self, resource: &str, body: &str) -> (u16, Value) {
        let port = self.cluster.coordinator_port;
        let url = format!("http://127.0.0.1:{port}/v1/instances/{INSTANCE}/{resource}");
        let body: Value = serde_json::from_str(body).unwrap();
        let request = reqwest::Client::new().post(url).bearer_auth(self.cluster.token().unwrap());
        let answer = request.json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The pattern that the units of the manifest hold, and the keystore's id.
    pub async fn names(&self) -> (String, String) {
        let row: Value = serde_json::from_str(&self.keystore_row().await).unwrap();
        let pattern = row["active"]["pattern"].as_str().unwrap_or_default().to_owned();
        (pattern, row["keystore"].as_str().unwrap().to_owned())
    }

    /// Members of the newest manifest that are crypto units, and their roles.
    pub async fn members(&self) -> Vec<(String, String)> {
        let path = format!("/v1/instances/{INSTANCE}/manifest");
        let view = self.cluster.get(&path).await.unwrap();
        let members = view["manifest"]["members"].as_array().unwrap();
        let name = |member: &Value| member["name"].as_str().unwrap().to_owned();
        let kinds: BTreeMap<_, _> = self.cluster.units.iter().copied().collect();
        let units = members.iter().map(name);
        units
            .filter_map(|name| Some((name.clone(), (*kinds.get(name.as_str())?).to_owned())))
            .collect()
    }

    /// A new manifest has ended the standing order: it is given again.
    pub async fn standing_order(&self, interval: &str) {
        let line = format!("auto-init --standing-order {interval} --passphrase-file passphrase");
        self.cluster.expect(0, &words(&line)).await.unwrap();
    }
}

/// Subjects that are lists of units are taken apart: which of them say a thing in the same words, a
/// second's difference may change.
fn unmet_of(list: &Value) -> BTreeSet<Unmet> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = list.as_array().unwrap_or_else(|| panic!("no list of conditions: {list}"));
    let mut found = BTreeSet::new();
    for one in list {
        for subject in text(&one["subject"]).split(", ") {
            found.insert((text(&one["code"]), subject.to_owned(), text(&one["mend"])));
        }
    }
    found
}
