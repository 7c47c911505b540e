//! The request queue: JSON in, an answer to `reply_to`, events on the exchange.

use bus::{Consumer, Outgoing, Properties, QueueSpec};
use protocol::api::{RotationEvent, RotationView};
use protocol::audit::Phase;
use protocol::topology::{self, Address};
use serde_json::{Value, json};

use crate::api::PATIENCE;
use crate::cluster::{Cluster, INSTANCE};
use crate::founding::{founded, path};
use crate::schemas::assert_fits;

const REPLIES: &str = "test.replies";

async fn replies(cluster: &Cluster) -> Consumer {
    let bus = cluster.bus();
    // An answer comes by the default exchange, wherever the queue is bound to.
    let replies = Address { exchange: topology::PAGES, queue: REPLIES.to_owned() };
    bus.declare(&[QueueSpec::transient(replies)]).await.unwrap();
    bus.consume(REPLIES, 1).await.unwrap()
}

/// A request, as any AMQP client would put it on the queue.
fn message(body: String, message_id: Option<&str>) -> Outgoing {
    Outgoing {
        exchange: String::new(),
        routing_key: topology::REQUEST_QUEUE.to_owned(),
        is_mandatory: true,
        is_persistent: true,
        properties: Properties {
            message_id: message_id.map(str::to_owned),
            correlation_id: Some("seven".to_owned()),
            reply_to: Some(REPLIES.to_owned()),
            ..Properties::default()
        },
        body: body.into_bytes().into(),
    }
}

async fn publish(cluster: &Cluster, body: String, message_id: Option<&str>) {
    cluster.bus().publish(&message(body, message_id)).await.unwrap();
}

async fn reply(replies: &mut Consumer) -> Value {
    let delivery = tokio::time::timeout(PATIENCE, replies.receive()).await.unwrap().unwrap();
    let received = delivery.received().clone();
    delivery.ack().await;
    assert_eq!(received.properties.correlation_id.as_deref(), Some("seven"));
    assert_eq!(received.properties.content_type.as_deref(), Some("application/json"));
    let answer = serde_json::from_slice(&received.body).unwrap();
    assert_fits("rotation-answer", &answer);
    answer
}

fn request() -> Value {
    let body = json!({ "type": "keyhelm.rotation-request", "version": 1, "instance": INSTANCE });
    assert_fits("rotation-request", &body);
    body
}

