//! Measures rotations beside what the same servers do without one, each a ratio within one run.
//!
//! Needs the servers of `scripts/servers`, the shipped binaries and those of test builds:
//! `scripts/bench` sees to all of it.

mod floor;
mod parts;
mod results;
mod rotation;
mod seed;
mod stand;
mod usage;

use std::path::PathBuf;

use clap::Parser;

use self::parts::{Part, Sizes};
use self::results::Results;

/// Measures rotations beside what the same servers do without one.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these parts, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// A few thousand keys and one round: whether it works, not how fast it is.
    #[arg(long)]
    short: bool,
    /// Also what needs hours or much of the disk: 10,000,000 keys.
    #[arg(long)]
    full: bool,
    /// Runs of each kind.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where results are kept.
    #[arg(long, default_value = "target/bench")]
    results: PathBuf,
    /// Shows what has been measured before.
    #[arg(long)]
    show: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut results = Results::load(&arguments.results)?;
    if arguments.show {
        results.show();
        return Ok(());
    }
    let sizes = Sizes::of(arguments.short, arguments.full, arguments.rounds);
    let parts = if arguments.only.is_empty() { Part::ALL.to_vec() } else { arguments.only };
    for part in parts {
        let lines = part.measure(&sizes).await?;
        results.keep(part.name(), lines)?;
    }
    Ok(())
}
