//! The HTTP interface for people and their tools (`/v1`): instances, units, manifests, orders,
//! rotations and their events; and the console, a page that shows them. It decides nothing:
//! conductors do, and units after them.
//!
//! Deliberately absent: listening, TLS, and keys, which are the gateway's.

mod body;
mod caller;
mod console;
mod documents;
mod events;
mod follow;
mod front;
mod health;
mod holds;
mod instances;
mod path;
mod problem;
mod rotations;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use identity::Verifier;
use ledger::Records;
use tokio::sync::Semaphore;

pub use self::rotations::AbortRotation;
use crate::Handle;

/// Longest body of a request, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;
/// Most requests that are worked on at once; more are told to come back.
pub const MAX_REQUESTS: usize = 64;
/// Most clients that follow events at once; more are told to come back.
pub const MAX_STREAMS: usize = 256;
/// Longest that a request is worked on. Surveys end long before, whoever is silent.
const MAX_TIME: Duration = Duration::from_secs(30);
/// Longest that a start is worked on, as it may have every key opened in the units first.
const MAX_CHECK_TIME: Duration = Duration::from_secs(15 * 60);

/// What the handlers need.
#[derive(Clone, Debug)]
pub struct HttpState {
    handle: Handle,
    records: Records,
    verifier: Verifier,
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl HttpState {
    /// For a coordinator that runs in this process, its store, and the keys that tokens are judged
    /// by. Streams of events end when the coordinator stops, so that a server can stop after it.
    pub fn new(handle: Handle, records: Records, verifier: Verifier) -> Self {
        Self {
            handle,
            records,
            verifier,
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        }
    }
}

/// All routes. Every answer that is no success is a problem document (RFC 9457).
pub fn router(state: HttpState) -> Router {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/v1/instances", get(instances::list))
        .route("/v1/instances/{instance}/units", get(instances::units))
        .route("/v1/instances/{instance}/compare", get(instances::compare))
        .route("/v1/instances/{instance}/explain", get(instances::explain))
        .route("/v1/instances/{instance}/members", get(instances::members))
        .route("/v1/instances/{instance}/manifest", get(instances::manifest))
        .route("/v1/instances/{instance}/audit", get(instances::audit))
        .route("/v1/instances/{instance}/manifests", post(documents::manifest))
        .route("/v1/instances/{instance}/standing-orders", post(documents::standing_order))
        .route("/v1/instances/{instance}/order-drafts", post(documents::draft))
        .route(front::START, post(rotations::start).get(rotations::list))
        .route("/v1/instances/{instance}/key-check", get(instances::key_check))
        .route("/v1/rotations/{rotation}", get(rotations::one))
        .route("/v1/rotations/{rotation}/abort", post(rotations::abort))
        .route("/v1/rotations/{rotation}/hold-end", post(holds::end))
        .route("/v1/rotations/{rotation}/reports", get(holds::reports))
        .route("/v1/rotations/{rotation}/events", get(events::events))
        .route("/v1/rotations/{rotation}/receipt", get(rotations::receipt))
        .merge(console::routes())
        .fallback(front::no_such_path)
        .method_not_allowed_fallback(front::no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(state.clone(), front::front))
        .with_state(state)
}
