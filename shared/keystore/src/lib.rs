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
pub use keys::{KeyMeta, KeyState, ListQuery, NewBlob, NewKey, ScanRow, Scanned, StoredBlob};
pub use postgres::PostgresKeystore;
pub use sqlite::SqliteKeystore;

use machines::gate::GateRefusal;
use protocol::page::{ChunkRange, WrappedRow};
use protocol::{Digest, KeyId, Rows};
use tokio::sync::mpsc;

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
    /// Somebody else has cut the key space into other chunks meanwhile.
    #[error("another reencryptor has written a chunk that overlaps: what is left is read again")]
    Overlap,
    /// The keystore has no row for this instance.
    #[error("the keystore does not know this instance")]
    NoInstance,
    /// Other sessions have held the keystore for longer than anybody waits.
    #[error(
        "the keystore is held by other sessions: nothing has been written, it may be asked again"
    )]
    Busy,
    /// The database was lost while a transaction was committed.
    #[error("keystore database: {0}: whether it was written is not known")]
    Unclear(String),
    /// The database. Nothing has been written.
    #[error("keystore database: {0}")]
    Database(String),
}

impl KeystoreError {
    /// The same of a commit.
    pub(crate) fn of_commit(self) -> Self {
        match self {
            Self::Database(text) => Self::Unclear(text),
            known => known,
        }
    }
}

/// A part of the key space of a generation that is being built or is built: a chunk and its record,
/// or what is still to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkRecord {
    /// Its range.
    pub range: ChunkRange,
    /// What was written, if it was.
    pub done: Option<WrittenChunk>,
}

/// The set of a generation that is being opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set {
    /// How many versions.
    pub(crate) count: u64,
    /// Versions that are in quarantine instead.
    pub(crate) quarantined_count: u64,
}

/// Pages as they are read, each with its range, when it is asked for; the first error is the last of
/// them.
pub type PageStream = mpsc::Receiver<Result<(ChunkRange, Rows), KeystoreError>>;

/// How ranges are cut into pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Not at all: each is one page.
    Never,
    /// After so many rows, or fewer where they are long.
    Every(u32),
}

/// Pages that are read before anybody has asked for them.
pub(crate) const PAGES_AHEAD: usize = 2;
/// Most bytes of the rows of a page that is cut, but for its last row: shown to a second unit, with the
/// new blobs beside the old ones, it still stays below what a message may have.
pub(crate) const MAX_PAGE_BYTES: usize = 1024 * 1024 * 7 / 4;

impl Cut {
    /// Whether a page that holds these ends here.
    pub(crate) fn is_full(self, rows: &Rows) -> bool {
        match self {
            Self::Never => false,
            Self::Every(most) => {
                rows.len() >= most.max(1) as usize || rows.byte_count() >= MAX_PAGE_BYTES
            }
        }
    }
}

/// Written chunks in ascending order, and between them what is still to be written.
pub(crate) fn with_gaps(written: Vec<(ChunkRange, WrittenChunk)>) -> Vec<ChunkRecord> {
    let mut after = ChunkRange::WHOLE.after;
    let mut all = Vec::with_capacity(written.len() + 1);
    let gap = |after, upto| ChunkRecord { range: ChunkRange { after, upto }, done: None };
    for (range, done) in written {
        if after < range.after {
            all.push(gap(after, range.after));
        }
        after = range.upto;
        all.push(ChunkRecord { range, done: Some(done) });
    }
    if after < ChunkRange::WHOLE.upto {
        all.push(gap(after, ChunkRange::WHOLE.upto));
    }
    all
}

/// A chunk to be written: its record and its rows.
#[derive(Clone, Debug)]
pub struct NewChunk {
    /// Its range.
    pub range: ChunkRange,
    /// Its record.
    pub written: WrittenChunk,
    /// Its rows with their new blobs.
    pub rows: Rows,
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
