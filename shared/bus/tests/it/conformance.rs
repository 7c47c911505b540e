//! Each rule of the bus as a function over any bus.

use std::time::Duration;

use bus::{Bus, Consumer, Outgoing, PublishError, QueueSpec};
use protocol::topology::{self, Address};

/// How long something has that must happen.
const SOON: Duration = Duration::from_secs(10);
/// How long nothing must happen.
const A_WHILE: Duration = Duration::from_millis(200);

pub async fn all(bus: &Bus) {
    confirms_and_returns(bus).await;
    keeps_the_order(bus).await;
    delivers_again_what_was_dropped(bus).await;
    bounds_what_is_unacknowledged(bus).await;
    shares_a_queue_between_consumers(bus).await;
    buries_with_a_reason(bus).await;
    answers_by_the_default_exchange(bus).await;
    carries_properties(bus).await;
    lets_events_go_unheard(bus).await;
    refuses_what_a_full_queue_cannot_take(bus).await;
}

fn address(queue: &str) -> Address {
    Address { exchange: topology::PAGES, queue: queue.to_owned() }
}

async fn queue(bus: &Bus, name: &str) -> String {
    let name = format!("test.{name}.{}", std::process::id());
    bus.declare(&[QueueSpec::transient(address(&name))]).await.unwrap();
    name
}

async fn next(consumer: &mut Consumer) -> bus::Delivery {
    tokio::time::timeout(SOON, consumer.receive()).await.expect("a message").expect("a bus")
}

async fn nothing(consumer: &mut Consumer) {
    assert!(tokio::time::timeout(A_WHILE, consumer.receive()).await.is_err());
}

fn message(queue: &str, body: &str) -> Outgoing {
    Outgoing::to(address(queue), body.as_bytes().to_vec())
}

async fn confirms_and_returns(bus: &Bus) {
    let name = queue(bus, "confirms").await;
    bus.publish(&message(&name, "one")).await.unwrap();
    let nowhere = message("test.no-such-queue", "one");
    let refused = bus.publish(&nowhere).await.unwrap_err();
    assert_eq!(refused, PublishError::Unroutable("test.no-such-queue".to_owned()));
    let unasked = Outgoing { is_mandatory: false, ..nowhere };
    bus.publish(&unasked).await.unwrap();
}

async fn keeps_the_order(bus: &Bus) {
    let name = queue(bus, "order").await;
    for index in 0..50 {
        bus.publish(&message(&name, &index.to_string())).await.unwrap();
    }
    let mut consumer = bus.consume(&name, 8).await.unwrap();
    for index in 0..50 {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.received().body, index.to_string());
        delivery.ack().await;
    }
}

async fn delivers_again_what_was_dropped(bus: &Bus) {
    let name = queue(bus, "again").await;
    bus.publish(&message(&name, "precious")).await.unwrap();
    let mut first = bus.consume(&name, 1).await.unwrap();
    let delivery = next(&mut first).await;
    // The process ends: neither the delivery nor its consumer is there any more.
    drop(delivery);
    drop(first);
    let mut second = bus.consume(&name, 1).await.unwrap();
    let delivery = next(&mut second).await;
    assert_eq!(delivery.received().body, "precious");
    delivery.ack().await;
    nothing(&mut second).await;
}

async fn bounds_what_is_unacknowledged(bus: &Bus) {
    let name = queue(bus, "bound").await;
    for index in 0..3 {
        bus.publish(&message(&name, &index.to_string())).await.unwrap();
    }
    let mut consumer = bus.consume(&name, 2).await.unwrap();
    let one = next(&mut consumer).await;
    let two = next(&mut consumer).await;
    nothing(&mut consumer).await;
    one.ack().await;
    let three = next(&mut consumer).await;
    two.ack().await;
    three.ack().await;
}

