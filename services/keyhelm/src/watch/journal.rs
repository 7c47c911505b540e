//! A watch for programs: an object for every change, and none for what is as it was.

use protocol::UnixMillis;
use protocol::api::{RotationView, UnitsView};
use serde_json::{Value, json};

use super::connection::{Change, Connection};
use super::input::Input;

/// What has been told.
#[derive(Debug, Default)]
pub struct Journal {
    connection: Connection,
    units: Option<UnitsView>,
    rotation: Option<Option<RotationView>>,
}

impl Journal {
    /// The objects that tell what happened.
    pub fn take(&mut self, input: Input, now: UnixMillis) -> Vec<Value> {
        let mut told = Vec::new();
        match self.connection.take(&input, now) {
            Some(Change::Lost(because)) => told.push(json!({
                "type": "connection", "at": now, "state": "away", "because": because,
            })),
            Some(Change::Back) => {
                told.push(json!({ "type": "connection", "at": now, "state": "connected" }));
            }
            None => {}
        }
        match input {
            Input::Units(view) => {
                let lasting = lasting(&view);
                if self.units.as_ref() != Some(&lasting) {
                    told.push(json!({ "type": "units", "at": now, "units": view }));
                    self.units = Some(lasting);
                }
            }
            Input::Rotation(view) => {
                let view = view.map(|view| *view);
                if self.rotation.as_ref() != Some(&view) {
                    told.push(json!({ "type": "rotation", "at": now, "rotation": view }));
                    self.rotation = Some(view);
                }
            }
            Input::Event(event) => told.push(json!({
                "type": "event", "at": event.at, "seq": event.seq, "text": event.text,
                "rotation": event.rotation,
            })),
            Input::Tick | Input::Lost(_) | Input::Key(_) | Input::Resized(..) => {}
        }
        told
    }
}

/// How units stand, without what differs from one answer to the next though nothing has changed.
fn lasting(view: &UnitsView) -> UnitsView {
    let mut view = view.clone();
    for state in view.units.iter_mut().filter_map(|unit| unit.state.as_mut()) {
        state.reported_at = UnixMillis::default();
        state.clock_ahead_ms = 0;
    }
    view
}
