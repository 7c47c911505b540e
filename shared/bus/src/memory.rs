//! The bus in one process: the same names, confirms, returns, redelivery and bounds as the
//! broker's, without a broker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use protocol::topology::{self, Address};
use tokio::sync::{Notify, broadcast};

use crate::{BusError, Outgoing, PublishError, QueueSpec, Received};

/// Most bytes waiting in one queue; a message beyond is refused, as the broker's `reject-publish`.
const MAX_QUEUE_BYTES: usize = topology::TRANSIENT_MAX_BYTES as usize;

/// What passes the bus, for whoever taps it.
type Tap = Arc<dyn Fn(&Outgoing) + Send + Sync>;

/// The bus.
#[derive(Clone, Default)]
pub struct MemoryBus {
    inner: Arc<Mutex<Inner>>,
}

impl std::fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryBus")
    }
}

struct Inner {
    /// Queues by exchange and routing key.
    bindings: BTreeMap<(String, String), Arc<Queue>>,
    queues: BTreeMap<String, Arc<Queue>>,
    events: broadcast::Sender<Outgoing>,
    tap: Option<Tap>,
    away_since: Option<Instant>,
}

impl Default for Inner {
    fn default() -> Self {
        let (events, _) = broadcast::channel(1024);
        Self {
            bindings: BTreeMap::new(),
            queues: BTreeMap::new(),
            events,
            tap: None,
            away_since: None,
        }
    }
}

struct Queue {
    name: Arc<str>,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Received>,
    bytes: usize,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({})", self.name)
    }
}

impl Queue {
    fn new(name: &str) -> Arc<Self> {
        let waiting = Mutex::new(Waiting::default());
        Arc::new(Self { name: name.into(), waiting, arrived: Notify::new() })
    }

    fn push(&self, message: Received, is_redelivered: bool) -> bool {
        let mut waiting = locked(&self.waiting);
        let bytes = waiting.bytes + message.body.len();
        let is_full = bytes > MAX_QUEUE_BYTES
            || waiting.messages.len() >= topology::TRANSIENT_MAX_LENGTH as usize;
        if is_full && !is_redelivered {
            return false;
        }
        waiting.bytes = bytes;
        match is_redelivered {
            true => waiting.messages.push_front(message),
            false => waiting.messages.push_back(message),
        }
        drop(waiting);
        self.arrived.notify_one();
        true
    }

    fn pop(&self) -> Option<Received> {
        let mut waiting = locked(&self.waiting);
        let message = waiting.messages.pop_front()?;
        waiting.bytes -= message.body.len();
        if !waiting.messages.is_empty() {
            // One notification may have stood for several messages.
            self.arrived.notify_one();
        }
        Some(message)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        // Every change under these locks is whole.
        Err(poisoned) => poisoned.into_inner(),
    }
}

impl MemoryBus {
    /// Makes the queue where there is none, and the dead queue.
    pub(crate) fn declare(&self, spec: &QueueSpec) {
        let Address { exchange, queue: name } = &spec.address;
        let mut inner = locked(&self.inner);
        let queue = inner.queues.entry(name.clone()).or_insert_with(|| Queue::new(name)).clone();
        inner.bindings.insert((exchange.to_string(), name.clone()), queue);
        let dead = topology::DEAD_QUEUE;
        inner.queues.entry(dead.to_owned()).or_insert_with(|| Queue::new(dead));
    }

    /// Calls `tap` with everything that is published from now on.
    pub fn tap(&self, tap: impl Fn(&Outgoing) + Send + Sync + 'static) {
        locked(&self.inner).tap = Some(Arc::new(tap));
    }

    /// Plays a broker that is away, so that nothing can be published, or that is back.
    pub fn set_away(&self, is_away: bool) {
        locked(&self.inner).away_since = is_away.then(Instant::now);
    }

    pub(crate) fn away(&self) -> Option<Duration> {
        locked(&self.inner).away_since.map(|since| since.elapsed())
    }

    /// Events from now on.
    pub fn events(&self) -> broadcast::Receiver<Outgoing> {
        locked(&self.inner).events.subscribe()
    }

    pub(crate) fn consume(&self, queue: &str, prefetch: u16) -> Result<MemoryConsumer, BusError> {
        let found = locked(&self.inner).queues.get(queue).cloned();
        let queue = found.ok_or_else(|| BusError::NoQueue(queue.to_owned()))?;
        let slots = Arc::new(tokio::sync::Semaphore::new(usize::from(prefetch.max(1))));
        Ok(MemoryConsumer { queue, slots })
    }

    pub(crate) fn publish(&self, message: &Outgoing) -> Result<(), PublishError> {
        let (queue, tap) = {
            let inner = locked(&self.inner);
            if inner.away_since.is_some() {
                return Err(PublishError::Unavailable("it was taken away".to_owned()));
            }
            let queue = match message.exchange.as_str() {
                topology::EVENTS => {
                    // Nobody listening is no error: events are for whoever is there.
                    let _ = inner.events.send(message.clone());
                    None
                }
                topology::DEAD => inner.queues.get(topology::DEAD_QUEUE).cloned(),
                "" => inner.queues.get(&message.routing_key).cloned(),
                exchange => {
                    let place = (exchange.to_owned(), message.routing_key.clone());
                    inner.bindings.get(&place).cloned()
                }
            };
            (queue, inner.tap.clone())
        };
        if let Some(tap) = tap {
            tap(message);
        }
        let Some(queue) = queue else {
            return match message.is_mandatory {
                true => Err(PublishError::Unroutable(message.routing_key.clone())),
                false => Ok(()),
            };
        };
        let received = Received {
            queue: queue.name.clone(),
            properties: message.properties.clone(),
            body: message.body.clone(),
        };
        match queue.push(received, false) {
            true => Ok(()),
            false => Err(PublishError::Refused(format!("queue {} is full", queue.name))),
        }
    }
}

/// Takes messages from one queue of the process.
#[derive(Debug)]
pub struct MemoryConsumer {
    queue: Arc<Queue>,
    slots: Arc<tokio::sync::Semaphore>,
}

impl MemoryConsumer {
    pub(crate) async fn receive(&mut self) -> Option<MemoryDelivery> {
        let slot = self.slots.clone().acquire_owned().await.ok()?;
        loop {
            let arrived = self.queue.arrived.notified();
            if let Some(received) = self.queue.pop() {
                let queue = self.queue.clone();
                return Some(MemoryDelivery { received: Some(received), queue, _slot: slot });
            }
            arrived.await;
        }
    }
}

/// A message of the process that is not acknowledged yet.
#[derive(Debug)]
pub struct MemoryDelivery {
    received: Option<Received>,
    queue: Arc<Queue>,
    _slot: tokio::sync::OwnedSemaphorePermit,
}

impl MemoryDelivery {
    pub(crate) const fn received(&self) -> &Received {
        match &self.received {
            Some(received) => received,
            // Only `ack` takes it out, and that consumes the delivery.
            None => unreachable!(),
        }
    }

    pub(crate) fn ack(mut self) {
        self.received = None;
    }
}

impl Drop for MemoryDelivery {
    fn drop(&mut self) {
        if let Some(received) = self.received.take() {
            self.queue.push(received, true);
        }
    }
}
