//! JSON of what the gateway offers beside the Key Protect shapes (`/v1`), shared with its clients:
//! many keys in one request, and the check of all keys.

use serde::{Deserialize, Serialize};

use crate::ids::{KeyId, VersionId};

/// Most keys in one batch.
pub const MAX_BATCH: usize = 1_000;

/// One key of a batch.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchKey {
    /// Its name.
    pub name: String,
    /// A standard key, whose bytes may be read again; else a root key.
    #[serde(default)]
    pub extractable: bool,
    /// Its bytes in base64; absent: a unit makes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// Its id; absent: a random one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<KeyId>,
}

/// `POST /v1/key-batches`: all of them are written, or none. All have a payload, or none has.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// 1 to [`MAX_BATCH`].
    pub keys: Vec<BatchKey>,
}

/// What was written, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchAnswer {
    /// One each.
    pub keys: Vec<BatchWritten>,
}

/// A key that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchWritten {
    /// Its id.
    pub id: KeyId,
    /// Its name.
    pub name: String,
}

/// `POST /v1/key-checks`: every key version was opened in the units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckView {
    /// Versions that ought to be there.
    pub checked: u64,
    /// Versions that opened.
    pub opened: u64,
    /// Versions that no unit opened when the master key was rotated: in quarantine.
    #[serde(default)]
    pub quarantined: Vec<CheckFailureView>,
    /// The others.
    pub failures: Vec<CheckFailureView>,
}

/// A version that does not open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckFailureView {
    /// The key.
    pub id: KeyId,
    /// Its name.
    pub name: String,
    /// The version.
    pub version: VersionId,
    /// Why.
    pub reason: String,
}
