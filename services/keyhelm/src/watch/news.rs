//! What happened, in order, for as long as there is room.

use std::collections::VecDeque;

use protocol::api::RotationEvent;
use protocol::audit::Phase;
use protocol::{RotationId, UnixMillis};

/// Most lines that are kept.
const MAX_LINES: usize = 1000;

/// How a line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// Something went well.
    Good,
    /// Somebody is missing.
    Warning,
    /// Something went wrong.
    Bad,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: UnixMillis,
    /// What, in a sentence.
    pub text: String,
    /// How it is meant.
    pub tone: Tone,
}

/// All that is remembered, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    lines: VecDeque<Line>,
    last: Option<(RotationId, u64)>,
}

impl News {
    /// The lines, oldest first.
    pub const fn lines(&self) -> &VecDeque<Line> {
        &self.lines
    }

    /// Notes a line.
    pub fn note(&mut self, at: UnixMillis, text: impl Into<String>, tone: Tone) {
        self.lines.push_back(Line { at, text: text.into(), tone });
        if self.lines.len() > MAX_LINES {
            self.lines.pop_front();
        }
    }

    /// Notes an event, unless it was noted before. A stream that is opened again tells some twice.
    pub fn note_event(&mut self, event: &RotationEvent) {
        let id = event.rotation.rotation;
        if self.last.is_some_and(|(last, seq)| last == id && seq >= event.seq) {
            return;
        }
        if self.last.is_none_or(|(last, _)| last != id) {
            let purpose = crate::show::rotations::purpose(&event.rotation.purpose);
            let text = format!("rotation {id} ({purpose})");
            self.note(event.rotation.started_at, text, Tone::Plain);
        }
        self.last = Some((id, event.seq));
        self.note(event.at, event.text.clone(), tone(event.rotation.phase));
    }
}

/// How the beginning of a phase is meant.
pub const fn tone(phase: Phase) -> Tone {
    match phase {
        Phase::Done => Tone::Good,
        Phase::Aborting | Phase::Aborted => Tone::Bad,
        _ => Tone::Plain,
    }
}
