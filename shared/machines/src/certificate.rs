//! Judging certificates: whether signed reports justify a promote, a flip, a clear or a drop.

use std::collections::BTreeMap;

use protocol::certificate::Certificate;
use protocol::codec;
use protocol::envelope::Kind;
use protocol::keystore::KeystoreStanding;
use protocol::order::OrderRef;
use protocol::report::{KeystoreReport, Standing, UnitReport};
use protocol::{Pattern, ProcessId, Role};

use crate::envelope;
use crate::trust::Trust;

/// How far a unit has come in a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// Has taken the order.
    Bound,
    /// New register Full Uncommitted.
    Installed,
    /// New register Full Committed.
    Committed,
    /// New is current.
    Promoted,
    /// The old key is wiped.
    Cleared,
}

/// How far a unit has come in this order, and with which pattern; none if it has not taken the
/// order or has aborted it.
pub fn reached(report: &UnitReport, order: &OrderRef) -> Option<(Reached, Option<Pattern>)> {
    let rotation = report.in_order(order)?;
    let current = report.registers.current;
    match rotation.standing {
        Standing::Aborted => None,
        Standing::Promoted => Some((Reached::Promoted, current)),
        Standing::Cleared => Some((Reached::Cleared, current)),
        Standing::Bound => Some(match report.registers.new {
            None => (Reached::Bound, None),
            Some(new) if new.is_committed => (Reached::Committed, Some(new.pattern)),
            Some(new) => (Reached::Installed, Some(new.pattern)),
        }),
    }
}

/// What is lacking in a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefusal {
    /// An envelope inside does not verify.
    #[error("an envelope in the certificate is refused: {0}")]
    Envelope(String),
    /// A body inside cannot be read.
    #[error("a report in the certificate cannot be read: {0}")]
    Malformed(String),
    /// Whose report it claims to be is not who signed it.
    #[error("the report of {0} is signed by somebody else")]
    OtherSigner(ProcessId),
    /// Two reports of one unit or keystore.
    #[error("the certificate has two reports of {0}")]
    Twice(String),
    /// No report of a unit or keystore of the newest manifest.
    #[error("the certificate has no report of {0}")]
    Missing(String),
    /// A report that does not show what is needed.
    #[error("{who} is not {needed} in this order under this pattern")]
    NotReached {
        /// The unit or keystore.
        who: String,
        /// What it should be.
        needed: &'static str,
    },
    /// The manifests inside do not follow ours.
    #[error("the manifests in the certificate are refused: {0}")]
    Manifests(String),
    /// There is no manifest to judge by.
    #[error("no manifest")]
    Imprint,
}

/// Wants exactly one report of each crypto unit of the newest manifest, each of them at least
/// `needed` in this very order with the pattern `to`. Reports of removed units are ignored.
pub fn verify_units(
    certificate: &Certificate,
    order: &OrderRef,
    to: Pattern,
    needed: Reached,
    trust: &Trust,
) -> Result<(), CertificateRefusal> {
    let trust = with_manifests(certificate, trust)?;
    let manifest = trust.newest().ok_or(CertificateRefusal::Imprint)?;
    let mut seen: BTreeMap<ProcessId, UnitReport> = BTreeMap::new();
    for bytes in &certificate.envelopes {
        let opened = opened(bytes, &trust)?;
        if opened.header.kind != Kind::UnitReport {
            continue;
        }
        let report: UnitReport = codec::decode(opened.body)
            .map_err(|error| CertificateRefusal::Malformed(error.to_string()))?;
        if report.unit != opened.header.sender || report.instance != manifest.instance {
            return Err(CertificateRefusal::OtherSigner(report.unit));
        }
        if !manifest.crypto_units().any(|unit| unit.id == report.unit) {
            continue;
        }
        if seen.insert(report.unit, report).is_some() {
            return Err(CertificateRefusal::Twice(opened.header.sender.to_string()));
        }
    }
    for unit in manifest.crypto_units() {
        let report =
            seen.get(&unit.id).ok_or_else(|| CertificateRefusal::Missing(unit.name.clone()))?;
        let holds = reached(report, order)
            .is_some_and(|(reached, pattern)| reached >= needed && pattern == Some(to));
        if !holds || report.manifest_serial < order.number.manifest_serial {
            let needed = needed.name();
            return Err(CertificateRefusal::NotReached { who: unit.name.clone(), needed });
        }
    }
    Ok(())
}

/// Wants one report of each keystore of the newest manifest, signed by a reencryptor of it, that
/// shows this order flipped (and read back) to the pattern `to`.
pub fn verify_flipped(
    certificate: &Certificate,
    order: &OrderRef,
    to: Pattern,
    trust: &Trust,
) -> Result<(), CertificateRefusal> {
    let trust = with_manifests(certificate, trust)?;
    let manifest = trust.newest().ok_or(CertificateRefusal::Imprint)?;
    let mut seen = BTreeMap::new();
    for bytes in &certificate.envelopes {
        let opened = opened(bytes, &trust)?;
        if opened.header.kind != Kind::KeystoreReport {
            continue;
        }
        let report: KeystoreReport = codec::decode(opened.body)
            .map_err(|error| CertificateRefusal::Malformed(error.to_string()))?;
        let is_own = report.reencryptor == opened.header.sender;
        if !is_own || opened.sender_role != Some(Role::Reencryptor) {
            return Err(CertificateRefusal::OtherSigner(report.reencryptor));
        }
        if let Some(row) = report.row
            && seen.insert(row.keystore, row).is_some()
        {
            return Err(CertificateRefusal::Twice("a keystore".to_owned()));
        }
    }
    for keystore in &manifest.keystores {
        let who = format!("keystore {keystore}");
        let row = seen.get(keystore).ok_or_else(|| CertificateRefusal::Missing(who.clone()))?;
        let is_flipped = row.rotation.as_ref().is_some_and(|rotation| {
            let standing = rotation.standing;
            rotation.rotation == order.rotation
                && rotation.number == order.number
                && rotation.order_digest == order.digest
                && rotation.to == to
                && matches!(standing, KeystoreStanding::Flipped | KeystoreStanding::Dropped)
        });
        let is_active = row.active.as_ref().is_some_and(|active| active.pattern == to);
        if !is_flipped || !is_active || row.instance != manifest.instance {
            return Err(CertificateRefusal::NotReached { who, needed: "flipped" });
        }
    }
    Ok(())
}

impl Reached {
    /// The word in a refusal.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Installed => "installed",
            Self::Committed => "committed",
            Self::Promoted => "promoted",
            Self::Cleared => "cleared",
        }
    }
}

fn opened<'a>(bytes: &'a [u8], trust: &Trust) -> Result<envelope::Opened<'a>, CertificateRefusal> {
    envelope::open_evidence(bytes, trust)
        .map_err(|error| CertificateRefusal::Envelope(error.to_string()))
}

/// Judged by the newest manifest that is known here or carried inside.
fn with_manifests(certificate: &Certificate, trust: &Trust) -> Result<Trust, CertificateRefusal> {
    let mut newest = trust.clone();
    newest
        .take(&certificate.manifests, None, &[])
        .map_err(|error| CertificateRefusal::Manifests(error.to_string()))?;
    Ok(newest)
}
