//! Keys as the keystore knows them.

use protocol::{GenerationId, KeyId, Pattern, UnixMillis, VersionId};

/// State of a key, with IBM's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// 1: in use.
    Active,
    /// 5: deleted, restorable, its blob carried through rotations.
    Destroyed,
}

impl KeyState {
    /// IBM's number.
    pub const fn number(self) -> i64 {
        match self {
            Self::Active => 1,
            Self::Destroyed => 5,
        }
    }

    /// The state behind IBM's number.
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Active),
            5 => Some(Self::Destroyed),
            _ => None,
        }
    }

    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Destroyed => "deleted",
        }
    }
}

/// Metadata of a key. Never a byte of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMeta {
    /// Its id.
    pub key: KeyId,
    /// Its newest version.
    pub version: VersionId,
    /// Its name.
    pub name: String,
    /// `crypto::KeyAttributes` in a byte.
    pub attributes: u8,
    /// Where it stands.
    pub state: KeyState,
    /// When it was made.
    pub created_at: UnixMillis,
    /// By whom.
    pub created_by: String,
    /// When it was deleted.
    pub deleted_at: Option<UnixMillis>,
}

/// A blob for one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBlob {
    /// Which generation.
    pub generation: GenerationId,
    /// The blob.
    pub blob: Vec<u8>,
}

/// A key to be written.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its metadata.
    pub meta: KeyMeta,
    /// A blob for every generation that is open for writing.
    pub blobs: Vec<NewBlob>,
}

/// A key's blob in the active generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// The version.
    pub version: VersionId,
    /// The key.
    pub key: KeyId,
    /// `crypto::KeyAttributes` in a byte.
    pub attributes: u8,
    /// The active generation's pattern.
    pub pattern: Pattern,
    /// The blob.
    pub blob: Vec<u8>,
}

/// What a list asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// At most so many.
    pub limit: u32,
    /// Skips so many.
    pub offset: u32,
    /// Only these states; empty for all that are not deleted.
    pub states: Vec<KeyState>,
    /// Only names with this text in them.
    pub search: Option<String>,
}

impl ListQuery {
    /// The states that it asks for: of keys that are in use, unless it names some.
    pub(crate) fn wanted_states(&self) -> &[KeyState] {
        match self.states.is_empty() {
            true => &[KeyState::Active],
            false => &self.states,
        }
    }
}

/// Which versions a scan gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// All that ought to be there.
    All,
    /// Those whose blob was born under this generation: written since its opening, in no chunk of it.
    Born(u32),
}

/// A version that ought to be there, and its blob if it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanRow {
    /// The version.
    pub version: VersionId,
    /// The key.
    pub key: KeyId,
    /// The key's name.
    pub name: String,
    /// `crypto::KeyAttributes` in a byte, as the wrapped table has it.
    pub attributes: u8,
    /// None if the row is missing, or in quarantine.
    pub blob: Option<Vec<u8>>,
    /// Why no unit opened it when it was put into quarantine, if it was.
    pub quarantined: Option<String>,
}
