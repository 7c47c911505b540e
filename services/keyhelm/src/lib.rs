//! Master-key rotation for a cluster of crypto units, at the command line: the coordinator and the
//! gateway by HTTP, signature keys in local files.
//!
//! Deliberately absent outside `embedded`: AMQP, SQL, and any master key.

pub mod app;
pub mod ask;
pub mod cli;
pub mod client;
pub mod context;
pub mod embedded;
pub mod failure;
pub mod interrupt;
pub mod manifests;
pub mod out;
pub mod parse;
pub mod runbook;
pub mod setup;
pub mod show;
pub mod sigkeys;
pub mod verbs;
pub mod watch;

use std::process::ExitCode;

use clap::FromArgMatches;

use crate::cli::{Cli, Verb};
use crate::failure::Failure;

/// Runs the program.
pub fn main() -> ExitCode {
    // clap ends the process itself, with 2, where the arguments are not understood.
    let matches = cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let is_json = cli.global.json;
    let log = match cli.verb {
        Verb::Demo(_) | Verb::Dev(_) => "warn",
        // A line of the log would stand in the middle of the screen.
        Verb::Watch(_) => "off",
        _ => "error",
    };
    telemetry::log::start(log, telemetry::log::Format::Text);
    let done = tokio::runtime::Runtime::new().map_err(Failure::from).and_then(|runtime| {
        runtime.block_on(async {
            interrupt::listen(is_json);
            verbs::run(cli).await
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell(is_json);
            ExitCode::from(failure.exit() as u8)
        }
    }
}
