//! Whether the coordinator answers: it does when everything that is asked for comes back.

use protocol::UnixMillis;

use super::input::{Asked, Input, Lost};

/// What became of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is gone, for this reason.
    Lost(String),
    /// It is there again.
    Back,
}

/// The connection to the coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    units: Option<Lost>,
    rotation: Option<Lost>,
    since: UnixMillis,
}

impl Connection {
    /// Takes what came; says what has changed by it.
    pub fn take(&mut self, input: &Input, now: UnixMillis) -> Option<Change> {
        let was_lost = self.lost().is_some();
        match input {
            Input::Lost(lost) => *self.place(lost.asked) = Some(lost.clone()),
            Input::Units(_) => self.units = None,
            Input::Rotation(_) => self.rotation = None,
            _ => return None,
        }
        match (was_lost, self.lost()) {
            (false, Some(lost)) => {
                let change = Change::Lost(lost.because.clone());
                self.since = now;
                Some(change)
            }
            (true, None) => Some(Change::Back),
            _ => None,
        }
    }

    /// What does not come back, if anything: the one that is tried again first.
    pub fn lost(&self) -> Option<&Lost> {
        self.units.iter().chain(&self.rotation).min_by_key(|lost| lost.again_at)
    }

    /// Since when something does not come back.
    pub const fn since(&self) -> UnixMillis {
        self.since
    }

    const fn place(&mut self, asked: Asked) -> &mut Option<Lost> {
        match asked {
            Asked::Units => &mut self.units,
            Asked::Rotation => &mut self.rotation,
        }
    }
}
