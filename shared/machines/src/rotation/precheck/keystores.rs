//! What must hold of each keystore.

use protocol::api::Unmet;
use protocol::keystore::KeystoreRow;
use protocol::manifest::Manifest;
use protocol::order::Purpose;
use protocol::report::Standing;
use protocol::{Pattern, Role, RotationId};

use super::{Findings, Surveyed, TAKE_UP, reference};

/// Rows of the keystores that answered.
pub(super) fn rows<'a>(surveyed: &'a Surveyed<'a>) -> impl Iterator<Item = &'a KeystoreRow> {
    surveyed.keystores.iter().filter_map(|(report, _)| report.row.as_ref())
}

/// How many keystores of the manifest are under this pattern.
pub(super) fn under(pattern: Pattern, manifest: &Manifest, surveyed: &Surveyed<'_>) -> usize {
    let is_under = |row: &&KeystoreRow| {
        manifest.keystores.contains(&row.keystore)
            && row.active.as_ref().is_some_and(|active| active.pattern == pattern)
    };
    rows(surveyed).filter(is_under).count()
}

/// Checks every keystore of the manifest.
pub(super) fn check(manifest: &Manifest, surveyed: &Surveyed<'_>, findings: &mut Findings) {
    for id in &manifest.keystores {
        let subject = format!("keystore {id}");
        match rows(surveyed).find(|row| row.keystore == *id) {
            Some(row) => check_row(&subject, row, surveyed, findings),
            // A unit recovers whether it is there or not.
            None if surveyed.purpose.recovery().is_some() => {}
            None => silent(&subject, manifest, findings),
        }
    }
    check_count(manifest, surveyed, findings);
}

/// A keystore's administrator can take keys away, metadata and all: only what was counted before tells.
fn check_count(manifest: &Manifest, surveyed: &Surveyed<'_>, findings: &mut Findings) {
    let known: Vec<_> =
        rows(surveyed).filter(|row| manifest.keystores.contains(&row.keystore)).collect();
    let (before, now) =
        (surveyed.counted_before, known.iter().map(|row| row.version_count).sum::<u64>());
    if known.len() < manifest.keystores.len() || surveyed.running.is_some() || now >= before {
        return;
    }
    let text = format!(
        "there are {now} key versions, the last rotation counted {before}: {} were purged since, or \
         are lost",
        before - now
    );
    findings.warn("fewer-keys", "keystore", text, "keyhelm keys list".to_owned());
}

fn silent(subject: &str, manifest: &Manifest, findings: &mut Findings) {
    let names: Vec<_> =
        manifest.of_role(Role::Reencryptor).map(|member| member.name.as_str()).collect();
    let text = format!("no reencryptor answers for {subject}");
    let mend = format!("start {} {}", Role::Reencryptor, names.join(" or "));
    findings.unmet("keystore-silent", subject, text, mend.trim_end().to_owned());
}

fn check_row(subject: &str, row: &KeystoreRow, surveyed: &Surveyed<'_>, findings: &mut Findings) {
    let restore = || "restore the keystore that belongs to these units".to_owned();
    if let (Some(_), Some(rotation)) = (&row.open, &row.rotation) {
        let id = rotation.rotation;
        let text = format!("{subject} is being re-encrypted by rotation {id}");
        let is_unknown = standings(id, surveyed).next().is_none();
        let is_closed_by_start = standings(id, surveyed).any(|it| it != Standing::Cleared)
            || (is_unknown && is_under_current(row, surveyed));
        let mend = match (surveyed.running == Some(id), is_closed_by_start) {
            (true, _) => format!("keyhelm abort {id}"),
            (false, true) => TAKE_UP.to_owned(),
            (false, false) => restore(),
        };
        findings.unmet("keystore-open", subject, text, mend);
    }
    let active = row.active.as_ref().map(|active| active.pattern);
    if surveyed.purpose == Purpose::Initialise && row.version_count > 0 {
        let text = format!("{subject} has {} key versions", row.version_count);
        // Whoever holds a master key may hold that of these keys: they must not be thrown away.
        let mend = match reference(surveyed) {
            Some(_) => "keyhelm auto-mk-rotate".to_owned(),
            None => "give the instance an empty keystore".to_owned(),
        };
        findings.unmet("keystore-not-empty", subject, text, mend);
    }
    // Where no unit holds a master key, that is what must be mended.
    if surveyed.purpose != Purpose::Initialise
        && let Some(current) = reference(surveyed)
        && active != Some(current)
    {
        let shown = active.map_or_else(|| "none".to_owned(), |found| found.to_string());
        let text = format!("{subject} is under pattern {shown}, its units hold {current}");
        findings.unmet("keystore-differs", subject, text, restore());
    }
}

/// Whether its keys are under the master key that every unit with one holds: what is open over them can be let go
/// of, whoever knows of it. A copy of another master key's time cannot.
fn is_under_current(row: &KeystoreRow, surveyed: &Surveyed<'_>) -> bool {
    let Some(active) = &row.active else { return false };
    let mut held = surveyed.units.iter().filter_map(|(report, _)| report.registers.current);
    reference(surveyed) == Some(active.pattern) && held.all(|current| current == active.pattern)
}

/// Whether a condition is that a keystore is open, and a start can close it.
pub(crate) fn is_left_open(unmet: &Unmet) -> bool {
    unmet.code == "keystore-open" && unmet.mend == TAKE_UP
}

/// How units stand in a rotation. Where one has its order and has not cleared, a coordinator that starts ends it.
fn standings(rotation: RotationId, surveyed: &Surveyed<'_>) -> impl Iterator<Item = Standing> {
    let orders = surveyed.units.iter().filter_map(|(report, _)| report.rotation.as_ref());
    orders.filter(move |found| found.order.rotation == rotation).map(|found| found.standing)
}
