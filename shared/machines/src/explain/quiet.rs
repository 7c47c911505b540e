//! Before there is anything, and while nothing runs and nothing is wrong.

use protocol::api::RotationView;
use protocol::audit::Phase;
use protocol::order::{Purpose, StandingOrder};
use protocol::{Role, UnixMillis};

use super::words::{condition, count, counted, moment, sentence, short};
use super::{Known, Leave, Told};

pub(super) fn nobody_announced(known: &Known<'_>) -> Option<Told> {
    let mut announced = known.heard.announced.values();
    let is_there = announced.any(|heard| heard.said.member.role.is_crypto_unit());
    if known.manifest.is_some() || is_there {
        return None;
    }
    let text = "Units announce themselves when they start, through the broker.".to_owned();
    Told::act(vec![text], "start the crypto units whose configuration names this instance")
}

pub(super) fn not_initialised(known: &Known<'_>) -> Option<Told> {
    if known.manifest.is_some() {
        return None;
    }
    let members = known.heard.announced.values().map(|heard| &heard.said.member);
    let mut there: Vec<_> =
        members.clone().map(|member| format!("{} ({})", member.name, member.role)).collect();
    there.sort();
    let mut details = vec![format!("Announced so far: {}.", there.join(", "))];
    // The coordinator announces itself to nobody.
    let needed = [Role::RecoveryUnit, Role::OperationalUnit, Role::Reencryptor];
    for role in needed.into_iter().filter(|role| !members.clone().any(|it| it.role == *role)) {
        details.push(format!("No {role} has announced itself yet: start one first."));
    }
    Told::act(details, "keyhelm auto-init")
}

/// It takes the place of one that is lost: what was running goes on once the next manifest names it.
pub(super) fn coordinator_unknown(known: &Known<'_>) -> Option<Told> {
    let found = known.findings.unmet.iter().find(|found| found.code == "coordinator-unknown")?;
    let mut details = vec![sentence(found)];
    if let Some(running) = &known.running {
        let id = running.view.rotation;
        details.push(format!("Rotation {id} waits for it: the next manifest amends the rotation."));
    }
    Told::act(details, found.mend.clone())
}

pub(super) fn aborted(known: &Known<'_>) -> Option<Told> {
    // A unit that has not recovered is named for that.
    let last =
        known.last.filter(|it| it.phase == Phase::Aborted && it.purpose.recovery().is_none())?;
    let next = match last.purpose {
        Purpose::Initialise => "keyhelm auto-init",
        _ => "keyhelm auto-mk-rotate",
    };
    let mut details = vec![end_of(last)];
    details.extend(holders(known));
    Told::act(details, next)
}

pub(super) fn no_standing_order(known: &Known<'_>) -> Option<Told> {
    let why = match &known.leave {
        Leave::None => "None was given: administrators sign each rotation by hand.".to_owned(),
        Leave::EndedByManifest => {
            "The newest manifest has ended the one that there was: sign it again with keyhelm \
             auto-init --standing-order DURATION, or each rotation by hand."
                .to_owned()
        }
        Leave::Given(given) if given.until <= known.now => {
            let until = moment(given.until);
            format!(
                "The one that there was has ended at {until}: sign another with keyhelm auto-init \
                 --standing-order DURATION, or each rotation by hand."
            )
        }
        Leave::Given(_) => return None,
    };
    let mut details = vec![why];
    details.extend(well(known));
    Told::may(details, "keyhelm auto-mk-rotate --sign")
}

pub(super) fn all_well(known: &Known<'_>) -> Option<Told> {
    let mut details = well(known);
    if let Leave::Given(given) = &known.leave {
        details.push(next_allowed(known, given));
    }
    Told::wait(details, "Nothing has to be done: just wait until the next rotation is wanted.")
}

/// The last rotation, who holds its master key, and what is worth knowing.
fn well(known: &Known<'_>) -> Vec<String> {
    let mut details: Vec<_> = known.last.map(end_of).into_iter().collect();
    details.extend(holders(known));
    details.extend(known.last.and_then(old_backups));
    details.extend(known.findings.warnings.iter().map(condition));
    details
}

