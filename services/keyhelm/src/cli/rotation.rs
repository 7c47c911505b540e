//! Arguments of the verbs that start, watch and end rotations.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use protocol::keystore::GateMode;
use protocol::{Digest, KeyId, Pattern, RotationId};

use super::InstanceArg;
use super::local::PassphraseArgs;
use crate::parse;

/// How a rotation is watched.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Watching")]
pub struct WatchArgs {
    /// Stop watching after this time (exit 4); the rotation goes on
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    pub timeout: Option<u32>,
    /// For how long to try to reach a coordinator that is gone, before exit 6
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, default_value = "1m")]
    pub patience: u32,
}

/// Arguments of `auto-mk-rotate`.
#[derive(Clone, Debug, Args)]
pub struct RotateArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,
    /// Check everything, open every key in the crypto units, and show what would happen and about how
    /// long it would take; nothing starts, nothing is saved
    #[arg(long)]
    pub dry_run: bool,
    /// Open every key in the crypto units first; one that does not open is named and nothing starts
    #[arg(long)]
    pub check_keys: bool,
    /// Start only if this is still the plan that --dry-run has shown: the same crypto units, master
    /// key, manifest, keys and options
    #[arg(long, value_name = "HASH")]
    pub plan: Option<Digest>,
    /// Carry this key as it is where no crypto unit opens it: its wrapped key is kept in quarantine and
    /// cannot be used. The order is signed by hand. May be repeated
    #[arg(long, value_name = "KEY")]
    pub quarantine: Vec<KeyId>,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Have every page of keys opened by a second crypto unit before it is written, not only a sample
    #[arg(long, value_name = "WHAT")]
    pub verify: Option<Verify>,
    /// What clients may do meanwhile [default: strict]
    #[arg(long, value_name = "MODE")]
    pub mode: Option<Mode>,
    /// Refuse if the current verification pattern is another one (64 hex digits)
    #[arg(long, value_name = "PATTERN")]
    pub expect_current_pattern: Option<Pattern>,
    /// Sign the order with the selected signature keys, even if there is a standing order
    #[arg(long)]
    pub sign: bool,
    /// Let a crypto unit join that holds no master key: it gets the new one. Members only (see
    /// `cryptounit-enroll`); the order is signed by hand. May be repeated
    #[arg(long, value_name = "UNIT")]
    pub join: Vec<String>,
    /// Hold between commit and re-encryption: holders of wrapped keys outside the key storage re-wrap
    /// theirs meanwhile. The order is signed by hand
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, default_value = "0")]
    pub hold_after_commit: u32,
    /// Keep the old master key for this time: old backups can still be brought back. The command ends
    /// when the new one is in use. The order is signed by hand
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, default_value = "0")]
    pub hold_before_clear: u32,
    /// Where the signatures come from.
    #[command(flatten)]
    pub passphrases: PassphraseArgs,
    /// How it is watched.
    #[command(flatten)]
    pub watch: WatchArgs,
}

impl RotateArgs {
    /// Whether something is asked for that no standing order allows.
    pub const fn needs_signatures(&self) -> bool {
        self.hold_after_commit > 0
            || self.hold_before_clear > 0
            || !self.join.is_empty()
            || !self.quarantine.is_empty()
    }

    /// Whether every key is opened before anything starts.
    pub const fn checks_keys(&self) -> bool {
        self.dry_run || self.check_keys || self.plan.is_some()
    }
}

/// What is verified beyond a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Verify {
    /// Every page
    All,
}

/// What clients may do while keys are re-encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Keys are not created, rotated or used until the re-encryption is over
    Strict,
    /// Everything is served
    Online,
}

impl Mode {
    /// As it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Online => "online",
        }
    }
}

impl From<Mode> for GateMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Strict => Self::Strict,
            Mode::Online => Self::Online,
        }
    }
}

/// Arguments of `auto-mk-recover`.
#[derive(Clone, Debug, Args)]
pub struct RecoverArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,
    /// Recover this crypto unit; without it, every one whose current master key register is Empty. May
    /// be repeated
    #[arg(long, value_name = "UNIT")]
    pub unit: Vec<String>,
    /// The recovery unit that gives the master key; else the first one that holds it
    #[arg(long, value_name = "RECOVERY_UNIT")]
    pub from: Option<String>,
    /// Check everything, and show who would get the master key from whom; nothing is signed
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Where the signatures come from.
    #[command(flatten)]
    pub passphrases: PassphraseArgs,
    /// How it is watched.
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// Arguments of `rotations`.
#[derive(Clone, Debug, Args)]
pub struct RotationsArgs {
    /// Show this one, with the time of each phase and who is waited for
    #[arg(value_name = "ROTATION")]
    pub id: Option<RotationId>,
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,
    /// How many, newest first
    #[arg(long, value_name = "N", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=200))]
    pub limit: u32,
    /// Watch the rotation to its end
    #[arg(long, requires = "id")]
    pub follow: bool,
    /// How it is watched.
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// Arguments of `receipt`.
#[derive(Clone, Debug, Args)]
pub struct ReceiptArgs {
    /// Which rotation
    #[arg(value_name = "ROTATION")]
    pub id: RotationId,
    /// Write it to a new file; else it goes to standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `verify-receipt`.
#[derive(Clone, Debug, Args)]
pub struct VerifyReceiptArgs {
    /// The receipt, as `receipt --out` has written it
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The manifests, as `manifest --out` has written them: kept by whoever verifies, from a time
    /// at which they were known to be right
    #[arg(long, value_name = "FILE")]
    pub manifest: PathBuf,
    /// The former receipt of the instance, to verify that this one follows it
    #[arg(long, value_name = "FILE")]
    pub previous: Option<PathBuf>,
}

/// Arguments of `abort`.
#[derive(Clone, Debug, Args)]
pub struct AbortArgs {
    /// Which rotation; else the one that runs in the instance
    #[arg(value_name = "ROTATION")]
    pub id: Option<RotationId>,
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,
    /// Why, for the audit log
    #[arg(long, value_name = "SENTENCE", default_value = "by hand")]
    pub because: String,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// How it is watched.
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// Arguments of `hold-end`.
#[derive(Clone, Debug, Args)]
pub struct HoldEndArgs {
    /// Which rotation; else the one that runs in the instance
    #[arg(value_name = "ROTATION")]
    pub id: Option<RotationId>,
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Where the signatures come from.
    #[command(flatten)]
    pub passphrases: PassphraseArgs,
    /// How the rotation is watched after it.
    #[command(flatten)]
    pub watch: WatchArgs,
}
