//! The verbs and their arguments: the definition, and nothing else. Help, completions and man pages
//! are made of it.

pub mod administration;
pub mod explain;
pub mod keys;
pub mod local;
pub mod rotation;
pub mod screen;
pub mod setup;

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use self::administration::{
    AdminAddArgs, AdminRmArgs, AutoInitArgs, EnrollArgs, RetireArgs, ThresholdsArgs,
};
use self::explain::ExplainArgs;
use self::keys::KeysArgs;
use self::local::{
    CompletionsArgs, ManArgs, SigkeyAddArgs, SigkeyRmArgs, SigkeySelArgs, TokenArgs,
};
use self::rotation::{
    AbortArgs, HoldEndArgs, ReceiptArgs, RecoverArgs, RotateArgs, RotationsArgs, VerifyReceiptArgs,
};
use self::screen::ScreenArgs;
use self::setup::SetupArgs;
use crate::embedded::demo::DemoArgs;
use crate::embedded::dev::DevArgs;

/// Stands below every help text.
const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 usage, nothing was sent; 3 precheck \
    unmet, nothing changed; 4 not finished, run again; 5 not permitted; 6 unreachable, state \
    unknown, run again; 130 interrupted.";

/// Rotates the master key of a cluster of crypto units, and never loses a key.
#[derive(Debug, Parser)]
#[command(name = "keyhelm", version, propagate_version = true)]
#[command(max_term_width = 100)]
pub struct Cli {
    /// Arguments of every verb.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Arguments of every verb.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// URL of the coordinator [default: the context's, else http://127.0.0.1:7600]
    #[arg(long, global = true, value_name = "URL", env = "KEYHELM_SERVER")]
    pub server: Option<String>,
    /// URL of the gateway [default: the context's, else the coordinator's host at port 7601]
    #[arg(long, global = true, value_name = "URL", env = "KEYHELM_GATEWAY")]
    pub gateway: Option<String>,
    /// File with a bearer token [default: the context's]
    #[arg(long, global = true, value_name = "FILE", env = "KEYHELM_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Do not warn that a token crosses the network in the clear
    #[arg(long, global = true, env = "KEYHELM_CLEAR_TOKEN", hide_possible_values = true)]
    pub clear_token: bool,
    /// Context in $XDG_CONFIG_HOME/keyhelm/config.toml [default: the current one]
    #[arg(long, global = true, value_name = "NAME", env = "KEYHELM_CONTEXT")]
    pub context: Option<String>,
    /// One JSON object a line on standard output, for programs; failures as JSON on standard error
    #[arg(long, global = true)]
    pub json: bool,
}

/// Which instance.
#[derive(Clone, Debug, Default, Args)]
pub struct InstanceArg {
    /// Instance, by name or id; not needed where there is one only
    #[arg(long, value_name = "INSTANCE", env = "KEYHELM_INSTANCE")]
    pub instance: Option<String>,
}

