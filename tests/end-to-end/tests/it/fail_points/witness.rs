//! What must hold after every crash, seen from outside.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use end_to_end::Cluster;
use end_to_end::cluster::INSTANCE;
use end_to_end::keys::Client;
use end_to_end::process::PATIENCE;
use serde_json::Value;

use crate::words;

/// Waits until coordinator and gateway answer: they may have been started a moment ago.
pub async fn until_up(cluster: &Cluster) {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Ok(client) = Client::of(cluster).await
            && let Ok((200, _)) = client.call("GET", "/api/v2/keys?limit=1", None).await
        {
            return;
        }
        assert!(Instant::now() < until, "coordinator or gateway does not answer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a client keeps through all of it.
pub struct Witness {
    pub client: Client,
    chosen: (String, String),
    sealed: (String, String, String),
}

impl Witness {
    /// Makes 60 keys, imports one, and wraps data with another.
    pub async fn take(cluster: &Cluster) -> Self {
        let client = Client::of(cluster).await.unwrap();
        let payload = STANDARD.encode("payload that the test chose");
        let chosen = client.import("chosen", &payload).await.unwrap();
        let root = client.create("root", 60).await.unwrap().remove(0);
        let text = STANDARD.encode("data");
        let sealed = client.wrap(&root, &text, "context").await.unwrap();
        Self { client, chosen: (chosen, payload), sealed: (root, text, sealed) }
    }

    /// Every key opens, what was chosen and wrapped at first is what it was, one master key is in
    /// every unit and no other, and no generation is left over.
    pub async fn looks(&self, cluster: &Cluster, after: &str) {
        cluster.expect(0, &words("keys check")).await.unwrap();
        let (id, payload) = &self.chosen;
        assert_eq!(&self.client.payload(id).await.unwrap(), payload, "{after}");
        let (id, text, sealed) = &self.sealed;
        assert_eq!(&self.client.unwrap(id, sealed, "context").await.unwrap(), text, "{after}");
        let view = cluster.get(&format!("/v1/instances/{INSTANCE}/units")).await.unwrap();
        let registers = |unit: &Value| unit["state"]["registers"].clone();
        let all: Vec<_> = view["units"].as_array().unwrap().iter().map(registers).collect();
        let patterns: BTreeSet<_> = all.iter().map(|it| it["current"].to_string()).collect();
        assert!(patterns.len() == 1 && !patterns.contains("null"), "{after}: {view:#}");
        let is_empty = |it: &Value| it["new"].is_null() && it["retiring"].is_null();
        assert!(all.len() == 5 && all.iter().all(is_empty), "{after}: {view:#}");
        let tables = cluster.database.wrapped_tables().await.unwrap();
        assert_eq!(tables.len(), 1, "{after}: {tables:?}");
    }
}
