//! A rotation that runs: how far it is, and whom it waits for.

use std::collections::BTreeSet;

use protocol::UnixMillis;
use protocol::api::{RotationView, Unmet};
use protocol::audit::Phase;
use protocol::codes;
use protocol::order::Purpose;

use super::words::{count, counted, moment, sentence};
use super::{Known, Running, Told};
use crate::rotation::precheck::units::retire;
use crate::rotation::{Awaited, phase_text};

/// Who has said nothing for so long after it was asked is silent, in milliseconds.
const SILENT_MS: u64 = 3_000;

/// Somebody who does not answer.
struct Absent {
    name: String,
    text: String,
    mend: String,
    ends_at: Option<UnixMillis>,
}

pub(super) fn running(known: &Known<'_>) -> Option<Told> {
    let running = known.running.as_ref()?;
    let mut details = how_far(known, running);
    for awaited in &running.awaited {
        let (name, command) = (known.name_of(awaited.process), awaited.command);
        let refusal = refusal(awaited);
        details.push(format!("Asked of {name}: {command}, {}.{refusal}", tries(awaited)));
    }
    let (id, is_decided) = (running.view.rotation, running.view.is_decided);
    if !is_decided {
        details.push(format!("keyhelm abort {id} would end it with nothing changed."));
    }
    Told::wait(details, "Just wait: it goes on by itself.")
}

pub(super) fn holding(known: &Known<'_>) -> Option<Told> {
    let running = known.running.as_ref()?;
    let hold = hold(&running.view)?;
    if !absent(known, running).is_empty() {
        // Its hold would be over and it would go on no more: somebody must see to whoever is away.
        return None;
    }
    let mut details = how_far(known, running);
    details.push(hold);
    details.push(format!("keyhelm hold-end {} ends the hold early.", running.view.rotation));
    Told::wait(details, "Just wait: it goes on by itself.")
}

fn hold(view: &RotationView) -> Option<String> {
    let until = view.hold_until?;
    let what = match view.phase {
        Phase::HoldBeforeClear => "The keys are under the new master key; the old one is kept",
        _ => "Keys are served; re-encryption begins after the hold, which lasts",
    };
    Some(format!("{what} until {}.", moment(until)))
}

pub(super) fn waiting(known: &Known<'_>, is_decided: bool) -> Option<Told> {
    let running = known.running.as_ref()?;
    if running.ends_because.is_some() || running.view.is_decided != is_decided {
        return None;
    }
    let absent = absent(known, running);
    let refusing: Vec<_> = running.awaited.iter().filter(|it| is_decided && refuses(it)).collect();
    let next = match (absent.first(), refusing.first()) {
        (Some(first), _) => first.mend.clone(),
        (None, Some(first)) => mend_of_refusal(known, first),
        (None, None) => return None,
    };
    let mut details = how_far(known, running);
    details.extend(hold(&running.view));
    details.extend(absent.iter().map(|it| it.text.clone()));
    for awaited in refusing {
        let (name, command) = (known.name_of(awaited.process), awaited.command);
        let refusal = refusal(awaited);
        details.push(format!("{name} refuses {command}, {}.{refusal}", tries(awaited)));
        if awaited.is_shut_out {
            details.push(shut_out(known, &name));
        }
    }
    details.push(until(&absent, is_decided));
    Told::act(details, next)
}

pub(super) fn aborting(known: &Known<'_>) -> Option<Told> {
    let running = known.running.as_ref()?;
    let because = running.ends_because.as_ref()?;
    let absent = absent(known, running);
    let mut details = vec![format!(
        "{} {} is being ended: {because}.",
        capital_noun(&running.view),
        running.view.rotation
    )];
    details.extend(absent.iter().map(|it| it.text.clone()));
    match absent.first() {
        Some(first) => {
            let ends = absent.iter().filter_map(|it| Some((it.ends_at?, &it.name))).max();
            details.extend(ends.map(|(at, name)| {
                format!("At {} it ends without {name} if that stays silent.", moment(at))
            }));
            let back = "Who is back before is told; who comes later is released by the next start.";
            details.push(back.to_owned());
            Told::act(details, first.mend.clone())
        }
        None => Told::wait(details, "Just wait: the end takes a moment."),
    }
}

/// Phase, progress, rate, and since when.
fn how_far(known: &Known<'_>, running: &Running) -> Vec<String> {
    let view = &running.view;
    let since = view.phases.last().map_or(view.started_at, |(_, at)| *at);
    let (id, text) = (view.rotation, phase_text(view.phase, view.purpose));
    let mut details = vec![
        format!("{} {id}: {text}, since {}.", capital_noun(view), moment(since)),
        format!("{} of {} crypto units have done it.", view.units_done, view.units_total),
    ];
    details.extend(rate(known, view));
    if view.is_decided {
        details.push("It is decided: it only goes forward.".to_owned());
    }
    details
}

/// What runs.
const fn capital_noun(view: &RotationView) -> &'static str {
    match view.purpose {
        Purpose::Recover { .. } => "Recovery",
        Purpose::Initialise | Purpose::Rotate => "Rotation",
    }
}

