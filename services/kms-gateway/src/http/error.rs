//! What a refused request is answered: one document in Key Protect's shape, with its reason code.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use keystore::KeystoreError;
use machines::gate::GateRefusal;
use protocol::session::KeyRefusal;
use serde_json::{Value, json};

use crate::GatewayError;

/// Where the reason codes that are IBM's are explained.
const IBM_INFO: &str = "https://cloud.ibm.com/apidocs/key-protect";
/// Where those that are ours are.
const OWN_INFO: &str = env!("CARGO_PKG_REPOSITORY");
/// Codes of ours, which IBM's list does not have.
const OWN_CODES: [&str; 14] = [
    "INSTANCE_NOT_FOUND_ERR",
    "KEY_ALREADY_EXISTS_ERR",
    "KEY_DOES_NOT_OPEN_ERR",
    "KEY_IN_QUARANTINE_ERR",
    "KEY_WRITE_UNCLEAR_ERR",
    "KEYSTORE_UNAVAILABLE_ERR",
    "MASTER_KEY_ROTATION_IN_PROGRESS_ERR",
    "METHOD_NOT_ALLOWED_ERR",
    "NOT_FOUND_ERR",
    "NOT_IMPLEMENTED_ERR",
    "NOT_INITIALISED_ERR",
    "TOO_BUSY_ERR",
    "UNITS_UNAVAILABLE_ERR",
    "INTERNAL_ERR",
];
/// Seconds after which a refused caller may come back: a strict rotation is short.
pub(super) const RETRY_AFTER_S: u32 = 1;

/// Which part of the request is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    kind: &'static str,
    name: String,
}

/// A refused request. It becomes a response in [`super::observe`], which knows the route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) target: Option<Box<Target>>,
    pub(super) retry_after_s: Option<u32>,
}

