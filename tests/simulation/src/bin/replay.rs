//! Runs one seed and prints its whole trace; or looks for the first seed of many, or for all of
//! them, at which a checker fires.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Parser;
use simulation::checkers::Violation;
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
    /// With --until: goes on after the first, and prints each.
    #[arg(long, requires = "until")]
    all: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(until) = args.until {
        let found = findings(args.seed, until, &args);
        let shown = if args.all { found.len() } else { 1 };
        for line in found.values().take(shown) {
            println!("{line}");
        }
        if found.is_empty() {
            println!("no checker fires");
            return ExitCode::SUCCESS;
        }
        return ExitCode::FAILURE;
    }
    let outcome = run(Config { keep_trace: true, ..Config::of(args.seed) });
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

/// What seeds find, each in a line; without `--all` only that of the lowest one is sure to be there,
/// whichever core comes first.
fn findings(from: u64, until: u64, args: &Args) -> BTreeMap<u64, String> {
    let (next, last) = (AtomicU64::new(from), AtomicU64::new(until));
    let found = Mutex::new(BTreeMap::new());
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= last.load(Ordering::Relaxed) {
            break;
        }
        let outcome = run(Config::of(seed));
        let Some(Violation { checker, text }) = outcome.violation else { continue };
        if !args.all {
            last.fetch_min(seed, Ordering::Relaxed);
        }
        let line = format!("seed {seed}, {} events, {checker}: {text}", outcome.events);
        if let Ok(mut found) = found.lock() {
            found.insert(seed, line);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |cores| cores.get()) {
            scope.spawn(work);
        }
    });
    found.into_inner().unwrap_or_default()
}
