//! What becomes of a process when its broker is away, is away for long, or closes its channel.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bus::{AmqpBus, BrokerUrl, Bus, Outgoing, PublishError, QueueSpec, Topology, outage};
use futures_util::future::join_all;
use protocol::topology::{self, Address};

use crate::broker;
use crate::relay::Relay;

/// So long that `lapin`, left alone, would pause for longer than [`SOON_AGAIN`] before its next try.
const LONG: Duration = Duration::from_secs(18);
/// How long after an outage everything works again.
const SOON_AGAIN: Duration = Duration::from_secs(9);
/// How long something has that must happen.
const SOON: Duration = Duration::from_secs(10);

fn address(queue: &str) -> Address {
    Address { exchange: topology::PAGES, queue: queue.to_owned() }
}

async fn connected(url: &str, name: &str) -> Bus {
    Bus::Amqp(AmqpBus::connect(url, name, None, Topology::Made).await.unwrap())
}

async fn declared(bus: &Bus, name: &str) -> String {
    let name = format!("test.{name}.{}", std::process::id());
    bus.declare(&[QueueSpec::transient(address(&name))]).await.unwrap();
    name
}

fn message(queue: &str, body: &str) -> Outgoing {
    Outgoing::to(address(queue), body.as_bytes().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_long_outage_everything_works_again_soon() {
    let Some(url) = broker() else { return };
    let mut relay = Relay::open(&url).await;
    let bus = connected(&relay.url(&url), "long outage").await;
    let name = declared(&bus, "outage").await;
    let mut consumer = bus.consume(&name, 1).await.unwrap();
    assert_eq!(bus.away(), None);

    let cut_at = Instant::now();
    relay.close().await;
    let during = bus.publish(&message(&name, "during")).await.unwrap_err();
    assert!(matches!(during, PublishError::Unavailable(_)), "{during}");
    tokio::time::timeout(SOON, bus.cut_off()).await.expect("it is noticed");
    assert!(cut_at.elapsed() > outage::MOMENT);
    assert!(bus.is_cut_off());
    tokio::time::sleep(LONG.saturating_sub(cut_at.elapsed())).await;

    relay.open_again().await;
    let again = async {
        while bus.publish(&message(&name, "after")).await.is_err() {}
        consumer.receive().await.unwrap().ack().await;
        bus.there().await;
    };
    tokio::time::timeout(SOON_AGAIN, again).await.expect("everything works again soon");
    assert_eq!(bus.away(), None);
}

/// A consumer that ends while the broker is away must not come back with it and keep messages.
#[tokio::test(flavor = "multi_thread")]
async fn who_ends_during_an_outage_keeps_no_message_after_it() {
    let Some(url) = broker() else { return };
    let mut relay = Relay::open(&url).await;
    let bus = connected(&relay.url(&url), "ends meanwhile").await;
    let name = declared(&bus, "ends").await;
    let ended = bus.consume(&name, 1).await.unwrap();
    relay.close().await;
    ended.close().await;
    relay.open_again().await;

    let other = connected(&url, "reads on").await;
    let mut consumer = other.consume(&name, 1).await.unwrap();
    bus.there().await;
    for body in ["a", "b", "c"] {
        other.publish(&message(&name, body)).await.unwrap();
        let delivery = tokio::time::timeout(SOON, consumer.receive()).await.unwrap().unwrap();
        assert_eq!(delivery.received().body, body);
        delivery.ack().await;
    }
}

/// What nobody may send closes the channel; only who sent it is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_the_broker_closes_costs_nobody_else_anything() {
    let Some(url) = broker() else { return };
    let bus = connected(&url, "closed channel").await;
    let name = declared(&bus, "closed").await;
    let mut consumer = bus.consume(&name, 100).await.unwrap();
    let nowhere =
        Outgoing { exchange: "test.no-such-exchange".to_owned(), ..message(&name, "nowhere") };
    for round in 0..3 {
        let bodies: Vec<_> = (0..10).map(|number| format!("{round} {number}")).collect();
        let mut sent: Vec<_> = bodies.iter().map(|body| message(&name, body)).collect();
        sent.insert(5, nowhere.clone());
        let mut published = join_all(sent.iter().map(|message| bus.publish(message))).await;
        let refused = published.remove(5).unwrap_err();
        assert!(matches!(refused, PublishError::Refused(_)), "{refused}");
        assert!(refused.to_string().contains("test.no-such-exchange"), "{refused}");
        assert_eq!(published, vec![Ok(()); 10]);
        let mut received = std::collections::BTreeSet::new();
        while received.len() < 10 {
            let delivery = tokio::time::timeout(SOON, consumer.receive()).await.unwrap().unwrap();
            let body = String::from_utf8(delivery.received().body.to_vec()).unwrap();
            delivery.ack().await;
            // One whose confirm was lost with the channel may come twice.
            if bodies.contains(&body) {
                received.insert(body);
            }
        }
    }
    bus.publish(&message(&name, "after")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_not_taken_are_said_so_at_once() {
    let Some(url) = broker() else { return };
    let wrong = url.replace("guest:guest@", "guest:wrong@");
    let connecting = AmqpBus::connect(&wrong, "nobody", None, Topology::Made);
    let refused = tokio::time::timeout(SOON, connecting).await.expect("an answer").unwrap_err();
    assert!(refused.to_string().contains("ACCESS_REFUSED"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_changed_is_shown_as_soon_as_it_is_known() {
    let Some(url) = broker() else { return };
    let mut relay = Relay::open(&url).await;
    let known = Arc::new(Mutex::new(relay.url(&url)));
    let (read, times) = (known.clone(), Arc::new(AtomicU32::new(0)));
    let counted = times.clone();
    let url_file = BrokerUrl::read_by(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        match read.lock().unwrap().as_str() {
            "" => Err("it is just being written".to_owned()),
            text => Ok(text.to_owned().into()),
        }
    });
    let bus = AmqpBus::connect(url_file, "changed", None, Topology::Made).await.unwrap();
    let bus = Bus::Amqp(bus);
    let name = declared(&bus, "changed").await;
    let right = known.lock().unwrap().clone();
    let tried = async |often: u32| {
        let before = times.load(Ordering::SeqCst);
        while times.load(Ordering::SeqCst) < before + often {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };

    // What the broker does not know is shown, again and again.
    relay.close().await;
    *known.lock().unwrap() = right.replace("guest:guest@", "guest:old@");
    relay.open_again().await;
    tokio::time::timeout(2 * SOON, tried(3)).await.expect("it is tried on");
    assert!(bus.away().is_some());
    // What cannot be read is no reason to give up.
    known.lock().unwrap().clear();
    tokio::time::timeout(2 * SOON, tried(2)).await.expect("it is tried on");
    assert!(bus.away().is_some());
    *known.lock().unwrap() = right;
    tokio::time::timeout(2 * SOON, bus.there()).await.expect("it is taken again");
    let published = async { while bus.publish(&message(&name, "after")).await.is_err() {} };
    tokio::time::timeout(SOON, published).await.expect("everything works again");
}

/// The dead queue's exchange is there for everybody, so this waits on the memory bus.
#[tokio::test]
async fn what_could_not_be_buried_comes_again_after_a_pause() {
    let memory = bus::MemoryBus::default();
    let bus = Bus::Memory(memory.clone());
    let name = declared(&bus, "again").await;
    let mut consumer = bus.consume(&name, 1).await.unwrap();
    bus.publish(&message(&name, "poison")).await.unwrap();
    let delivery = consumer.receive().await.unwrap();
    memory.set_away(true);
    let at = Instant::now();
    delivery.bury(&bus, "malformed").await;
    memory.set_away(false);
    let again = tokio::time::timeout(SOON, consumer.receive()).await.unwrap().unwrap();
    assert!(at.elapsed() > Duration::from_secs(1), "it is no busy loop");
    again.bury(&bus, "malformed").await;
    let mut dead = bus.consume(topology::DEAD_QUEUE, 1).await.unwrap();
    dead.receive().await.unwrap().ack().await;
}
