//! The large search: minutes, and a few gigabytes.

use std::process::ExitCode;

use clap::Parser;
use model::{Bounds, search};

/// Looks at every state that units and keystore can get into under a coordinator that may send
/// anything.
#[derive(Parser)]
struct Options {
    /// One recovery unit, the others operational.
    #[arg(long, default_value_t = 3)]
    units: usize,
    /// Numbers of the orders that the rogue writes.
    #[arg(long, default_value_t = 2)]
    orders: u64,
    /// Each of them from any pattern that it has seen, not from the first one only.
    #[arg(long)]
    from_any: bool,
    /// Most generations that the keystore opens.
    #[arg(long, default_value_t = 2)]
    generations: u32,
    /// Most crashes between a save and its answer.
    #[arg(long, default_value_t = 1)]
    crashes: u8,
    /// How often a unit's volume is brought back at most.
    #[arg(long, default_value_t = 0)]
    set_backs: u8,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn main() -> ExitCode {
    let Options { units, orders, from_any, generations, crashes, set_backs, threads } =
        Options::parse();
    let bounds = Bounds { units, orders, from_any, generations, crashes, set_backs };
    println!("{bounds:?}");
    let found = search(bounds, None, threads);
    print!("{found}");
    match found.is_complete && found.unreached.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
