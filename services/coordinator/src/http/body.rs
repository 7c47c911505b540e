//! Bodies of requests: JSON, understood whole or not at all.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, to_value};

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
        match first_unknown(&given, &shown, "") {
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

/// The first field that was given and not understood, at any depth: some of the types that travel
/// here also travel where a newer program may add to them. What is understood is shown whole, so no request
/// may leave a field out because it is empty.
fn first_unknown(given: &Value, understood: &Value, path: &str) -> Option<String> {
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => {
            given.iter().find_map(|(name, value)| {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match understood.get(name) {
                    None => Some(path),
                    Some(understood) => first_unknown(value, understood, &path),
                }
            })
        }
        (Value::Array(given), Value::Array(understood)) => given
            .iter()
            .zip(understood)
            .enumerate()
            .find_map(|(at, (one, other))| first_unknown(one, other, &format!("{path}[{at}]"))),
        _ => None,
    }
}
