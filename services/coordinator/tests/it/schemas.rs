//! The published schemas say what really travels: same fields, same required ones, no others.

use std::path::Path;

use protocol::api::{PlanView, RotationEvent, RotationView, Unmet, Waiting};
use protocol::audit::Phase;
use protocol::keystore::GateMode;
use protocol::manifest::AdminSignature;
use protocol::order::{Authority, Purpose, SignedOrder, SignedStandingOrder};
use protocol::report::Refusal;
use protocol::request::{REQUEST_TYPE, RotationRequest};
use protocol::{
    InstanceId, OrderNumber, Pattern, ProcessId, RotationId, Signature, Ski, UnixMillis,
};
use serde::Serialize;
use serde_json::{Value, json};

fn schema(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/schemas")
        .join(format!("{name}.schema.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Why a value does not fit a schema, in the words that our schemas use; a word that is not known
/// here fails, so that no schema says what this does not check.
fn misfit(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let Some(words) = schema.as_object() else {
        return if schema == &json!(false) { Err(format!("{value} is too much")) } else { Ok(()) };
    };
    let refuse = |what: &str| Err(format!("{value} is not {what}"));
    for (word, rule) in words {
        match word.as_str() {
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                misfit(root, &root["$defs"][name], value)?;
            }
            "type" => {
                let is_so = match rule.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "null" => value.is_null(),
                    other => return Err(format!("unknown type {other}")),
                };
                if !is_so {
                    return refuse(rule.as_str().unwrap());
                }
            }
            "const" if rule != value => return refuse(&rule.to_string()),
            "enum" if !rule.as_array().unwrap().contains(value) => return refuse("listed"),
            "anyOf" | "oneOf" => {
                let fits = |one: &&Value| misfit(root, one, value).is_ok();
                let count = rule.as_array().unwrap().iter().filter(fits).count();
                if count == 0 || (word == "oneOf" && count > 1) {
                    return refuse(&format!("one of {rule}"));
                }
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() {
                        return Err(format!("{name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, field) in value.as_object().unwrap() {
                    let Some(rule) = rule.get(name) else {
                        return refuse(&format!("free of {name}"));
                    };
                    misfit(root, rule, field).map_err(|text| format!("{name}: {text}"))?;
                }
            }
            "items" => {
                let fixed =
                    words.get("prefixItems").map_or(0, |fixed| fixed.as_array().unwrap().len());
                for item in value.as_array().into_iter().flatten().skip(fixed) {
                    misfit(root, rule, item)?;
                }
            }
            "prefixItems" => {
                let items = value.as_array().unwrap();
                for (rule, item) in rule.as_array().unwrap().iter().zip(items) {
                    misfit(root, rule, item)?;
                }
            }
            "pattern" => {
                let digits = value.as_str().unwrap();
                let length = rule.as_str().unwrap().split(['{', '}']).nth(1);
                let length: usize = length.unwrap().parse().unwrap();
                let is_hex = digits.bytes().all(|digit| b"0123456789abcdef".contains(&digit));
                if !is_hex || (length != 2 && digits.len() != length) || digits.len() % 2 != 0 {
                    return refuse("hex of its length");
                }
            }
            "format" if value.as_str().unwrap().parse::<ProcessId>().is_err() => {
                return refuse("a UUID");
            }
            "minimum" if value.as_i64() < rule.as_i64() => return refuse("large enough"),
            "minLength" if value.as_str().unwrap().len() < rule.as_u64().unwrap() as usize => {
                return refuse("long enough");
            }
            "maxLength" if value.as_str().unwrap().len() > rule.as_u64().unwrap() as usize => {
                return refuse("short enough");
            }
            "minItems" if value.as_array().unwrap().len() < rule.as_u64().unwrap() as usize => {
                return refuse("whole");
            }
            "additionalProperties" => assert_eq!(rule, &json!(false)),
            "const" | "enum" | "format" | "minimum" | "minLength" | "maxLength" | "minItems" => {}
            "$schema" | "$id" | "$comment" | "$defs" | "title" | "description" | "default" => {}
            other => return Err(format!("this test does not know the word {other}")),
        }
    }
    Ok(())
}

fn fits(schema: &Value, value: &impl Serialize) -> Result<(), String> {
    misfit(schema, schema, &serde_json::to_value(value).unwrap())
}

/// Every object of the schema lists each field once, and no field of a real message is optional
/// that the program always writes.
fn assert_all_required(schema: &Value, value: &Value) {
    let names: Vec<_> = value.as_object().unwrap().keys().collect();
    let listed: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(names, listed);
    let mut required: Vec<_> =
        schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    required.sort_unstable();
    assert_eq!(required, names);
}

fn order(authority: Authority) -> SignedOrder {
    SignedOrder { bytes: vec![1, 2], authority }
}

fn signatures() -> Vec<AdminSignature> {
    vec![AdminSignature { ski: Ski([1; 32]), signature: Signature([2; 64]) }]
}

fn full_request() -> RotationRequest {
    RotationRequest {
        kind: REQUEST_TYPE.to_owned(),
        version: 1,
        instance: "prod".to_owned(),
        request_id: Some("one".to_owned()),
        expect_current_pattern: Some(Pattern([7; 32])),
        mode: Some(GateMode::Online),
        order: Some(order(Authority::Quorum(signatures()))),
        dry_run: true,
        verify_all: true,
    }
}

fn view() -> RotationView {
    RotationView {
        rotation: RotationId::from_bytes([1; 16]),
        instance: InstanceId::named("prod"),
        number: OrderNumber { manifest_serial: 1, number: 2 },
        purpose: Purpose::Rotate,
        phase: Phase::Install,
        is_decided: false,
        from: Some(Pattern([1; 32])),
        to: None,
        started_at: UnixMillis(1),
        finished_at: None,
        phases: vec![(Phase::Inspect, UnixMillis(1)), (Phase::Install, UnixMillis(2))],
        keys_done: 1,
        keys_total: 2,
        units_done: 3,
        units_total: 5,
        gate_closed_ms: Some(4),
        waiting_for: vec![Waiting {
            process: ProcessId::from_bytes([3; 16]),
            name: "op-1".to_owned(),
            command: "install".to_owned(),
            since: UnixMillis(2),
            refusal: Some(Refusal { code: "busy".to_owned(), text: "later".to_owned() }),
        }],
        aborted_because: None,
        trace_id: None,
    }
}

#[test]
fn the_request_has_the_fields_that_the_coordinator_takes_and_requires() {
    let schema = schema("rotation-request");
    let full = serde_json::to_value(full_request()).unwrap();
    let names: Vec<_> = full.as_object().unwrap().keys().collect();
    let listed: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(names, listed);
    fits(&schema, &full).unwrap();
    for name in names {
        let mut less = full.clone();
        less.as_object_mut().unwrap().remove(name);
        let is_taken = serde_json::from_value::<RotationRequest>(less.clone()).is_ok();
        assert_eq!(is_taken, fits(&schema, &less).is_ok(), "without {name}");
    }
    for (name, value) in [
        ("more", json!(1)),
        ("dry_run", json!("yes")),
        ("expect_current_pattern", json!("zz")),
        ("mode", json!("lax")),
        ("order", json!({ "bytes": "00" })),
    ] {
        let mut bad = full.clone();
        bad[name] = value;
        assert!(serde_json::from_value::<RotationRequest>(bad.clone()).is_err(), "{name}");
        assert!(fits(&schema, &bad).is_err(), "{name}");
    }
    for name in ["request_id", "expect_current_pattern", "mode", "order"] {
        let mut none = full.clone();
        none[name] = Value::Null;
        assert!(serde_json::from_value::<RotationRequest>(none.clone()).is_ok(), "{name}");
        fits(&schema, &none).unwrap();
    }
    let standing = SignedStandingOrder { bytes: vec![3], signatures: signatures() };
    let coordinator = ProcessId::from_bytes([4; 16]);
    let authority = Authority::Standing { standing, coordinator, signature: Signature([5; 64]) };
    fits(&schema, &RotationRequest { order: Some(order(authority)), ..full_request() }).unwrap();
}

#[test]
fn the_event_has_the_fields_that_the_coordinator_writes() {
    let schema = schema("rotation-event");
    let mut event =
        RotationEvent { seq: 1, at: UnixMillis(1), rotation: view(), text: "so it is".to_owned() };
    let value = serde_json::to_value(&event).unwrap();
    assert_all_required(&schema, &value);
    assert_all_required(&schema["$defs"]["rotation"], &value["rotation"]);
    assert_all_required(&schema["$defs"]["waiting"], &value["rotation"]["waiting_for"][0]);
    assert_all_required(&schema["$defs"]["number"], &value["rotation"]["number"]);
    for phase in Phase::ALL {
        event.rotation.phase = phase;
        fits(&schema, &event).unwrap();
    }
    assert_eq!(schema["$defs"]["phase"]["enum"].as_array().unwrap().len(), Phase::ALL.len());
    let unit = ProcessId::from_bytes([6; 16]);
    for purpose in [Purpose::Initialise, Purpose::Recover { target: unit, source: unit }] {
        event.rotation.purpose = purpose;
        fits(&schema, &event).unwrap();
    }
    let mut less = value;
    less["rotation"].as_object_mut().unwrap().remove("phase");
    assert!(fits(&schema, &less).is_err());
}

#[test]
fn the_answer_has_the_fields_that_the_coordinator_writes() {
    let schema = schema("rotation-answer");
    let unmet = Unmet {
        code: "silent".to_owned(),
        subject: "op-1".to_owned(),
        text: "op-1 does not answer".to_owned(),
        mend: "start op-1".to_owned(),
    };
    let plan = PlanView {
        generator: ProcessId::from_bytes([1; 16]),
        generator_name: "rec-1".to_owned(),
        from: None,
        key_versions: 3,
        units: 5,
    };
    assert_all_required(&schema["$defs"]["unmet"], &json!(unmet));
    assert_all_required(&schema["$defs"]["plan"], &json!(plan));
    for answer in [
        json!({ "status": "started", "rotation": view() }),
        json!({ "status": "joined", "rotation": view(), "is_repeat": true }),
        json!({ "status": "planned", "plan": plan }),
        json!({ "status": "unmet", "unmet": [unmet] }),
        json!({ "status": "refused", "refusal": { "code": "no-leave", "text": "no" } }),
    ] {
        assert_eq!(fits(&schema, &answer), Ok(()), "{answer}");
    }
    assert!(fits(&schema, &json!({ "status": "started" })).is_err());
}

/// What really came over the queue, for the other tests.
pub fn assert_fits(name: &str, value: &Value) {
    assert_eq!(fits(&schema(name), value), Ok(()), "{name}: {value}");
}
