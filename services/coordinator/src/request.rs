//! Rotation requests from the queue: JSON, unsigned, able to ask only for what a standing order
//! allows already.

use bus::{Outgoing, Properties, Received};
use machines::conductor::{Answer, StartAsk};
use protocol::keystore::GateMode;
use protocol::report::Refusal;
use protocol::request::{REQUEST_TYPE, RotationRequest};
use serde_json::json;

/// Longest request.
const MAX_BYTES: usize = 256 * 1024;

/// Who asked, and where the answer shall go.
pub(crate) struct Requester {
    /// Makes repeats the same: the request's own id, else the message's, else its body's digest.
    pub(crate) id: String,
    reply_to: Option<String>,
    correlation_id: Option<String>,
}

/// A request that can be understood.
pub(crate) struct Parsed {
    pub(crate) requester: Requester,
    pub(crate) instance: String,
    pub(crate) start: Box<StartAsk>,
}

/// Why a request is not taken.
pub(crate) struct RequestRefusal {
    pub(crate) code: &'static str,
    text: String,
}

/// Understands a request, or says why not.
pub(crate) fn parse(received: &Received) -> Result<Parsed, RequestRefusal> {
    let refuse = |code, text: String| RequestRefusal { code, text };
    if received.body.len() > MAX_BYTES {
        return Err(refuse("oversized", format!("a request has at most {MAX_BYTES} bytes")));
    }
    let kind = received.properties.content_type.as_deref();
    if kind.is_some_and(|kind| !kind.starts_with("application/json")) {
        return Err(refuse("content-type", "a request is application/json".to_owned()));
    }
    let request: RotationRequest = serde_json::from_slice(&received.body)
        .map_err(|error| refuse("malformed", format!("not a rotation request: {error}")))?;
    if request.kind != REQUEST_TYPE || request.version != 1 {
        let text = format!("type is {REQUEST_TYPE} and version 1");
        return Err(refuse("wrong-version", text));
    }
    let body_id = || crypto::digest::sha256("keyhelm request v1", &[&received.body]).to_string();
    let id = request
        .request_id
        .clone()
        .or_else(|| received.properties.message_id.clone())
        .unwrap_or_else(body_id);
    let start = StartAsk {
        order: request.order,
        mode: request.mode.unwrap_or(GateMode::Strict),
        expect_current: request.expect_current_pattern,
        dry_run: request.dry_run,
        verify_all: request.verify_all,
        actor: format!("queue request {id}"),
        traceparent: received
            .properties
            .headers
            .get(protocol::topology::TRACEPARENT_HEADER)
            .cloned(),
    };
    let requester = Requester {
        id,
        reply_to: received.properties.reply_to.clone(),
        correlation_id: received
            .properties
            .correlation_id
            .clone()
            .or_else(|| received.properties.message_id.clone()),
    };
    Ok(Parsed { requester, instance: request.instance, start: Box::new(start) })
}

/// The request names an instance that nobody has announced.
pub(crate) fn unknown_instance(name: &str) -> RequestRefusal {
    let text = format!("no unit has announced itself for instance {name}");
    RequestRefusal { code: "unknown-instance", text }
}

/// The same, for a request from inside the process.
pub(crate) fn unknown_instance_answer() -> Answer {
    Answer::Refused(Refusal {
        code: "unknown-instance".to_owned(),
        text: "no unit has announced itself for this instance".to_owned(),
    })
}

/// The answer to whoever wants one.
pub(crate) fn answer(requester: &Requester, answer: &Answer) -> Option<Outgoing> {
    let body = match answer {
        Answer::Started { rotation, joined, .. } => {
            json!({ "status": if *joined { "joined" } else { "started" }, "rotation": rotation })
        }
        Answer::Planned(plan, _) => json!({ "status": "planned", "plan": plan }),
        Answer::Unmet(findings) => json!({ "status": "unmet", "unmet": findings.unmet }),
        Answer::Refused(refusal) => json!({ "status": "refused", "refusal": refusal }),
        _ => json!({ "status": "taken" }),
    };
    reply(requester, body.to_string())
}

/// The answer to a repeat.
pub(crate) fn repeat(requester: &Requester, before: String) -> Option<Outgoing> {
    reply(requester, json!({ "status": "repeated", "before": before }).to_string())
}

/// What a request that is not taken is told.
pub(crate) fn refusal(received: &Received, refusal: &RequestRefusal) -> Option<Outgoing> {
    let requester = Requester {
        id: String::new(),
        reply_to: received.properties.reply_to.clone(),
        correlation_id: received.properties.correlation_id.clone(),
    };
    let (code, text) = (refusal.code, &refusal.text);
    let refusal = json!({ "code": code, "text": text });
    reply(&requester, json!({ "status": "refused", "refusal": refusal }).to_string())
}

fn reply(requester: &Requester, body: String) -> Option<Outgoing> {
    let queue = requester.reply_to.clone()?;
    Some(Outgoing {
        exchange: String::new(),
        routing_key: queue,
        is_mandatory: false,
        is_persistent: false,
        properties: Properties {
            correlation_id: requester.correlation_id.clone(),
            content_type: Some("application/json".to_owned()),
            ..Properties::default()
        },
        body: body.into_bytes().into(),
    })
}
