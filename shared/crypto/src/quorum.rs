//! Signatures of administrators.

use protocol::{PublicKey, Signature, Ski};

use crate::{digest, domain, identity};

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

/// An administrator's subject key identifier.
pub fn ski(key: &PublicKey) -> Ski {
    Ski(digest::sha256(domain::SKI, &[&key.0]).0)
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
