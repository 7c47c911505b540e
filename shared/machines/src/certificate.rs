//! Judging certificates: whether signed reports justify a promote, a flip, a clear or a drop.

use std::collections::BTreeMap;

use protocol::certificate::Certificate;
use protocol::codec;
use protocol::envelope::Kind;
use protocol::keystore::KeystoreStanding;
use protocol::order::OrderRef;
use protocol::report::{KeystoreReport, Standing, UnitReport};
use protocol::{GenerationId, KeystoreId, Pattern, ProcessId, Role};

use crate::amendment;
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
    /// The state of a unit has been set back to an older one.
    #[error("the state of {0} has been set back: its report counts for nothing")]
    SetBack(String),
    /// The manifests inside do not follow ours.
    #[error("the manifests in the certificate are refused: {0}")]
    Manifests(String),
    /// There is no manifest to judge by.
    #[error("no manifest")]
    Imprint,
}

/// State counters of units.
pub type Counters = BTreeMap<ProcessId, u64>;

/// By what units' reports are judged. A report with a lower state counter than one that has been
/// seen, or whose unit knows itself that its state was set back, counts for nothing.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    /// The manifests.
    pub trust: &'a Trust,
    /// The highest state counters that have been seen.
    pub seen: Option<&'a Counters>,
    /// The unit that judges: of itself it knows better how it stands.
    pub own: Option<ProcessId>,
}

impl<'a> Judge<'a> {
    /// Of somebody who has seen no counters.
    pub const fn by(trust: &'a Trust) -> Self {
        Self { trust, seen: None, own: None }
    }
}

/// Wants exactly one report of each crypto unit of the newest manifest, each of them at least
/// `needed` in this very order with the pattern `to`; once cleared it may have lost that one. Reports
/// of removed units are ignored. Answers with the state counters that the reports show.
pub fn verify_units(
    certificate: &Certificate,
    order: &OrderRef,
    to: Pattern,
    needed: Reached,
    judge: Judge<'_>,
) -> Result<Counters, CertificateRefusal> {
    let seen = reports(certificate, order, to, needed, judge)?;
    Ok(seen.into_iter().map(|(unit, report)| (unit, report.state_counter)).collect())
}

/// Wants what opens a generation: every crypto unit committed, or further, and an operational one that
/// can still re-wrap, as it has not cleared.
pub fn verify_opening(
    certificate: &Certificate,
    order: &OrderRef,
    to: Pattern,
    trust: &Trust,
) -> Result<(), CertificateRefusal> {
    let seen = reports(certificate, order, to, Reached::Committed, Judge::by(trust))?;
    let can_rewrap = |report: &UnitReport| {
        report.role == Role::OperationalUnit
            && reached(report, order).is_some_and(|(reached, _)| reached < Reached::Cleared)
    };
    match seen.values().any(can_rewrap) {
        true => Ok(()),
        false => {
            let who = "an operational unit".to_owned();
            Err(CertificateRefusal::NotReached { who, needed: "committed and not cleared" })
        }
    }
}

/// One report of each crypto unit, each of them at least as far as needed.
fn reports(
    certificate: &Certificate,
    order: &OrderRef,
    to: Pattern,
    needed: Reached,
    judge: Judge<'_>,
) -> Result<BTreeMap<ProcessId, UnitReport>, CertificateRefusal> {
    let trust = with_manifests(certificate, order, judge.trust)?;
    let manifest = trust.newest().ok_or(CertificateRefusal::Imprint)?;
    let mut seen: BTreeMap<ProcessId, UnitReport> = BTreeMap::new();
    for bytes in &certificate.envelopes {
        let Some(report) = unit_report(&opened(bytes, &trust)?, &trust)? else { continue };
        let unit = report.unit;
        if !manifest.crypto_units().any(|member| member.id == unit) {
            continue;
        }
        if seen.insert(unit, report).is_some() {
            return Err(CertificateRefusal::Twice(unit.to_string()));
        }
    }
    for unit in manifest.crypto_units() {
        let report =
            seen.get(&unit.id).ok_or_else(|| CertificateRefusal::Missing(unit.name.clone()))?;
        // Whoever has cleared and lost its master key since is rid of the old one all the same.
        let is_rid = |pattern: Option<Pattern>| needed == Reached::Cleared && pattern.is_none();
        let holds = reached(report, order).is_some_and(|(reached, pattern)| {
            reached >= needed && (pattern == Some(to) || is_rid(pattern))
        });
        if !holds || report.manifest_serial < order.number.manifest_serial {
            let needed = needed.name();
            return Err(CertificateRefusal::NotReached { who: unit.name.clone(), needed });
        }
        let is_lower = judge.seen.is_some_and(|seen| {
            seen.get(&unit.id).is_some_and(|highest| *highest > report.state_counter)
        });
        let is_other = judge.own != Some(unit.id);
        if is_other && (is_lower || report.set_back_from.is_some()) {
            return Err(CertificateRefusal::SetBack(unit.name.clone()));
        }
    }
    Ok(seen)
}

