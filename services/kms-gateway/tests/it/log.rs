//! The log: one line a request, and nothing that a client sent in confidence.

use std::io::Write;
use std::sync::{Arc, Mutex};

use identity::Role;
use serde_json::json;
use tracing_subscriber::filter::LevelFilter;

use crate::client::{Client, send};
use crate::cluster::{Cluster, until};

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// `sixteen secret b` and its base64; the text of a search; a name.
const SECRETS: [&str; 4] = [
    "sixteen secret b",
    "c2l4dGVlbiBzZWNyZXQgYg==",
    "looked-for-in-confidence",
    "named-in-confidence",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_one_line_without_its_content() {
    let log = Written::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let cluster = Cluster::founded().await;
    let client = Client::new(&cluster, &cluster.token(&[Role::Manager]));
    let [_, payload, searched, name] = SECRETS;
    let key = client.standard_key(name, payload).await;
    assert_eq!(client.get(&format!("/api/v2/keys/{key}")).await.ok(200).only()["payload"], payload);
    let root = client.root_key(name).await;
    let wrap = format!("/api/v2/keys/{root}/actions/wrap");
    client.post(&wrap, json!({ "plaintext": payload, "aad": [searched] })).await.ok(200);
    client.create(json!({ "name": name, "extractable": false, "payload": [payload] })).await;
    let marked = client
        .request("GET", &format!("/api/v2/keys?search={searched}&limit=0"))
        .header("correlation-id", "marked-in-the-log");
    send(marked).await.refused_for(400, "INVALID_QUERY_PARAM_ERR", "limit");
    // The line is written before the answer is sent, but by another thread.
    let line = until("the line", async || {
        let text = log.text();
        let of_it: Vec<_> =
            text.lines().filter(|line| line.contains("marked-in-the-log")).collect();
        assert!(of_it.len() <= 1, "{of_it:?}");
        of_it.first().map(|line| (*line).to_owned())
    })
    .await;
    for part in [
        "method=GET",
        "route=/api/v2/keys ",
        "status=400",
        "INVALID_QUERY_PARAM_ERR",
        &cluster.instance.to_string(),
        "ms=",
    ] {
        assert!(line.contains(part), "{line} lacks {part}");
    }
    let made_up = client.bare("MADE-UP", "/api/v2/keys").header("correlation-id", "made-up-method");
    send(made_up).await.refused(405, "METHOD_NOT_ALLOWED_ERR");
    let line = until("the line of a method that nobody knows", async || {
        let text = log.text();
        text.lines().find(|line| line.contains("made-up-method")).map(str::to_owned)
    })
    .await;
    assert!(line.contains("method=other") && !line.contains("MADE-UP"), "{line}");
    let text = log.text();
    assert!(text.contains("route=/api/v2/keys/{id}/actions/{action}"));
    assert!(!text.contains(&root), "an id stands where the template should");
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} is in the log");
    }
}
