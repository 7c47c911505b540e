//! Runs one seed and prints its whole trace.

use clap::Parser;
use simulation::{Config, run};

/// Replays one seed of the simulation.
#[derive(Parser)]
struct Args {
    /// The seed.
    seed: u64,
}

fn main() -> std::process::ExitCode {
    let outcome = run(Config { keep_trace: true, ..Config::of(Args::parse().seed) });
    for line in &outcome.trace {
        println!("{line}");
    }
    println!(
        "{} events, {} faults, {} rotations done, {} aborted",
        outcome.events, outcome.faults, outcome.rotations_done, outcome.rotations_aborted
    );
    match outcome.violation {
        None => std::process::ExitCode::SUCCESS,
        Some(_) => std::process::ExitCode::FAILURE,
    }
}
