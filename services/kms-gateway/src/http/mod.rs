//! The HTTP door: the key API in the shapes of IBM Key Protect (`/api/v2`), our own batches and
//! checks (`/v1`), and the probes. A router only; whoever owns the process listens.
//!
//! Deliberately absent: TLS, listening, and any decision about keys, which are [`crate::Keys`]'.

mod actions;
mod body;
mod caller;
mod create;
mod drain;
mod error;
mod fields;
mod list;
mod observe;
mod own;
mod records;
mod search;
mod shapes;
mod unbuilt;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post};
use identity::Verifier;
use protocol::InstanceId;
use tokio::sync::Semaphore;

use self::error::ApiError;
use crate::Keys;

/// Requests served at once, before others are told to come back.
const MAX_IN_FLIGHT: usize = 512;
/// Four hours, as in Key Protect.
const PURGE_WAIT_MS: u64 = 4 * 60 * 60 * 1000;

/// The instances that are served; today one a gateway.
#[derive(Clone)]
pub struct Instances(Arc<HashMap<InstanceId, Keys>>);

impl Instances {
    /// One instance.
    pub fn one(keys: Keys) -> Self {
        [keys].into_iter().collect()
    }

    /// The keys of an instance, if it is served here.
    pub fn get(&self, instance: InstanceId) -> Option<&Keys> {
        self.0.get(&instance)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Keys> {
        self.0.values()
    }
}

impl FromIterator<Keys> for Instances {
    fn from_iter<I: IntoIterator<Item = Keys>>(keys: I) -> Self {
        Self(Arc::new(keys.into_iter().map(|keys| (keys.instance(), keys)).collect()))
    }
}

/// What may be set about the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Requests served at once; the next one is answered 503.
    pub max_in_flight: usize,
    /// Milliseconds between a key's deletion and the first moment at which it may be purged.
    pub purge_wait_ms: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { max_in_flight: MAX_IN_FLIGHT, purge_wait_ms: PURGE_WAIT_MS }
    }
}

/// What every request sees.
#[derive(Clone)]
pub struct HttpState {
    instances: Instances,
    verifier: Verifier,
    config: HttpConfig,
    permits: Arc<Semaphore>,
}

impl HttpState {
    /// Instances to serve, and who says whether a token is to be believed.
    pub fn new(instances: Instances, verifier: Verifier, config: HttpConfig) -> Self {
        let permits = Arc::new(Semaphore::new(config.max_in_flight));
        Self { instances, verifier, config, permits }
    }
}

/// Every endpoint.
pub fn router(state: HttpState) -> Router {
    let keys = get(list::list).head(list::count).post(create::create);
    let key = get(records::get).delete(records::delete).post(actions::legacy).patch(unbuilt::patch);
    let api = Router::new()
        .route("/keys", keys)
        .route("/keys/{id}", key)
        .route("/keys/{id}/metadata", get(records::metadata))
        .route("/keys/{id}/versions", get(records::versions))
        .route("/keys/{id}/purge", delete(records::purge))
        .route("/keys/{id}/actions/{action}", post(actions::act))
        .merge(unbuilt::routes());
    Router::new()
        .nest("/api/v2", api)
        .route("/v1/key-batches", post(own::batch))
        .route("/v1/key-checks", post(own::check))
        .route("/healthz", get(own::healthy))
        .route("/readyz", get(own::ready))
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::from_fn_with_state(state.clone(), observe::observe))
        .with_state(state)
}

async fn nowhere() -> ApiError {
    ApiError::not_found("NOT_FOUND_ERR", "There is no such path here".to_owned())
}

async fn wrong_method() -> ApiError {
    let text = "This path does not know this method".to_owned();
    ApiError::new(axum::http::StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED_ERR", text)
}
