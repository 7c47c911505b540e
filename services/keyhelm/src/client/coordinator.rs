//! The coordinator's HTTP interface.

use std::time::Duration;

use protocol::api::{
    AnnouncedMember, Explanation, InstanceView, KeyCheckView, ManifestRequest, ManifestView,
    OrderDraft, OrderDraftRequest, RotationView, StartRotation, Started, UnitEnvelope, UnitsView,
};
use protocol::order::{SignedHoldEnd, SignedStandingOrder};
use protocol::{InstanceId, RotationId};
use reqwest::{Method, Response, header};
use serde_json::json;

use super::{CallError, Http};
use crate::failure::{Exit, Failure, Outcome};
use crate::manifests::received;

/// An event stream has no end of its own time; silence is judged by whoever reads it.
const STREAM_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Opening every key takes its time; the coordinator gives up before.
const CHECK_TIMEOUT: Duration = Duration::from_secs(16 * 60);

/// Talks to a coordinator.
#[derive(Clone, Debug)]
pub struct Coordinator {
    /// The server.
    pub http: Http,
}

impl Coordinator {
    /// All instances that the token may see.
    pub async fn instances(&self) -> Result<Vec<InstanceView>, CallError> {
        self.http.get(&["v1", "instances"]).await
    }

    /// How the units of an instance stand.
    pub async fn units(&self, instance: InstanceId) -> Result<UnitsView, CallError> {
        self.of(instance, "units").await
    }

    /// The same, with everything that keeps a rotation from starting.
    pub async fn compare(&self, instance: InstanceId) -> Result<UnitsView, CallError> {
        self.of(instance, "compare").await
    }

    /// What is going on, what is safe, and the one next command.
    pub async fn explain(&self, instance: InstanceId) -> Result<Explanation, CallError> {
        self.of(instance, "explain").await
    }

    /// Who has announced itself.
    pub async fn members(&self, instance: InstanceId) -> Result<Vec<AnnouncedMember>, CallError> {
        self.of(instance, "members").await
    }

