//! The order of the driver loop: handle, save, publish, acknowledge.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::driver::{self, Handler, Outcome, SaveError, Settled};
use bus::{Bus, MemoryBus, Outgoing, QueueSpec, Received};
use futures_util::FutureExt;
use protocol::topology::{self, Address};
use tokio::sync::{mpsc, oneshot};

/// How long something has that must happen.
const SOON: Duration = Duration::from_secs(10);

/// Number of the message that is answered later.
const LATER: u64 = 7;

/// What a message answers: one that came before, or itself.
fn settled(text: &str) -> Vec<Settled> {
    let one = |refused: Option<&str>| {
        vec![Settled { number: LATER, refused: refused.map(str::to_owned) }]
    };
    match text {
        "now" => one(None),
        "no" | "never" => one(Some("not-now")),
        _ => Vec::new(),
    }
}

type Seen = Arc<Mutex<Vec<String>>>;

/// Answers every message with one of the same text; saves unless told not to.
struct Echo {
    seen: Seen,
    can_save: bool,
}

fn address(queue: &str) -> Address {
    Address { exchange: topology::PAGES, queue: queue.to_owned() }
}

#[async_trait::async_trait]
impl Handler for Echo {
    type Ask = oneshot::Sender<()>;

    async fn handle(&mut self, received: &Received) -> Outcome {
        let text = String::from_utf8_lossy(&received.body).into_owned();
        self.seen.lock().unwrap().push(format!("handle {text}"));
        Outcome {
            is_changed: text != "question",
            publish: vec![Outgoing::to(address("driver.out"), text.clone().into_bytes())],
            dead: (text == "bad").then_some("bad-message"),
            defer: matches!(text.as_str(), "later" | "never").then_some(LATER),
            settle: settled(&text),
            ..Outcome::default()
        }
    }

    async fn ask(&mut self, ask: Self::Ask) -> Outcome {
        let seen = self.seen.clone();
        let answer = move || {
            seen.lock().unwrap().push("answer".to_owned());
            let _ = ask.send(());
        };
        Outcome { is_changed: true, after_save: vec![Box::new(answer)], ..Outcome::default() }
    }

    async fn tick(&mut self) -> Outcome {
        Outcome::default()
    }

    fn next_tick(&self) -> Option<Duration> {
        None
    }

    async fn save(&mut self) -> Result<(), SaveError> {
        self.seen.lock().unwrap().push("save".to_owned());
        match self.can_save {
            true => Ok(()),
            false => Err(SaveError("no space left".to_owned())),
        }
    }
}

/// A bus with a queue in and a queue out, on which every publish is noted.
async fn watched() -> (Bus, Seen) {
    let seen = Seen::default();
    let memory = MemoryBus::default();
    let noted = seen.clone();
    memory.tap(move |message| {
        let text = String::from_utf8_lossy(&message.body);
        noted.lock().unwrap().push(format!("publish {text} to {}", message.routing_key));
    });
    let bus = Bus::Memory(memory);
    let queues = ["driver.in", "driver.out"].map(|name| QueueSpec::transient(address(name)));
    bus.declare(&queues).await.unwrap();
    (bus, seen)
}

async fn send(bus: &Bus, texts: &[&str]) {
    for text in texts {
        bus.publish(&Outgoing::to(address("driver.in"), text.as_bytes().to_vec())).await.unwrap();
    }
}

/// Runs the loop until `count` messages have come out.
async fn run(bus: &Bus, seen: &Seen, can_save: bool, count: usize) -> Result<(), SaveError> {
    let mut consumers = [bus.consume("driver.in", 2).await.unwrap()];
    let mut out = bus.consume("driver.out", 10).await.unwrap();
    let (_asks, mut asked) = mpsc::channel(1);
    let mut handler = Echo { seen: seen.clone(), can_save };
    let shutdown = async move {
        for _ in 0..count {
            out.receive().await.unwrap().ack().await;
        }
    };
    let running = driver::run(bus, &mut consumers, &mut asked, &mut handler, shutdown);
    tokio::time::timeout(SOON, running).await.expect("the messages come out")
}

/// Takes what nobody has acknowledged.
async fn left(bus: &Bus) -> Vec<String> {
    let mut consumer = bus.consume("driver.in", 10).await.unwrap();
    let mut left = Vec::new();
    while let Some(Some(delivery)) = consumer.receive().now_or_never() {
        left.push(String::from_utf8_lossy(&delivery.received().body).into_owned());
        delivery.ack().await;
    }
    left
}

fn told(seen: &Seen) -> Vec<String> {
    seen.lock().unwrap().split_off(0)
}

