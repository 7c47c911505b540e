//! Sessions between a gateway process and an operational unit: no plaintext of a client crosses
//! the broker in the clear.

use std::fmt;

use bincode::{Decode, Encode};
use zeroize::Zeroize;

use crate::ids::{InstanceId, KeyId, Pattern, ProcessId, SessionId, UnixMillis, VersionId};
use crate::page::{UnopenedRow, WrappedRow};

/// Bytes that no log may show: wiped when dropped, redacted in `Debug`.
#[derive(PartialEq, Eq, Encode, Decode)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes the bytes over.
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The one door to the bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes([REDACTED])")
    }
}

/// Asks a unit for its session key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SessionAsk {}

/// A unit's session key: made at its start, held in memory only, signed by the envelope.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SessionOffer {
    /// The unit.
    pub unit: ProcessId,
    /// X25519 public key.
    pub session_key: [u8; 32],
    /// When the unit stops opening sessions to it.
    pub until: UnixMillis,
}

/// What both sides bind a session to (HPKE `info`).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SessionInfo {
    /// The instance.
    pub instance: InstanceId,
    /// The session.
    pub session: SessionId,
    /// The gateway process.
    pub gateway: ProcessId,
    /// The unit.
    pub unit: ProcessId,
}

/// One sealed request. It names its session and its counter, which is the nonce.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SealedRequest {
    /// The session.
    pub session: SessionId,
    /// The unit's session key that it was opened to.
    pub session_key: [u8; 32],
    /// HPKE's encapsulated key, in every request, so that each may be the first to arrive.
    pub enc: [u8; 32],
    /// From 1; a repeat within the window is dropped.
    pub counter: u64,
    /// A sealed [`KeyRequest`].
    pub ciphertext: Vec<u8>,
}

/// What a unit answers to a [`SealedRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SealedAnswer {
    /// A sealed [`KeyAnswer`] to the request with this counter.
    Sealed {
        /// The session.
        session: SessionId,
        /// Counter of the request.
        counter: u64,
        /// A sealed [`KeyAnswer`].
        ciphertext: Vec<u8>,
    },
    /// The unit has started anew or let the session go: make another one with this key.
    UnknownSession(SessionOffer),
    /// The counter has been used.
    Replayed,
}

/// One key to be made or taken in.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub struct CreateItem {
    /// Its id.
    pub key: KeyId,
    /// Id of its first version.
    pub version: VersionId,
    /// `crypto::KeyAttributes` in a byte.
    pub attributes: u8,
    /// The key's bytes where it is imported; made inside the unit otherwise.
    pub payload: Option<SecretBytes>,
}

/// What a gateway asks of a unit, sealed.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub enum KeyRequest {
    /// Makes or takes in keys, and seals each under every pattern named.
    Create {
        /// The keys.
        items: Vec<CreateItem>,
        /// Patterns of the generations open for writing.
        patterns: Vec<Pattern>,
    },
    /// Opens a standard key.
    Payload {
        /// Its row.
        row: WrappedRow,
    },
    /// Wraps data under a root key.
    Wrap {
        /// The root key's row.
        row: WrappedRow,
        /// What is wrapped; 32 random bytes if absent.
        plaintext: Option<SecretBytes>,
        /// Additional authenticated data, in order.
        aad: Vec<Vec<u8>>,
    },
    /// Unwraps data.
    Unwrap {
        /// The root key's row.
        row: WrappedRow,
        /// What a wrap answered.
        ciphertext: Vec<u8>,
        /// As at the wrap.
        aad: Vec<Vec<u8>>,
    },
    /// Opens every row and says which do not.
    Check {
        /// The rows.
        rows: Vec<WrappedRow>,
    },
}

/// What a unit answers, sealed.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub enum KeyAnswer {
    /// For each item, for each pattern, a blob.
    Created(Vec<Vec<Vec<u8>>>),
    /// The key's bytes.
    Payload(SecretBytes),
    /// The ciphertext, and the plaintext where the unit made it.
    Wrapped {
        /// The ciphertext.
        ciphertext: Vec<u8>,
        /// 32 bytes, where none were given.
        generated: Option<SecretBytes>,
    },
    /// What was wrapped.
    Unwrapped(SecretBytes),
    /// How many rows opened, and which did not.
    Checked {
        /// Rows that opened.
        opened_count: u64,
        /// The others.
        unopened: Vec<UnopenedRow>,
    },
    /// The unit did not do it.
    Refused(KeyRefusal),
}

/// Why a unit did not do what a gateway asked.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum KeyRefusal {
    /// No register holds the pattern in the blob's header: read the row again, once.
    #[error("no register holds pattern {0}")]
    PatternNotHeld(Pattern),
    /// The blob does not open: it was changed, or bound to another key.
    #[error("the blob of this key does not open: {0}")]
    BlobDoesNotOpen(String),
    /// The key's attributes do not allow it.
    #[error("{0}")]
    NotAllowed(String),
    /// The ciphertext was not made by this key, or with other additional data.
    #[error("the ciphertext was not made by this key version with these additional data")]
    Ciphertext,
    /// The unit serves nothing now (imprint mode, joining, rolled back, removed).
    #[error("the unit serves no key now: {0}")]
    NotServing(String),
    /// A length or count is beyond its limit.
    #[error("{0}")]
    OutOfBounds(String),
}
