//! Bodies: read whole and within a limit, whatever their content type; answered from buffers that
//! are wiped when they have been sent.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::error::Category;
use zeroize::Zeroizing;

use super::error::ApiError;

/// Errors, and whatever is ours.
pub(super) const JSON: &str = "application/json";
/// Largest body of a request about one key.
pub(super) const MAX_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Room for any answer with a secret in it, so that it is written without being moved.
const ANSWER_ROOM: usize = 16 * 1024;

/// Text that is wiped when it is dropped, and shown by no `Debug`.
pub(super) struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Bytes as base64.
    pub(super) fn encoded(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(STANDARD.encode(bytes)))
    }

    /// The bytes behind base64 (standard alphabet, padded).
    pub(super) fn decoded(&self) -> Option<Zeroizing<Vec<u8>>> {
        STANDARD.decode(self.0.as_bytes()).ok().map(Zeroizing::new)
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::from)
    }
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read(request: Request, limit: usize) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    let room = announced(request.headers());
    if room > limit as u64 {
        return Err(too_large(limit));
    }
    match tokio::time::timeout(BODY_TIMEOUT, collect(request.into_body(), room, limit)).await {
        Ok(read) => read,
        Err(_) => {
            let text = "The body did not arrive in time: please send it again".to_owned();
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "BAD_BODY_ERR", text))
        }
    }
}

/// The length that a request announces; 0 if it announces none.
fn announced(headers: &HeaderMap) -> u64 {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|text| text.parse().ok()).unwrap_or_default()
}

async fn collect(mut body: Body, room: u64, limit: usize) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    let mut read = Zeroizing::new(Vec::with_capacity(room as usize));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::body("it ended before its end"))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        read.extend_from_slice(&data);
    }
    Ok(read)
}

fn too_large(limit: usize) -> ApiError {
    let text = format!("The body is larger than {limit} bytes");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "BAD_BODY_ERR", text)
}

/// Reads JSON that must be there.
pub(super) async fn required<T: DeserializeOwned>(
    request: Request,
    limit: usize,
) -> Result<T, ApiError> {
    let text = read(request, limit).await?;
    if is_blank(&text) {
        return Err(ApiError::bad_request("NO_BODY_ERR", "Missing body in request".to_owned()));
    }
    parse(&text)
}

/// Reads JSON that may be absent.
pub(super) async fn optional<T: DeserializeOwned + Default>(
    request: Request,
    limit: usize,
) -> Result<T, ApiError> {
    let text = read(request, limit).await?;
    if is_blank(&text) { Ok(T::default()) } else { parse(&text) }
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_whitespace)
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(text).map_err(|error| ApiError::body(&said(&error)))
}

/// What is wrong, without a value out of the body: it may be a secret at the wrong place.
fn said(error: &serde_json::Error) -> String {
    let place = format!("at line {} column {}", error.line(), error.column());
    let text = error.to_string();
    let shows_value = ["invalid type", "invalid value", "invalid length"];
    match error.classify() {
        Category::Data if shows_value.iter().any(|start| text.starts_with(start)) => {
            let wanted = text.rsplit_once(", expected ").map_or("", |(_, wanted)| wanted);
            let wanted = wanted.split(" at line ").next().unwrap_or_default();
            format!("a value of another type than {wanted} {place}")
        }
        Category::Data => text,
        _ => format!("it is not JSON {place}"),
    }
}

/// An answer. Its buffer is wiped when it has been sent.
pub(super) fn json(
    status: StatusCode,
    content_type: &'static str,
    value: &impl Serialize,
) -> Response {
    let mut text = Zeroizing::new(Vec::with_capacity(ANSWER_ROOM));
    if let Err(error) = serde_json::to_writer(&mut *text, value) {
        tracing::error!(%error, "an answer could not be written");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let mut response = (status, Body::from(Bytes::from_owner(text))).into_response();
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
