//! One request, and what came of it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cluster::{Cluster, INSTANCE};

pub const KEY: &str = "application/vnd.ibm.kms.key+json";

pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

pub struct Said {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The one resource of a collection of one.
    pub fn only(&self) -> Value {
        let body = self.json();
        assert_eq!(body["metadata"]["collectionTotal"], 1, "{body}");
        assert_eq!(body["resources"].as_array().map(Vec::len), Some(1), "{body}");
        body["resources"][0].clone()
    }

    /// The reason of a refusal, after the document's shape has been looked at.
    pub fn reason(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json", "{}", self.text);
        let only = self.only();
        let metadata = &self.json()["metadata"];
        assert_eq!(metadata["collectionType"], "application/vnd.ibm.kms.error+json");
        let reason = only["reasons"][0].clone();
        let code = reason["code"].as_str().unwrap();
        let phrase = self.status.canonical_reason().unwrap();
        let text = only["errorMsg"].as_str().unwrap();
        assert!(text.starts_with(&format!("{phrase}: ")), "{text}");
        assert!(text.ends_with(&format!("more details ({code})")), "{text}");
        assert_eq!(reason["status"], self.status.as_u16());
        assert!(!reason["message"].as_str().unwrap().is_empty());
        assert!(reason["moreInfo"].as_str().unwrap().starts_with("https://"));
        assert_eq!(self.json()["errors"][0]["code"], code);
        reason
    }

    /// Asserts a refusal, and gives its message.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> String {
        let reason = self.reason();
        let found = (self.status.as_u16(), reason["code"].as_str().unwrap());
        assert_eq!(found, (status, code), "{}", self.text);
        reason["message"].as_str().unwrap().to_owned()
    }

    /// Asserts a refusal for a field or parameter, and that its message names it.
    #[track_caller]
    pub fn refused_for(&self, status: u16, code: &str, target: &str) {
        let message = self.refused(status, code);
        let reason = self.reason();
        assert_eq!(reason["target"]["name"], target, "{}", self.text);
        assert!(message.contains(target), "{message} does not name {target}");
    }

    #[track_caller]
    pub fn ok(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
}

impl Client {
    pub fn new(cluster: &Cluster, token: &str) -> Self {
        let http = reqwest::Client::new();
        Self { http, base: cluster.base.clone(), token: token.to_owned() }
    }

    /// A request that carries token and instance.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.bare(method, path)
            .header("authorization", format!("Bearer {}", self.token))
            .header("bluemix-instance", INSTANCE)
    }

    /// A request that carries neither.
    pub fn bare(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Said {
        send(self.request("GET", path)).await
    }

    pub async fn delete(&self, path: &str) -> Said {
        send(self.request("DELETE", path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Said {
        send(self.request("POST", path).body(body.to_string())).await
    }

    /// Creates a key out of these fields.
    pub async fn create(&self, fields: Value) -> Said {
        self.post("/api/v2/keys", collection(fields)).await
    }

    /// Creates a root key and gives its id.
    pub async fn root_key(&self, name: &str) -> String {
        let said = self.create(json!({ "name": name, "extractable": false })).await.ok(201);
        said.only()["id"].as_str().unwrap().to_owned()
    }

    /// Imports a standard key and gives its id.
    pub async fn standard_key(&self, name: &str, payload: &str) -> String {
        let said = self.create(json!({ "name": name, "payload": payload })).await.ok(201);
        said.only()["id"].as_str().unwrap().to_owned()
    }
}

pub fn collection(fields: Value) -> Value {
    json!({
        "metadata": { "collectionType": KEY, "collectionTotal": 1 },
        "resources": [fields],
    })
}

pub async fn send(request: reqwest::RequestBuilder) -> Said {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    Said { status, headers, text }
}
