//! Runs one seed and prints its whole trace; or looks for the first seed of many at which a
//! checker fires.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Parser;
use simulation::{Config, run};

/// Replays one seed of the simulation.
#[derive(Parser)]
struct Args {
    /// The seed.
    seed: u64,
    /// Runs the seeds from SEED to this one instead, this one excluded, and prints the first at
    /// which a checker fires.
    #[arg(long)]
    until: Option<u64>,
    /// Units are set back to older states or gone for good too, and administrators remove them.
    #[arg(long)]
    rare: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = match args.until.map(|until| first_finding(args.seed, until, args.rare)) {
        None => args.seed,
        Some(None) => {
            println!("no checker fires");
            return ExitCode::SUCCESS;
        }
        Some(Some(seed)) => {
            let outcome = run(config(seed, args.rare));
            if let Some(violation) = outcome.violation {
                let (checker, events) = (violation.checker, outcome.events);
                println!("seed {seed}, {events} events, {checker}: {}", violation.text);
            }
            return ExitCode::FAILURE;
        }
    };
    let outcome = run(Config { keep_trace: true, ..config(seed, args.rare) });
    for line in &outcome.trace {
        println!("{line}");
    }
    println!(
        "{} events, {} faults, {} rotations done, {} aborted",
        outcome.events, outcome.faults, outcome.rotations_done, outcome.rotations_aborted
    );
    for ((fault, phase, role), count) in &outcome.table {
        println!("{count:>5} {fault} at {phase} of {role}");
    }
    match outcome.violation {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    }
}

const fn config(seed: u64, has_rare_faults: bool) -> Config {
    Config { has_rare_faults, ..Config::of(seed) }
}

/// The lowest seed that finds something, whichever core comes first.
fn first_finding(from: u64, until: u64, rare: bool) -> Option<u64> {
    let (next, lowest) = (AtomicU64::new(from), AtomicU64::new(until));
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= lowest.load(Ordering::Relaxed) {
            break;
        }
        if run(config(seed, rare)).violation.is_some() {
            lowest.fetch_min(seed, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |cores| cores.get()) {
            scope.spawn(work);
        }
    });
    Some(lowest.into_inner()).filter(|seed| *seed < until)
}
