//! What is told of rotations: each event is an entry of the audit log, is kept while its rotation
//! is the newest of its instance, and can be read back from the audit log for ever.

use std::collections::VecDeque;

use machines::rotation::phase_text;
use protocol::api::{AuditView, RotationEvent, RotationView};
use protocol::audit::Phase;
use protocol::{InstanceId, RotationId, UnixMillis};
use serde_json::{Value, json};

/// Most events that are kept of one rotation. A rotation has about fifteen.
const MAX_EVENTS: usize = 256;
/// In front of the phase, in the action of an event's entry.
const ACTION: &str = "rotation.";

/// An entry of the audit log that is still to be written.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) instance: InstanceId,
    pub(crate) at: UnixMillis,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) details: Value,
    /// Told once the entry is written.
    pub(crate) event: Option<RotationEvent>,
}

impl Entry {
    /// The entry of an event.
    pub(crate) fn of_event(instance: InstanceId, actor: String, event: RotationEvent) -> Self {
        let mut details = json!({
            "rotation": event.rotation.rotation,
            "number": event.rotation.number,
            "seq": event.seq,
            "text": event.text,
        });
        // From here on the log vouches for the receipt, which names an entry before this one.
        if let Some(receipt) = event.rotation.receipt {
            details["receipt"] = json!(receipt);
        }
        let action = format!("{ACTION}{}", event.rotation.phase);
        Self { instance, at: event.at, actor, action, details, event: Some(event) }
    }
}

/// The events of the rotation that an instance is in, or was last in.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    rotation: Option<RotationId>,
    last_seq: u64,
    events: VecDeque<RotationEvent>,
}

impl Journal {
    /// Goes on with a rotation whose events were told before the process started.
    pub(crate) fn resume(rotation: RotationId, events: Vec<RotationEvent>) -> Self {
        let last_seq = events.last().map_or(0, |event| event.seq);
        Self { rotation: Some(rotation), last_seq, events: events.into() }
    }

    /// The number of the next event of a rotation, from 1.
    pub(crate) fn next_seq(&mut self, rotation: RotationId) -> u64 {
        if self.rotation != Some(rotation) {
            *self = Self { rotation: Some(rotation), ..Self::default() };
        }
        self.last_seq += 1;
        self.last_seq
    }

    /// Keeps an event whose entry is written.
    pub(crate) fn keep(&mut self, event: RotationEvent) {
        if self.rotation == Some(event.rotation.rotation) {
            self.events.push_back(event);
            if self.events.len() > MAX_EVENTS {
                self.events.pop_front();
            }
        }
    }

    /// Every event of a rotation so far; none if it is another one, or some are not kept any more.
    pub(crate) fn told(&self, rotation: RotationId) -> Option<Vec<RotationEvent>> {
        let is_whole = self.events.front().is_none_or(|first| first.seq == 1);
        (self.rotation == Some(rotation) && is_whole).then(|| self.events.iter().cloned().collect())
    }
}

/// A rotation's events out of the audit log, oldest first.
pub(crate) fn read_back(entries: &[AuditView], rotation: &RotationView) -> Vec<RotationEvent> {
    let id = json!(rotation.rotation);
    let event = |entry: &AuditView| {
        let name = entry.action.strip_prefix(ACTION)?;
        let phase = Phase::ALL.into_iter().find(|phase| phase.name() == name)?;
        (entry.details.get("rotation") == Some(&id)).then_some(())?;
        Some(RotationEvent {
            seq: entry.details.get("seq")?.as_u64()?,
            at: entry.at,
            rotation: as_of(rotation, phase, entry.at),
            text: entry.details.get("text")?.as_str()?.to_owned(),
        })
    };
    entries.iter().filter_map(event).collect()
}

/// Phases that a rotation has entered and no event tells of, because the process ended between the
/// record's save and the audit log's. Their numbers are still to be given.
pub(crate) fn missing(rotation: &RotationView, events: &[RotationEvent]) -> Vec<RotationEvent> {
    let is_told = |phase: Phase| events.iter().any(|event| event.rotation.phase == phase);
    let event = |(phase, at): &(Phase, UnixMillis)| RotationEvent {
        seq: 0,
        at: *at,
        rotation: as_of(rotation, *phase, *at),
        text: phase_text(*phase, rotation.purpose).to_owned(),
    };
    // The first is told by the entry of the request.
    rotation.phases.iter().skip(1).filter(|(phase, _)| !is_told(*phase)).map(event).collect()
}