impl ApiError {
    pub(super) const fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Self { status, code, message, target: None, retry_after_s: None }
    }

    pub(super) const fn bad_request(code: &'static str, message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) const fn not_found(code: &'static str, message: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// A field of the body has a value that it cannot have.
    pub(super) fn field(name: &str, must_be: &str) -> Self {
        let text = format!("The field '{name}' must be: {must_be}");
        Self::bad_request("INVALID_FIELD_ERR", text).at("field", name)
    }

    /// A query parameter has a value that it cannot have.
    pub(super) fn query(name: &str, must_be: &str) -> Self {
        let text = format!("The query parameter '{name}' must be: {must_be}");
        Self::bad_request("INVALID_QUERY_PARAM_ERR", text).at("query_param", name)
    }

    /// The body is not what it should be.
    pub(super) fn body(reason: &str) -> Self {
        let text = format!(
            "Invalid body data was passed: Please ensure the data passed had valid formatting \
             with no invalid characters: {reason}"
        );
        Self::bad_request("BAD_BODY_ERR", text)
    }

    /// Key Protect has it, this program does not.
    pub(super) fn unbuilt(what: &str) -> Self {
        let text = format!("{what}: this service does not have it; nothing has been changed");
        Self::new(StatusCode::NOT_IMPLEMENTED, "NOT_IMPLEMENTED_ERR", text)
    }

    fn unavailable(code: &'static str, message: String) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message).after(RETRY_AFTER_S)
    }

    /// Too many requests at once.
    pub(super) fn busy() -> Self {
        let text = "Too many requests are being served: please wait and try again".to_owned();
        Self::unavailable("TOO_BUSY_ERR", text)
    }

    pub(super) fn at(mut self, kind: &'static str, name: &str) -> Self {
        self.target = Some(Box::new(Target { kind, name: name.to_owned() }));
        self
    }

    pub(super) const fn after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The document, for a request that was to do `what`.
    pub(super) fn document(&self, what: &str) -> Value {
        let phrase = self.status.canonical_reason().unwrap_or("Error");
        let code = self.code;
        let more_info = if OWN_CODES.contains(&code) { OWN_INFO } else { IBM_INFO };
        let mut reason = json!({
            "code": code,
            "message": self.message,
            "status": self.status.as_u16(),
            "moreInfo": more_info,
        });
        if let Some(target) = &self.target {
            reason["target"] = json!({ "type": target.kind, "name": target.name });
        }
        let text = format!("{phrase}: {what}: Please see `reasons` for more details ({code})");
        json!({
            "metadata": {
                "collectionType": "application/vnd.ibm.kms.error+json",
                "collectionTotal": 1,
            },
            "resources": [{ "errorMsg": text, "reasons": [reason] }],
            // Where IBM's own Python client looks for a message.
            "errors": [{ "code": code, "message": self.message }],
        })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// What a request wanted, where the answer to a refusal depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// To write a key. Refused during a rotation, and never repeated blindly.
    Write,
    /// To use a root key. May be repeated: clients that retry hide a short rotation.
    Use,
    /// To read a standard key's bytes; likewise.
    Payload,
    /// To delete a key.
    Delete,
    /// Anything else.
    Look,
}

impl ApiError {
    /// The answer to what the gateway refused.
    pub(super) fn refused(error: GatewayError, wanted: Wanted) -> Self {
        match error {
            GatewayError::Keystore(error) => Self::by_keystore(error, wanted),
            GatewayError::Refused(refusal) => Self::by_unit(refusal, wanted),
            GatewayError::Units(reason) => Self::unavailable(
                "UNITS_UNAVAILABLE_ERR",
                format!("No crypto unit could serve the request: {reason}"),
            ),
            GatewayError::OutOfBounds(reason) => {
                Self::bad_request("INVALID_FIELD_ERR", reason).at("field", "keys")
            }
            GatewayError::Unclear { .. } => Self::unclear(&error.to_string()),
            GatewayError::Lost(key) => Self::lost(&format!("the wrapped key of {key} is missing")),
            GatewayError::Unexpected => Self::internal(&error.to_string()),
        }
    }

    fn by_keystore(error: KeystoreError, wanted: Wanted) -> Self {
        match error {
            KeystoreError::Gate(refusal) => Self::by_gate(&refusal, wanted),
            KeystoreError::NoKey(key) => Self::no_key(&key.to_string()),
            KeystoreError::Duplicate => Self::new(
                StatusCode::CONFLICT,
                "KEY_ALREADY_EXISTS_ERR",
                "A key with this id exists already: nothing has been written".to_owned(),
            )
            .at("field", "id"),
            KeystoreError::State { .. } if wanted == Wanted::Delete => Self::deleted(),
            KeystoreError::State { key, state, refused } => Self::new(
                StatusCode::CONFLICT,
                "KEY_ACTION_INVALID_STATE_ERR",
                format!(
                    "Key is not in a valid state: key {key} is {state}, {refused} is not possible"
                ),
            ),
            error @ KeystoreError::Quarantined(_) => {
                Self::new(StatusCode::CONFLICT, "KEY_IN_QUARANTINE_ERR", format!("{error}"))
            }
            KeystoreError::NoInstance => Self::not_initialised(),
            error => {
                tracing::error!(%error, "the keystore failed");
                let text = "The keystore cannot be reached: nothing has been changed, please wait \
                            and try again";
                Self::unavailable("KEYSTORE_UNAVAILABLE_ERR", text.to_owned())
            }
        }
    }

    fn by_gate(refusal: &GateRefusal, wanted: Wanted) -> Self {
        match refusal {
            GateRefusal::GateClosed(_) => {
                let status = match wanted {
                    Wanted::Use | Wanted::Payload => StatusCode::SERVICE_UNAVAILABLE,
                    _ => StatusCode::CONFLICT,
                };
                let text = "The master key is being rotated: nothing has been changed, please \
                            wait and try again";
                Self::new(status, "MASTER_KEY_ROTATION_IN_PROGRESS_ERR", text.to_owned())
                    .after(RETRY_AFTER_S)
            }
            GateRefusal::NotInitialised => Self::not_initialised(),
            GateRefusal::GenerationsChanged => {
                let text = "The key generations changed while the key was written: nothing has \
                            been changed, please try again";
                Self::unavailable("KEYSTORE_UNAVAILABLE_ERR", text.to_owned())
            }
            refusal => Self::internal(&refusal.to_string()),
        }
    }

    fn by_unit(refusal: KeyRefusal, wanted: Wanted) -> Self {
        match refusal {
            KeyRefusal::NotAllowed(_) if wanted == Wanted::Use => Self::bad_request(
                "KEY_ROOT_REQ_ERR",
                "Requested action can only be completed with a root key".to_owned(),
            ),
            KeyRefusal::NotAllowed(reason) => {
                Self::bad_request("INVALID_FIELD_ERR", reason).at("field", "extractable")
            }
            KeyRefusal::Ciphertext => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "UNPROCESSABLE_CIPHERTEXT_ERR",
                "The provided ciphertext is invalid or corrupted: it was not made by this key \
                 with these additional data"
                    .to_owned(),
            )
            .at("field", "ciphertext"),
            KeyRefusal::OutOfBounds(reason) => {
                let field = if wanted == Wanted::Use { "plaintext" } else { "payload" };
                Self::field(field, &reason)
            }
            KeyRefusal::BlobDoesNotOpen(reason) => Self::lost(&reason),
            KeyRefusal::PatternNotHeld(_) | KeyRefusal::NotServing(_) => {
                let text = format!("A crypto unit could not serve the request: {refusal}");
                Self::unavailable("UNITS_UNAVAILABLE_ERR", text)
            }
        }
    }

    /// Whether a key was written is not known. No 5xx: clients repeat those by themselves, and would
    /// have the key twice.
    fn unclear(what: &str) -> Self {
        let text = format!(
            "The keystore did not say whether it has written: {what}. Look whether it is there \
             before you try again"
        );
        Self::new(StatusCode::CONFLICT, "KEY_WRITE_UNCLEAR_ERR", text)
    }

    /// A key that the keystore has no usable bytes of.
    fn lost(reason: &str) -> Self {
        let text = format!(
            "The wrapped key does not open: {reason}. Nothing has been changed: check all keys \
             with POST /v1/key-checks, and bring the row back from a backup of the keystore"
        );
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "KEY_DOES_NOT_OPEN_ERR", text)
    }

    fn internal(reason: &str) -> Self {
        tracing::error!(%reason, "a request failed");
        let text = "The service failed to serve the request: see its log by the correlation id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERR", text.to_owned())
    }

    fn not_initialised() -> Self {
        let text = "The instance has no master key yet: run `keyhelm auto-init`".to_owned();
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "NOT_INITIALISED_ERR", text)
    }

    /// No such key.
    pub(super) fn no_key(id: &str) -> Self {
        Self::not_found("KEY_NOT_FOUND_ERR", format!("Key does not exist: {id}"))
    }

    /// The key is deleted.
    pub(super) fn deleted() -> Self {
        let text = "Key has already been deleted: Please delete references to this key";
        Self::new(StatusCode::GONE, "KEY_DELETED_ERR", text.to_owned())
    }
}
