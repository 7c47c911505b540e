//! What programs are told.

use keyhelm::watch::input::{Asked, Input};
use keyhelm::watch::journal::Journal;
use protocol::UnixMillis;
use serde_json::Value;

use super::sample::{
    event, hear_event, hear_rotation, hear_units, later, lost, reencrypting, rotation,
    silent_units, units,
};

/// The types of what is told.
fn told(journal: &mut Journal, input: Input) -> Vec<String> {
    let of = |object: &Value| object["type"].as_str().unwrap().to_owned();
    journal.take(input, later(1_000)).iter().map(of).collect()
}

#[test]
fn what_has_not_changed_is_not_told() {
    let mut journal = Journal::default();
    assert_eq!(told(&mut journal, hear_units(units(false))), ["units"]);
    let mut again = units(false);
    for state in again.units.iter_mut().filter_map(|unit| unit.state.as_mut()) {
        state.reported_at = UnixMillis(77);
        state.clock_ahead_ms = -3;
    }
    assert_eq!(told(&mut journal, hear_units(again)), [""; 0], "only clocks went on");
    assert_eq!(told(&mut journal, hear_units(silent_units())), ["units"]);
    assert_eq!(told(&mut journal, Input::Rotation(None)), ["rotation"]);
    assert_eq!(told(&mut journal, Input::Rotation(None)), [""; 0]);
    assert_eq!(told(&mut journal, hear_rotation(reencrypting(1))), ["rotation"]);
    assert_eq!(told(&mut journal, hear_rotation(reencrypting(1))), [""; 0]);
    assert_eq!(told(&mut journal, hear_rotation(reencrypting(2))), ["rotation"]);
    assert_eq!(told(&mut journal, Input::Tick), [""; 0]);
}

#[test]
fn objects_hold_what_was_heard() {
    let mut journal = Journal::default();
    let objects = journal.take(hear_event(event(4, "reencrypt")), later(1_000));
    let [object] = objects.as_slice() else { panic!("{objects:?}") };
    assert_eq!(
        (&object["seq"], &object["text"]),
        (&4.into(), &"re-encrypting the key storage".into())
    );
    assert_eq!(object["rotation"]["phase"], "reencrypt");
    let objects = journal.take(hear_rotation(rotation("done")), later(2_000));
    assert_eq!(objects[0]["rotation"]["keys_done"], 300_000);
    assert_eq!(objects[0]["at"], later(2_000).0);
}

#[test]
fn an_absence_is_told_once_and_its_end_before_the_news() {
    let mut journal = Journal::default();
    let objects = journal.take(lost(Asked::Units, later(9_000)), later(1_000));
    assert_eq!((objects.len(), &objects[0]["state"]), (1, &"away".into()));
    assert!(objects[0]["because"].as_str().unwrap().contains("does not answer"));
    assert_eq!(told(&mut journal, lost(Asked::Units, later(9_500))), [""; 0]);
    assert_eq!(told(&mut journal, hear_units(units(false))), ["connection", "units"]);
}
