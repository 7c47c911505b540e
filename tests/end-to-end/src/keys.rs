//! Keys through the gateway's HTTP interface, as a client would use them.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::Cluster;

/// A client of the gateway.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
    instance: String,
}

impl Client {
    /// Of a cluster whose gateway answers.
    pub async fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        let instances = cluster.get("/v1/instances").await?;
        let instance = instances[0]["id"].as_str().context("no instance")?.to_owned();
        Ok(Self::at(reqwest::Client::new(), cluster.gateway_port, cluster.token()?, instance))
    }

    /// Of the gateway on this port of the loopback, by this token and for this instance.
    pub fn at(http: reqwest::Client, port: u16, token: String, instance: String) -> Self {
        Self { http, base: format!("http://127.0.0.1:{port}"), token, instance }
    }

    /// Id of the instance.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// A request; answers status and body.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(u16, Value)> {
        let method = reqwest::Method::from_bytes(method.as_bytes())?;
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token)
            .header("Bluemix-Instance", &self.instance);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    async fn done(&self, method: &str, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let (status, answer) = self.call(method, path, body).await?;
        ensure!(status < 300, "{method} {path}: {status} {answer}");
        Ok(answer)
    }

    /// Makes root keys in batches; answers their ids.
    pub async fn create(&self, prefix: &str, count: usize) -> anyhow::Result<Vec<String>> {
        let mut ids = Vec::with_capacity(count);
        for from in (0..count).step_by(1000) {
            let names = from..count.min(from + 1000);
            let keys: Vec<_> =
                names.map(|index| json!({ "name": format!("{prefix}-{index:05}") })).collect();
            let made = self.done("POST", "/v1/key-batches", Some(json!({ "keys": keys }))).await?;
            let keys = made["keys"].as_array().context("no keys")?;
            ids.extend(keys.iter().filter_map(|key| Some(key["id"].as_str()?.to_owned())));
        }
        Ok(ids)
    }

    /// Imports a standard key by the Key Protect shape; answers its id.
    pub async fn import(&self, name: &str, payload: &str) -> anyhow::Result<String> {
        let resource = json!({
            "type": "application/vnd.ibm.kms.key+json", "name": name, "extractable": true,
            "payload": payload,
        });
        let body = json!({
            "metadata": {
                "collectionType": "application/vnd.ibm.kms.key+json", "collectionTotal": 1
            },
            "resources": [resource],
        });
        let made = self.done("POST", "/api/v2/keys", Some(body)).await?;
        Ok(made["resources"][0]["id"].as_str().context("no id")?.to_owned())
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
        let done = self.done("POST", &path, Some(body)).await?;
        Ok(done["ciphertext"].as_str().context("no ciphertext")?.to_owned())
    }

    /// Unwraps it again.
    pub async fn unwrap(&self, id: &str, ciphertext: &str, aad: &str) -> anyhow::Result<String> {
        let body = json!({ "ciphertext": ciphertext, "aad": [aad] });
        let path = format!("/api/v2/keys/{id}/actions/unwrap");
        let done = self.done("POST", &path, Some(body)).await?;
        Ok(done["plaintext"].as_str().context("no plaintext")?.to_owned())
    }
}
