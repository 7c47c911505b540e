//! What is wrong with units and keystores while no rotation runs, and a unit that has gone back.

use protocol::api::Unmet;
use protocol::keystore::KeystoreRow;
use protocol::manifest::Member;
use protocol::report::{Registers, UnitReport};
use protocol::{Pattern, UnixMillis};

use super::rotating::silences;
use super::words::{condition, count, sentence};
use super::{Known, Told};
use crate::rotation::precheck::units::{restore, retire};

/// A unit whose state has gone back cannot be told what it has forgotten.
pub(super) fn rolled_back(known: &Known<'_>) -> Option<Told> {
    // What is told of a recovery that runs is told of the unit too.
    if known.running.as_ref().is_some_and(|it| it.view.purpose.recovery().is_some()) {
        return None;
    }
    let manifest = known.manifest?;
    let gone_back = |member: &&Member| {
        let heard = known.heard.units.get(&member.id);
        heard.is_some_and(|it| it.said.state_counter < known.heard.highest_counter(member.id))
    };
    let all: Vec<_> = manifest.crypto_units().filter(gone_back).collect();
    let first = *all.first()?;
    let line = |member: &&Member| {
        let said = known.heard.units.get(&member.id).map_or(0, |heard| heard.said.state_counter);
        format!(
            "{} {} reports state {}, and has reported state {} before: its data folder is an older \
             one.",
            member.role,
            member.name,
            count(said),
            count(known.heard.highest_counter(member.id))
        )
    };
    let mut details: Vec<_> = all.iter().map(line).collect();
    if all.iter().all(|member| is_brought_up(known, member)) {
        return Told::wait(details, "Just wait: the rotation brings it up again.");
    }
    details.push(format!("If its newest data folder exists: {}.", restore(first)));
    let next = match &known.running {
        // Ended first, the rotation needs no manifest that amends it.
        Some(running) if !running.view.is_decided => {
            details.push(format!("After that: {}.", retire(first, manifest)));
            format!("keyhelm abort {}", running.view.rotation)
        }
        Some(_) => restore(first),
        // One that has nothing of its own left is given what the others hold.
        None => match found(known, "current-empty").find(|it| it.subject == first.name) {
            Some(empty) => empty.mend.clone(),
            None => retire(first, manifest),
        },
    };
    Told::act(details, next)
}

/// A rotation runs, the unit knows that its state is older, and refuses nothing.
fn is_brought_up(known: &Known<'_>, member: &Member) -> bool {
    let heard = known.heard.units.get(&member.id);
    let is_aware = heard.is_some_and(|it| it.said.set_back_from.is_some());
    let refuses = |running: &super::Running| {
        let mut awaited = running.awaited.iter();
        awaited.any(|it| it.process == member.id && it.refusal.is_some())
    };
    known.running.as_ref().is_some_and(|running| is_aware && !refuses(running))
}

pub(super) fn no_master_key(known: &Known<'_>) -> Option<Told> {
    let manifest = known.manifest?;
    let is_empty = reports(known).all(|report| report.registers == Registers::default());
    let all_rows = manifest
        .keystores
        .iter()
        .all(|keystore| rows(known).any(|row| row.keystore == *keystore && row.active.is_none()));
    if !is_empty || !all_rows || found(known, "current-empty").next().is_none() {
        return None;
    }
    let name = &manifest.name;
    let mut details = vec![format!("Instance {name} has manifest {}.", manifest.serial)];
    details.extend(known.last.map(super::quiet::end_of));
    details.extend(silences(known).map(sentence));
    let next = silences(known).next().map_or("keyhelm auto-init", |found| &found.mend);
    Told::act(details, next)
}

pub(super) fn keystore_differs(known: &Known<'_>) -> Option<Told> {
    let manifest = known.manifest?;
    // Where nobody answers, nobody can be said to lack it.
    reports(known).next()?;
    let orphan = |row: &&KeystoreRow| {
        let pattern = row.active.as_ref().map(|active| active.pattern);
        let is_held = |pattern| reports(known).any(|report| report.registers.hold(pattern));
        manifest.keystores.contains(&row.keystore) && pattern.is_some_and(|it| !is_held(it))
    };
    let orphans: Vec<_> = rows(known).filter(orphan).collect();
    let first = orphans.first()?;
    let mut details = Vec::new();
    for row in &orphans {
        let pattern = row.active.as_ref().map(|active| active.pattern.to_string());
        let pattern = pattern.unwrap_or_default();
        details.push(format!("Keystore {} is under pattern {pattern}.", row.keystore));
    }
    let mut held: Vec<Pattern> = reports(known).filter_map(|it| it.registers.current).collect();
    held.sort_unstable();
    held.dedup();
    details.extend(held.iter().map(|pattern| format!("Units hold pattern {pattern}.")));
    details.push("Nothing is written to it.".to_owned());
    details.extend(silences(known).map(|it| format!("{} It may hold it.", sentence(it))));
    let subject = format!("keystore {}", first.keystore);
    let of_precheck = found(known, "keystore-differs").find(|it| it.subject == subject);
    let restore = "restore the keystore that belongs to these units";
    let mend = of_precheck.map_or(restore, |it| &it.mend);
    Told::act(details, silences(known).next().map_or(mend, |it| &it.mend))
}

pub(super) fn current_empty(known: &Known<'_>) -> Option<Told> {
    let has_other = reports(known).any(|report| report.registers.current.is_some());
    named(known, "current-empty").filter(|_| has_other)
}

pub(super) fn current_differs(known: &Known<'_>) -> Option<Told> {
    named(known, "current-differs")
}

/// Conditions of one code, those of others after them, and the mend of the first. Whoever is away
/// comes back first: it may hold what the others lack.
fn named(known: &Known<'_>, code: &str) -> Option<Told> {
    let first = found(known, code).next()?;
    let others = known.findings.unmet.iter().filter(|it| it.code != code);
    let details = found(known, code).chain(others).map(condition).collect();
    Told::act(details, silences(known).next().unwrap_or(first).mend.clone())
}

pub(super) fn unmet(known: &Known<'_>) -> Option<Told> {
    let unmet = &known.findings.unmet;
    let is_typed = |it: &&Unmet| it.mend.starts_with("keyhelm ");
    let next = silences(known).next().or_else(|| unmet.iter().find(is_typed));
    let next = next.or(unmet.first())?.mend.clone();
    let mut details: Vec<_> = unmet.iter().map(condition).collect();
    details.extend(known.last.map(super::quiet::end_of));
    Told::act(details, next)
}

/// Reports of units of the manifest that have just answered.
fn reports<'a>(known: &'a Known<'_>) -> impl Iterator<Item = &'a UnitReport> {
    let is_new = |at: UnixMillis| at >= known.since;
    let heard = known.heard.units.values().filter(move |heard| is_new(heard.at));
    heard.map(|heard| &heard.said)
}

/// Rows of keystores that have just answered.
fn rows<'a>(known: &'a Known<'_>) -> impl Iterator<Item = &'a KeystoreRow> {
    let heard = known.heard.keystores.values().filter(|heard| heard.at >= known.since);
    heard.filter_map(|heard| heard.said.row.as_ref())
}

fn found<'a>(known: &'a Known<'_>, code: &'a str) -> impl Iterator<Item = &'a Unmet> {
    known.findings.unmet.iter().filter(move |it| it.code == code)
}
