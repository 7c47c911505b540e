//! What can be measured, each by itself.

mod crash;
mod embedded;
mod growth;
mod many;
mod openbao;
mod processes;
mod reads;
mod units;

use clap::ValueEnum;

use crate::results::{Aim, Measured};

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// 1,000,000 keys beside the floor.
    Million,
    /// 3,000 keys, by phase.
    Small,
    /// The embedded cluster beside SQLite's own copy.
    Embedded,
    /// OpenBao's transit re-wrapping the same number of keys.
    Openbao,
    /// Idle memory, and time to readiness.
    Idle,
    /// What more keys cost: time, memory, processor time.
    Growth,
    /// What is done again after a crash in the middle.
    Crash,
    /// Metadata reads beside a rotation.
    Reads,
    /// One, two and four operational units and reencryptors.
    Units,
}

/// How many keys and runs.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Runs of each kind.
    pub rounds: usize,
    /// The many keys of most parts.
    pub many: u64,
    /// The few.
    pub few: u64,
    /// Only whether it works.
    pub is_short: bool,
    /// Also 10,000,000.
    pub is_full: bool,
}

impl Sizes {
    /// As the arguments say.
    pub const fn of(is_short: bool, is_full: bool, rounds: usize) -> Self {
        match is_short {
            true => Self { rounds: 1, many: 20_000, few: 1_000, is_short, is_full: false },
            false => Self { rounds, many: 1_000_000, few: 3_000, is_short, is_full },
        }
    }
}

impl Part {
    /// Every part, in the order of their weight.
    pub const ALL: [Self; 9] = [
        Self::Million,
        Self::Small,
        Self::Embedded,
        Self::Openbao,
        Self::Idle,
        Self::Growth,
        Self::Crash,
        Self::Reads,
        Self::Units,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Million => "million",
            Self::Small => "small",
            Self::Embedded => "embedded",
            Self::Openbao => "openbao",
            Self::Idle => "idle",
            Self::Growth => "growth",
            Self::Crash => "crash",
            Self::Reads => "reads",
            Self::Units => "units",
        }
    }

    /// Measures it.
    pub async fn measure(self, sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
        match self {
            Self::Million => many::beside_floor(sizes).await,
            Self::Small => many::few(sizes).await,
            Self::Embedded => embedded::beside_own_copy(sizes).await,
            Self::Openbao => openbao::compared(sizes).await,
            Self::Idle => processes::idle(sizes).await,
            Self::Growth => growth::with_keys(sizes).await,
            Self::Crash => crash::in_the_middle(sizes).await,
            Self::Reads => reads::beside_rotations(sizes).await,
            Self::Units => units::one_two_four(sizes).await,
        }
    }
}

/// A share that shall be reached.
const fn at_least(value: f64) -> Aim {
    Aim::AtLeast(value)
}

const fn at_most(value: f64) -> Aim {
    Aim::AtMost(value)
}