/// Arguments of `manifest`.
#[derive(Clone, Debug, Default, Args)]
pub struct ManifestArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,
    /// Write all manifests of the instance, as signed, to a new file: `verify-receipt` wants it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Starts a whole cluster in this process, makes keys, rotates, proves it, leaves nothing
    Demo(DemoArgs),
    /// Runs a cluster in this process and one folder, for other terminals to use; it stays
    Dev(DevArgs),

    /// Writes the secrets of a cluster of separate processes into their readers' folders
    Setup(SetupArgs),

    /// Says what is going on, what is safe, and the one next command; or what a code means
    ///
    /// Ends with 0 when all is well or going on, with 3 when somebody must do something.
    Explain(ExplainArgs),
    /// Lists the instances
    Instances,
    /// Lists the crypto units
    #[command(name = "cryptounits")]
    CryptoUnits(InstanceArg),
    /// Says why there is nothing to select: all crypto units of an instance always are
    #[command(name = "cryptounit-add")]
    CryptoUnitAdd(IgnoredArgs),
    /// Says why there is nothing to deselect: all crypto units of an instance always are selected
    #[command(name = "cryptounit-rm")]
    CryptoUnitRm(IgnoredArgs),
    /// Compares the crypto units and lists everything that keeps a rotation from starting
    #[command(name = "cryptounit-compare")]
    CryptoUnitCompare(InstanceArg),
    /// Shows the master key registers
    #[command(name = "cryptounit-mks", alias = "cryptounit-mk")]
    CryptoUnitMks(InstanceArg),
    /// Shows the administrators of each crypto unit
    #[command(name = "cryptounit-admins")]
    CryptoUnitAdmins(InstanceArg),
    /// Shows the signature thresholds of each crypto unit
    #[command(name = "cryptounit-thrhlds")]
    CryptoUnitThrhlds(InstanceArg),

    /// Shows who belongs to an instance, who rules it, and its standing order
    Manifest(ManifestArgs),
    /// Founds an instance: members, administrators, first master key, standing order
    #[command(name = "auto-init")]
    AutoInit(AutoInitArgs),
    /// Rotates the master key; run it again at any time, it goes on where it was
    ///
    /// A rotation that runs already is joined. Where an option asks for something that it does not have
    /// (--verify, --expect-current-pattern, --mode, --join, --quarantine, --hold-after-commit,
    /// --hold-before-clear), and with --plan, which nobody can compare any more, it is not joined and
    /// nothing is started (exit 3).
    #[command(name = "auto-mk-rotate")]
    AutoMkRotate(RotateArgs),
    /// Gives crypto units without a master key the current one, out of a recovery unit
    ///
    /// Each is given it by an order that the administrators sign. Run it again at any time, it goes on
    /// where it was. A crypto unit whose data folder is gone whole has another identity: it is enrolled
    /// first (`cryptounit-enroll --replace`).
    #[command(name = "auto-mk-recover", alias = "auto-recover")]
    AutoMkRecover(RecoverArgs),
    /// Lists rotations, or shows one
    Rotations(RotationsArgs),
    /// Fetches the signed receipt of a rotation that has ended well
    Receipt(ReceiptArgs),
    /// Verifies a receipt with nothing but the manifests; no server is asked
    #[command(name = "verify-receipt")]
    VerifyReceipt(VerifyReceiptArgs),
    /// Shows an instance and its rotation on a live screen
    Watch(ScreenArgs),
    /// Ends a rotation before its decision; nothing has changed then
    Abort(AbortArgs),
    /// Ends the hold of a rotation before its time (signed by a quorum)
    #[command(name = "hold-end")]
    HoldEnd(HoldEndArgs),

    /// Takes processes into the instance (a new manifest, signed by a quorum)
    #[command(name = "cryptounit-enroll")]
    CryptoUnitEnroll(EnrollArgs),
    /// Removes a process from the instance (signed under the revocation threshold)
    #[command(name = "cryptounit-retire")]
    CryptoUnitRetire(RetireArgs),
    /// Adds administrators (signed by a quorum)
    #[command(name = "cryptounit-admin-add")]
    CryptoUnitAdminAdd(AdminAddArgs),
    /// Removes administrators (signed under the revocation threshold)
    #[command(name = "cryptounit-admin-rm")]
    CryptoUnitAdminRm(AdminRmArgs),
    /// Sets the signature thresholds (signed by a quorum)
    #[command(name = "cryptounit-thrhld-set")]
    CryptoUnitThrhldSet(ThresholdsArgs),

    /// Lists the signature keys on this workstation
    Sigkeys,
    /// Makes a signature key
    #[command(name = "sigkey-add")]
    SigkeyAdd(SigkeyAddArgs),
    /// Removes a signature key from this workstation, for good
    #[command(name = "sigkey-rm")]
    SigkeyRm(SigkeyRmArgs),
    /// Selects the signature keys that sign
    #[command(name = "sigkey-sel")]
    SigkeySel(SigkeySelArgs),

    /// Creates, imports, lists, deletes and checks keys
    Keys(KeysArgs),
    /// Issues tokens for people and programs
    Token(TokenArgs),
    /// Prints a completion script for a shell
    Completions(CompletionsArgs),
    /// Writes the man pages
    Man(ManArgs),
}

/// Numbers that IBM's tool would take here.
#[derive(Clone, Debug, Args)]
pub struct IgnoredArgs {
    /// CRYPTO UNIT NUM; not looked at
    #[arg(value_name = "CRYPTO UNIT NUM")]
    pub numbers: Vec<String>,
}

/// The whole definition, with the exit codes below every help text.
pub fn command() -> clap::Command {
    with_exit_codes(Cli::command())
}

fn with_exit_codes(command: clap::Command) -> clap::Command {
    command.after_help(EXIT_CODES).mut_subcommands(with_exit_codes)
}
