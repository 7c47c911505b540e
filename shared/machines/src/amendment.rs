//! Amendments: the only manifests that are taken while a rotation is under way. The administrators
//! take a crypto unit out of it, or put another coordinator, reencryptor or gateway in the place of
//! one that is lost; nothing else changes.

use protocol::codec;
use protocol::envelope::Kind;
use protocol::manifest::{Manifest, SignedManifest};
use protocol::order::OrderRef;
use protocol::report::{Standing, UnitReport};
use protocol::{Pattern, ProcessId, Role, RotationId};

use crate::trust::{ManifestRefusal, Trust};
use crate::{envelope, leave};

/// The rotation that a process is in, as far as it must judge an amendment.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// The order.
    pub order: OrderRef,
    /// The old master key's pattern, where there was one.
    pub from: Option<Pattern>,
    /// The new master key's pattern, where the process has seen one.
    pub to: Option<Pattern>,
    /// Whether that is somebody's current one already, or may be.
    pub is_promoted: bool,
    /// The process itself: whether it is removed is for the others to judge.
    pub who: ProcessId,
}

impl Binding {
    /// As the strictest of the units that stay judges, out of what they last said; whoever has not
    /// been heard may have promoted.
    pub fn of_units<'a>(
        order: OrderRef,
        (from, to): (Option<Pattern>, Option<Pattern>),
        who: ProcessId,
        new: &Manifest,
        heard: impl Fn(ProcessId) -> Option<&'a UnitReport>,
    ) -> Self {
        let may_have_promoted = |unit| match heard(unit) {
            Some(report) => report
                .in_order(&order)
                .is_some_and(|found| matches!(found.standing, Standing::Promoted)),
            None => true,
        };
        let is_promoted = new.crypto_units().any(|unit| may_have_promoted(unit.id));
        Self { order, from, to, is_promoted, who }
    }
}

/// Takes what is new of a chain in which every new manifest must amend a rotation, and the last one this.
/// `Ok(false)` if nothing is new.
///
/// What amended another one in between, as a coordinator with an old record believed that to run, has changed
/// no more than an amendment may, and the administrators have signed the last one over it.
///
/// Who stays must hold what is needed at the end of the chain: whoever was away for one amendment, or
/// has refused it, takes it with a later one that brings another holder's report.
pub fn take(
    trust: &mut Trust,
    chain: &[SignedManifest],
    binding: &Binding,
) -> Result<bool, ManifestRefusal> {
    let mut next = trust.clone();
    for signed in chain {
        let before = next.clone();
        if next.take(std::slice::from_ref(signed), None, &[])?
            && let (Some(old), Some(new)) = (before.newest(), next.newest())
        {
            judge(old, new)?;
        }
    }
    if next.serial() == trust.serial() {
        return Ok(false);
    }
    names(&next, binding.order.rotation)?;
    is_held(trust, &next, binding)?;
    *trust = next;
    Ok(true)
}

/// Whether every manifest since this serial is an amendment, and the last one of this rotation.
pub fn only_amends(trust: &Trust, serial: u64, rotation: RotationId) -> bool {
    let since = trust.chain().get(serial as usize..).unwrap_or_default();
    since.last().is_none_or(|last| amends(last, rotation)) && are_amendments(since)
}

/// Whether these manifests are amendments, of whichever rotation.
pub fn are_amendments(chain: &[SignedManifest]) -> bool {
    chain.iter().all(|signed| amended(signed).is_some())
}

/// Whether a manifest amends this rotation.
pub fn amends(signed: &SignedManifest, rotation: RotationId) -> bool {
    amended(signed) == Some(rotation)
}

/// The rotation that a manifest amends.
fn amended(signed: &SignedManifest) -> Option<RotationId> {
    Some(signed.unverified().ok()?.amendment?.rotation)
}

fn refuse(serial: u64, reason: &str) -> ManifestRefusal {
    ManifestRefusal::NoAmendment { serial, reason: reason.to_owned() }
}

/// Whether the second follows the first as an amendment.
fn judge(old: &Manifest, new: &Manifest) -> Result<(), ManifestRefusal> {
    if new.amendment.is_none() {
        return Err(refuse(new.serial, "it is none, and a rotation is under way"));
    }
    changes_no_more(old, new).map_err(|reason| refuse(new.serial, reason))
}

/// Whether the newest manifest amends this rotation.
fn names(trust: &Trust, rotation: RotationId) -> Result<(), ManifestRefusal> {
    let amendment = trust.newest().and_then(|newest| newest.amendment.as_ref());
    match amendment.filter(|found| found.rotation != rotation) {
        None => Ok(()),
        Some(other) => {
            Err(refuse(trust.serial(), &format!("it is for rotation {}", other.rotation)))
        }
    }
}

