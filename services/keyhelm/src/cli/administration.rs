//! Arguments of the verbs that found an instance and change its manifest.

use std::path::PathBuf;

use clap::Args;
use protocol::UnixMillis;

use super::InstanceArg;
use super::local::PassphraseArgs;
use super::rotation::WatchArgs;
use crate::parse;

/// How the fingerprints of processes are judged.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Fingerprints")]
pub struct FingerprintArgs {
    /// Accept exactly the processes whose fingerprints (64 hex digits a line, then anything) are in
    /// this file; all of them are waited for
    #[arg(long, value_name = "FILE", conflicts_with = "trust_first_use")]
    pub expect: Option<PathBuf>,
    /// Accept whoever has announced itself, unseen: for demonstrations only
    #[arg(long)]
    pub trust_first_use: bool,
}

/// Arguments of `auto-init`.
#[derive(Clone, Debug, Args)]
pub struct AutoInitArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,
    /// How fingerprints are judged.
    #[command(flatten)]
    pub fingerprints: FingerprintArgs,
    /// Wait until this many crypto units have announced themselves
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=64))]
    pub wait_for_units: Option<u16>,
    /// Signatures that an order or an addition needs [default: more than half of the selected keys]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    pub signature_threshold: Option<u32>,
    /// Signatures that a removal needs [default: as --signature-threshold]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    pub revocation_threshold: Option<u32>,
    /// The standing order.
    #[command(flatten)]
    pub standing: StandingArgs,
    /// Where the signatures come from.
    #[command(flatten)]
    pub passphrases: PassphraseArgs,
    /// How the first rotation is watched.
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// What coordinators may do by themselves.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Standing order")]
pub struct StandingArgs {
    /// Let coordinators rotate by themselves, at most once in this time since the last rotation
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    pub standing_order: Option<u32>,
    /// When the standing order ends: a date or an RFC 3339 time [default: a year from now]
    #[arg(long, value_name = "TIME", value_parser = parse::moment, requires = "standing_order")]
    pub until: Option<UnixMillis>,
    /// Least time between two tries
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, default_value = "0")]
    pub pause_between_tries: u32,
    /// Hold between commit and re-encryption of every rotation under it, for holders of wrapped keys
    /// outside the key storage
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, default_value = "0")]
    pub hold_after_commit: u32,
    /// Hold before the old master key is cleared, while old backups can still be brought back
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, default_value = "0")]
    pub hold_before_clear: u32,
}

/// What every verb that makes a manifest takes.
#[derive(Clone, Debug, Args)]
pub struct ChangeArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArg,
    /// Sign the standing order again under the new manifest, which ends the old one
    #[arg(long)]
    pub keep_standing_order: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Where the signatures come from.
    #[command(flatten)]
    pub passphrases: PassphraseArgs,
}

/// Arguments of `cryptounit-enroll`.
#[derive(Clone, Debug, Args)]
pub struct EnrollArgs {
    /// Names of processes that have announced themselves
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// Remove the member of the same name and role in the same step
    #[arg(long)]
    pub replace: bool,
    /// How fingerprints are judged.
    #[command(flatten)]
    pub fingerprints: FingerprintArgs,
    /// Common arguments.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Arguments of `cryptounit-retire`.
#[derive(Clone, Debug, Args)]
pub struct RetireArgs {
    /// Names or ids of members
    #[arg(value_name = "NAME", required_unless_present = "nobody")]
    pub names: Vec<String>,
    /// Sign the manifest once more without a change: whoever is in the rotation that runs judges it anew
    #[arg(long, conflicts_with = "names")]
    pub nobody: bool,
    /// Common arguments.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Arguments of `cryptounit-admin-add`.
#[derive(Clone, Debug, Args)]
pub struct AdminAddArgs {
    /// KEYNUM of signature keys on this workstation
    #[arg(value_name = "KEYNUM", required = true)]
    pub numbers: Vec<u32>,
    /// Common arguments.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Arguments of `cryptounit-admin-rm`.
#[derive(Clone, Debug, Args)]
pub struct AdminRmArgs {
    /// Administrators, by name or by the beginning of their subject key identifier
    #[arg(value_name = "ADMIN", required = true)]
    pub administrators: Vec<String>,
    /// Common arguments.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Arguments of `cryptounit-thrhld-set`.
#[derive(Clone, Debug, Args)]
#[command(group(clap::ArgGroup::new("threshold").required(true).multiple(true)))]
pub struct ThresholdsArgs {
    /// Signatures that an order or an addition needs
    #[arg(long, value_name = "N", group = "threshold",
        value_parser = clap::value_parser!(u32).range(1..=8))]
    pub signature_threshold: Option<u32>,
    /// Signatures that a removal needs
    #[arg(long, value_name = "N", group = "threshold",
        value_parser = clap::value_parser!(u32).range(1..=8))]
    pub revocation_threshold: Option<u32>,
    /// Common arguments.
    #[command(flatten)]
    pub change: ChangeArgs,
}
