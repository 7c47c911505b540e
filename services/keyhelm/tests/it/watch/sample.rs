//! An instance of five units and one rotation, at any point of it. Views are read from JSON, as the
//! program reads them.

use std::time::Duration;

use keyhelm::watch::board::Subject;
use keyhelm::watch::input::{Asked, Input, Lost};
use keyhelm::watch::model::Model;
use protocol::UnixMillis;
use protocol::api::{RotationEvent, RotationView, UnitsView};
use serde_json::{Value, json};

/// 2026-08-30 12:00:00 UTC.
pub const START: UnixMillis = UnixMillis(1_788_091_200_000);

const OLD: &str = "a5";
const NEW: &str = "1b";
const INSTANCE: &str = "d550cd03-0a4d-5e89-8b35-de1516f5503e";
const ROTATION: &str = "01a2108e-fe3e-7a45-af0b-fbba9388fca3";

/// Each phase and when it begins, in milliseconds after the start; the last one ends it.
const PHASES: [(&str, u64); 11] = [
    ("inspect", 0),
    ("generate", 25),
    ("install", 49),
    ("commit", 90),
    ("reencrypt", 160),
    ("promote", 90_160),
    ("flip", 90_190),
    ("clear", 90_800),
    ("drop", 90_850),
    ("done", 91_140),
    ("aborted", 0),
];

pub fn later(ms: u64) -> UnixMillis {
    START.plus_ms(ms)
}

pub fn model(size: (u16, u16)) -> Model {
    let subject = Subject {
        server: "http://127.0.0.1:7600".to_owned(),
        instance: "production".to_owned(),
        every: Duration::from_secs(2),
    };
    Model::new(subject, START, size)
}

fn pattern(pair: &str) -> String {
    pair.repeat(32)
}

/// A rotation in this phase, the moment that it has begun.
pub fn rotation_json(phase: &str) -> Value {
    let reached = PHASES.iter().position(|(name, _)| *name == phase).unwrap();
    let phases: Vec<_> =
        PHASES[..=reached].iter().map(|(name, at)| json!([name, later(*at)])).collect();
    let is_after = |name| PHASES.iter().position(|(found, _)| *found == name).unwrap() < reached;
    json!({
        "rotation": ROTATION, "instance": INSTANCE,
        "number": { "manifest_serial": 1, "number": 7 },
        "purpose": "rotate", "phase": phase, "is_decided": is_after("reencrypt"),
        "from": pattern(OLD), "to": is_after("generate").then(|| pattern(NEW)),
        "started_at": START,
        "finished_at": (phase == "done").then(|| later(PHASES[reached].1)),
        "phases": phases,
        "keys_done": if is_after("reencrypt") { 300_000 } else { 0 },
        "keys_total": if is_after("commit") { 300_000 } else { 0 },
        "units_done": 5, "units_total": 5,
        "gate_closed_ms": (phase == "done").then_some(90_500),
        "waiting_for": [], "aborted_because": null,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    })
}

pub fn rotation(phase: &str) -> RotationView {
    serde_json::from_value(rotation_json(phase)).unwrap()
}

/// One whose key storage is re-encrypted as far as this.
pub fn reencrypting(keys_done: u64) -> RotationView {
    RotationView { keys_done, ..rotation("reencrypt") }
}

/// One that op-2 keeps waiting since this moment, with or without a refusal.
pub fn waiting(phase: &str, since: UnixMillis, refusal: Option<&str>) -> RotationView {
    let mut found = rotation_json(phase);
    found["waiting_for"] = json!([{
        "process": id(2), "name": "op-2", "command": "install", "since": since,
        "refusal": refusal.map(|text| json!({ "code": "busy", "text": text })),
    }]);
    serde_json::from_value(found).unwrap()
}

/// One that was ended in its re-encryption.
pub fn aborted(because: &str) -> RotationView {
    let mut found = rotation_json("reencrypt");
    let phases = found["phases"].as_array_mut().unwrap();
    phases.extend([json!(["aborting", later(4_000)]), json!(["aborted", later(4_200)])]);
    found["phase"] = "aborted".into();
    found["aborted_because"] = because.into();
    found["finished_at"] = json!(later(4_200));
    found["keys_done"] = 12_345.into();
    serde_json::from_value(found).unwrap()
}

/// The event of this phase.
pub fn event(seq: u64, phase: &str) -> RotationEvent {
    let rotation = rotation(phase);
    let (_, at) = rotation.phases.last().unwrap();
    let text = machines::rotation::phase_text(rotation.phase, rotation.purpose).to_owned();
    RotationEvent { seq, at: *at, text, rotation }
}