/// Crypto units may only go; administrators, thresholds and keystores stay.
fn changes_no_more(old: &Manifest, new: &Manifest) -> Result<(), &'static str> {
    let is_same_rule = old.administrators == new.administrators
        && old.signature_threshold == new.signature_threshold
        && old.revocation_threshold == new.revocation_threshold;
    if !is_same_rule {
        return Err("it changes administrators or thresholds");
    }
    if old.keystores != new.keystores || old.name != new.name {
        return Err("it changes the keystores or the name of the instance");
    }
    let was_there = |unit: &protocol::manifest::Member| old.crypto_units().any(|old| old == unit);
    match new.crypto_units().all(was_there) {
        true => Ok(()),
        false => Err("it adds or changes a crypto unit"),
    }
}

/// Where crypto units have gone, the last manifest that removes one, or one after it, carries the
/// report of a holder.
fn is_held(before: &Trust, after: &Trust, binding: &Binding) -> Result<(), ManifestRefusal> {
    let (Some(old), Some(new)) = (before.newest(), after.newest()) else { return Ok(()) };
    let is_kept = |id| new.crypto_units().any(|kept| kept.id == id);
    let is_for_others = is_kept(binding.who) || !old.crypto_units().any(|it| it.id == binding.who);
    let has_removed = old.crypto_units().any(|unit| !is_kept(unit.id));
    if !has_removed || !is_for_others {
        return Ok(());
    }
    let staying = new.crypto_units().count();
    let added = after.chain().iter().skip(before.serial() as usize).rev();
    let mut refused = refuse(new.serial, "it carries no report of a holder");
    for signed in added {
        let Ok(manifest) = signed.unverified() else { break };
        if manifest.crypto_units().count() > staying {
            break;
        }
        let report = manifest.amendment.map(|found| found.holder_report).unwrap_or_default();
        match holds(before, new, &report, binding) {
            Ok(()) => return Ok(()),
            Err(reason) => refused = refuse(manifest.serial, reason),
        }
    }
    Err(refused)
}

/// Whether this is the report of somebody who stays and holds the master keys that are still needed,
/// and says so himself: a recovery unit; in an order with units that join an operational one is
/// enough.
pub fn holds(
    before: &Trust,
    new: &Manifest,
    envelope: &[u8],
    binding: &Binding,
) -> Result<(), &'static str> {
    let opened = envelope::open_evidence(envelope, before)
        .map_err(|_| "the holder's report is not signed by a member")?;
    if opened.header.kind != Kind::UnitReport {
        return Err("the holder's report is no report of a unit");
    }
    let report: UnitReport =
        codec::decode(opened.body).map_err(|_| "the holder's report cannot be read")?;
    if report.unit != opened.header.sender || report.set_back_from.is_some() {
        return Err("the holder's report is not of the unit that signed it, or of one set back");
    }
    let role = new.member(report.unit).map(|member| member.role);
    let Some(taken) = report.in_order(&binding.order) else {
        // Whoever has gone on to a later order with this one's master key had cleared it. With the old one it
        // never promotes this order: that ends as if it had aborted it.
        let current = report.registers.current;
        let has_cleared = binding.to.is_some() && current == binding.to;
        let has_left = binding.from.is_some() && current == binding.from && !binding.is_promoted;
        let has_gone_on = report.last_number() > binding.order.number && (has_cleared || has_left);
        return match has_gone_on && role == Some(Role::RecoveryUnit) {
            true => Ok(()),
            false => Err("the holder has not taken the order"),
        };
    };
    let (order, _) = leave::read(&taken.signed_order)
        .ok()
        .filter(|(_, reference)| *reference == binding.order)
        .ok_or("the order in the holder's report is another one")?;
    let may_hold = role == Some(Role::RecoveryUnit)
        || (role == Some(Role::OperationalUnit) && !order.joining.is_empty());
    if !may_hold {
        return Err("the holder is no recovery unit that stays");
    }
    let standing = taken.standing;
    // Whoever has cleared has been shown that the keystore is under the new pattern for good.
    let old_key = order.from.filter(|_| standing != Standing::Cleared);
    // With a holder that has aborted the rotation ends so, and nothing is under the new one.
    if standing == Standing::Aborted && binding.is_promoted {
        return Err(
            "the holder has aborted the rotation, and a unit that stays has promoted it, or a \
            keystore has flipped, or one of them has not said how it stands",
        );
    }
    let new_key = binding.to.filter(|_| standing != Standing::Aborted);
    match old_key.into_iter().chain(new_key).all(|needed| report.registers.hold(needed)) {
        true => Ok(()),
        false => Err("the holder does not hold the master keys that are still needed"),
    }
}
