//! Pages of wrapped keys on their way through an operational unit.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::ids::{
    CheckId, Digest, GenerationId, InstanceId, KeyId, KeystoreId, OrderNumber, Pattern, ProcessId,
    RotationId, Signature, VersionId,
};
use crate::rows::{Blobs, Rows};

/// One wrapped key version: everything that its blob is bound to, and the blob.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct WrappedRow {
    /// The version.
    pub version: VersionId,
    /// Its key.
    pub key: KeyId,
    /// `crypto::KeyAttributes` in a byte: algorithm, type, extractable.
    pub attributes: u8,
    /// The blob as stored.
    pub blob: Vec<u8>,
}

impl std::fmt::Debug for WrappedRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WrappedRow({} of {}, {} bytes)", self.version, self.key, self.blob.len())
    }
}

/// A range of version ids, `after` excluded, `upto` included, in byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct ChunkRange {
    /// Exclusive lower end; the nil id, which no version has, for the first chunk.
    pub after: VersionId,
    /// Inclusive upper end; the highest id for the last chunk.
    pub upto: VersionId,
}

impl ChunkRange {
    /// The whole key space.
    pub const WHOLE: Self =
        Self { after: VersionId::from_bytes([0; 16]), upto: VersionId::from_bytes([0xff; 16]) };

    /// Whether `version` lies in it.
    pub fn contains(&self, version: VersionId) -> bool {
        self.after < version && version <= self.upto
    }
}

/// Asks any operational unit to re-wrap one chunk.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RewrapPage {
    /// The rotation's order: a unit works only for the one that it is bound to.
    pub order_digest: Digest,
    /// Number of that order.
    pub number: OrderNumber,
    /// The generation that is being built.
    pub generation: GenerationId,
    /// The chunk.
    pub range: ChunkRange,
    /// Pattern of the blobs.
    pub from: Pattern,
    /// Pattern wanted.
    pub to: Pattern,
    /// The chunk's rows in ascending order of version.
    pub rows: Rows,
}

/// A key version whose blob did not open.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct UnopenedRow {
    /// The version.
    pub version: VersionId,
    /// Its key.
    pub key: KeyId,
    /// Why, in words.
    pub reason: String,
}

/// What a unit answers to a [`RewrapPage`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum PageAnswer {
    /// All rows, in the order given, each with its new blob, and the unit's receipt.
    Rewrapped {
        /// New blobs, one for each row.
        blobs: Blobs,
        /// The signed receipt.
        receipt: SignedReceipt,
    },
    /// Nothing was re-wrapped: these rows did not open.
    Unopened(Vec<UnopenedRow>),
    /// The unit does not hold both patterns, or is not bound to the order.
    Refused(String),
}

/// What a unit asserts about one chunk that it re-wrapped.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ChunkReceipt {
    /// The instance.
    pub instance: InstanceId,
    /// The rotation.
    pub rotation: RotationId,
    /// Digest of its order.
    pub order_digest: Digest,
    /// The generation written.
    pub generation: GenerationId,
    /// Pattern of the old blobs; none where a new keystore's empty chunk is signed.
    pub from: Option<Pattern>,
    /// Pattern of the new blobs.
    pub to: Pattern,
    /// The chunk.
    pub range: ChunkRange,
    /// How many versions.
    pub count: u64,
    /// `crypto::ChunkDigest` over id, version, attributes and old blob of each row.
    pub old_digest: Digest,
    /// The same over the new blobs.
    pub new_digest: Digest,
    /// The unit.
    pub unit: ProcessId,
}

/// A receipt with the unit's signature over its encoded bytes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedReceipt {
    /// `codec::encode` of a [`ChunkReceipt`].
    pub bytes: Vec<u8>,
    /// The unit's signature.
    pub signature: Signature,
}

/// Asks one unit to open every row, and, where `new_blobs` is given, to compare what both hold.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CheckPage {
    /// Rows to open, with whichever register their blob's header names.
    pub rows: Rows,
    /// For each row the blob that must hold the same key; empty to open only.
    pub new_blobs: Blobs,
}

/// What a unit answers to a [`CheckPage`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum CheckAnswer {
    /// It has tried them all.
    Checked {
        /// Rows that opened (and compared equal).
        opened_count: u64,
        /// The others.
        unopened: Vec<UnopenedRow>,
    },
    /// The unit opens nothing now.
    Refused(String),
}

/// Most key versions that a report names of those that do not open.
pub const MAX_NAMED: usize = 100;

/// How far a check of all keys of a keystore has come.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct KeyCheck {
    /// Which check.
    pub check: CheckId,
    /// The keystore.
    pub keystore: KeystoreId,
    /// The generation whose keys are opened.
    pub generation: GenerationId,
    /// Its pattern.
    pub pattern: Pattern,
    /// Versions that have been tried.
    pub checked_count: u64,
    /// Versions that there were when the check began.
    pub total_count: u64,
    /// Versions that do not open, or whose wrapped key is missing.
    pub unopened_count: u64,
    /// The first of them, at most [`MAX_NAMED`].
    pub unopened: Vec<UnopenedRow>,
    /// How long it has taken until now.
    pub took_ms: u64,
    /// How it has ended; absent while it runs.
    pub end: Option<KeyCheckEnd>,
}

/// The end of a check of all keys.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyCheckEnd {
    /// Every version was tried.
    Done {
        /// Merkle root over the keys and versions that were tried, as in a receipt (RFC 6962).
        key_root: Digest,
    },
    /// It could not come to its end.
    Failed(String),
}
