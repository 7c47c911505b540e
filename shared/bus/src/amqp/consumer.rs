//! Taking messages from RabbitMQ.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::options::BasicAckOptions;
use lapin::types::{AMQPValue, ShortString};
use lapin::{BasicProperties, Channel};

use crate::{Properties, Received};

/// Takes messages from one queue.
#[derive(Debug)]
pub struct AmqpConsumer {
    queue: Arc<str>,
    channel: Channel,
    consumer: lapin::Consumer,
}

impl AmqpConsumer {
    pub(super) fn new(queue: &str, channel: Channel, consumer: lapin::Consumer) -> Self {
        Self { queue: queue.into(), channel, consumer }
    }

    /// After an outage `lapin` consumes again by itself; errors in between are waited out.
    pub(crate) async fn receive(&mut self) -> Option<AmqpDelivery> {
        loop {
            match self.consumer.next().await? {
                Ok(delivery) => return Some(AmqpDelivery::new(self.queue.clone(), delivery)),
                Err(error) => {
                    tracing::warn!(%error, queue = %self.queue, "waiting for the broker");
                    self.channel.wait_for_recovery(error).await.ok()?;
                }
            }
        }
    }
}

/// A message that is not acknowledged yet.
#[derive(Debug)]
pub struct AmqpDelivery {
    received: Received,
    delivery: lapin::message::Delivery,
}

impl AmqpDelivery {
    fn new(queue: Arc<str>, mut delivery: lapin::message::Delivery) -> Self {
        let body = Bytes::from(std::mem::take(&mut delivery.data));
        let properties = properties(&delivery.properties);
        Self { received: Received { queue, properties, body }, delivery }
    }

    pub(crate) const fn received(&self) -> &Received {
        &self.received
    }

    pub(crate) async fn ack(self) {
        if let Err(error) = self.delivery.acker.ack(BasicAckOptions::default()).await {
            // A delivery from before an outage: the broker delivers it again.
            tracing::debug!(%error, "an acknowledgement came too late");
        }
    }
}

fn properties(given: &BasicProperties) -> Properties {
    let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
    let mut headers = BTreeMap::new();
    for (name, value) in given.headers().iter().flat_map(|table| table.inner()) {
        let value = match value {
            AMQPValue::LongString(value) => value.to_string(),
            AMQPValue::ShortString(value) => value.to_string(),
            _ => continue,
        };
        headers.insert(name.to_string(), value);
    }
    Properties {
        message_id: text(given.message_id()),
        correlation_id: text(given.correlation_id()),
        reply_to: text(given.reply_to()),
        content_type: text(given.content_type()),
        headers,
    }
}
