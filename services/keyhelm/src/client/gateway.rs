//! The gateway's HTTP interface: Key Protect's shapes, and our batches and checks.

use std::time::Duration;

use protocol::InstanceId;
use protocol::key_api::{BatchAnswer, BatchRequest, CheckView};
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde_json::Value;

use super::{CallError, Http, Refused};

/// Opening every key version of a large keystore takes its time.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Talks to a gateway about the keys of one instance.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// The server.
    pub http: Http,
    /// Whose keys.
    pub instance: InstanceId,
}

/// Key Protect's envelope of resources.
#[derive(Deserialize)]
struct Collection {
    #[serde(default)]
    resources: Vec<Value>,
}

impl Gateway {
    /// Writes many keys, or none.
    pub async fn write_batch(&self, batch: &BatchRequest) -> Result<BatchAnswer, CallError> {
        let request = self.to(Method::POST, &["v1", "key-batches"]).json(batch);
        self.http.read(request).await.map(|(_, answer)| answer)
    }

    /// Opens every key version in the units.
    pub async fn check(&self) -> Result<CheckView, CallError> {
        let request = self.to(Method::POST, &["v1", "key-checks"]).timeout(CHECK_TIMEOUT);
        self.http.read(request).await.map(|(_, answer)| answer)
    }

    /// A page of keys, without their bytes.
    pub async fn list(
        &self,
        offset: usize,
        limit: usize,
        query: &[(&str, String)],
    ) -> Result<Vec<Value>, CallError> {
        let page = [("offset", offset.to_string()), ("limit", limit.to_string())];
        let request = self.to(Method::GET, &["api", "v2", "keys"]).query(&page).query(query);
        let (_, found): (_, Collection) = self.http.read(request).await?;
        Ok(found.resources)
    }

    /// A key's metadata; with `is_with_payload` also the bytes of a standard key.
    pub async fn show(&self, id: &str, is_with_payload: bool) -> Result<Value, CallError> {
        let parts: &[&str] = match is_with_payload {
            true => &["api", "v2", "keys", id],
            false => &["api", "v2", "keys", id, "metadata"],
        };
        let (_, found): (_, Collection) = self.http.read(self.to(Method::GET, parts)).await?;
        found.resources.into_iter().next().ok_or_else(|| {
            CallError::Unreadable(format!("the gateway's answer has no key {id} in it"))
        })
    }

    /// Deletes a key: it is refused from now on.
    pub async fn delete(&self, id: &str) -> Result<(), CallError> {
        self.change(Method::DELETE, &["api", "v2", "keys", id]).await
    }

    /// Ends a deleted key for good.
    pub async fn purge(&self, id: &str) -> Result<(), CallError> {
        self.change(Method::DELETE, &["api", "v2", "keys", id, "purge"]).await
    }

    async fn change(&self, method: Method, parts: &[&str]) -> Result<(), CallError> {
        let request = self.to(method, parts).header("Prefer", "return=minimal");
        self.http.send(request).await.map(|_| ())
    }

    fn to(&self, method: Method, parts: &[&str]) -> RequestBuilder {
        self.http.request(method, parts).header("Bluemix-Instance", self.instance.to_string())
    }
}

/// Understands an error in Key Protect's shape.
pub fn key_protect_error(bytes: &[u8]) -> Option<Refused> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Resource {
        error_msg: String,
        #[serde(default)]
        reasons: Vec<Reason>,
    }
    #[derive(Deserialize)]
    struct Reason {
        code: String,
        message: String,
    }
    #[derive(Deserialize)]
    struct Body {
        resources: Vec<Resource>,
    }
    let body: Body = serde_json::from_slice(bytes).ok()?;
    let Resource { error_msg, reasons } = body.resources.into_iter().next()?;
    let code = reasons
        .first()
        .map_or_else(|| "unexpected-status".to_owned(), |reason| reason.code.clone());
    let messages: Vec<_> = reasons.into_iter().map(|reason| reason.message).collect();
    let detail = match messages.is_empty() {
        true => error_msg,
        false => messages.join("; "),
    };
    Some(Refused { code, detail, ..Refused::default() })
}
