//! Everything that can happen to a watch.

use protocol::UnixMillis;
use protocol::api::{RotationEvent, RotationView, UnitsView};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// How the units and keystores stand.
    Units(Box<UnitsView>),
    /// How the newest rotation stands; none if there has never been one.
    Rotation(Option<Box<RotationView>>),
    /// An event of a rotation.
    Event(Box<RotationEvent>),
    /// The coordinator was asked and did not answer as it should.
    Lost(Lost),
    /// A person pressed a key.
    Key(Key),
    /// The terminal has this size now: columns and rows.
    Resized(u16, u16),
}

/// An answer that did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// What was asked for.
    pub asked: Asked,
    /// Why there is no answer, in a sentence.
    pub because: String,
    /// When it is asked for again.
    pub again_at: UnixMillis,
}

/// What the coordinator is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Units and keystores.
    Units,
    /// The newest rotation.
    Rotation,
}

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Ends the watch.
    Quit,
    /// Ends the watch, by Ctrl-C.
    Interrupt,
    /// Holds the screen still, or lets it go on.
    Pause,
    /// Shows or hides the help.
    Help,
    /// Hides the help.
    Escape,
    /// One event back.
    Up,
    /// One event forward.
    Down,
    /// A page of events back.
    PageUp,
    /// A page of events forward.
    PageDown,
    /// To the oldest event.
    Home,
    /// To the newest event.
    End,
}
