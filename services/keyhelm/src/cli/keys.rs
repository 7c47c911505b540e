//! Arguments of `keys`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use protocol::KeyId;

use super::InstanceArg;
use crate::parse;

/// Arguments of `keys`.
#[derive(Debug, Args)]
pub struct KeysArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub verb: KeysVerb,
}

/// What is done with keys.
#[derive(Debug, Subcommand)]
pub enum KeysVerb {
    /// Makes keys inside the crypto units
    Create(CreateArgs),
    /// Imports keys from a file of JSON lines: name, payload (base64), extractable, id
    Import(ImportArgs),
    /// Lists keys
    List(ListArgs),
    /// Shows a key
    Show(ShowArgs),
    /// Deletes keys: they are refused from now on
    Delete(RemoveArgs),
    /// Ends deleted keys for good
    Purge(RemoveArgs),
    /// Opens every key version in the crypto units and names those that do not open
    Check(CheckArgs),
}

/// What the verbs that send many requests take.
#[derive(Clone, Debug, Args)]
pub struct BulkArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,
    /// For how long to wait while a rotation refuses new keys, or nobody answers
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, default_value = "1m")]
    pub patience: u32,
}

/// Arguments of `keys create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub count: u64,
    /// Names are this, a hyphen and a number
    #[arg(long, value_name = "PREFIX", default_value = "key")]
    pub name_prefix: String,
    /// Number in the first name
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub first: u64,
    /// Standard keys, whose bytes can be read again, in place of root keys
    #[arg(long)]
    pub extractable: bool,
    /// Common arguments.
    #[command(flatten)]
    pub bulk: BulkArgs,
}

/// Arguments of `keys import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// JSON lines such as {"name":"a","payload":"<base64>","extractable":false}; `-` for standard
    /// input. All lines are read first: if one is bad, every bad one is named and nothing is sent
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Import the good lines although there are bad ones
    #[arg(long)]
    pub skip_bad: bool,
    /// Common arguments.
    #[command(flatten)]
    pub bulk: BulkArgs,
}

/// Arguments of `keys list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,
    /// At most this many; all if absent
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Only keys in these states: 0 pre-active, 1 active, 2 suspended, 3 deactivated, 5 destroyed
    #[arg(long, value_name = "STATE", value_delimiter = ',',
        value_parser = clap::value_parser!(u8).range(0..=5))]
    pub state: Vec<u8>,
    /// Only keys whose name or id has this in it
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
}

/// Arguments of `keys show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Its id, or an alias
    #[arg(value_name = "KEY")]
    pub id: String,
    /// Show the bytes of a standard key too (base64)
    #[arg(long)]
    pub payload: bool,
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,
}

/// Arguments of `keys delete` and `keys purge`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// Their ids
    #[arg(value_name = "KEY", required = true)]
    pub ids: Vec<KeyId>,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,
}

/// Arguments of `keys check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,
}
