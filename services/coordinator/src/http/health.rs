//! Whether the process lives, and whether it can drive a rotation.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::HttpState;

/// `GET /healthz` and `/readyz`.
#[derive(Serialize)]
pub(crate) struct Health {
    status: &'static str,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'static str>,
}

const fn health(status: &'static str, because: Option<&'static str>) -> Json<Health> {
    Json(Health { status, because })
}

pub(crate) async fn alive(State(state): State<HttpState>) -> (StatusCode, Json<Health>) {
    match state.handle.is_stopped() {
        false => (StatusCode::OK, health("alive", None)),
        true => {
            let because = Some("the coordinator has stopped: restart its process");
            (StatusCode::SERVICE_UNAVAILABLE, health("stopped", because))
        }
    }
}

pub(crate) async fn ready(State(state): State<HttpState>) -> (StatusCode, Json<Health>) {
    let has_manifest = state
        .handle
        .see_all(|all| all.iter().any(|known| known.conductor.trust().newest().is_some()))
        .await;
    match has_manifest {
        Ok(true) => (StatusCode::OK, health("ready", None)),
        Ok(false) => {
            let because = Some("no instance has a manifest: run keyhelm auto-init");
            (StatusCode::SERVICE_UNAVAILABLE, health("not ready", because))
        }
        Err(_) => {
            let because = Some("the coordinator has stopped: restart its process");
            (StatusCode::SERVICE_UNAVAILABLE, health("not ready", because))
        }
    }
}