/// Whether a report in it shows that a crypto unit has taken the order, however it has ended there.
pub fn is_taken(certificate: &Certificate, order: &OrderRef, trust: &Trust) -> bool {
    let newest = with_manifests(certificate, order, trust);
    let trust = newest.as_ref().unwrap_or(trust);
    certificate.envelopes.iter().any(|bytes| {
        let Ok(opened) = opened(bytes, trust) else { return false };
        let report = unit_report(&opened, trust).ok().flatten();
        opened.sender_role.is_some_and(Role::is_crypto_unit)
            && report.is_some_and(|report| report.in_order(order).is_some())
    })
}

/// Wants the report of the target of an order to recover that shows it at the order's end, with the
/// master key of this pattern.
pub fn verify_recovered(
    certificate: &Certificate,
    order: &OrderRef,
    target: ProcessId,
    pattern: Pattern,
    trust: &Trust,
) -> Result<(), CertificateRefusal> {
    for bytes in &certificate.envelopes {
        let opened = opened(bytes, trust)?;
        if opened.header.sender != target {
            continue;
        }
        let Some(report) = unit_report(&opened, trust)? else { continue };
        let is_there = reached(&report, order) == Some((Reached::Cleared, Some(pattern)));
        return match is_there && report.set_back_from.is_none() {
            true => Ok(()),
            false => {
                let who = target.to_string();
                Err(CertificateRefusal::NotReached { who, needed: "recovered" })
            }
        };
    }
    Err(CertificateRefusal::Missing(target.to_string()))
}

/// What the *flipped* reports of a certificate say beside that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flipped {
    /// Each keystore's active generation.
    pub generations: Vec<(KeystoreId, GenerationId)>,
    /// Nonces of the ends of units' holds that every report names.
    pub hold_ends: Vec<(ProcessId, u64)>,
}

/// Wants one report of each keystore of the newest manifest, signed by a reencryptor of it, that
/// shows this order flipped (and read back) to the pattern `to`.
pub fn verify_flipped(
    certificate: &Certificate,
    order: &OrderRef,
    to: Pattern,
    trust: &Trust,
) -> Result<Flipped, CertificateRefusal> {
    let trust = with_manifests(certificate, order, trust)?;
    let manifest = trust.newest().ok_or(CertificateRefusal::Imprint)?;
    let mut seen = BTreeMap::new();
    let mut hold_ends: Option<Vec<(ProcessId, u64)>> = None;
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
        let named = report.hold_ends;
        hold_ends = Some(match hold_ends {
            None => named,
            Some(others) => others.into_iter().filter(|end| named.contains(end)).collect(),
        });
        if let Some(row) = report.row
            && seen.insert(row.keystore, row).is_some()
        {
            return Err(CertificateRefusal::Twice("a keystore".to_owned()));
        }
    }
    // With no keystore nobody could say that anything has flipped, and the old key would go unasked.
    if manifest.keystores.is_empty() {
        return Err(CertificateRefusal::Missing("a keystore".to_owned()));
    }
    let mut generations = Vec::new();
    for keystore in &manifest.keystores {
        let who = format!("keystore {keystore}");
        let row = seen.get(keystore).ok_or_else(|| CertificateRefusal::Missing(who.clone()))?;
        let is_flipped = row.rotation.as_ref().is_some_and(|rotation| {
            let standing = rotation.standing;
            rotation.order() == *order
                && rotation.to == to
                && matches!(standing, KeystoreStanding::Flipped | KeystoreStanding::Dropped)
        });
        let active = row.active.as_ref().filter(|active| active.pattern == to);
        match active {
            Some(active) if is_flipped && row.instance == manifest.instance => {
                generations.push((*keystore, active.id));
            }
            _ => return Err(CertificateRefusal::NotReached { who, needed: "flipped" }),
        }
    }
    Ok(Flipped { generations, hold_ends: hold_ends.unwrap_or_default() })
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

/// The report in a unit's envelope, of that unit itself; none where it holds something else.
fn unit_report(
    opened: &envelope::Opened<'_>,
    trust: &Trust,
) -> Result<Option<UnitReport>, CertificateRefusal> {
    if opened.header.kind != Kind::UnitReport {
        return Ok(None);
    }
    let report: UnitReport = codec::decode(opened.body)
        .map_err(|error| CertificateRefusal::Malformed(error.to_string()))?;
    match report.unit == opened.header.sender && report.instance == trust.instance() {
        true => Ok(Some(report)),
        false => Err(CertificateRefusal::OtherSigner(report.unit)),
    }
}

/// Judged by the newest manifest that is known here or carried inside; what is carried may only have
/// amended this rotation.
fn with_manifests(
    certificate: &Certificate,
    order: &OrderRef,
    trust: &Trust,
) -> Result<Trust, CertificateRefusal> {
    let mut newest = trust.clone();
    newest
        .take(&certificate.manifests, None, &[])
        .map_err(|error| CertificateRefusal::Manifests(error.to_string()))?;
    match amendment::only_amends(&newest, trust.serial(), order.rotation) {
        true => Ok(newest),
        false => Err(CertificateRefusal::Manifests("they amend another rotation".to_owned())),
    }
}
