//! Rotations as a list, one by itself, and what one would do.

use protocol::api::{PlanView, RotationView};
use protocol::order::Purpose;
use protocol::{Pattern, UnixMillis};

use super::progress::time_by_phase;
use super::time::{count, counted, moment, seconds};
use super::{table, visible};

/// The list.
pub fn list(found: &[RotationView]) -> String {
    let mut table =
        table::plain(["ROTATION", "STARTED", "PURPOSE", "PHASE", "KEYS", "TOOK", "PATTERN"]);
    for view in found {
        table.add_row([
            view.rotation.to_string(),
            moment(view.started_at),
            purpose(&view.purpose).to_owned(),
            view.phase.name().to_owned(),
            keys(view),
            took(view),
            format!("{} -> {}", short(view.from), short(view.to)),
        ]);
    }
    table::text(&table)
}

/// One of them, with all that is known.
pub fn detail(view: &RotationView, now: UnixMillis) -> String {
    let mut lines = vec![
        format!("ROTATION: {}", view.rotation),
        format!("  instance    {}", view.instance),
        format!("  purpose     {}, order {}", purpose(&view.purpose), view.number),
        format!(
            "  phase       {}: {}",
            view.phase,
            machines::rotation::phase_text(view.phase, view.purpose)
        ),
        format!(
            "  decided     {}",
            if view.is_decided { "yes: it only goes forward" } else { "no" }
        ),
        format!("  started     {}", moment(view.started_at)),
        format!("  took        {}", took(view)),
        format!("  keys        {}", keys(view)),
        format!("  units       {} of {} have done the phase", view.units_done, view.units_total),
        format!("  from        {}", full(view.from)),
        format!("  to          {}", full(view.to)),
    ];
    if let Some(ms) = view.gate_closed_ms {
        lines.push(format!("  gate        key creation refused for {}", seconds(ms)));
    }
    if let Some(until) = view.hold_until {
        let end = format!("keyhelm hold-end {} ends it early", view.rotation);
        lines.push(format!("  holds       until {}; {end}", moment(until)));
    }
    if let Some(because) = &view.aborted_because {
        lines.push(format!("  aborted     {}", visible::line(because)));
    }
    if let Some(trace) = &view.trace_id {
        lines.push(format!("  trace       {}", visible::line(trace)));
    }
    if let Some(hash) = view.receipt {
        lines.push(format!("  receipt     {hash}"));
    }
    lines.push(format!("\n{}", time_by_phase(view)));
    if !view.waiting_for.is_empty() {
        lines.push(format!("\nWAITING FOR\n{}", waiting(view, now)));
    }
    lines.join("\n")
}

fn waiting(view: &RotationView, now: UnixMillis) -> String {
    let mut table = table::wrapped(["NAME", "FOR", "SINCE", "LAST REFUSAL"]);
    for waiting in &view.waiting_for {
        let refusal = waiting.refusal.as_ref().map_or("none: it is silent", |found| &found.text);
        table.add_row([
            waiting.name.clone(),
            waiting.command.clone(),
            seconds(now.since(waiting.since)),
            refusal.to_owned(),
        ]);
    }
    table::text(&table)
}

/// What a rotation would do.
pub fn plan(plan: &PlanView) -> String {
    let mut lines = vec![
        "PLAN".to_owned(),
        format!("  made in     {} (a recovery unit)", visible::line(&plan.generator_name)),
        format!("  units       {} crypto units", plan.units),
        format!("  keys        {} key versions to be re-encrypted", count(plan.key_versions)),
        format!("  from        {}", full(plan.from)),
    ];
    if let Some(checked) = &plan.checked {
        let (opened, took) = (counted(checked.opened_count, "key version"), checked.check_ms);
        lines.push(format!("  opened      {opened} opened in {}", seconds(took)));
        if checked.quarantined_count > 0 {
            let kept = counted(checked.quarantined_count, "key version");
            lines.push(format!("  quarantine  {kept} would be carried as they are"));
        }
        lines.push(format!("  takes       about {}", seconds(checked.estimate_ms)));
        lines.push(format!("  plan        {}", checked.hash));
    }
    lines.join("\n")
}

/// A word for what it is for.
pub const fn purpose(purpose: &Purpose) -> &'static str {
    match purpose {
        Purpose::Initialise => "initialise",
        Purpose::Rotate => "rotate",
        Purpose::Recover { .. } => "recover",
    }
}

fn keys(view: &RotationView) -> String {
    format!("{} of {}", count(view.keys_done), count(view.keys_total))
}

fn took(view: &RotationView) -> String {
    match view.finished_at {
        Some(at) => seconds(at.since(view.started_at)),
        None => "still running".to_owned(),
    }
}

fn short(pattern: Option<Pattern>) -> String {
    pattern.map_or_else(|| "none".to_owned(), |found| format!("{}...", found.short()))
}

fn full(pattern: Option<Pattern>) -> String {
    pattern.map_or_else(|| "none".to_owned(), |found| found.to_string())
}
