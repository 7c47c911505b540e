//! Signatures of administrators.

use protocol::{PublicKey, Signature, Ski};
use sha2::{Digest, Sha256};

use crate::identity;

/// What is lacking.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuorumError {
    /// Somebody who is no administrator signed.
    #[error("{} is no administrator", .0.shown())]
    Unknown(Ski),
    /// A signature is not its administrator's.
    #[error("the signature of {} is not valid", .0.shown())]
    Invalid(Ski),
    /// Too few of them.
    #[error("{given} of {needed} signatures")]
    TooFew {
        /// Distinct valid ones.
        given: u32,
        /// The threshold.
        needed: u32,
    },
}

/// An administrator's subject key identifier: SHA-256 of the public key, and nothing else, so that
/// any tool can compute it.
pub fn ski(key: &PublicKey) -> Ski {
    Ski(Sha256::digest(key.0).into())
}

/// Wants at least `threshold` distinct administrators' signatures; one that is unknown or invalid
/// refuses them all, one that is there twice counts once.
pub fn verify_quorum(
    signing_domain: &str,
    message: &[u8],
    signatures: &[(Ski, Signature)],
    administrators: &[PublicKey],
    threshold: u32,
) -> Result<(), QuorumError> {
    let mut counted: Vec<Ski> = Vec::new();
    for (who, signature) in signatures {
        let key =
            administrators.iter().find(|key| ski(key) == *who).ok_or(QuorumError::Unknown(*who))?;
        if !identity::verify(key, signing_domain, message, signature) {
            return Err(QuorumError::Invalid(*who));
        }
        if !counted.contains(who) {
            counted.push(*who);
        }
    }
    let given = counted.len() as u32;
    match given >= threshold.max(1) {
        true => Ok(()),
        false => Err(QuorumError::TooFew { given, needed: threshold.max(1) }),
    }
}
