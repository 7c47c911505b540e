//! Arguments of `watch`.

use std::time::Duration;

use clap::Args;

use super::InstanceArg;
use crate::parse;

/// Arguments of `watch`.
#[derive(Clone, Debug, Args)]
pub struct ScreenArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,
    /// How often the crypto units are asked, not below 500ms; a rotation is followed as it goes
    #[arg(long, value_name = "DURATION", value_parser = parse::interval, default_value = "2s")]
    pub every: Duration,
    /// Print how it stands, once; so it is without a terminal
    #[arg(long)]
    pub once: bool,
}
