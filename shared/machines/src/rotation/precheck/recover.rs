//! What must hold before a unit recovers: of its target and its source, and that nothing else goes on.
//! Whoever else is silent or empty does not stand in its way: units are recovered one by one.

use protocol::manifest::{Manifest, Member};
use protocol::order::Recovery;
use protocol::report::UnitReport;
use protocol::{Pattern, ProcessId, Role};

use super::units::{self, Checked, in_rotation, shown};
use super::{Findings, Heard, Surveyed, keystores, reference};

/// Lists all differences.
pub(super) fn check(
    recovery: Recovery,
    manifest: &Manifest,
    surveyed: &Surveyed<'_>,
    findings: &mut Findings,
) {
    if let Some(id) = surveyed.running {
        let text = format!("rotation {id} is running: a unit recovers before or after it");
        let mend = format!("keyhelm rotations {id} --follow");
        findings.unmet("rotation-running", "instance", text, mend);
        return;
    }
    let others = manifest.crypto_units().filter(|unit| !recovery.involves(unit.id));
    for unit in others {
        if let Some((report, _)) = heard(surveyed, unit.id)
            && let Some(found) = in_rotation(report)
        {
            Checked { unit, report, manifest, surveyed }.unmet_bound(found, findings);
        }
    }
    check_target(recovery, manifest, surveyed, findings);
    check_source(recovery, manifest, surveyed, findings);
    keystores::check(manifest, surveyed, findings);
}

fn heard<'a>(surveyed: &Surveyed<'a>, unit: ProcessId) -> Option<Heard<'a, UnitReport>> {
    surveyed.units.iter().find(|(report, _)| report.unit == unit).copied()
}

/// A recovery unit that can give this unit the master key that all should hold.
pub(crate) fn source_for<'a>(
    target: ProcessId,
    manifest: &'a Manifest,
    surveyed: &Surveyed<'_>,
) -> Option<&'a Member> {
    let pattern = reference(surveyed)?;
    let mut recovery_units = manifest.of_role(Role::RecoveryUnit);
    recovery_units.find(|unit| unit.id != target && can_give(unit.id, pattern, surveyed))
}

fn can_give(unit: ProcessId, pattern: Pattern, surveyed: &Surveyed<'_>) -> bool {
    heard(surveyed, unit).is_some_and(|(report, _)| {
        report.registers.current == Some(pattern)
            && report.set_back_from.is_none()
            && in_rotation(report).is_none()
    })
}

/// What gives an empty unit a master key: a recovery unit that holds it, else the next rotation.
pub(super) fn mend(unit: &Member, manifest: &Manifest, surveyed: &Surveyed<'_>) -> String {
    let name = shown(unit, manifest);
    match source_for(unit.id, manifest, surveyed) {
        Some(_) => format!("keyhelm auto-mk-recover --unit {name}"),
        None => format!("keyhelm auto-mk-rotate --join {name}"),
    }
}

fn check_target(
    Recovery { target, source }: Recovery,
    manifest: &Manifest,
    surveyed: &Surveyed<'_>,
    findings: &mut Findings,
) {
    let unit = manifest.member(target).filter(|unit| unit.role.is_crypto_unit());
    let Some(unit) = unit.filter(|_| target != source) else {
        let text = format!("{target} is no other crypto unit of the manifest than the source");
        let mend = "keyhelm cryptounits".to_owned();
        findings.unmet("target-unfit", &target.to_string(), text, mend);
        return;
    };
    let Some((report, at)) = heard(surveyed, target) else {
        units::silent(unit, manifest, surveyed, findings);
        return;
    };
    Checked { unit, report, manifest, surveyed }.check_to_recover(at, findings);
    if let Some(pattern) = report.registers.current {
        let name = &unit.name;
        let text = format!("{name} shall recover, but holds a master key, pattern {pattern}");
        let mend = "keyhelm auto-mk-recover".to_owned();
        findings.unmet("current-not-empty", name, text, mend);
    }
}

fn check_source(
    Recovery { target, source }: Recovery,
    manifest: &Manifest,
    surveyed: &Surveyed<'_>,
    findings: &mut Findings,
) {
    let give = match manifest.member(target) {
        Some(unit) => mend(unit, manifest, surveyed),
        None => "keyhelm auto-mk-recover".to_owned(),
    };
    let Some(unit) = manifest.member(source).filter(|it| it.role == Role::RecoveryUnit) else {
        let name = manifest.member(source).map(|member| member.name.clone());
        let name = name.unwrap_or_else(|| source.to_string());
        let text = format!("{name} is no recovery unit: no other one gives its master key away");
        findings.unmet("source-unfit", &name, text, give);
        return;
    };
    let Some((report, at)) = heard(surveyed, source) else {
        units::silent(unit, manifest, surveyed, findings);
        return;
    };
    Checked { unit, report, manifest, surveyed }.check_to_recover(at, findings);
    let name = &unit.name;
    let expected = reference(surveyed);
    let text = match report.registers.current {
        None => format!("{name} holds no master key itself"),
        Some(_) if report.set_back_from.is_some() => {
            format!("the state of {name} was set back to an older one")
        }
        held if held == expected => return,
        Some(held) => format!(
            "{name} holds pattern {}..., which is not that of the key storage",
            held.short()
        ),
    };
    findings.unmet("source-unfit", name, text, give);
}
