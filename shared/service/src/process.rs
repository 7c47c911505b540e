//! The main function of a service: arguments, settings, log, signals, exit code.

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

use crate::settings::{self, Settings};
use crate::{Shutdown, telemetry};

/// Arguments of every service.
#[derive(Debug, Parser)]
struct Arguments {
    /// Settings in TOML; variables of the environment named KEYHELM_... win over it.
    #[arg(long, value_name = "FILE", env = "KEYHELM_CONFIG")]
    config: Option<PathBuf>,
    /// Prints the settings as they would be used, without secrets, and ends.
    #[arg(long)]
    print_settings: bool,
}

/// What a service is, for `--help` and `--version`.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its name.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Its version, and anything that sets this build apart.
    pub version: &'static str,
}

/// Runs a service until SIGTERM or Ctrl-C. Exit codes: 0 stopped as asked, 1 failed, 2 arguments or
/// settings not understood.
pub fn run<S, F, Fut>(about: About, main: F) -> ExitCode
where
    S: Settings,
    F: FnOnce(S, Shutdown) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let command = Arguments::command().name(about.name).about(about.about).version(about.version);
    let arguments = match Arguments::from_arg_matches(&command.get_matches()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let settings: S = match settings::load(arguments.config.as_deref(), std::env::vars()) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("{}: {error}", about.name);
            return ExitCode::from(2);
        }
    };
    if arguments.print_settings {
        println!("{:#}", serde_json::to_value(&settings).unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    telemetry::start("info");
    match started(about, settings, main) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}: {error:#}", about.name);
            ExitCode::from(1)
        }
    }
}

fn started<S, F, Fut>(about: About, settings: S, main: F) -> anyhow::Result<()>
where
    S: Settings,
    F: FnOnce(S, Shutdown) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let runtime = tokio::runtime::Runtime::new()?;
    let shutdown = Shutdown::new();
    runtime.block_on(async {
        shutdown.on_signals()?;
        tracing::info!(version = about.version, "{} starts", about.name);
        main(settings, shutdown).await?;
        tracing::info!("{} has stopped, everything is saved", about.name);
        Ok(())
    })
}
