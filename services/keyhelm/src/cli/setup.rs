//! Arguments of `setup`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `setup`.
#[derive(Debug, Args)]
pub struct SetupArgs {
    /// Folder with the folders of all readers: data/NAME and secrets/NAME
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Name of the instance
    #[arg(long, value_name = "INSTANCE", default_value = "local")]
    pub instance: String,
    /// Names of the recovery units
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "rec-1,rec-2")]
    pub recovery: Vec<String>,
    /// Names of the operational units
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "op-1,op-2,op-3")]
    pub operational: Vec<String>,
    /// Host of the broker, as processes reach it
    #[arg(long, value_name = "HOST", default_value = "rabbitmq")]
    pub broker: String,
    /// Host of the database, as processes reach it
    #[arg(long, value_name = "HOST", default_value = "postgres")]
    pub database: String,
    /// User (number) that keyhelm's processes run as
    #[arg(long, value_name = "UID", default_value_t = 10_001)]
    pub owner: u32,
    /// User (number) that broker and database run as
    #[arg(long, value_name = "UID", default_value_t = 999)]
    pub server_owner: u32,
}
