//! The large search: some minutes.

use std::process::ExitCode;

use clap::Parser;
use model::{Bounds, search};

/// Looks at every state that units and keystore can get into under a coordinator that may send
/// anything. Without options: every one of the large worlds, one after the other.
#[derive(Parser)]
struct Options {
    /// One recovery unit, the others operational.
    #[arg(long, default_value_t = 2)]
    units: usize,
    /// Numbers of the orders that the rogue writes.
    #[arg(long, default_value_t = 1)]
    orders: u64,
    /// Each of them from any pattern that it has seen, not from the first one only.
    #[arg(long)]
    from_any: bool,
    /// Most generations that the keystore opens.
    #[arg(long, default_value_t = 1)]
    generations: u32,
    /// Most crashes between a save and its answer.
    #[arg(long, default_value_t = 0)]
    crashes: u8,
    /// How often a unit's volume is brought back at most.
    #[arg(long, default_value_t = 0)]
    set_backs: u8,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

const WORLD: Bounds =
    Bounds { units: 2, orders: 1, from_any: true, generations: 2, crashes: 0, set_backs: 0 };

/// Two orders after each other or at once; three units and a crash; a volume brought back and a crash.
const LARGE: [Bounds; 3] = [
    Bounds { orders: 2, ..WORLD },
    Bounds { units: 3, from_any: false, crashes: 1, ..WORLD },
    Bounds { generations: 1, crashes: 1, set_backs: 1, ..WORLD },
];

fn main() -> ExitCode {
    let Options { units, orders, from_any, generations, crashes, set_backs, threads } =
        Options::parse();
    let asked = Bounds { units, orders, from_any, generations, crashes, set_backs };
    let worlds = if std::env::args().len() > 1 { vec![asked] } else { LARGE.to_vec() };
    let mut is_sound = true;
    for bounds in worlds {
        println!("{bounds:?}");
        let found = search(bounds, None, threads);
        print!("{found}");
        is_sound &= found.is_complete && found.unreached.is_empty();
    }
    if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
