//! `POST /keys`: a root key made inside a unit, an imported one, a standard key.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use crypto::blob::MAX_KEY_BYTES;
use identity::Role;
use protocol::session::SecretBytes;

use super::HttpState;
use super::body::{self, SecretText};
use super::caller::Caller;
use super::error::{ApiError, Wanted};
use super::fields::{CreateBody, KeyFields};
use super::shapes::{self, Collection, KeyResource, MinimalKey, Preference};
use crate::{ImportKey, MakeKey};

/// Longest name of a key, in characters.
const MAX_NAME: usize = 90;
const MAX_DESCRIPTION: usize = 240;
const MAX_TAGS: usize = 30;
const MAX_TAG: usize = 30;
const ROOT_KEY_BYTES: [usize; 3] = [16, 24, 32];
/// Fields that Key Protect takes and this program does not store: to drop one would promise what
/// is not kept.
const UNBUILT: [&str; 7] = [
    "aliases",
    "expirationDate",
    "encryptedNonce",
    "iv",
    "encryptionAlgorithm",
    "rotation",
    "dualAuthDelete",
];
/// Says which fields were taken and not stored.
const NOT_STORED: HeaderName = HeaderName::from_static("keyhelm-not-stored");

/// A key that may be written.
pub(super) struct Wish {
    pub(super) name: String,
    pub(super) is_extractable: bool,
    pub(super) payload: Option<SecretBytes>,
}

pub(super) async fn create(
    State(state): State<HttpState>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    caller.require(&[Role::Writer])?;
    let preference = Preference::of(request.headers());
    let fields = one_of(body::required(request, body::MAX_BODY).await?)?;
    let not_stored = not_stored(&fields);
    let wish = judged(fields)?;
    let actor = caller.actor();
    let written = match wish.payload {
        None => {
            let Wish { name, is_extractable, .. } = wish;
            caller.keys.make(&[MakeKey { id: None, name, is_extractable }], &actor).await
        }
        Some(payload) => {
            let Wish { name, is_extractable, .. } = wish;
            let key = ImportKey { id: None, name, payload, is_extractable };
            caller.keys.import(&[key], &actor).await
        }
    };
    let metas = written.map_err(|error| ApiError::refused(error, Wanted::Write))?;
    let mut response = if preference == Preference::Minimal {
        let ids = metas.iter().map(|meta| MinimalKey { kind: shapes::KEY, id: meta.key }).collect();
        body::json(StatusCode::CREATED, shapes::KEY, &Collection::of(shapes::KEY, ids))
    } else {
        let resource = |meta| state.resource(&caller.keys, meta);
        let keys: Vec<KeyResource> = metas.into_iter().map(resource).collect();
        body::json(StatusCode::CREATED, shapes::KEY, &Collection::of(shapes::KEY, keys))
    };
    if let Some(names) = not_stored {
        response.headers_mut().insert(NOT_STORED, names);
    }
    Ok(response)
}

/// The one key of a collection of one.
fn one_of(body: CreateBody) -> Result<KeyFields, ApiError> {
    let Some(metadata) = body.metadata else {
        return Err(ApiError::body("the field 'metadata' is missing").at("field", "metadata"));
    };
    if metadata.collection_type.is_some_and(|given| given != shapes::KEY) {
        return Err(ApiError::field("metadata.collectionType", shapes::KEY));
    }
    let Some(total) = metadata.collection_total else {
        let name = "metadata.collectionTotal";
        return Err(
            ApiError::body("the field 'metadata.collectionTotal' is missing").at("field", name)
        );
    };
    let mut resources = body.resources.unwrap_or_default();
    if total != resources.len() as u64 {
        let text = format!(
            "Collection total does not match number of resources: it says {total}, there are {}",
            resources.len()
        );
        return Err(ApiError::bad_request("COLLECTION_TOTAL_MISMATCH_ERR", text)
            .at("field", "metadata.collectionTotal"));
    }
    match (resources.pop(), resources.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(ApiError::body(
            "one resource is required; for more keys at once use POST /v1/key-batches",
        )
        .at("field", "resources")),
    }
}

/// Names of what is given and not stored.
fn not_stored(fields: &KeyFields) -> Option<HeaderValue> {
    match (fields.description.is_some(), fields.tags.is_some()) {
        (true, true) => Some(HeaderValue::from_static("description, tags")),
        (true, false) => Some(HeaderValue::from_static("description")),
        (false, true) => Some(HeaderValue::from_static("tags")),
        (false, false) => None,
    }
}

fn judged(fields: KeyFields) -> Result<Wish, ApiError> {
    for (name, given) in &fields.others {
        match given {
            Some(_) if UNBUILT.contains(&name.as_str()) => {
                return Err(ApiError::unbuilt(&format!("The field '{name}'")).at("field", name));
            }
            Some(_) => {
                let text = format!("unknown field \"{name}\"");
                return Err(ApiError::body(&text).at("field", name));
            }
            None => {}
        }
    }
    if fields.kind.is_some_and(|kind| kind != shapes::KEY) {
        return Err(ApiError::field("type", shapes::KEY));
    }
    let is_long = |text: &String| text.chars().count() > MAX_DESCRIPTION;
    if fields.description.as_ref().is_some_and(is_long) {
        return Err(ApiError::field(
            "description",
            &format!("at most {MAX_DESCRIPTION} characters"),
        ));
    }
    let tags = fields.tags.unwrap_or_default();
    if tags.len() > MAX_TAGS || tags.iter().any(|tag| !is_tag(tag)) {
        let text =
            format!("at most {MAX_TAGS} tags of at most {MAX_TAG} characters, none of <>,:&|");
        return Err(ApiError::field("tags", &text));
    }
    let Some(name) = fields.name else {
        return Err(ApiError::body("the field 'name' is missing").at("field", "name"));
    };
    wish(name, fields.extractable.unwrap_or(true), fields.payload.as_ref())
}

fn is_tag(tag: &str) -> bool {
    tag.chars().count() <= MAX_TAG && !tag.contains(['<', '>', ',', ':', '&', '|'])
}

/// Judges name and payload; batches do so too.
pub(super) fn wish(
    name: String,
    is_extractable: bool,
    payload: Option<&SecretText>,
) -> Result<Wish, ApiError> {
    let length = name.chars().count();
    if length == 0 || length > MAX_NAME || name.chars().any(char::is_control) {
        let text = format!("1 to {MAX_NAME} characters, no control characters");
        return Err(ApiError::field("name", &text));
    }
    let payload = payload.map(|text| decoded(text, is_extractable)).transpose()?;
    Ok(Wish { name, is_extractable, payload })
}

fn decoded(text: &SecretText, is_extractable: bool) -> Result<SecretBytes, ApiError> {
    let refused = || match is_extractable {
        true => ApiError::field("payload", &format!("base64 of 1 to {MAX_KEY_BYTES} bytes")),
        false => ApiError::field("payload", "base64 of 16, 24 or 32 bytes for a root key"),
    };
    let mut bytes = text.decoded().ok_or_else(refused)?;
    let is_sound = match is_extractable {
        true => (1..=MAX_KEY_BYTES).contains(&bytes.len()),
        false => ROOT_KEY_BYTES.contains(&bytes.len()),
    };
    match is_sound {
        true => Ok(SecretBytes::new(std::mem::take(&mut *bytes))),
        false => Err(refused()),
    }
}
