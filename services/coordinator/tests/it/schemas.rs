//! The published schemas say what really travels: same fields, same required ones, no others.

use std::path::Path;

use machines::explain::Situation;
use protocol::api::{
    CheckedPlan, Explanation, PlanView, RotationEvent, RotationView, Unmet, Waiting,
};
use protocol::audit::Phase;
use protocol::keystore::GateMode;
use protocol::manifest::AdminSignature;
use protocol::order::{Authority, Purpose, SignedOrder, SignedStandingOrder};
use protocol::report::Refusal;
use protocol::request::{REQUEST_TYPE, RotationRequest};
use protocol::{
    Digest, InstanceId, OrderNumber, Pattern, ProcessId, RotationId, Signature, Ski, UnixMillis,
};
use serde::Serialize;
use serde_json::{Value, json};

type Words = serde_json::Map<String, Value>;

fn schema(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/schemas")
        .join(format!("{name}.schema.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Why a value does not fit a schema, in the words that our schemas use; a word that is not known
/// here fails, so that no schema says what this does not check.
fn misfit(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let Some(words) = schema.as_object() else { return Err(format!("{value} is one too many")) };
    for (word, rule) in words {
        match word.as_str() {
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                misfit(root, &root["$defs"][name], value)?;
            }
            "anyOf" | "oneOf" => {
                let fits = |one: &&Value| misfit(root, one, value).is_ok();
                let count = rule.as_array().unwrap().iter().filter(fits).count();
                if count == 0 || (word == "oneOf" && count > 1) {
                    return Err(format!("{value} fits {count} of {rule}"));
                }
            }
            "properties" | "items" | "prefixItems" => parts(root, words, word, value)?,
            word if !is_so(word, rule, value) => return Err(format!("{value}: {word} {rule}")),
            _ => {}
        }
    }
    Ok(())
}

/// Words about the parts of an object or array; they say nothing of other values.
fn parts(root: &Value, words: &Words, word: &str, value: &Value) -> Result<(), String> {
    let rule = &words[word];
    if let (Some(object), "properties") = (value.as_object(), word) {
        for (name, field) in object {
            // Each of our objects refuses what it does not list.
            let rule = rule.get(name).ok_or_else(|| format!("{name} is not listed"))?;
            misfit(root, rule, field).map_err(|text| format!("{name}: {text}"))?;
        }
    }
    let Some(items) = value.as_array() else { return Ok(()) };
    let first = words.get("prefixItems").and_then(Value::as_array);
    match word {
        "items" => {
            let mut rest = items.iter().skip(first.map_or(0, Vec::len));
            rest.try_for_each(|item| misfit(root, rule, item))
        }
        "prefixItems" => {
            let mut pairs = rule.as_array().unwrap().iter().zip(items);
            pairs.try_for_each(|(rule, item)| misfit(root, rule, item))
        }
        _ => Ok(()),
    }
}

/// Words about the value itself.
fn is_so(word: &str, rule: &Value, value: &Value) -> bool {
    let text = value.as_str();
    let number = || usize::try_from(rule.as_u64().unwrap()).unwrap();
    match word {
        "type" => match rule.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64() || value.is_i64(),
            "null" => value.is_null(),
            other => panic!("this test does not know the type {other}"),
        },
        "const" => rule == value,
        "enum" => rule.as_array().unwrap().contains(value),
        "required" => {
            let mut names = rule.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
            names.all(|name| !value.is_object() || value.get(name).is_some())
        }
        "format" => text.is_none_or(|text| text.parse::<ProcessId>().is_ok()),
        "pattern" => text.is_none_or(|text| is_hex(rule.as_str().unwrap(), text)),
        "minimum" => value.as_i64().is_none_or(|value| value >= rule.as_i64().unwrap()),
        "minLength" => text.is_none_or(|text| text.len() >= number()),
        "maxLength" => text.is_none_or(|text| text.len() <= number()),
        "minItems" => value.as_array().is_none_or(|items| items.len() >= number()),
        "additionalProperties" => rule == &json!(false),
        "$schema" | "$id" | "$comment" | "$defs" | "title" | "description" | "default" => true,
        other => panic!("this test does not know the word {other}"),
    }
}

/// The two shapes of patterns that our schemas have: so many hex digits, or pairs of them.
fn is_hex(pattern: &str, text: &str) -> bool {
    let has_length = match pattern {
        "^([0-9a-f]{2})*$" => text.len().is_multiple_of(2),
        "^[0-9a-f]{64}$" => text.len() == 64,
        "^[0-9a-f]{128}$" => text.len() == 128,
        other => panic!("this test does not know the pattern {other}"),
    };
    has_length && text.bytes().all(|digit| b"0123456789abcdef".contains(&digit))
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
        check_keys: true,
        plan: Some(Digest([8; 32])),
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
        keys_quarantined: 0,
        verify_all: false,
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
        receipt: None,
        hold_until: None,
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
        checked: Some(CheckedPlan {
            hash: Digest([9; 32]),
            opened_count: 3,
            quarantined_count: 0,
            check_ms: 4,
            estimate_ms: 62,
        }),
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

#[test]
fn the_explanation_has_the_fields_that_the_coordinator_writes() {
    let schema = schema("explanation");
    for situation in Situation::ALL {
        let explanation = Explanation {
            code: situation.code().to_owned(),
            headline: "So it is.".to_owned(),
            details: vec!["More of it.".to_owned()],
            safe: "Nothing has changed.".to_owned(),
            next_command: Some("keyhelm auto-init".to_owned()),
            needs_person: true,
        };
        assert_all_required(&schema, &json!(explanation));
        fits(&schema, &explanation).unwrap();
        fits(&schema, &Explanation { next_command: None, ..explanation }).unwrap();
    }
    let listed = schema["properties"]["code"]["enum"].as_array().unwrap();
    assert_eq!(listed.len(), Situation::ALL.len());
}

/// What really came over the queue or by HTTP, for the other tests.
pub fn assert_fits(name: &str, value: &Value) {
    assert_eq!(fits(&schema(name), value), Ok(()), "{name}: {value}");
}
