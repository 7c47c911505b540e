//! Arguments of `explain`.

use clap::Args;

use super::InstanceArg;

/// Arguments of `explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// Print what the runbook says of this code; no server is asked
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,
}
