//! Why a client does not get what it asks for.

use keystore::KeystoreError;
use machines::gate::GateRefusal;
use protocol::KeyId;
use protocol::session::KeyRefusal;

use crate::units::UnitsError;

/// Why a client does not get what it asks for.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The keystore: no such key, its state, the gate.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// A unit refused it.
    #[error(transparent)]
    Refused(#[from] KeyRefusal),
    /// No unit answers, or too many requests wait for one.
    #[error("{0}")]
    Units(String),
    /// A unit answered something else than it was asked.
    #[error("a crypto unit gave an unexpected answer")]
    Unexpected,
    /// Too many keys at once, or none, or too many bytes.
    #[error("{0}")]
    OutOfBounds(String),
    /// The database was lost while it wrote these keys: they are all there, or none of them.
    #[error("{}", may_be_written(.keys))]
    Unclear {
        /// The keys.
        keys: Vec<KeyId>,
    },
    /// The key is there, its wrapped bytes are not.
    #[error("the wrapped key of {0} is missing from the keystore")]
    Lost(KeyId),
}

fn may_be_written(keys: &[KeyId]) -> String {
    let first = keys.first().map(KeyId::to_string).unwrap_or_default();
    match keys.len() {
        0 | 1 => format!("the key may have been made, under the id {first}"),
        many => format!(
            "{many} keys may have been made, all of them or none, the first under the id {first}"
        ),
    }
}

impl From<UnitsError> for GatewayError {
    fn from(error: UnitsError) -> Self {
        Self::Units(error.to_string())
    }
}

impl From<GateRefusal> for GatewayError {
    fn from(refusal: GateRefusal) -> Self {
        Self::Keystore(refusal.into())
    }
}

impl GatewayError {
    /// Whether it is because a master key rotation is running: the caller may try again.
    pub const fn is_gate_closed(&self) -> bool {
        matches!(self, Self::Keystore(KeystoreError::Gate(GateRefusal::GateClosed(_))))
    }
}
