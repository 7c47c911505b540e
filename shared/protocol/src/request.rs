//! The rotation request as JSON on the coordinator's queue (schema in `docs/schemas/`).

use serde::{Deserialize, Serialize};

use crate::ids::{Digest, Pattern};
use crate::keystore::GateMode;
use crate::order::SignedOrder;

/// The only value of `type`.
pub const REQUEST_TYPE: &str = "keyhelm.rotation-request";

/// A rotation request. Unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationRequest {
    /// [`REQUEST_TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// 1.
    pub version: u32,
    /// Name or id of the instance.
    pub instance: String,
    /// Makes repeats of this request answer as the first; else the message id, else its body hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Refuses if the current pattern is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_current_pattern: Option<Pattern>,
    /// `strict` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<GateMode>,
    /// A signed order; under a standing order the coordinator writes one itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<SignedOrder>,
    /// Precheck only.
    #[serde(default)]
    pub dry_run: bool,
    /// Whether every page is opened by another unit before the decision.
    #[serde(default)]
    pub verify_all: bool,
    /// Whether every key is opened in the units before anything starts.
    #[serde(default)]
    pub check_keys: bool,
    /// Starts only if this is still the plan that a dry run with `check_keys` gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Digest>,
}