    /// The newest manifest and its chain, which its administrators have signed; none before
    /// `auto-init`. Whatever is signed next is built on it, so no other answer is passed on.
    pub async fn manifest(&self, instance: InstanceId) -> Outcome<Option<ManifestView>> {
        let view: ManifestView = match self.of(instance, "manifest").await {
            Ok(view) => view,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match received::judge(instance, &view) {
            Ok(()) => Ok(Some(view)),
            Err(why) => Err(self.forged(instance, &why)),
        }
    }

    /// What it shows as manifest is not what was signed.
    pub fn forged(&self, instance: InstanceId, why: &str) -> Failure {
        let url = self.http.url();
        let what = format!(
            "what the coordinator at {url} shows as manifest of instance {instance} is not what its \
             administrators have signed: {why}"
        );
        Failure::new(Exit::Failed, "manifest-refused", what)
            .safe("nothing was signed, nothing has changed")
            .next("look at the coordinator, and at the way to it, before you sign anything")
    }

    /// The same, of an instance that must have been founded.
    pub async fn founded(&self, id: InstanceId, name: &str) -> Outcome<ManifestView> {
        self.manifest(id).await?.ok_or_else(|| {
            let what = format!("instance {name} is not initialised");
            Failure::new(Exit::Unmet, "not-initialised", what).next("keyhelm auto-init")
        })
    }

    /// Gives a manifest, with the standing order under it.
    pub async fn give_manifest(
        &self,
        instance: InstanceId,
        given: &ManifestRequest,
    ) -> Result<(), CallError> {
        let id = instance.to_string();
        let parts = ["v1", "instances", &id, "manifests"];
        self.http.send(self.http.request(Method::POST, &parts).json(given)).await.map(|_| ())
    }

    /// Gives a standing order.
    pub async fn give_standing_order(
        &self,
        instance: InstanceId,
        signed: &SignedStandingOrder,
    ) -> Result<(), CallError> {
        let id = instance.to_string();
        let parts = ["v1", "instances", &id, "standing-orders"];
        self.http.send(self.http.request(Method::POST, &parts).json(signed)).await.map(|_| ())
    }

    /// Asks for the exact bytes of an order.
    pub async fn draft(
        &self,
        instance: InstanceId,
        request: &OrderDraftRequest,
    ) -> Result<OrderDraft, CallError> {
        let id = instance.to_string();
        let parts = ["v1", "instances", &id, "order-drafts"];
        self.http.post(&parts, request).await.map(|(_, draft)| draft)
    }

    /// Starts, joins or tries out a rotation.
    pub async fn start(
        &self,
        instance: InstanceId,
        request: &StartRotation,
    ) -> Result<Started, CallError> {
        let id = instance.to_string();
        let parts = ["v1", "instances", &id, "rotations"];
        let mut call = self.http.request(Method::POST, &parts).json(request);
        if request.check_keys || request.plan.is_some() {
            call = call.timeout(CHECK_TIMEOUT);
        }
        self.http.read(call).await.map(|(_, started)| started)
    }

    /// How far the check of all keys is, or what the last one came to; none if there was none.
    pub async fn key_check(&self, instance: InstanceId) -> Result<Option<KeyCheckView>, CallError> {
        match self.of(instance, "key-check").await {
            Ok(view) => Ok(Some(view)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The last rotations of an instance, newest first.
    pub async fn rotations(
        &self,
        instance: InstanceId,
        limit: u32,
    ) -> Result<Vec<RotationView>, CallError> {
        let id = instance.to_string();
        let parts = ["v1", "instances", &id, "rotations"];
        let request = self.http.request(Method::GET, &parts).query(&[("limit", limit)]);
        self.http.read(request).await.map(|(_, found)| found)
    }

    /// One rotation.
    pub async fn rotation(&self, id: RotationId) -> Result<RotationView, CallError> {
        self.http.get(&["v1", "rotations", &id.to_string()]).await
    }

    /// The receipt of a rotation, as it was saved.
    pub async fn receipt(&self, id: RotationId) -> Result<String, CallError> {
        let id = id.to_string();
        let request = self.http.request(Method::GET, &["v1", "rotations", &id, "receipt"]);
        let response = self.http.send(request).await?;
        response.text().await.map_err(|error| self.http.lost(&error))
    }

    /// The events of a rotation after one of them.
    pub async fn events(&self, id: RotationId, after: Option<&str>) -> Result<Response, CallError> {
        let id = id.to_string();
        let mut request = self
            .http
            .request(Method::GET, &["v1", "rotations", &id, "events"])
            .timeout(STREAM_TIMEOUT)
            .header(header::ACCEPT, "text/event-stream");
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after);
        }
        self.http.send(request).await
    }

    /// Ends a rotation before its decision.
    pub async fn abort(&self, id: RotationId, because: &str) -> Result<(), CallError> {
        let id = id.to_string();
        let parts = ["v1", "rotations", &id, "abort"];
        let body = json!({ "because": because });
        self.http.send(self.http.request(Method::POST, &parts).json(&body)).await.map(|_| ())
    }

    /// Ends a hold before its time.
    pub async fn end_hold(&self, id: RotationId, signed: &SignedHoldEnd) -> Result<(), CallError> {
        let id = id.to_string();
        let parts = ["v1", "rotations", &id, "hold-end"];
        self.http.send(self.http.request(Method::POST, &parts).json(signed)).await.map(|_| ())
    }

    /// Each crypto unit's last signed report in a running rotation.
    pub async fn reports(&self, id: RotationId) -> Result<Vec<UnitEnvelope>, CallError> {
        self.http.get(&["v1", "rotations", &id.to_string(), "reports"]).await
    }

    async fn of<T: serde::de::DeserializeOwned>(
        &self,
        instance: InstanceId,
        what: &str,
    ) -> Result<T, CallError> {
        self.http.get(&["v1", "instances", &instance.to_string(), what]).await
    }
}
