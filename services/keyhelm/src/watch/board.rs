//! What is known of the instance, and what was heard of it.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::UnixMillis;
use protocol::api::{RotationEvent, RotationView, UnitsView, Waiting};
use protocol::audit::Phase;

use super::connection::{Change, Connection};
use super::input::Input;
use super::news::{News, Tone, tone};
use super::pace::Pace;

/// Who has not answered for this long is named, in milliseconds.
const LATE_MS: u64 = 3_000;

/// Whom a watch is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// URL of the coordinator.
    pub server: String,
    /// Name of the instance.
    pub instance: String,
    /// How often its units are asked.
    pub every: Duration,
}

/// All that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// Whom it is about.
    pub subject: Subject,
    /// The time.
    pub now: UnixMillis,
    /// Whether the coordinator answers.
    pub connection: Connection,
    /// How units and keystores stand, once it is known, and when that was heard.
    pub units: Option<(UnitsView, UnixMillis)>,
    /// The newest rotation; none inside if there has never been one.
    pub rotation: Option<Option<RotationView>>,
    /// How fast its keys are re-encrypted.
    pub pace: Pace,
    /// What happened.
    pub news: News,
    named: BTreeSet<String>,
}

impl Board {
    /// Nothing is known yet.
    pub fn new(subject: Subject, now: UnixMillis) -> Self {
        Self {
            subject,
            now,
            connection: Connection::default(),
            units: None,
            rotation: None,
            pace: Pace::default(),
            news: News::default(),
            named: BTreeSet::new(),
        }
    }

    /// The newest rotation, if one is known.
    pub const fn newest(&self) -> Option<&RotationView> {
        match &self.rotation {
            Some(Some(view)) => Some(view),
            _ => None,
        }
    }

    /// Who keeps the rotation waiting.
    pub fn late(&self) -> impl Iterator<Item = &Waiting> {
        let waiting = self.newest().into_iter().flat_map(|view| &view.waiting_for);
        waiting
            .filter(|waiting| self.now.since(waiting.since) > LATE_MS && !self.is_at_work(waiting))
    }

    /// A reencryptor answers when all keys are done; as long as their count rises it is at work.
    fn is_at_work(&self, waiting: &Waiting) -> bool {
        let view = self.newest().filter(|view| view.phase == Phase::Reencrypt);
        let rate = view.and_then(|view| self.pace.rate(view));
        waiting.refusal.is_none() && rate.is_some_and(|rate| rate > 0)
    }

    /// Takes what happened.
    pub fn take(&mut self, input: Input, now: UnixMillis) {
        self.now = now;
        match self.connection.take(&input, now) {
            Some(Change::Lost(because)) => self.news.note(now, because, Tone::Bad),
            Some(Change::Back) => self.news.note(now, "connected again", Tone::Good),
            None => {}
        }
        match input {
            Input::Units(view) => self.take_units(*view),
            Input::Rotation(view) => self.take_rotation(view.map(|view| *view)),
            Input::Event(event) => self.take_event(*event),
            Input::Tick | Input::Lost(_) | Input::Key(_) | Input::Resized(..) => {}
        }
        self.name_the_late();
    }

    /// The events of a rotation as far as its phases tell them, for whoever follows no stream.
    pub fn tell_phases(&mut self) {
        let Some(Some(view)) = &self.rotation else { return };
        for (phase, at) in &view.phases {
            let text = machines::rotation::phase_text(*phase, view.purpose);
            self.news.note(*at, text, tone(*phase));
        }
    }

    fn take_units(&mut self, view: UnitsView) {
        let before = self.units.take();
        for unit in &view.units {
            let former = before.as_ref().and_then(|(former, _)| {
                former.units.iter().find(|former| former.member.id == unit.member.id)
            });
            let name = &unit.member.name;
            match (former.map(|former| former.state.is_some()), unit.state.is_some()) {
                (Some(true), false) => {
                    self.news.note(self.now, format!("{name} does not answer"), Tone::Warning);
                }
                (Some(false), true) => {
                    self.news.note(self.now, format!("{name} answers again"), Tone::Good);
                }
                _ => {}
            }
        }
        self.units = Some((view, self.now));
    }

    fn take_rotation(&mut self, view: Option<RotationView>) {
        let Some(view) = view else {
            self.rotation = Some(None);
            return;
        };
        let is_old = self
            .newest()
            .is_some_and(|held| held.rotation == view.rotation && is_further(held, &view));
        if !is_old {
            self.pace.hear(&view, self.now);
            self.rotation = Some(Some(view));
        }
    }

    /// An event also says how its rotation stood, which may be long ago: past ones come first.
    fn take_event(&mut self, event: RotationEvent) {
        self.news.note_event(&event);
        let view = event.rotation;
        let is_news = match self.newest() {
            Some(held) if held.rotation == view.rotation => is_further(&view, held),
            Some(held) => view.number > held.number,
            None => true,
        };
        if is_news {
            self.pace.hear(&view, self.now);
            self.rotation = Some(Some(view));
        }
    }

    fn name_the_late(&mut self) {
        let lines: Vec<_> = self.late().map(waiting_line).collect();
        for line in lines {
            if self.named.insert(line.clone()) {
                self.news.note(self.now, line, Tone::Warning);
            }
        }
        if self.newest().is_none_or(|view| view.phase.is_ended()) {
            self.named.clear();
        }
    }
}

/// Who is waited for, for what, and what it last said.
pub fn waiting_line(waiting: &Waiting) -> String {
    let Waiting { name, command, refusal, .. } = waiting;
    let reason = refusal.as_ref().map_or_else(String::new, |found| format!(": {}", found.text));
    format!("waiting for {name} ({command}){reason}")
}

/// Whether one view of a rotation was taken later in it than the other: what is asked for and what is
/// streamed may cross.
fn is_further(view: &RotationView, other: &RotationView) -> bool {
    view.phases.len() > other.phases.len()
}