#[tokio::test]
async fn what_has_changed_is_saved_before_it_is_told_and_what_has_not_is_not() {
    let (bus, seen) = watched().await;
    send(&bus, &["one", "question"]).await;
    told(&seen);
    run(&bus, &seen, true, 2).await.unwrap();
    let told = told(&seen);
    let expected = [
        "handle one",
        "save",
        "publish one to driver.out",
        "handle question",
        "publish question to driver.out",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn without_a_save_nothing_is_told_and_the_message_comes_again() {
    let (bus, seen) = watched().await;
    send(&bus, &["one"]).await;
    told(&seen);
    let ended = run(&bus, &seen, false, 1).await.unwrap_err();
    assert!(ended.to_string().contains("no space left"), "{ended}");
    assert_eq!(told(&seen), ["handle one", "save"]);
    // The next process finds it.
    run(&bus, &seen, true, 1).await.unwrap();
    assert_eq!(told(&seen), ["handle one", "save", "publish one to driver.out"]);
}

#[tokio::test]
async fn what_cannot_be_taken_is_buried_after_the_save() {
    let (bus, seen) = watched().await;
    send(&bus, &["bad", "one"]).await;
    told(&seen);
    run(&bus, &seen, true, 2).await.unwrap();
    let told = told(&seen);
    assert_eq!(told[..3], ["handle bad", "save", "publish bad to driver.out"]);
    assert_eq!(
        told[3], "publish bad to driver.in",
        "to the dead queue, under its own queue's name"
    );
    let mut dead = bus.consume(topology::DEAD_QUEUE, 1).await.unwrap();
    let buried = dead.receive().await.unwrap();
    let headers = &buried.received().properties.headers;
    assert_eq!(headers.get(topology::REASON_HEADER).map(String::as_str), Some("bad-message"));
}

#[tokio::test]
async fn what_is_answered_later_comes_again_unless_its_answer_is_out() {
    let (bus, seen) = watched().await;
    send(&bus, &["later"]).await;
    run(&bus, &seen, true, 1).await.unwrap();
    assert_eq!(left(&bus).await, ["later"], "not answered when the process ended");
    send(&bus, &["later", "now"]).await;
    run(&bus, &seen, true, 2).await.unwrap();
    assert!(left(&bus).await.is_empty());
    // What cannot be saved answers nothing.
    send(&bus, &["later", "now"]).await;
    run(&bus, &seen, false, 2).await.unwrap_err();
    assert_eq!(left(&bus).await.len(), 2);
}

#[tokio::test]
async fn what_is_refused_later_or_at_once_is_buried_with_the_reason() {
    let (bus, seen) = watched().await;
    let mut dead = bus.consume(topology::DEAD_QUEUE, 1).await.unwrap();
    for texts in [&["later", "no"][..], &["never"]] {
        send(&bus, texts).await;
        run(&bus, &seen, true, texts.len()).await.unwrap();
        assert!(left(&bus).await.is_empty());
        let buried = dead.receive().now_or_never().unwrap().unwrap();
        let received = buried.received();
        assert_eq!(received.body, texts[0]);
        assert_eq!(received.properties.headers[topology::REASON_HEADER], "not-now");
        buried.ack().await;
    }
}

/// Sends itself another message for every one it takes, so that there is always one.
struct Busy {
    bus: Bus,
    ticks: mpsc::UnboundedSender<()>,
}

#[async_trait::async_trait]
impl Handler for Busy {
    type Ask = oneshot::Sender<()>;

    async fn handle(&mut self, _: &Received) -> Outcome {
        send(&self.bus, &["again"]).await;
        tokio::task::yield_now().await;
        Outcome::default()
    }

    async fn ask(&mut self, ask: Self::Ask) -> Outcome {
        let _ = ask.send(());
        Outcome::default()
    }

    async fn tick(&mut self) -> Outcome {
        let _ = self.ticks.send(());
        Outcome::default()
    }

    fn next_tick(&self) -> Option<Duration> {
        Some(Duration::from_millis(1))
    }

    async fn save(&mut self) -> Result<(), SaveError> {
        Ok(())
    }
}

#[tokio::test]
async fn messages_without_end_starve_neither_time_nor_those_who_ask() {
    let (bus, _) = watched().await;
    send(&bus, &["first"]).await;
    let mut consumers = [bus.consume("driver.in", 2).await.unwrap()];
    let (asks, mut asked) = mpsc::channel(1);
    let (ticks, mut ticked) = mpsc::unbounded_channel();
    let mut handler = Busy { bus: bus.clone(), ticks };
    let (answer, answered) = oneshot::channel();
    asks.send(answer).await.unwrap();
    let shutdown = async move {
        answered.await.unwrap();
        for _ in 0..3 {
            ticked.recv().await.unwrap();
        }
    };
    let running = driver::run(&bus, &mut consumers, &mut asked, &mut handler, shutdown);
    tokio::time::timeout(SOON, running).await.expect("all have their turn").unwrap();
}

#[tokio::test]
async fn who_asks_within_the_process_is_answered_after_the_save() {
    let (bus, seen) = watched().await;
    let mut consumers = [bus.consume("driver.in", 1).await.unwrap()];
    let (asks, mut asked) = mpsc::channel(1);
    let mut handler = Echo { seen: seen.clone(), can_save: true };
    let (answer, answered) = oneshot::channel();
    asks.send(answer).await.unwrap();
    let shutdown = async move { answered.await.unwrap() };
    driver::run(&bus, &mut consumers, &mut asked, &mut handler, shutdown).await.unwrap();
    assert_eq!(told(&seen), ["save", "answer"]);
}