fn rate(known: &Known<'_>, view: &RotationView) -> Option<String> {
    let (_, began) = view.phases.iter().find(|(phase, _)| *phase == Phase::Reencrypt)?;
    if view.phase != Phase::Reencrypt || view.keys_total == 0 {
        return None;
    }
    let ms = known.now.since(*began).max(1);
    let (done, total) = (count(view.keys_done), counted(view.keys_total, "key version"));
    let rate = count(view.keys_done.saturating_mul(1000) / ms);
    Some(format!("{done} of {total} re-encrypted, {rate} a second."))
}

fn until(absent: &[Absent], is_decided: bool) -> String {
    if is_decided {
        return "It waits as long as it takes, nothing is lost.".to_owned();
    }
    let asked = absent.iter().filter_map(|it| Some((it.ends_at?, &it.name)));
    match asked.min() {
        Some((at, name)) => format!(
            "At {} the rotation ends by itself, with nothing changed, if {name} has not answered.",
            moment(at)
        ),
        None => "The rotation goes on until it needs them.".to_owned(),
    }
}

/// Whoever has not answered for a while, and whoever has not answered the survey just made.
fn absent(known: &Known<'_>, running: &Running) -> Vec<Absent> {
    let mut absent: Vec<_> = running.awaited.iter().filter_map(|it| silent(known, it)).collect();
    let named: BTreeSet<_> = absent.iter().map(|it| it.mend.clone()).collect();
    let others = silences(known).filter(|found| !named.contains(&found.mend));
    absent.extend(others.map(|found| Absent {
        name: found.subject.clone(),
        text: format!("{} Nothing is asked of it at the moment.", sentence(found)),
        mend: found.mend.clone(),
        ends_at: None,
    }));
    absent
}

fn silent(known: &Known<'_>, awaited: &Awaited) -> Option<Absent> {
    let quiet_since = awaited.heard_at.unwrap_or(awaited.since);
    let name = known.name_of(awaited.process);
    let found = silences(known).find(|found| found.mend.ends_with(&name));
    if found.is_none() && known.now.since(quiet_since) < SILENT_MS {
        return None;
    }
    let (command, refusal) = (awaited.command, refusal(awaited));
    Some(Absent {
        text: format!("{name} has not answered {command}, {}.{refusal}", tries(awaited)),
        mend: found.map_or_else(|| format!("start {name}"), |found| found.mend.clone()),
        name,
        ends_at: awaited.ends_at,
    })
}

/// Who has not answered the survey.
pub(super) fn silences<'a>(known: &'a Known<'_>) -> impl Iterator<Item = &'a Unmet> {
    let is_silence = |found: &&Unmet| matches!(&*found.code, "silent" | "keystore-silent");
    known.findings.unmet.iter().filter(is_silence)
}

/// A refusal that does not pass by itself.
fn refuses(awaited: &Awaited) -> bool {
    let passes = |code: &str| codes::find(code).is_some_and(|entry| entry.next.is_none());
    awaited.refusal.as_ref().is_some_and(|refusal| !passes(&refusal.code))
}

fn mend_of_refusal(known: &Known<'_>, awaited: &Awaited) -> String {
    if let Some(manifest) = known.manifest.filter(|_| awaited.is_shut_out)
        && let Some(unit) = manifest.member(awaited.process)
    {
        return match amends_another(known) {
            true => "keyhelm cryptounit-retire --nobody".to_owned(),
            false => retire(unit, manifest),
        };
    }
    let entry = awaited.refusal.as_ref().and_then(|refusal| codes::find(&refusal.code));
    let next = entry.and_then(|entry| entry.next);
    next.filter(|next| *next != "keyhelm explain").map_or_else(
        || {
            let code = awaited.refusal.as_ref().map_or("refused", |refusal| &refusal.code);
            format!("keyhelm explain {code}")
        },
        str::to_owned,
    )
}

/// Whether the newest manifest amends another rotation than the one that runs: the next one can amend this.
fn amends_another(known: &Known<'_>) -> bool {
    let amendment = known.manifest.and_then(|newest| newest.amendment.as_ref());
    let running = known.running.as_ref().map(|running| running.view.rotation);
    amendment.is_some_and(|amendment| Some(amendment.rotation) != running)
}

fn shut_out(known: &Known<'_>, name: &str) -> String {
    match amends_another(known) {
        true => format!(
            "{name} has promoted, and lacks a manifest that belongs to another rotation: it takes that together \
             with the next one that amends this rotation."
        ),
        false => format!(
            "{name} has promoted, and lacks a manifest that amends nothing: it takes none any more. Without it \
             the others come to the end."
        ),
    }
}

fn refusal(awaited: &Awaited) -> String {
    let text =
        awaited.refusal.as_ref().map(|it| format!(" Last refusal ({}): {}.", it.code, it.text));
    text.unwrap_or_default()
}

fn tries(awaited: &Awaited) -> String {
    let tries = counted(u64::from(awaited.tries), "time");
    format!("asked {tries} since {}", moment(awaited.since))
}
