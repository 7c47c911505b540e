//! The main function of a service: arguments, settings, log, signals, exit code.

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use telemetry::{log, metric, trace};

use crate::settings::{self, Settings};
use crate::{Common, Shutdown, Status, http, observe};

/// What is logged if `KEYHELM_LOG` says nothing. What `lapin` meets is told by `bus`, with what it
/// means; itself it would also call a queue that is looked for and not there yet an error.
const FILTER: &str = "info,lapin=off";

/// Arguments of every service.
#[derive(Debug, Parser)]
struct Arguments {
    /// Settings in TOML; variables of the environment named KEYHELM_... win over it.
    #[arg(long, value_name = "FILE", env = "KEYHELM_CONFIG")]
    config: Option<PathBuf>,
    /// Prints the settings as they would be used, without secrets, and ends.
    #[arg(long)]
    print_settings: bool,
    /// What to do; without a verb the service runs.
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Asks the running service, at its `observe_listen`, whether it lives: exit code 0, else 1
    Health {
        /// Whether it can do its work
        #[arg(long)]
        ready: bool,
    },
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
    F: FnOnce(S, Status, Shutdown) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    if cfg!(simulated_signatures) {
        eprintln!("{}: built for the simulation: it signs nothing", about.name);
        return ExitCode::FAILURE;
    }
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
    if let Some(Verb::Health { ready }) = arguments.verb {
        return observe::ask(&settings.common().observe_listen, ready);
    }
    log::start(FILTER, settings.common().log_format.parse().unwrap_or_default());
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
    F: FnOnce(S, Status, Shutdown) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let runtime = tokio::runtime::Runtime::new()?;
    let (status, shutdown) = (Status::default(), Shutdown::new());
    metric::start(about.name, about.version);
    runtime.block_on(async {
        shutdown.on_signals()?;
        tracing::info!(version = about.version, "{} starts", about.name);
        let Common { otlp_endpoint, observe_listen, .. } = settings.common().clone();
        if !otlp_endpoint.is_empty() {
            let name = format!("{} {}", about.name, settings.common().name);
            trace::start(&otlp_endpoint, &name, about.version)?;
        }
        let observed = Shutdown::new();
        let observing = match observe_listen.is_empty() {
            true => None,
            false => {
                let listener = http::listen(&observe_listen).await?;
                Some(tokio::spawn(observe::serve(listener, status.clone(), observed.clone())))
            }
        };
        let ended = main(settings, status, shutdown).await;
        observed.trigger();
        if let Some(observing) = observing {
            observing.await??;
        }
        tokio::task::spawn_blocking(trace::stop).await?;
        ended?;
        tracing::info!("{} has stopped, everything is saved", about.name);
        Ok(())
    })
}
