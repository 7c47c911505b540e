//! Arguments of the verbs that talk to nobody: signature keys, tokens, the shell.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use identity::Role;

use crate::parse;

/// Where passphrases come from; never from the command line, which everybody sees.
#[derive(Clone, Debug, Default, Args)]
pub struct PassphraseArgs {
    /// File with a passphrase (its first line) in place of the prompt; one for all signature keys,
    /// or one for each in the order of KEYNUM
    #[arg(long, value_name = "FILE", env = "KEYHELM_PASSPHRASE_FILE")]
    pub passphrase_file: Vec<PathBuf>,
}

/// Arguments of `sigkey-add`.
#[derive(Debug, Args)]
pub struct SigkeyAddArgs {
    /// Whose it is: the administrator's name, at most 30 characters
    #[arg(value_name = "DESCRIPTION")]
    pub description: Option<String>,
    /// Select it at once; the first key in a folder always is
    #[arg(long)]
    pub select: bool,
    /// Its passphrase.
    #[command(flatten)]
    pub passphrases: PassphraseArgs,
}

/// Arguments of `sigkey-rm`.
#[derive(Debug, Args)]
pub struct SigkeyRmArgs {
    /// KEYNUM
    #[arg(value_name = "KEYNUM", required = true)]
    pub numbers: Vec<u32>,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// Arguments of `sigkey-sel`.
#[derive(Debug, Args)]
pub struct SigkeySelArgs {
    /// KEYNUM of each that signs from now on; asked for if absent
    #[arg(value_name = "KEYNUM", conflicts_with = "none")]
    pub numbers: Vec<u32>,
    /// None of them
    #[arg(long)]
    pub none: bool,
}

/// Arguments of `token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: TokenVerb,
}

/// What is done about tokens.
#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Issues a token, to standard output or a file
    Issue(IssueArgs),
    /// Makes an issuer's key and prints the key set that servers are given
    MakeKey(MakeKeyArgs),
    /// Prints the key set of an issuer's key
    KeySet(KeySetArgs),
}

/// Arguments of `token issue`.
#[derive(Debug, Args)]
pub struct IssueArgs {
    /// Issuer's key: Ed25519 in PKCS #8 PEM
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Whose it is; stands in the audit log
    #[arg(long, value_name = "SUBJECT")]
    pub subject: String,
    /// Reader, ReaderPlus, Writer, Manager, KeyPurge or CryptoUnitAdministrator
    #[arg(long, value_name = "ROLE", required = true, num_args = 1.., value_delimiter = ',')]
    pub role: Vec<Role>,
    /// Instances by name or id; `*` for all
    #[arg(long, alias = "instance", value_name = "INSTANCE", required = true, num_args = 1..,
        value_delimiter = ',')]
    pub instances: Vec<String>,
    /// For how long
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, default_value = "12h")]
    pub valid_for: u32,
    /// Who issues it
    #[arg(long, value_name = "ISSUER", default_value = "keyhelm")]
    pub issuer: String,
    /// Write it to a new file that only its owner reads
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `token make-key`.
#[derive(Debug, Args)]
pub struct MakeKeyArgs {
    /// New file for the key; only its owner reads it
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Arguments of `token key-set`.
#[derive(Debug, Args)]
pub struct KeySetArgs {
    /// Issuer's key
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder for the pages; made if it is not there
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}
