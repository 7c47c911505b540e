//! All SQL of keys: their metadata, their versions, and one plain table of wrapped keys for each
//! generation. The rules of the keystore row are `machines::gate`; they are applied here inside
//! transactions that hold the row.
//!
//! Deliberately absent: ciphers (blobs are opaque bytes with a pattern in their header) and any
//! decision about a rotation.

mod either;
pub mod keys;
pub mod postgres;
pub mod sqlite;

pub use either::Keystore;
pub use keys::{KeyMeta, KeyState, ListQuery, NewBlob, NewKey, ScanRow, StoredBlob};
pub use postgres::PostgresKeystore;
pub use sqlite::SqliteKeystore;

use machines::gate::GateRefusal;
use protocol::page::{ChunkRange, WrappedRow};
use protocol::{Digest, KeyId};

/// Why the keystore did not do what it was asked. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The rules of the row refuse it.
    #[error(transparent)]
    Gate(#[from] GateRefusal),
    /// No such key, or it is purged.
    #[error("there is no key {0}")]
    NoKey(KeyId),
    /// A key with this id exists already.
    #[error("a key with this id exists already")]
    Duplicate,
    /// The key's state does not allow it.
    #[error("key {key} is {state}: {refused} is not possible")]
    State {
        /// The key.
        key: KeyId,
        /// Its state, in a word.
        state: &'static str,
        /// What was asked.
        refused: &'static str,
    },
    /// No unit opened the key's blob when the master key was rotated.
    #[error("key {0} is in quarantine: no crypto unit opened it when the master key was rotated")]
    Quarantined(KeyId),
    /// A blob under another pattern than its generation's.
    #[error("a blob does not carry the pattern of its generation")]
    PatternCheck,
    /// The keystore has no row for this instance.
    #[error("the keystore does not know this instance")]
    NoInstance,
    /// The database.
    #[error("keystore database: {0}")]
    Database(String),
}

/// A chunk of a generation being built or built: planned, and once it is written its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkRecord {
    /// Its range.
    pub range: ChunkRange,
    /// What was written, if it was.
    pub done: Option<WrittenChunk>,
}

/// A chunk to be written: its record and its rows.
#[derive(Clone, Debug)]
pub struct NewChunk {
    /// Its range.
    pub range: ChunkRange,
    /// Its record.
    pub written: WrittenChunk,
    /// Its rows with their new blobs.
    pub rows: Vec<WrappedRow>,
    /// Rows that no unit opens, with their old blobs: they go into quarantine, each with the reason.
    pub quarantined: Vec<(WrappedRow, String)>,
}

/// The record of a written chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenChunk {
    /// How many versions, those in quarantine not counted.
    pub count: u64,
    /// How many versions went into quarantine.
    pub quarantined_count: u64,
    /// `crypto::ChunkDigest` over the new rows.
    pub new_digest: Digest,
    /// The unit's receipt; empty for the one empty chunk of a new keystore.
    pub receipt: Vec<u8>,
}
