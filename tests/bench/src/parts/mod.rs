//! What can be measured, each by itself.

mod many;

use clap::ValueEnum;

use crate::results::{Aim, Measured};

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// 1,000,000 keys beside the floor.
    Million,
    /// 3,000 keys.
    Small,
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
    /// Also 10,000,000.
    pub is_full: bool,
}

impl Sizes {
    /// As the arguments say.
    pub const fn of(is_short: bool, is_full: bool, rounds: usize) -> Self {
        match is_short {
            true => Self { rounds: 1, many: 5_000, few: 1_000, is_full: false },
            false => Self { rounds, many: 1_000_000, few: 3_000, is_full },
        }
    }
}

impl Part {
    /// Every part, in the order of their weight.
    pub const ALL: [Self; 2] = [Self::Million, Self::Small];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Million => "million",
            Self::Small => "small",
        }
    }

    /// Measures it.
    pub async fn measure(self, sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
        match self {
            Self::Million => many::beside_floor(sizes).await,
            Self::Small => many::few(sizes).await,
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
