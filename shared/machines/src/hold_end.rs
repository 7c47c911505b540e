//! The administrators' statement that ends a hold before its time, judged alike by the coordinator
//! that hands it on and by every unit.

use crypto::domain;
use protocol::manifest::Manifest;
use protocol::order::{HoldEnd, OrderRef, SignedHoldEnd};

use crate::trust::verify_signatures;

/// Why a statement ends no hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldEndRefusal {
    /// Bytes that are no statement.
    #[error("{0}")]
    Malformed(String),
    /// Of another instance.
    #[error("the statement is of another instance")]
    OtherInstance,
    /// Of another rotation than the one that is under way, if one is.
    #[error("the rotation that the statement names is not running")]
    OtherRotation,
    /// The administrators' signatures do not suffice.
    #[error("{0}")]
    NotSigned(String),
}

/// Wants a statement about `running` that a quorum of the manifest has signed.
pub fn verify(
    signed: &SignedHoldEnd,
    manifest: &Manifest,
    running: Option<&OrderRef>,
) -> Result<HoldEnd, HoldEndRefusal> {
    let statement =
        signed.unverified().map_err(|error| HoldEndRefusal::Malformed(error.to_string()))?;
    if statement.instance != manifest.instance {
        return Err(HoldEndRefusal::OtherInstance);
    }
    if !running.is_some_and(|order| statement.is_for(order)) {
        return Err(HoldEndRefusal::OtherRotation);
    }
    let (threshold, given) = (manifest.signature_threshold, &signed.signatures);
    verify_signatures(manifest, domain::HOLD_END, &signed.bytes, given, threshold)
        .map_err(HoldEndRefusal::NotSigned)?;
    Ok(statement)
}
