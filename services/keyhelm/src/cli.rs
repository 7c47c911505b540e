//! The verbs and their exit codes.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::embedded::demo::{self, DemoArgs};

/// Rotates the master key of a cluster of crypto units, and never loses a key.
#[derive(Debug, Parser)]
#[command(name = "keyhelm", version)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 conditions unmet and nothing \
    changed, 4 not finished (run again), 6 state unknown (run again), 130 interrupted.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Starts a whole cluster in this process, makes keys, rotates, proves it, leaves nothing.
    Demo(DemoArgs),
}

/// Runs the program.
pub fn main() -> ExitCode {
    // clap ends the process itself, with 2, where the arguments are not understood.
    let cli = Cli::parse();
    service::telemetry::start("warn");
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("keyhelm: the runtime could not start: {error}");
            return ExitCode::from(1);
        }
    };
    let done = match cli.verb {
        Verb::Demo(args) => runtime.block_on(demo::run(args)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keyhelm: {error:#}");
            ExitCode::from(1)
        }
    }
}
