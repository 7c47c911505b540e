//! Keys through the gateway's HTTP interface, as a client would use them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use end_to_end::keys::Client;
use serde_json::{Value, json};

use crate::Stack;
use crate::compose::{ANSWER, INSTANCE, PATIENCE};

const KEY: &str = "application/vnd.ibm.kms.key+json";
/// Between two tries of what is refused for now.
const PAUSE: Duration = Duration::from_millis(100);
/// Most keys in an answer.
const MAX_LIMIT: usize = 5_000;

/// A client of the gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    client: Client,
}

impl Gateway {
    /// A client of a cluster's gateway.
    pub async fn of(stack: &Stack) -> anyhow::Result<Self> {
        // A gateway that was killed leaves connections that look alive.
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
        let http = http.timeout(ANSWER).build()?;
        let token = stack.token().await?.to_owned();
        Ok(Self { client: Client::at(http, stack.gateway_port, token, INSTANCE.to_owned()) })
    }

    /// A request, once; answers status and body.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(u16, Value)> {
        self.client.call(method, path, body.cloned()).await
    }

    /// A request, again while it is refused with 503: nothing has been changed then.
    async fn done(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            let (status, answer) = self.call(method, path, body).await?;
            if status != 503 || Instant::now() >= until {
                ensure!((200..300).contains(&status), "{method} {path}: {status} {answer}");
                return Ok(answer);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until somebody takes connections and serves a key: gateway, database, broker and a crypto
    /// unit are all there then.
    pub async fn until_served(&self, standard: &str) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        let path = format!("/api/v2/keys/{standard}");
        loop {
            let asked = self.call("GET", &path, None).await;
            if matches!(asked, Ok((200, _))) {
                return Ok(());
            }
            ensure!(Instant::now() < until, "no key is served: {asked:?}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ids of the keys in these states, as `1,5`: active and destroyed.
    pub async fn ids(&self, states: &str) -> anyhow::Result<BTreeSet<String>> {
        let mut ids = BTreeSet::new();
        loop {
            let offset = ids.len();
            let path = format!("/api/v2/keys?limit={MAX_LIMIT}&offset={offset}&state={states}");
            let answer = self.done("GET", &path, None).await?;
            let page = answer["resources"].as_array().context("no list")?;
            ids.extend(page.iter().filter_map(|key| Some(key["id"].as_str()?.to_owned())));
            if page.len() < MAX_LIMIT {
                return Ok(ids);
            }
        }
    }

    /// Makes a root key in a crypto unit, or takes in a standard one with this payload (base64);
    /// answers its id.
    pub async fn create(&self, name: &str, payload: Option<&str>) -> anyhow::Result<String> {
        let mut key = json!({ "type": KEY, "name": name, "extractable": payload.is_some() });
        if let Some(payload) = payload {
            key["payload"] = payload.into();
        }
        let metadata = json!({ "collectionType": KEY, "collectionTotal": 1 });
        let body = json!({ "metadata": metadata, "resources": [key] });
        let made = self.done("POST", "/api/v2/keys", Some(&body)).await?;
        Ok(made["resources"][0]["id"].as_str().context("no id")?.to_owned())
    }

    /// Deletes a key.
    pub async fn delete(&self, id: &str) -> anyhow::Result<()> {
        self.done("DELETE", &format!("/api/v2/keys/{id}"), None).await.map(drop)
    }

    /// Payload of a standard key, in base64.
    pub async fn payload(&self, id: &str) -> anyhow::Result<String> {
        let found = self.done("GET", &format!("/api/v2/keys/{id}"), None).await?;
        Ok(found["resources"][0]["payload"].as_str().context("no payload")?.to_owned())
    }

    /// Wraps data (base64) under a root key; answers the ciphertext.
    pub async fn wrap(&self, id: &str, plaintext: &str, aad: &str) -> anyhow::Result<String> {
        let body = json!({ "plaintext": plaintext, "aad": [aad] });
        let path = format!("/api/v2/keys/{id}/actions/wrap");
        let done = self.done("POST", &path, Some(&body)).await?;
        Ok(done["ciphertext"].as_str().context("no ciphertext")?.to_owned())
    }

    /// Unwraps it again.
    pub async fn unwrap(&self, id: &str, ciphertext: &str, aad: &str) -> anyhow::Result<String> {
        let body = json!({ "ciphertext": ciphertext, "aad": [aad] });
        let path = format!("/api/v2/keys/{id}/actions/unwrap");
        let done = self.done("POST", &path, Some(&body)).await?;
        Ok(done["plaintext"].as_str().context("no plaintext")?.to_owned())
    }
}
