//! Certificates: the signed reports that justify an opening, a promote, a flip, a clear or a drop.

use bincode::{Decode, Encode};

use crate::manifest::SignedManifest;

/// Signed envelopes exactly as they were received, and the manifests since the order's.
///
/// Who checks one wants, equal to its own saved order, exactly one report of each crypto unit of
/// the newest manifest that it holds. Recipient, message id and epoch inside are not judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Certificate {
    /// Envelopes of unit reports, and for a clear of keystore reports.
    pub envelopes: Vec<Vec<u8>>,
    /// Manifests since the order's serial, oldest first; usually none.
    pub manifests: Vec<SignedManifest>,
}