/// A rotation as it stood when a phase was told.
fn as_of(rotation: &RotationView, phase: Phase, at: UnixMillis) -> RotationView {
    let mut view = rotation.clone();
    let is_abort = matches!(phase, Phase::Aborting | Phase::Aborted);
    view.phase = phase;
    view.phases.retain(|(_, began_at)| *began_at <= at);
    view.waiting_for.clear();
    view.is_decided &= phase >= Phase::Promote && !is_abort;
    if phase <= Phase::Generate {
        view.to = None;
    }
    if phase <= Phase::Reencrypt {
        view.keys_done = 0;
    }
    if phase <= Phase::Flip {
        view.gate_closed_ms = None;
    }
    if !phase.is_ended() {
        view.finished_at = None;
        view.units_done = 0;
        view.receipt = None;
    }
    if !is_abort {
        view.aborted_because = None;
    }
    view
}

#[cfg(test)]
mod tests {
    use protocol::OrderNumber;
    use protocol::order::Purpose;

    use super::*;

    const ID: RotationId = RotationId::from_bytes([1; 16]);

    fn rotation() -> RotationView {
        let phases = [Phase::Inspect, Phase::Generate, Phase::Install, Phase::Done];
        RotationView {
            rotation: ID,
            instance: InstanceId::named("test"),
            number: OrderNumber::default(),
            purpose: Purpose::Rotate,
            phase: Phase::Done,
            is_decided: true,
            from: None,
            to: Some(protocol::Pattern([1; 32])),
            started_at: UnixMillis(1),
            finished_at: Some(UnixMillis(4)),
            phases: phases.into_iter().zip((1..=4).map(UnixMillis)).collect(),
            keys_done: 7,
            keys_total: 7,
            keys_quarantined: 0,
            verify_all: false,
            units_done: 5,
            units_total: 5,
            gate_closed_ms: Some(1),
            waiting_for: Vec::new(),
            aborted_because: None,
            trace_id: None,
            receipt: None,
            hold_until: None,
        }
    }

    fn entry(rotation: RotationId, seq: u64, phase: Phase) -> AuditView {
        let details =
            json!({ "rotation": rotation, "seq": seq, "text": phase_text(phase, Purpose::Rotate) });
        AuditView {
            seq: seq + 10,
            at: UnixMillis(seq + 1),
            actor: "alice".to_owned(),
            action: format!("{ACTION}{phase}"),
            details,
            hash: protocol::Digest([0; 32]),
        }
    }

    #[test]
    fn what_a_crash_kept_out_of_the_audit_log_is_found_in_the_record() {
        let other = RotationId::from_bytes([2; 16]);
        let log = [entry(other, 1, Phase::Install), entry(ID, 1, Phase::Generate)];
        let told = read_back(&log, &rotation());
        assert_eq!(told.iter().map(|event| event.seq).collect::<Vec<_>>(), [1]);
        let missing = missing(&rotation(), &told);
        let found: Vec<_> =
            missing.iter().map(|event| (event.rotation.phase, event.at.0)).collect();
        assert_eq!(found, [(Phase::Install, 3), (Phase::Done, 4)]);
        let mut journal = Journal::resume(ID, told);
        assert_eq!((journal.next_seq(ID), journal.next_seq(ID)), (2, 3));
        assert_eq!(journal.next_seq(other), 1, "another rotation begins anew");
    }

    #[test]
    fn an_event_read_back_knows_nothing_of_what_came_later() {
        let log = [entry(ID, 1, Phase::Generate), entry(ID, 3, Phase::Done)];
        let told = read_back(&log, &rotation());
        let (first, last) = (&told[0].rotation, &told[1].rotation);
        assert_eq!((first.phase, first.phases.len(), first.to), (Phase::Generate, 2, None));
        assert_eq!((first.is_decided, first.finished_at, first.keys_done), (false, None, 0));
        assert_eq!(*last, rotation());
    }
}
