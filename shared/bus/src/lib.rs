//! Messages in, messages out: RabbitMQ and its in-memory twin behind one type, and the one driver
//! loop. Bytes only: what is in a message is `protocol`'s, whether to believe it `machines`'.

pub mod amqp;
pub mod backoff;
mod delivery;
pub mod driver;
pub mod memory;
pub mod outage;
mod url;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::topology::{self, Address};
use telemetry::metric;
use telemetry::trace::Context;
use tls::Authority;

pub use amqp::AmqpBus;
pub use delivery::{Consumer, Delivery};
pub use memory::MemoryBus;
pub use url::BrokerUrl;

/// What kind of queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// Orders and requests: a durable quorum queue; what is refused goes to the dead queue.
    Durable,
    /// Commands, reports, pages: a durable classic queue, bounded; all of it can be asked again.
    Transient,
}

/// Where exchanges, queues and bindings come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Topology {
    /// Processes make what lacks.
    #[default]
    Made,
    /// An administrator has made all of it; processes look whether it is there.
    Given,
}

/// A queue, as it is made where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSpec {
    /// Its name, and the exchange that it is bound to under it.
    pub address: Address,
    /// What kind.
    pub kind: QueueKind,
}

/// The value of an argument of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A word.
    Text(&'static str),
    /// A number.
    Number(u64),
}

impl QueueSpec {
    /// The queue of a process, or the shared page queue.
    pub const fn transient(address: Address) -> Self {
        Self { address, kind: QueueKind::Transient }
    }

    /// A queue that any coordinator reads.
    pub const fn durable(address: Address) -> Self {
        Self { address, kind: QueueKind::Durable }
    }

    /// What the broker is told about it.
    pub const fn arguments(&self) -> &'static [(&'static str, Argument)] {
        match self.kind {
            QueueKind::Durable => &[("x-queue-type", Argument::Text("quorum"))],
            QueueKind::Transient => &[
                ("x-queue-type", Argument::Text("classic")),
                ("x-overflow", Argument::Text("reject-publish")),
                ("x-message-ttl", Argument::Number(topology::TRANSIENT_TTL_MS)),
                ("x-max-length", Argument::Number(topology::TRANSIENT_MAX_LENGTH)),
                ("x-max-length-bytes", Argument::Number(topology::TRANSIENT_MAX_BYTES)),
            ],
        }
    }
}

/// What travels besides the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// AMQP's message id.
    pub message_id: Option<String>,
    /// What it answers.
    pub correlation_id: Option<String>,
    /// Where an answer shall go, by the default exchange.
    pub reply_to: Option<String>,
    /// MIME type of the body.
    pub content_type: Option<String>,
    /// Headers; `traceparent` and `keyhelm-reason` ride here.
    pub headers: BTreeMap<String, String>,
}

/// A message to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The exchange; empty for the default one.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// Whether it must reach a queue: else it is an event for whoever listens.
    pub is_mandatory: bool,
    /// Whether it outlives a restart of the broker.
    pub is_persistent: bool,
    /// What travels besides the body.
    pub properties: Properties,
    /// The body.
    pub body: Bytes,
}

impl Outgoing {
    /// A transient message to a queue.
    pub fn to(address: Address, body: Vec<u8>) -> Self {
        Self {
            exchange: address.exchange.to_owned(),
            routing_key: address.queue,
            is_mandatory: true,
            is_persistent: false,
            properties: Properties::default(),
            body: body.into(),
        }
    }

    /// A message that outlives a restart of the broker.
    pub fn persistent(address: Address, body: Vec<u8>) -> Self {
        Self { is_persistent: true, ..Self::to(address, body) }
    }

    /// The same, under this place in a trace.
    #[must_use]
    pub fn traced(mut self, context: Option<Context>) -> Self {
        if let Some(context) = context {
            let name = topology::TRACEPARENT_HEADER.to_owned();
            self.properties.headers.insert(name, context.to_string());
        }
        self
    }
}

/// A message as a handler sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The queue it came from.
    pub queue: Arc<str>,
    /// What travels besides the body.
    pub properties: Properties,
    /// The body.
    pub body: Bytes,
}

impl Received {
    /// The place in a trace under which it was sent.
    pub fn trace(&self) -> Option<Context> {
        Context::parse(self.properties.headers.get(topology::TRACEPARENT_HEADER)?)
    }
}

/// Why a message is not known to have reached its queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No queue takes it.
    #[error("no queue takes {0}")]
    Unroutable(String),
    /// The broker refused it, or its queue is full.
    #[error("the broker refused it: {0}")]
    Refused(String),
    /// The broker is away.
    #[error("the broker is away: {0}")]
    Unavailable(String),
}

impl PublishError {
    /// Stable word, for metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unroutable(_) => "unroutable",
            Self::Refused(_) => "refused",
            Self::Unavailable(_) => "broker-away",
        }
    }
}

/// Why there is no bus or consumer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The broker said no, for good.
    #[error("broker: {0}")]
    Broker(String),
    /// No such queue.
    #[error("there is no queue {0}")]
    NoQueue(String),
}

/// RabbitMQ or its in-memory twin.
#[derive(Clone, Debug)]
pub enum Bus {
    /// In this process.
    Memory(MemoryBus),
    /// RabbitMQ.
    Amqp(AmqpBus),
}

impl Bus {
    /// Connects to RabbitMQ; over TLS the broker shows a certificate of `authority`. A broker that
    /// is not there yet is waited for; none if `stop` comes first.
    pub async fn connect(
        url: impl Into<BrokerUrl>,
        name: &str,
        authority: Option<&Authority>,
        how: Topology,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Self>, BusError> {
        tokio::select! {
            () = stop => Ok(None),
            bus = AmqpBus::connect(url, name, authority, how) => Ok(Some(Self::Amqp(bus?))),
        }
    }

    /// Makes queues where there are none, and their bindings.
    pub async fn declare(&self, queues: &[QueueSpec]) -> Result<(), BusError> {
        match self {
            Self::Memory(bus) => {
                queues.iter().for_each(|queue| bus.declare(queue));
                Ok(())
            }
            Self::Amqp(bus) => bus.declare(queues).await,
        }
    }

    /// Takes messages from a queue, at most `prefetch` of them unacknowledged.
    pub async fn consume(&self, queue: &str, prefetch: u16) -> Result<Consumer, BusError> {
        match self {
            Self::Memory(bus) => bus.consume(queue, prefetch).map(Consumer::Memory),
            Self::Amqp(bus) => {
                let consumer = bus.consume(queue, prefetch).await?;
                Ok(Consumer::Amqp(Box::new(consumer)))
            }
        }
    }

    /// Publishes a message and waits for the broker's confirm.
    pub async fn publish(&self, message: &Outgoing) -> Result<(), PublishError> {
        let published = match self {
            Self::Memory(bus) => bus.publish(message),
            Self::Amqp(bus) => bus.publish(message).await,
        };
        match &published {
            Ok(()) => metric::count(metric::MESSAGES_PUBLISHED, &[]),
            Err(error) => {
                let reason = [("reason", error.reason().to_owned())];
                metric::count(metric::MESSAGES_UNDELIVERED, &reason);
            }
        }
        published
    }
}
