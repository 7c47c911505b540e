//! A rotation as it goes: a bar with rate and time left on a terminal, a line a phase elsewhere.

use std::collections::BTreeSet;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use protocol::UnixMillis;
use protocol::api::RotationView;
use protocol::audit::Phase;

use super::time::{count, milliseconds, moment, seconds};
use super::{table, visible};
use crate::out;

/// Who has not answered for this long is named.
const WAITING_MS: u64 = 3_000;

/// Shows a rotation's progress on standard error.
pub struct Progress {
    bar: ProgressBar,
    told: BTreeSet<Phase>,
    named: BTreeSet<String>,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Nothing is shown yet.
    pub fn new() -> Self {
        let bar = ProgressBar::new(0);
        bar.set_style(style("  {msg}"));
        Self { bar, told: BTreeSet::new(), named: BTreeSet::new() }
    }

    /// Shows the rotation as it stands, and who has kept it waiting.
    pub fn show_at(&mut self, view: &RotationView, now: UnixMillis) {
        self.show(view);
        if let Some(until) = view.hold_until {
            // Its end differs by the moment in which a unit's clock was read: it is told once.
            if self.named.insert(view.phase.name().to_owned()) {
                self.say(&format!("  the hold lasts until {}", moment(until)));
            }
        }
        let is_late = |since: UnixMillis| now.since(since) > WAITING_MS;
        for waiting in view.waiting_for.iter().filter(|waiting| is_late(waiting.since)) {
            let refusal = waiting.refusal.as_ref();
            let reason = refusal.map_or_else(String::new, |refusal| format!(": {}", refusal.text));
            let line = format!("waiting for {} ({}){reason}", waiting.name, waiting.command);
            if self.named.insert(line.clone()) {
                self.say(&format!("  {line}"));
            }
        }
    }

    /// A line above the bar.
    pub fn say(&self, line: &str) {
        let line = visible::line(line);
        match self.bar.is_hidden() {
            true => out::tell(&line),
            false => self.bar.println(line),
        }
    }

    /// Shows the rotation as it stands.
    pub fn show(&mut self, view: &RotationView) {
        for (phase, _) in &view.phases {
            if self.told.insert(*phase) && self.bar.is_hidden() {
                out::tell(&format!("  {}", text(*phase, view)));
            }
        }
        self.bar.set_message(text(view.phase, view));
        // The count of keys is known when the key storage has been opened.
        if view.keys_total > 0 && self.bar.length() != Some(view.keys_total) {
            self.bar.set_style(style("  {msg:<62} {bar:24} {pos}/{len} keys {rate} {eta}"));
            self.bar.reset_eta();
            self.bar.set_length(view.keys_total);
        }
        self.bar.set_position(view.keys_done);
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// A style whose `rate` is a whole number of keys a second.
pub fn style(template: &str) -> ProgressStyle {
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A bar that cannot be written is no reason to stop.
        let _ = write!(out, "{}/s", count(state.per_sec() as u64));
    };
    let found = ProgressStyle::with_template(template);
    found.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("rate", rate)
}

fn text(phase: Phase, view: &RotationView) -> &'static str {
    machines::rotation::phase_text(phase, view.purpose)
}

/// How long each phase took.
pub fn time_by_phase(view: &RotationView) -> String {
    let mut shown = table::plain(["PHASE", "TIME"]);
    for pair in view.phases.windows(2) {
        let ((phase, from), (_, until)) = (pair[0], pair[1]);
        shown.add_row([phase.name().to_owned(), milliseconds(until.since(from))]);
    }
    table::text(&shown)
}

/// The last line of a rotation that ended well.
pub fn done_line(view: &RotationView) -> String {
    let took = view.finished_at.map_or(0, |at| at.since(view.started_at));
    let refused = view.gate_closed_ms.unwrap_or(0);
    let lost = match view.keys_quarantined {
        0 => "0 failed".to_owned(),
        kept => format!("{} in quarantine", count(kept)),
    };
    let shown = |pattern: Option<protocol::Pattern>| {
        pattern.map_or_else(|| "none".to_owned(), |found| format!("{}...", found.short()))
    };
    format!(
        "OK  Master key rotated: {} keys, {}, {} of {} crypto units, {} (key creation refused \
         for {}). Pattern {} -> {}.",
        count(view.keys_total),
        lost,
        view.units_done,
        view.units_total,
        seconds(took),
        seconds(refused),
        shown(view.from),
        shown(view.to),
    )
}
