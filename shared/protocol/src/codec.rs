//! The one place that names bincode: a format byte, fixed-width little-endian integers
//! (`config::legacy()`, which other crates can read byte for byte), a limit, no trailing bytes.
//!
//! The decoder is not canonical, so nothing is ever signed, hashed or compared after encoding it
//! anew: what was received is what is signed.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::enc::EncoderImpl;
use bincode::enc::write::SizeWriter;
pub use bincode::{Decode, Encode};

/// Most bytes that one encoded value may have, and most that a hostile length may make us allocate.
pub const LIMIT_BYTES: usize = 4 * 1024 * 1024;

/// The newest format of every message, state file, record and receipt.
pub const FORMAT: u8 = 1;

/// Bytes that are not the value they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("no bytes")]
    Empty,
    /// Written by a newer program.
    #[error(
        "format {found} is newer than {FORMAT}, the newest that this program reads: upgrade it"
    )]
    NewerFormat {
        /// The format byte found.
        found: u8,
    },
    /// A format that never was.
    #[error("format {found} does not exist")]
    UnknownFormat {
        /// The format byte found.
        found: u8,
    },
    /// Longer than [`LIMIT_BYTES`], or a length inside says so.
    #[error("longer than {LIMIT_BYTES} bytes")]
    TooLong,
    /// Bytes left over after the value.
    #[error("{count} bytes after the value")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// Cut short, or not this kind of value.
    #[error("malformed: {reason}")]
    Malformed {
        /// What the decoder said.
        reason: String,
    },
}

impl DecodeError {
    /// Stable word for counters and the reason header of the dead-letter queue.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NewerFormat { .. } | Self::UnknownFormat { .. } => "wrong-version",
            Self::TooLong => "oversized",
            Self::TrailingBytes { .. } => "trailing-bytes",
            Self::Malformed { .. } => "malformed",
        }
    }
}

type Legacy = Configuration<LittleEndian, Fixint, Limit<LIMIT_BYTES>>;

const CONFIG: Legacy = bincode::config::legacy().with_limit::<LIMIT_BYTES>();

/// Encodes a value behind its format byte.
///
/// Our types hold no value that cannot be encoded, so this fails only where a value is beyond
/// [`LIMIT_BYTES`], which every caller prevents by its own smaller limit.
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(encoded_bytes(value));
    encode_into(value, &mut bytes);
    bytes
}

/// How many bytes [`encode`] makes of it.
pub fn encoded_bytes<T: Encode>(value: &T) -> usize {
    let mut counter = EncoderImpl::new(SizeWriter::default(), CONFIG);
    // What cannot be encoded is found when it is.
    let _ = value.encode(&mut counter);
    1 + counter.into_writer().bytes_written
}

/// Appends what [`encode`] makes of it.
pub fn encode_into<T: Encode>(value: &T, bytes: &mut Vec<u8>) {
    bytes.push(FORMAT);
    if let Err(error) = bincode::encode_into_std_write(value, bytes, CONFIG) {
        panic!("a value of our own could not be encoded: {error}");
    }
}

/// Decodes a value that fills the bytes to the last one.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (&format, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
    match format {
        FORMAT => {}
        0 => return Err(DecodeError::UnknownFormat { found: 0 }),
        found => return Err(DecodeError::NewerFormat { found }),
    }
    if rest.len() > LIMIT_BYTES {
        return Err(DecodeError::TooLong);
    }
    let (value, used) = bincode::decode_from_slice(rest, CONFIG).map_err(|error| match error {
        bincode::error::DecodeError::LimitExceeded => DecodeError::TooLong,
        error => DecodeError::Malformed { reason: error.to_string() },
    })?;
    match rest.len() - used {
        0 => Ok(value),
        count => Err(DecodeError::TrailingBytes { count }),
    }
}