/// How the last rotation ended.
pub(super) fn end_of(last: &RotationView) -> String {
    let at = last.finished_at.map_or_else(|| "an unknown time".to_owned(), moment);
    let id = last.rotation;
    match (last.phase, last.purpose) {
        (Phase::Aborted, Purpose::Recover { .. }) => {
            let because = last.aborted_because.as_deref().unwrap_or("no reason is known");
            format!("Recovery {id} was ended at {at} with nothing changed: {because}.")
        }
        (_, Purpose::Recover { .. }) => {
            format!("A unit has recovered its master key at {at}, pattern {}", short(last.to))
        }
        (Phase::Aborted, _) => {
            let because = last.aborted_because.as_deref().unwrap_or("no reason is known");
            format!("Rotation {id} was ended at {at} before its decision: {because}.")
        }
        (_, Purpose::Initialise) => {
            format!("The first master key was made at {at}, pattern {}", short(last.to))
        }
        _ => format!(
            "The last rotation, {id}, ended at {at}: {}, pattern {} -> {}",
            counted(last.keys_total, "key version"),
            short(last.from),
            short(last.to)
        ),
    }
}

/// Who holds the master key, and which keys are under it.
fn holders(known: &Known<'_>) -> Vec<String> {
    let Some(manifest) = known.manifest else { return Vec::new() };
    let reports = known.heard.units.values().filter(|heard| heard.at >= known.since);
    let held: Vec<_> = reports.filter_map(|heard| heard.said.registers.current).collect();
    let Some(pattern) = held.first() else { return Vec::new() };
    let holders = held.iter().filter(|held| *held == pattern).count();
    let total = manifest.crypto_units().count();
    let mut details =
        vec![format!("{holders} of {total} crypto units hold it, pattern {pattern}.")];
    let rows = known.heard.keystores.values().filter_map(|heard| heard.said.row.as_ref());
    for row in rows.filter(|row| manifest.keystores.contains(&row.keystore)) {
        if let Some(active) = &row.active {
            details.push(format!(
                "Keystore {}: {} in generation {}, pattern {}",
                row.keystore,
                counted(row.version_count, "key version"),
                active.number,
                short(Some(active.pattern))
            ));
        }
    }
    details
}

/// A flip leaves old backups under a master key that is cleared.
fn old_backups(last: &RotationView) -> Option<String> {
    let flip = last.phases.iter().find(|(phase, _)| *phase == Phase::Flip)?;
    let is_rotation = last.purpose == Purpose::Rotate && last.phase == Phase::Done;
    is_rotation.then(|| {
        format!(
            "Backups of the key storage from before {} need the master key that was cleared then: \
             keep a newer one.",
            moment(flip.1)
        )
    })
}

/// When the standing order lets the next rotation start.
fn next_allowed(known: &Known<'_>, given: &StandingOrder) -> String {
    let after = |at: UnixMillis, seconds: u32| at.plus_ms(u64::from(seconds) * 1000);
    let units = known.heard.units.values();
    let promoted = units.filter_map(|heard| heard.said.facts.last_promoted_at).max();
    let by_interval = promoted.map(|at| after(at, given.not_more_often_than_s));
    let tried = known.last.filter(|last| last.purpose == Purpose::Rotate);
    let by_pause = tried.map(|last| after(last.started_at, given.pause_between_tries_s));
    let from = by_interval.max(by_pause).filter(|from| *from > known.now);
    let until = moment(given.until);
    match from {
        Some(from) if from >= given.until => format!(
            "The standing order ends at {until}, before it allows another rotation ({}).",
            moment(from)
        ),
        Some(from) => format!(
            "The standing order allows the next rotation from {} on ({} s from now), until {until}.",
            moment(from),
            count(from.since(known.now).div_ceil(1000))
        ),
        None => format!("The standing order allows the next rotation now, until {until}."),
    }
}
