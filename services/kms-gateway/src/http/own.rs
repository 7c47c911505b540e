//! What Key Protect does not have: many keys in one request, the check of all keys, the probes.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use identity::Role;
use protocol::key_api::{
    BatchAnswer, BatchRequest, BatchWritten, CheckFailureView, CheckView, MAX_BATCH,
};
use serde_json::json;

use super::HttpState;
use super::body::{self, JSON, SecretText};
use super::caller::Caller;
use super::create::{self, Wish};
use super::error::{ApiError, Wanted};
use crate::{CheckFailure, ImportKey, MakeKey};

/// Largest batch.
const MAX_BATCH_BODY: usize = 4 * 1024 * 1024;

/// `POST /v1/key-batches`: all or none.
pub(super) async fn batch(caller: Caller, request: Request) -> Result<Response, ApiError> {
    caller.require(&[Role::Writer])?;
    let asked: BatchRequest = body::required(request, MAX_BATCH_BODY).await?;
    let actor = caller.actor();
    let written = match sorted(asked)? {
        Batch::Make(keys) => caller.keys.make(&keys, &actor).await,
        Batch::Import(keys) => caller.keys.import(&keys, &actor).await,
    };
    let metas = written.map_err(|error| ApiError::refused(error, Wanted::Write))?;
    let keys = metas.into_iter().map(|meta| BatchWritten { id: meta.key, name: meta.name });
    let answer = BatchAnswer { keys: keys.collect() };
    Ok(body::json(StatusCode::CREATED, JSON, &answer))
}

/// A batch is of one of two kinds.
enum Batch {
    Make(Vec<MakeKey>),
    Import(Vec<ImportKey>),
}

fn sorted(asked: BatchRequest) -> Result<Batch, ApiError> {
    let count = asked.keys.len();
    if count == 0 || count > MAX_BATCH {
        return Err(ApiError::field("keys", &format!("1 to {MAX_BATCH} keys, not {count}")));
    }
    let (mut make, mut import) = (Vec::new(), Vec::new());
    for (index, key) in asked.keys.into_iter().enumerate() {
        let payload = key.payload.map(SecretText::from);
        let wish = create::wish(key.name, key.extractable, payload.as_ref());
        let Wish { name, is_extractable, payload } = wish.map_err(|mut error| {
            error.message = format!("Key {index} of the batch (from 0): {}", error.message);
            error
        })?;
        match payload {
            None => make.push(MakeKey { id: key.id, name, is_extractable }),
            Some(payload) => import.push(ImportKey { id: key.id, name, payload, is_extractable }),
        }
    }
    match (make.is_empty(), import.is_empty()) {
        (false, true) => Ok(Batch::Make(make)),
        (true, false) => Ok(Batch::Import(import)),
        _ => Err(ApiError::field("payload", "in all keys of a batch, or in none")),
    }
}

/// `POST /v1/key-checks`: opens every key version in the units.
pub(super) async fn check(caller: Caller) -> Result<Response, ApiError> {
    caller.require(&[Role::Manager, Role::CryptoUnitAdministrator])?;
    let checked = caller.keys.check().await;
    let checked = checked.map_err(|error| ApiError::refused(error, Wanted::Look))?;
    let shown = |failure: CheckFailure| CheckFailureView {
        id: failure.key,
        name: failure.name,
        version: failure.version,
        reason: failure.reason,
    };
    let view = CheckView {
        checked: checked.checked,
        opened: checked.opened,
        quarantined: checked.quarantined.into_iter().map(shown).collect(),
        failures: checked.failures.into_iter().map(shown).collect(),
    };
    Ok(body::json(StatusCode::OK, JSON, &view))
}

/// `GET /healthz`: the process answers.
pub(super) async fn healthy() -> Response {
    body::json(StatusCode::OK, JSON, &json!({ "status": "ok" }))
}

/// `GET /readyz`: every instance has a manifest and its keystore is reachable.
pub(super) async fn ready(State(state): State<HttpState>) -> Response {
    let mut unmet = Vec::new();
    for keys in state.instances.all() {
        if let Err(reason) = keys.ready().await {
            unmet.push(format!("instance {}: {reason}", keys.instance()));
        }
    }
    match unmet.is_empty() {
        true => body::json(StatusCode::OK, JSON, &json!({ "status": "ready" })),
        false => {
            let answer = json!({ "status": "not ready", "unmet": unmet });
            body::json(StatusCode::SERVICE_UNAVAILABLE, JSON, &answer)
        }
    }
}
