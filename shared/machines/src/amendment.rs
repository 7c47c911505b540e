//! Amendments: the only manifests that are taken while a rotation is under way. The administrators
//! take a crypto unit out of it, or put another coordinator, reencryptor or gateway in the place of
//! one that is lost; nothing else changes.

use protocol::codec;
use protocol::envelope::Kind;
use protocol::manifest::{Amendment, Manifest, SignedManifest};
use protocol::order::{Order, OrderRef};
use protocol::report::{Standing, UnitReport};
use protocol::{Pattern, ProcessId, Role, RotationId};

use crate::envelope;
use crate::trust::{ManifestRefusal, Trust};

/// The rotation that a process is in, as far as it must judge an amendment.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// The order.
    pub order: &'a Order,
    /// Its name.
    pub reference: &'a OrderRef,
    /// The new master key's pattern, where the process has seen one.
    pub to: Option<Pattern>,
    /// Whether that is its current one already.
    pub is_promoted: bool,
    /// The process itself: whether it is removed is for the others to judge.
    pub who: ProcessId,
}

/// Takes what is new of a chain in which every new manifest must amend this rotation. `Ok(false)` if
/// nothing is new. A later amendment mends the holder's report of one before: what that showed may
/// have been too little by the time it came.
pub fn take(
    trust: &mut Trust,
    chain: &[SignedManifest],
    binding: &Binding<'_>,
) -> Result<bool, ManifestRefusal> {
    let mut next = trust.clone();
    // Removals for which no holder's report has been good yet, with what is wrong with the last one.
    let mut open: Vec<ManifestRefusal> = Vec::new();
    for signed in chain {
        let before = next.clone();
        if next.take(std::slice::from_ref(signed), None, &[])? {
            let removes = judge(&before, &next, binding)?;
            if removes || !open.is_empty() {
                match holder(&before, &next, binding) {
                    Ok(()) => open.clear(),
                    Err(refusal) if removes => open.push(refusal),
                    Err(_) => {}
                }
            }
        }
    }
    if let Some(refusal) = open.pop() {
        return Err(refusal);
    }
    let is_new = next.serial() > trust.serial();
    *trust = next;
    Ok(is_new)
}

/// Whether every manifest since this serial amends the rotation.
pub fn only_amends(trust: &Trust, serial: u64, rotation: RotationId) -> bool {
    trust.chain().iter().skip(serial as usize).all(|signed| amends(signed, rotation))
}

/// Whether a manifest amends this rotation.
pub fn amends(signed: &SignedManifest, rotation: RotationId) -> bool {
    let amendment = signed.unverified().ok().and_then(|manifest| manifest.amendment);
    amendment.is_some_and(|amendment| amendment.rotation == rotation)
}

/// Whether it takes crypto units out of the rotation of those who are bound to it.
fn judge(before: &Trust, after: &Trust, binding: &Binding<'_>) -> Result<bool, ManifestRefusal> {
    let (Some(old), Some(new)) = (before.newest(), after.newest()) else { return Ok(false) };
    let refuse = |reason: String| Err(ManifestRefusal::NoAmendment { serial: new.serial, reason });
    let Some(amendment) = &new.amendment else {
        return refuse("it is none, and a rotation is under way".to_owned());
    };
    if amendment.rotation != binding.order.rotation {
        return refuse(format!("it is for rotation {}", amendment.rotation));
    }
    if let Err(reason) = changes_no_more(old, new) {
        return refuse(reason.to_owned());
    }
    let is_kept = |id| new.crypto_units().any(|kept| kept.id == id);
    let is_for_others = is_kept(binding.who) || !old.crypto_units().any(|it| it.id == binding.who);
    let has_removed = old.crypto_units().any(|unit| !is_kept(unit.id));
    Ok(has_removed && is_for_others)
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

/// Somebody who stays holds the master keys that are still needed, and says so himself: a recovery
/// unit; in an order with units that join an operational one is enough.
fn holder(before: &Trust, after: &Trust, binding: &Binding<'_>) -> Result<(), ManifestRefusal> {
    let Some(new) = after.newest() else { return Ok(()) };
    let Some(amendment) = &new.amendment else { return Ok(()) };
    judge_holder(before, new, amendment, binding).map_err(|reason| {
        let (serial, reason) = (new.serial, reason.to_owned());
        ManifestRefusal::NoAmendment { serial, reason }
    })
}

fn judge_holder(
    before: &Trust,
    new: &Manifest,
    amendment: &Amendment,
    binding: &Binding<'_>,
) -> Result<(), &'static str> {
    let opened = envelope::open_evidence(&amendment.holder_report, before)
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
    let may_hold = role == Some(Role::RecoveryUnit)
        || (role == Some(Role::OperationalUnit) && !binding.order.joining.is_empty());
    if !may_hold {
        return Err("the holder is no recovery unit that stays");
    }
    let standing = report.in_order(binding.reference).map(|found| found.standing);
    let Some(standing) = standing else { return Err("the holder has not taken the order") };
    // Whoever has cleared has been shown that the keystore is under the new pattern for good.
    let old_key = binding.order.from.filter(|_| standing != Standing::Cleared);
    // With a holder that has aborted the rotation ends so, and nothing is under the new one.
    let new_key = binding.to.filter(|_| standing != Standing::Aborted || binding.is_promoted);
    match old_key.into_iter().chain(new_key).all(|needed| report.registers.hold(needed)) {
        true => Ok(()),
        false => Err("the holder does not hold the master keys that are still needed"),
    }
}
