//! Rotation requests from the queue: JSON, unsigned, able to ask only for what a standing order
//! allows already.

use bus::{Outgoing, Properties, Received};
use machines::conductor::{Answer, StartAsk};
use protocol::UnixMillis;
use protocol::api::Started;
use protocol::keystore::GateMode;
use protocol::report::Refusal;
use protocol::request::{REQUEST_TYPE, RotationRequest};
use serde_json::json;

/// Longest request.
const MAX_BYTES: usize = 256 * 1024;
/// Longest id of a request or message.
pub(crate) const MAX_ID: usize = 200;
/// A body that comes again without any id is a repeat for so long; after it, the same body (of a
/// timer, say) is a new request.
const SAME_BODY_MS: u64 = 10 * 60 * 1000;

/// Who asked, and where the answer shall go.
pub(crate) struct Requester {
    /// Names under which the answer is remembered (the first) or may have been.
    pub(crate) names: Vec<String>,
    reply_to: Option<String>,
    correlation_id: Option<String>,
}

impl Requester {
    /// Whoever sent a message. The answer carries its correlation id, else its message id.
    fn of(received: &Received, names: Vec<String>) -> Self {
        let Properties { reply_to, correlation_id, message_id, .. } = &received.properties;
        Self {
            names,
            reply_to: reply_to.clone(),
            correlation_id: correlation_id.clone().or_else(|| message_id.clone()),
        }
    }
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
pub(crate) fn parse(received: &Received, now: UnixMillis) -> Result<Parsed, RequestRefusal> {
    let refuse = |code, text: String| RequestRefusal { code, text };
    if received.body.len() > MAX_BYTES {
        return Err(refuse("oversized", format!("a request has at most {MAX_BYTES} bytes")));
    }
    let kind = received.properties.content_type.as_deref();
    if kind.is_some_and(|kind| !kind.starts_with("application/json")) {
        return Err(refuse("content-type", "a request is application/json".to_owned()));
    }
    // An array of the fields' values would be understood too.
    if received.body.trim_ascii_start().first() != Some(&b'{') {
        return Err(refuse("malformed", "not a rotation request: no JSON object".to_owned()));
    }
    let request: RotationRequest = serde_json::from_slice(&received.body)
        .map_err(|error| refuse("malformed", format!("not a rotation request: {error}")))?;
    if request.kind != REQUEST_TYPE || request.version != 1 {
        let text = format!("type is {REQUEST_TYPE} and version 1");
        return Err(refuse("wrong-version", text));
    }
    let message_id = received.properties.message_id.as_ref().filter(|id| !id.is_empty());
    let given = request.request_id.as_ref().or(message_id);
    if given.is_some_and(|id| id.is_empty() || id.len() > MAX_ID) {
        return Err(refuse("malformed", format!("request_id has 1 to {MAX_ID} bytes")));
    }
    let names = names(given.map(String::as_str), &received.body, now);
    let id = given.cloned().unwrap_or_else(|| "without an id".to_owned());
    let start = StartAsk {
        order: request.order,
        mode: request.mode.unwrap_or(GateMode::Strict),
        expect_current: request.expect_current_pattern,
        dry_run: request.dry_run,
        verify_all: request.verify_all,
        check_keys: request.check_keys,
        plan: request.plan,
        actor: format!("queue request {id}"),
        traceparent: received
            .properties
            .headers
            .get(protocol::topology::TRACEPARENT_HEADER)
            .cloned(),
    };
    let requester = Requester::of(received, names);
    Ok(Parsed { requester, instance: request.instance, start: Box::new(start) })
}

/// The request's own id makes repeats the same, else the message's, else the body's digest.
fn names(id: Option<&str>, body: &[u8], now: UnixMillis) -> Vec<String> {
    if let Some(id) = id {
        return vec![json!(["queue", id]).to_string()];
    }
    let digest = crypto::digest::sha256("keyhelm request v1", &[body]);
    let period = now.0 / SAME_BODY_MS;
    let name = |period: u64| json!(["queue body", digest, period]).to_string();
    vec![name(period), name(period.saturating_sub(1))]
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
        // No request on the queue asks for anything else.
        _ => return None,
    };
    reply(requester, body.to_string())
}

/// The answer to a repeat: that of the first.
pub(crate) fn repeat(requester: &Requester, before: Started) -> Option<Outgoing> {
    let status = if before.joined { "joined" } else { "started" };
    let body = json!({ "status": status, "rotation": before.rotation, "is_repeat": true });
    reply(requester, body.to_string())
}

/// What a request that is not taken is told.
pub(crate) fn refusal(received: &Received, refusal: &RequestRefusal) -> Option<Outgoing> {
    let requester = Requester::of(received, Vec::new());
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