async fn count(cluster: &Cluster) -> usize {
    cluster.api.read::<Vec<RotationView>>(&path("rotations")).await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_on_the_queue_is_answered_and_its_events_are_published() {
    let (cluster, _) = founded().await;
    let mut replies = replies(&cluster).await;
    let mut events = cluster.memory.events();
    publish(&cluster, request().to_string(), Some("one")).await;
    let answer = reply(&mut replies).await;
    assert_eq!(answer["status"], "started");
    let rotation: RotationView = serde_json::from_value(answer["rotation"].clone()).unwrap();
    let mut told = Vec::new();
    loop {
        let message = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
        let event: RotationEvent = serde_json::from_slice(&message.body).unwrap();
        assert_fits("rotation-event", &serde_json::from_slice(&message.body).unwrap());
        assert_eq!(event.rotation.rotation, rotation.rotation);
        let (instance, phase) = (Cluster::instance(), event.rotation.phase);
        assert_eq!(message.routing_key, format!("rotation.{instance}.{phase}"));
        told.push(event);
        if phase == Phase::Done {
            break;
        }
    }
    assert_eq!(told, cluster.api.events(rotation.rotation, None).await);
    // The same message again, as a broker may deliver it.
    publish(&cluster, request().to_string(), Some("one")).await;
    let again = reply(&mut replies).await;
    assert_eq!((&again["status"], &again["is_repeat"]), (&json!("started"), &json!(true)));
    assert_eq!(again["rotation"]["rotation"], answer["rotation"]["rotation"]);
    assert_eq!(count(&cluster).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_the_same_by_their_id_else_the_messages_else_their_body() {
    let (cluster, _) = founded().await;
    let mut replies = replies(&cluster).await;
    let named = |id: &str| {
        let mut body = request();
        body["request_id"] = json!(id);
        body.to_string()
    };
    let mut rotations = Vec::new();
    for (body, message_id) in [
        (named("a"), Some("one")),
        (named("a"), Some("two")),
        (request().to_string(), Some("one")),
        (request().to_string(), Some("two")),
        (request().to_string(), None),
        (request().to_string(), None),
    ] {
        publish(&cluster, body, message_id).await;
        let answer = reply(&mut replies).await;
        let rotation: RotationView = serde_json::from_value(answer["rotation"].clone()).unwrap();
        let is_repeat = answer["is_repeat"] == json!(true);
        if !is_repeat {
            cluster.api.events(rotation.rotation, None).await;
        }
        rotations.push((rotation.rotation, is_repeat));
    }
    let repeats: Vec<_> = rotations.iter().map(|(_, is_repeat)| *is_repeat).collect();
    assert_eq!(repeats, [false, true, false, false, false, true]);
    assert_eq!((rotations[0].0, rotations[4].0), (rotations[1].0, rotations[5].0));
    assert_eq!(count(&cluster).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_to_nothing_is_judged_anew_when_it_comes_again() {
    let (mut cluster, _) = founded().await;
    let mut replies = replies(&cluster).await;
    cluster.stop_unit("op-1").await;
    publish(&cluster, request().to_string(), Some("one")).await;
    let answer = reply(&mut replies).await;
    assert_eq!(
        (&answer["status"], &answer["unmet"][0]["code"]),
        (&json!("unmet"), &json!("silent"))
    );
    cluster.start_unit("op-1");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        publish(&cluster, request().to_string(), Some("one")).await;
        let answer = reply(&mut replies).await;
        if answer["status"] == "started" {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_carries_the_requests_correlation_id_else_its_message_id() {
    let (cluster, _) = founded().await;
    let mut replies = replies(&cluster).await;
    let refused = json!({ "type": "keyhelm.rotation-request", "version": 2, "instance": INSTANCE });
    for (body, correlation_id, message_id, carried) in [
        (request(), Some("seven"), Some("one"), Some("seven")),
        (request(), None, Some("two"), Some("two")),
        (refused.clone(), Some("seven"), Some("three"), Some("seven")),
        (refused.clone(), None, Some("four"), Some("four")),
        (refused, None, None, None),
    ] {
        let mut message = message(body.to_string(), message_id);
        message.properties.correlation_id = correlation_id.map(str::to_owned);
        cluster.bus().publish(&message).await.unwrap();
        let delivery = tokio::time::timeout(PATIENCE, replies.receive()).await.unwrap().unwrap();
        assert_eq!(delivery.received().properties.correlation_id.as_deref(), carried, "{body}");
        delivery.ack().await;
    }
}

/// Nobody reads an answer that is not asked for: what came to nothing is found in the dead queue.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_to_nothing_goes_to_the_dead_queue_with_the_reason() {
    let (mut cluster, _) = founded().await;
    let mut replies = replies(&cluster).await;
    let mut dead = cluster.bus().consume(topology::DEAD_QUEUE, 1).await.unwrap();
    let mut buried = async |code: &str| {
        let delivery = tokio::time::timeout(PATIENCE, dead.receive()).await.unwrap().unwrap();
        let received = delivery.received().clone();
        delivery.ack().await;
        assert_eq!(received.properties.headers[topology::REASON_HEADER], code);
        received.body
    };
    // Another pattern is expected than the one that is active: refused.
    let mut body = request();
    body["expect_current_pattern"] = json!("0".repeat(64));
    let body = body.to_string();
    publish(&cluster, body.clone(), Some("one")).await;
    let answer = reply(&mut replies).await;
    let code = answer["refusal"]["code"].as_str().or(answer["unmet"][0]["code"].as_str());
    assert_eq!(buried(code.unwrap()).await, body.as_bytes());
    // A unit is silent: its condition is not met.
    cluster.stop_unit("op-1").await;
    let body = request().to_string();
    publish(&cluster, body.clone(), Some("two")).await;
    assert_eq!(reply(&mut replies).await["status"], "unmet");
    assert_eq!(buried("silent").await, body.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_outlives_the_coordinator_that_surveys_for_it() {
    let (mut cluster, _) = founded().await;
    let mut replies = replies(&cluster).await;
    cluster.trap_unit("op-1", "survey").await;
    publish(&cluster, request().to_string(), Some("one")).await;
    // The survey is under way, and nothing of the request is saved.
    cluster.trapped("op-1").await;
    cluster.stop_coordinator().await;
    cluster.start_unit("op-1");
    cluster.start_coordinator().await;
    let answer = reply(&mut replies).await;
    assert_eq!(answer["status"], "started", "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_and_goes_to_the_dead_queue_with_the_reason() {
    let (cluster, _) = founded().await;
    let mut replies = replies(&cluster).await;
    let mut dead = cluster.bus().consume(topology::DEAD_QUEUE, 1).await.unwrap();
    let with = |name: &str, value: Value| {
        let mut body = request();
        body[name] = value;
        body.to_string()
    };
    for (body, code) in [
        ("no json".to_owned(), "malformed"),
        ("[\"keyhelm.rotation-request\", 1, \"prod\"]".to_owned(), "malformed"),
        (with("unknown", json!(1)), "malformed"),
        (with("request_id", json!("x".repeat(201))), "malformed"),
        (with("version", json!(2)), "wrong-version"),
        (with("instance", json!("nobody")), "unknown-instance"),
    ] {
        publish(&cluster, body.clone(), None).await;
        let answer = reply(&mut replies).await;
        assert_eq!(
            (&answer["status"], &answer["refusal"]["code"]),
            (&json!("refused"), &json!(code))
        );
        let buried = tokio::time::timeout(PATIENCE, dead.receive()).await.unwrap().unwrap();
        let received = buried.received().clone();
        buried.ack().await;
        assert_eq!(received.properties.headers[topology::REASON_HEADER], code);
        assert_eq!(received.body, body.as_bytes());
    }
    assert_eq!(count(&cluster).await, 1);
}
