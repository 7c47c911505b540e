//! Bodies of requests: JSON, understood whole or not at all.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, from_value, json, to_value};

use super::problem::Fault;

/// A body of which every field was understood.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Serialize> FromRequest<S> for Body<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        if !is_json(request.headers()) {
            return Err(Fault::content_type());
        }
        let bytes =
            Bytes::from_request(request, state).await.map_err(|rejection| {
                match rejection.into_response().status() {
                    StatusCode::PAYLOAD_TOO_LARGE => Fault::oversized(),
                    _ => Fault::malformed("The body ended before its time."),
                }
            })?;
        let Json(understood) = Json::<T>::from_bytes(&bytes)
            .map_err(|rejection| Fault::malformed(format!("{}.", rejection.body_text())))?;
        let (Ok(given), Ok(shown)) = (serde_json::from_slice(&bytes), to_value(&understood)) else {
            return Err(Fault::malformed("The body is no JSON."));
        };
        if !Value::is_object(&given) {
            // An array of the fields' values would be understood too: `[]` as a whole request.
            return Err(Fault::malformed("The body is no JSON object."));
        }
        let is_known = |place: &Place| is_known::<T>(&given, place);
        match first_unknown(&given, &shown, &Place::default(), &is_known) {
            Some(field) => Err(Fault::malformed(format!("There is no field {field}."))),
            None => Ok(Self(understood)),
        }
    }
}

/// As on the queue: absent, or JSON.
fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_none_or(|value| {
        let kind = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("application/json")
    })
}

/// Where in a body something stands: as people are told, and as a JSON pointer (RFC 6901).
#[derive(Default)]
struct Place {
    shown: String,
    pointer: String,
}

impl Place {
    fn field(&self, name: &str) -> Self {
        let dot = if self.shown.is_empty() { "" } else { "." };
        let escaped = name.replace('~', "~0").replace('/', "~1");
        Self {
            shown: format!("{}{dot}{name}", self.shown),
            pointer: format!("{}/{escaped}", self.pointer),
        }
    }

    fn at(&self, index: usize) -> Self {
        let Self { shown, pointer } = self;
        Self { shown: format!("{shown}[{index}]"), pointer: format!("{pointer}/{index}") }
    }
}

/// The first field that was given and not understood, at any depth: some of the types that travel
/// here also travel where a newer program may add to them. One that is given empty may only be left
/// out when it is shown.
fn first_unknown(
    given: &Value,
    understood: &Value,
    place: &Place,
    is_known: &impl Fn(&Place) -> bool,
) -> Option<String> {
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => {
            given.iter().find_map(|(name, value)| {
                let place = place.field(name);
                match understood.get(name) {
                    None if is_empty(value) && is_known(&place) => None,
                    None => Some(place.shown),
                    Some(understood) => first_unknown(value, understood, &place, is_known),
                }
            })
        }
        (Value::Array(given), Value::Array(understood)) => given
            .iter()
            .zip(understood)
            .enumerate()
            .find_map(|(at, (one, other))| first_unknown(one, other, &place.at(at), is_known)),
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

/// Whether there is a field at this place: what is no field is skipped, whatever its value is, and a
/// field takes some kinds of values only.
fn is_known<T: DeserializeOwned>(given: &Value, place: &Place) -> bool {
    let is_refused = |strange: Value| {
        let mut changed = given.clone();
        let Some(value) = changed.pointer_mut(&place.pointer) else { return false };
        *value = strange;
        from_value::<T>(changed).is_err()
    };
    [json!(false), json!(0), json!({})].into_iter().any(is_refused)
}
