//! One key: its metadata, its payload, its versions, its end.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use identity::Role;
use keystore::{KeyMeta, KeyState};
use protocol::{KeyId, UnixMillis};

use super::HttpState;
use super::body::{self, SecretText};
use super::caller::Caller;
use super::error::{ApiError, Wanted};
use super::list::Parameters;
use super::shapes::{self, Collection, KeyResource, Preference, VersionResource};
use crate::Keys;

const MAX_LIMIT: u32 = 5_000;

impl HttpState {
    /// When a key may be purged; none while it is not deleted.
    fn purge_from(&self, meta: &KeyMeta) -> Option<UnixMillis> {
        let is_deleted = meta.state == KeyState::Destroyed;
        let at = meta.deleted_at.filter(|_| is_deleted)?;
        Some(at.plus_ms(self.config.purge_wait_ms))
    }

    pub(super) fn resource(&self, keys: &Keys, meta: KeyMeta) -> KeyResource {
        let purge_from = self.purge_from(&meta);
        KeyResource::of(keys.instance(), meta, purge_from, service::now())
    }

    fn answer(&self, keys: &Keys, meta: KeyMeta) -> Response {
        answer(self.resource(keys, meta))
    }
}

fn answer(key: KeyResource) -> Response {
    body::json(StatusCode::OK, shapes::KEY, &Collection::of(shapes::KEY, vec![key]))
}

/// The key that a path names. There are no aliases, so what is no id names no key.
pub(super) fn key_id(text: &str) -> Result<KeyId, ApiError> {
    text.parse().map_err(|_| {
        let text =
            format!("Key does not exist: '{text}' is no key id, and keys have no aliases here");
        ApiError::not_found("KEY_NOT_FOUND_ERR", text)
    })
}

async fn found(keys: &Keys, id: &str) -> Result<KeyMeta, ApiError> {
    let key = key_id(id)?;
    keys.metadata(key).await.map_err(|error| ApiError::refused(error, Wanted::Look))
}

pub(super) async fn metadata(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    caller.require(&[Role::Reader])?;
    let meta = found(&caller.keys, &id).await?;
    Ok(state.answer(&caller.keys, meta))
}

/// A root key's bytes never leave the units; a deleted key's are not handed out.
pub(super) async fn get(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    caller.require(&[Role::Reader])?;
    let meta = found(&caller.keys, &id).await?;
    if !shapes::is_extractable(&meta) {
        return Ok(state.answer(&caller.keys, meta));
    }
    caller.require(&[Role::ReaderPlus])?;
    if meta.state != KeyState::Active {
        return Ok(state.answer(&caller.keys, meta));
    }
    let payload = caller.keys.payload(meta.key).await;
    let payload = payload.map_err(|error| ApiError::refused(error, Wanted::Payload))?;
    let mut key = state.resource(&caller.keys, meta);
    key.payload = Some(SecretText::encoded(payload.expose()));
    Ok(answer(key))
}

pub(super) async fn versions(
    caller: Caller,
    Path(id): Path<String>,
    query: Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    caller.require(&[Role::Reader])?;
    let parameters = Parameters::of(query);
    parameters.number("limit", 1, MAX_LIMIT)?;
    let offset = parameters.number("offset", 0, u32::MAX)?.unwrap_or_default();
    let is_total_wanted = parameters.flag("totalCount")?.unwrap_or_default();
    let is_any_state = parameters.flag("allKeyStates")?.unwrap_or_default();
    let meta = found(&caller.keys, &id).await?;
    if meta.state == KeyState::Destroyed && !is_any_state {
        return Err(ApiError::deleted());
    }
    // A key has one version until keys can be rotated.
    let only = VersionResource { id: meta.version, creation_date: shapes::date(meta.created_at) };
    let versions: Vec<_> = std::iter::once(only).skip(offset as usize).collect();
    let mut collection = Collection::of(shapes::VERSION, versions);
    collection.metadata.total_count = is_total_wanted.then_some(1);
    Ok(body::json(StatusCode::OK, shapes::VERSION, &collection))
}

pub(super) async fn delete(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    query: Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.require(&[Role::Manager])?;
    // Nothing is registered with a key here, so there is nothing to force.
    Parameters::of(query).flag("force")?;
    let key = key_id(&id)?;
    let refused = |error| ApiError::refused(error, Wanted::Delete);
    caller.keys.delete(key).await.map_err(refused)?;
    if Preference::of(&headers) != Preference::Representation {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let meta = caller.keys.metadata(key).await.map_err(refused)?;
    Ok(state.answer(&caller.keys, meta))
}

pub(super) async fn purge(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.require(&[Role::KeyPurge])?;
    let meta = found(&caller.keys, &id).await?;
    let Some(from) = state.purge_from(&meta) else {
        let text =
            format!("Key is not in a valid state: key {id} must be deleted before it is purged");
        return Err(ApiError::new(StatusCode::CONFLICT, "KEY_ACTION_INVALID_STATE_ERR", text));
    };
    if service::now() < from {
        let text = format!(
            "The key was updated recently: Please wait and try again. Key {id} may be purged from {}",
            shapes::date(from)
        );
        return Err(ApiError::new(StatusCode::CONFLICT, "REQ_TOO_EARLY_ERR", text));
    }
    let purged = caller.keys.purge(meta.key).await;
    purged.map_err(|error| ApiError::refused(error, Wanted::Delete))?;
    Ok(match Preference::of(&headers) {
        Preference::Representation => state.answer(&caller.keys, meta),
        _ => StatusCode::NO_CONTENT.into_response(),
    })
}
