//! Taking messages from a queue, and what becomes of each: done with, buried, or delivered again.

use std::time::Duration;

use protocol::topology;
use telemetry::metric;

use crate::{Bus, Outgoing, Received, amqp, memory};

/// After so long a message that could not be buried comes again, to be buried then.
const BURIED_AGAIN: Duration = Duration::from_secs(5);

/// Takes messages from one queue.
#[derive(Debug)]
pub enum Consumer {
    /// In this process.
    Memory(memory::MemoryConsumer),
    /// RabbitMQ.
    Amqp(Box<amqp::AmqpConsumer>),
}

impl Consumer {
    /// The next message; none when the bus is closed for good. Safe to drop while it waits.
    pub async fn receive(&mut self) -> Option<Delivery> {
        match self {
            Self::Memory(consumer) => consumer.receive().await.map(Delivery::Memory),
            Self::Amqp(consumer) => {
                let delivery = consumer.receive().await?;
                Some(Delivery::Amqp(Box::new(delivery)))
            }
        }
    }

    /// Takes nothing any more; what is not acknowledged is delivered to others.
    pub async fn close(self) {
        match self {
            Self::Memory(_) => {}
            Self::Amqp(consumer) => consumer.close().await,
        }
    }
}

/// A message that is not acknowledged yet; dropped, it is delivered again.
#[derive(Debug)]
pub enum Delivery {
    /// In this process.
    Memory(memory::MemoryDelivery),
    /// RabbitMQ.
    Amqp(Box<amqp::AmqpDelivery>),
}

impl Delivery {
    /// The message.
    pub fn received(&self) -> &Received {
        match self {
            Self::Memory(delivery) => delivery.received(),
            Self::Amqp(delivery) => delivery.received(),
        }
    }

    /// Done with: it is not delivered again.
    pub async fn ack(self) {
        let queue = topology::class_of(&self.received().queue).to_owned();
        metric::count(metric::MESSAGES_HANDLED, &[("queue", queue)]);
        self.settle().await;
    }

    async fn settle(self) {
        match self {
            Self::Memory(delivery) => delivery.ack(),
            Self::Amqp(delivery) => delivery.ack().await,
        }
    }

    /// Cannot be taken: it goes to the dead queue with the reason in a header, and is done with.
    pub async fn bury(self, bus: &Bus, reason: &str) {
        let received = self.received();
        let queue = topology::class_of(&received.queue).to_owned();
        let labels = [("queue", queue), ("reason", reason.to_owned())];
        metric::count(metric::MESSAGES_REFUSED, &labels);
        let mut properties = received.properties.clone();
        properties.headers.insert(topology::REASON_HEADER.to_owned(), reason.to_owned());
        let dead = Outgoing {
            exchange: topology::DEAD.to_owned(),
            routing_key: received.queue.to_string(),
            is_mandatory: false,
            is_persistent: true,
            properties,
            body: received.body.clone(),
        };
        tracing::warn!(queue = %received.queue, reason, "a message could not be taken");
        if let Err(error) = bus.publish(&dead).await {
            tracing::warn!(%error, "the dead queue could not be reached: the message comes again");
            // Nobody waits for that: there are other messages.
            tokio::spawn(async move {
                tokio::time::sleep(BURIED_AGAIN).await;
                self.give_back().await;
            });
            return;
        }
        self.settle().await;
    }

    /// It is delivered again, to whoever is next.
    async fn give_back(self) {
        match self {
            // The message goes back to its queue when it is dropped.
            Self::Memory(_) => {}
            Self::Amqp(delivery) => delivery.give_back().await,
        }
    }
}
