//! Phases of a rotation, and the entries of the audit log.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// Where a rotation stands, as people, events and spans name it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Every unit and keystore is asked how it stands; nothing is saved.
    Survey,
    /// Units take the order and offer transport keys.
    Inspect,
    /// One recovery unit makes the master key.
    Generate,
    /// The others install it.
    Install,
    /// All of them commit.
    Commit,
    /// All units have committed; the order wants time before keys are refused.
    HoldAfterCommit,
    /// The new generation is filled.
    Reencrypt,
    /// Decided: all units promote. From here it only goes forward.
    Promote,
    /// The new generation becomes the active one and is read back.
    Flip,
    /// Flipped and read back; the order wants the old key kept for a time.
    HoldBeforeClear,
    /// All units wipe the old key.
    Clear,
    /// The old generation's table is dropped.
    Drop,
    /// Ended well.
    Done,
    /// Being ended before the decision.
    Aborting,
    /// Ended before the decision; nothing has changed.
    Aborted,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 15] = [
        Self::Survey,
        Self::Inspect,
        Self::Generate,
        Self::Install,
        Self::Commit,
        Self::HoldAfterCommit,
        Self::Reencrypt,
        Self::Promote,
        Self::Flip,
        Self::HoldBeforeClear,
        Self::Clear,
        Self::Drop,
        Self::Done,
        Self::Aborting,
        Self::Aborted,
    ];

    /// Stable word, as in routing keys.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Survey => "survey",
            Self::Inspect => "inspect",
            Self::Generate => "generate",
            Self::Install => "install",
            Self::Commit => "commit",
            Self::HoldAfterCommit => "hold-after-commit",
            Self::Reencrypt => "reencrypt",
            Self::Promote => "promote",
            Self::Flip => "flip",
            Self::HoldBeforeClear => "hold-before-clear",
            Self::Clear => "clear",
            Self::Drop => "drop",
            Self::Done => "done",
            Self::Aborting => "aborting",
            Self::Aborted => "aborted",
        }
    }

    /// Whether the rotation has ended.
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Done | Self::Aborted)
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
