//! Everything that a unit is asked: every command and every step, for this order and for others,
//! with what justifies it and with what does not.

use protocol::command::{Command, Step};

use super::places::{Which, listed};

listed!(
    /// What is asked.
    What {
        Survey,
        Inspect,
        /// With one signature of two.
        InspectUnsigned,
        Abort,
        AbortUnsigned,
        /// With everybody's offers.
        Generate,
        /// With none.
        GenerateForNobody,
        /// With an offer that was made for another rotation.
        GenerateForOther,
        Install,
        /// Genuine, with another master key.
        InstallOther,
        /// Sealed to another unit.
        InstallForOther,
        InstallForged,
        Commit,
        /// Naming another pattern.
        CommitOther,
        Promote,
        /// With a report too few.
        PromoteLacking,
        /// With *flipped*.
        Clear,
        /// Before the flip was read back.
        ClearLacking,
        /// With a *flipped* that names the end of the unit's hold.
        ClearNamed,
        /// With a *flipped* of a keystore that was restored and flipped again.
        ClearRestored,
        /// With the report of a unit that has recovered its master key.
        ClearRecovered,
        EndHoldAfterCommit,
        EndHoldBeforeClear,
        EndHoldUnsigned,
        /// Its own report of a state that it has not.
        Remind,
        RemindOlder,
        RemindOfOther,
        RemindForged,
        /// The manifests that everybody has.
        ManifestKnown,
        /// A manifest more, that is no amendment.
        ManifestNext,
        /// An amendment of this rotation that removes another unit.
        ManifestAmends,
        /// An amendment that removes this unit.
        ManifestRemoves,
        ManifestUnsigned,
        /// Commit, signed by a reencryptor.
        ByReencryptor,
        /// Commit, of a lower epoch than one that was seen.
        OfLowerEpoch,
    }
);

/// One thing asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    pub what: What,
    pub which: Which,
}

impl Ask {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        What::ALL.iter().flat_map(|what| {
            let which = if names_any_order(*what) { Which::ALL } else { &[Which::This] };
            which.iter().map(|which| Self { what: *what, which: *which })
        })
    }
}

impl std::fmt::Display for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.which {
            Which::This => write!(f, "{:?}", self.what),
            which => write!(f, "{:?}({which:?})", self.what),
        }
    }
}

/// What an ask is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// A step of an order, right or not.
    Step,
    /// An order as a whole.
    Order,
    /// No order that can be chosen.
    Other,
}

impl What {
    /// What it is about. A new one does not compile until it is said here.
    pub const fn about(self) -> About {
        match self {
            Self::Generate
            | Self::GenerateForNobody
            | Self::GenerateForOther
            | Self::Install
            | Self::InstallOther
            | Self::InstallForOther
            | Self::InstallForged
            | Self::Commit
            | Self::CommitOther
            | Self::Promote
            | Self::PromoteLacking
            | Self::Clear
            | Self::ClearLacking
            | Self::ClearNamed
            | Self::ClearRestored
            | Self::ClearRecovered => About::Step,
            Self::Survey
            | Self::Inspect
            | Self::Abort
            | Self::EndHoldAfterCommit
            | Self::EndHoldBeforeClear
            | Self::EndHoldUnsigned => About::Order,
            Self::InspectUnsigned
            | Self::AbortUnsigned
            | Self::Remind
            | Self::RemindOlder
            | Self::RemindOfOther
            | Self::RemindForged
            | Self::ManifestKnown
            | Self::ManifestNext
            | Self::ManifestAmends
            | Self::ManifestRemoves
            | Self::ManifestUnsigned
            | Self::ByReencryptor
            | Self::OfLowerEpoch => About::Other,
        }
    }
}

/// Whether it is asked for each of the orders, or for this one only.
const fn names_any_order(what: What) -> bool {
    !matches!(what.about(), About::Other)
}

/// What stands for a command in the table. A new command or step does not compile until it has
/// something here.
pub const fn asked_by(command: &Command) -> &'static [What] {
    match command {
        Command::Survey { order: _ } => &[What::Survey],
        Command::Inspect { order: _ } => &[What::Inspect, What::InspectUnsigned],
        Command::Step { order: _, step } => match step {
            Step::Generate { offers: _ } => {
                &[What::Generate, What::GenerateForNobody, What::GenerateForOther]
            }
            Step::Install { transfer: _ } => {
                &[What::Install, What::InstallOther, What::InstallForOther, What::InstallForged]
            }
            Step::Commit { pattern: _ } => {
                &[What::Commit, What::CommitOther, What::ByReencryptor, What::OfLowerEpoch]
            }
            Step::Promote { certificate: _ } => &[What::Promote, What::PromoteLacking],
            Step::Clear { certificate: _ } => &[
                What::Clear,
                What::ClearLacking,
                What::ClearNamed,
                What::ClearRestored,
                What::ClearRecovered,
            ],
        },
        Command::Abort { order: _ } => &[What::Abort, What::AbortUnsigned],
        Command::EndHold { statement: _ } => {
            &[What::EndHoldAfterCommit, What::EndHoldBeforeClear, What::EndHoldUnsigned]
        }
        Command::Remind { report: _ } => {
            &[What::Remind, What::RemindOlder, What::RemindOfOther, What::RemindForged]
        }
        Command::TakeManifest { chain: _ } => &[
            What::ManifestKnown,
            What::ManifestNext,
            What::ManifestAmends,
            What::ManifestRemoves,
            What::ManifestUnsigned,
        ],
    }
}