async fn shares_a_queue_between_consumers(bus: &Bus) {
    let name = queue(bus, "shared").await;
    let mut one = bus.consume(&name, 1).await.unwrap();
    let mut two = bus.consume(&name, 1).await.unwrap();
    bus.publish(&message(&name, "a")).await.unwrap();
    bus.publish(&message(&name, "b")).await.unwrap();
    let (first, second) = tokio::join!(next(&mut one), next(&mut two));
    let mut bodies = [first.received().body.clone(), second.received().body.clone()];
    bodies.sort();
    assert_eq!(bodies, ["a", "b"]);
    first.ack().await;
    second.ack().await;
}

async fn buries_with_a_reason(bus: &Bus) {
    let name = queue(bus, "poison").await;
    let mut consumer = bus.consume(&name, 1).await.unwrap();
    let mut dead = bus.consume(topology::DEAD_QUEUE, 1).await.unwrap();
    bus.publish(&message(&name, "poison")).await.unwrap();
    next(&mut consumer).await.bury(bus, "malformed").await;
    let delivery = next(&mut dead).await;
    let received = delivery.received();
    assert_eq!(received.body, "poison");
    assert_eq!(received.properties.headers[topology::REASON_HEADER], "malformed");
    delivery.ack().await;
    bus.publish(&message(&name, "good")).await.unwrap();
    let good = next(&mut consumer).await;
    assert_eq!(good.received().body, "good", "the service goes on");
    good.ack().await;
}

async fn answers_by_the_default_exchange(bus: &Bus) {
    let name = queue(bus, "reply").await;
    let reply = Outgoing { exchange: String::new(), ..message(&name, "answer") };
    bus.publish(&reply).await.unwrap();
    let mut consumer = bus.consume(&name, 1).await.unwrap();
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.received().body, "answer");
    delivery.ack().await;
}

async fn carries_properties(bus: &Bus) {
    let name = queue(bus, "properties").await;
    let mut sent = message(&name, "body");
    let properties = &mut sent.properties;
    properties.message_id = Some("id".to_owned());
    properties.correlation_id = Some("other".to_owned());
    properties.reply_to = Some("queue".to_owned());
    properties.content_type = Some("application/json".to_owned());
    properties.headers.insert("traceparent".to_owned(), "00-a-b-01".to_owned());
    bus.publish(&sent).await.unwrap();
    let mut consumer = bus.consume(&name, 1).await.unwrap();
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.received().properties, sent.properties);
    delivery.ack().await;
}

async fn lets_events_go_unheard(bus: &Bus) {
    let event = Outgoing {
        exchange: topology::EVENTS.to_owned(),
        is_mandatory: false,
        ..message("rotation.nobody.done", "{}")
    };
    bus.publish(&event).await.unwrap();
}

/// A confirm can be a refusal; whoever publishes is told, and what was taken before stays.
async fn refuses_what_a_full_queue_cannot_take(bus: &Bus) {
    let name = queue(bus, "full").await;
    let mut consumer = bus.consume(&name, 1).await.unwrap();
    // One is taken and not acknowledged, so that the queue is seen to have a reader.
    bus.publish(&message(&name, "taken")).await.unwrap();
    let taken = next(&mut consumer).await;
    let body = vec![7; 2 * 1024 * 1024];
    let large = Outgoing::to(address(&name), body);
    let most = topology::TRANSIENT_MAX_BYTES as usize / large.body.len() + 2;
    let mut refused = None;
    let mut count = 0;
    while count < most && refused.is_none() {
        refused = bus.publish(&large).await.err();
        count += 1;
    }
    assert!(matches!(refused, Some(PublishError::Refused(_))), "{count} messages: {refused:?}");
    taken.ack().await;
    // What was taken is delivered, and makes room.
    for _ in 1..count {
        next(&mut consumer).await.ack().await;
    }
    nothing(&mut consumer).await;
    bus.publish(&large).await.unwrap();
    next(&mut consumer).await.ack().await;
}
