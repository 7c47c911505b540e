//! Wrap and unwrap, at their own paths and in the legacy form `?action=`.

use axum::extract::{Path, Query, Request};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crypto::data::{MAX_DATA_BYTES, version_of};
use identity::Role;
use protocol::{KeyId, VersionId};
use serde::Serialize;

use super::body::{self, SecretText};
use super::caller::Caller;
use super::error::{ApiError, Wanted};
use super::fields::{UnwrapBody, WrapBody};
use super::list::Parameters;
use super::records::key_id;
use super::shapes;

/// Bounds of additional authenticated data.
const MAX_AAD: usize = 126;
const MAX_AAD_CHARS: usize = 255;
/// Actions that Key Protect has and this program has not.
const UNBUILT: [&str; 7] =
    ["rewrap", "rotate", "enable", "disable", "setKeyForDeletion", "unsetKeyForDeletion", "sync"];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ActionAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<SecretText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_version: Option<UsedVersion>,
}

#[derive(Serialize)]
struct UsedVersion {
    id: VersionId,
}

/// `POST /keys/{id}/actions/{action}`.
pub(super) async fn act(
    caller: Caller,
    Path((id, action)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    match action.as_str() {
        "wrap" => wrap(&caller, key_id(&id)?, request).await,
        "unwrap" => unwrap(&caller, key_id(&id)?, request).await,
        other if UNBUILT.contains(&other) => {
            Err(ApiError::unbuilt(&format!("The key action '{other}'")))
        }
        _ => Err(ApiError::not_found("NOT_FOUND_ERR", "There is no such key action".to_owned())),
    }
}

/// `POST /keys/{id}?action=`.
pub(super) async fn legacy(
    caller: Caller,
    path: Path<String>,
    query: Query<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, ApiError> {
    let parameters = Parameters::of(query);
    let Some(action) = parameters.get("action").map(str::to_owned) else {
        return Err(ApiError::query("action", "the name of a key action, such as wrap"));
    };
    if !["wrap", "unwrap"].contains(&action.as_str()) && !UNBUILT.contains(&action.as_str()) {
        return Err(ApiError::query("action", "the name of a key action, such as wrap"));
    }
    act(caller, Path((path.0, action)), request).await
}

async fn wrap(caller: &Caller, key: KeyId, request: Request) -> Result<Response, ApiError> {
    caller.require(&[Role::Reader])?;
    let asked: WrapBody = body::optional(request, body::MAX_BODY).await?;
    let refused = || {
        let text = format!("a base64 encoded key material of 1 to {MAX_DATA_BYTES} bytes");
        ApiError::field("plaintext", &text)
    };
    let plaintext = match &asked.plaintext {
        None => None,
        Some(text) => {
            let bytes = text.decoded().ok_or_else(refused)?;
            if !(1..=MAX_DATA_BYTES).contains(&bytes.len()) {
                return Err(refused());
            }
            Some(bytes)
        }
    };
    let aad = aad(asked.aad)?;
    let wrapped = caller.keys.wrap(key, plaintext.as_ref().map(|text| text.as_slice()), &aad).await;
    let wrapped = wrapped.map_err(|error| ApiError::refused(error, Wanted::Use))?;
    let answer = ActionAnswer {
        plaintext: wrapped.generated.map(|text| SecretText::encoded(text.expose())),
        key_version: used(&wrapped.ciphertext),
        ciphertext: Some(STANDARD.encode(wrapped.ciphertext)),
    };
    Ok(body::json(StatusCode::OK, shapes::ACTION, &answer))
}

async fn unwrap(caller: &Caller, key: KeyId, request: Request) -> Result<Response, ApiError> {
    caller.require(&[Role::Reader])?;
    let asked: UnwrapBody = body::required(request, body::MAX_BODY).await?;
    let ciphertext = asked.ciphertext.and_then(|text| STANDARD.decode(text).ok());
    let Some(ciphertext) = ciphertext.filter(|bytes| !bytes.is_empty()) else {
        let text = "the original base64 encoded ciphertext from the wrap operation";
        return Err(ApiError::field("ciphertext", text));
    };
    let aad = aad(asked.aad)?;
    let text = caller.keys.unwrap(key, &ciphertext, &aad).await;
    let text = text.map_err(|error| ApiError::refused(error, Wanted::Use))?;
    let answer = ActionAnswer {
        plaintext: Some(SecretText::encoded(text.expose())),
        ciphertext: None,
        key_version: used(&ciphertext),
    };
    Ok(body::json(StatusCode::OK, shapes::ACTION, &answer))
}

/// The version that a ciphertext names, which is the one that made it.
fn used(ciphertext: &[u8]) -> Option<UsedVersion> {
    version_of(ciphertext).ok().map(|id| UsedVersion { id })
}

fn aad(given: Option<Vec<String>>) -> Result<Vec<Vec<u8>>, ApiError> {
    let given = given.unwrap_or_default();
    let is_sound =
        given.len() <= MAX_AAD && given.iter().all(|text| text.chars().count() <= MAX_AAD_CHARS);
    match is_sound {
        true => Ok(given.into_iter().map(String::into_bytes).collect()),
        false => {
            let text = format!("at most {MAX_AAD} texts of at most {MAX_AAD_CHARS} characters");
            Err(ApiError::field("aad", &text))
        }
    }
}