fn id(number: u8) -> String {
    format!("{number:032x}")
        .chars()
        .enumerate()
        .flat_map(|(at, digit)| {
            matches!(at, 8 | 12 | 16 | 20).then_some('-').into_iter().chain([digit])
        })
        .collect()
}

fn unit(number: u8, name: &str, location: &str, is_committed: bool) -> Value {
    let role = if name.starts_with("rec") { "recovery-unit" } else { "operational-unit" };
    let new = json!({ "pattern": pattern(NEW), "is_committed": true });
    let member = json!({
        "id": id(number), "name": name, "role": role, "identity": "00".repeat(32),
        "location": location,
    });
    let registers = json!({
        "current": pattern(OLD), "new": is_committed.then_some(new), "retiring": null,
    });
    let state = json!({
        "registers": registers, "state_counter": 9, "is_imprint": false, "manifest_serial": 1,
        "signature_threshold": 1, "revocation_threshold": 1, "administrators": [],
        "last_number": { "manifest_serial": 1, "number": 7 }, "rotation": null,
        "epoch": { "manifest_serial": 1, "number": 3 }, "is_storage_key_local": true,
        "clock_ahead_ms": 1, "reported_at": START,
    });
    json!({ "number": number, "member": member, "state": state })
}

/// Five units and a keystore, with or without an open rotation.
pub fn units(is_open: bool) -> UnitsView {
    let generation = |number: u32, digits: &str, state: &str, done: u64| {
        json!({
            "number": number, "id": id(90), "pattern": pattern(digits), "state": state,
            "set_count": 300_000, "done_count": done,
        })
    };
    let open = is_open.then(|| generation(3, NEW, "building", 150_000));
    let keystore = json!({
        "instance": INSTANCE, "keystore": "26b4ba37-0000-0000-0000-000000000001",
        "mode": "strict", "active": generation(2, OLD, "active", 300_000), "open": open,
        "retired": [], "next_number": 4, "rotation": null,
        "epoch": { "manifest_serial": 1, "number": 3 }, "version_count": 300_000,
    });
    let units = [
        ("op-1", "[eu-de].[AZ1]"),
        ("op-2", "[eu-de].[AZ2]"),
        ("op-3", "[eu-de].[AZ3]"),
        ("rec-1", "[eu-de].[AZ1]"),
        ("rec-2", "[eu-gb-backup].[AZ1]"),
    ];
    let units = (1..).zip(units).map(|(number, (name, place))| unit(number, name, place, is_open));
    let view = json!({
        "instance": INSTANCE, "name": "production", "units": units.collect::<Vec<_>>(),
        "keystores": [keystore], "unmet": [], "warnings": [],
    });
    serde_json::from_value(view).unwrap()
}

/// As they are when the rotation has ended.
pub fn rotated_units() -> UnitsView {
    let mut view = units(false);
    let new = protocol::Pattern([0x1b; 32]);
    for state in view.units.iter_mut().filter_map(|unit| unit.state.as_mut()) {
        state.registers.current = Some(new);
    }
    let active = view.keystores[0].active.as_mut().unwrap();
    (active.number, active.pattern) = (3, new);
    view
}

/// As they are, but op-2 does not answer.
pub fn silent_units() -> UnitsView {
    let mut view = units(false);
    view.units[1].state = None;
    view
}

pub fn hear_units(view: UnitsView) -> Input {
    Input::Units(Box::new(view))
}

pub fn hear_rotation(view: RotationView) -> Input {
    Input::Rotation(Some(Box::new(view)))
}

pub fn hear_event(event: RotationEvent) -> Input {
    Input::Event(Box::new(event))
}

pub fn lost(asked: Asked, again_at: UnixMillis) -> Input {
    let because = "the coordinator does not answer: Connection refused (os error 111)";
    Input::Lost(Lost { asked, because: because.to_owned(), again_at })
}

/// A rotation that is half-way through its re-encryption.
pub fn half_way(size: (u16, u16)) -> Model {
    let mut model = model(size);
    model.take(hear_units(units(true)), later(1_000));
    for (seq, phase) in (1..).zip(["generate", "install", "commit", "reencrypt"]) {
        model.take(hear_event(event(seq, phase)), later(1_000));
    }
    for second in 2..=45 {
        model.take(hear_rotation(reencrypting(second * 3_333)), later(second * 1_000));
    }
    model.take(hear_units(units(true)), later(45_000));
    model
}
