//! Taking messages from RabbitMQ.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel};

use super::broker;
use super::connection::{Connection, RECOVERY_STEP};
use crate::backoff::Backoff;
use crate::{BusError, Properties, Received};

/// How often a broker that is there, or will not have us back, may refuse to open a consumer anew, with
/// pauses of up to five seconds, before its process ends.
const MAX_TRIES: u32 = 20;

/// How long the end of a consumer waits for a broker that does not answer.
const MAX_CLOSE: Duration = Duration::from_secs(10);

/// Takes messages from one queue.
pub struct AmqpConsumer {
    connection: Arc<Connection>,
    queue: Arc<str>,
    prefetch: u16,
    channel: Channel,
    consumer: lapin::Consumer,
    /// The broker has ended the consumer, which says so once: another one is to be opened.
    is_lost: bool,
    /// How often the broker has refused that since.
    refused: u32,
}

impl std::fmt::Debug for AmqpConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AmqpConsumer({})", self.queue)
    }
}

impl AmqpConsumer {
    pub(super) async fn open(
        connection: Arc<Connection>,
        queue: &str,
        prefetch: u16,
    ) -> Result<Self, BusError> {
        let (channel, consumer) = consume(&connection, queue, prefetch).await?;
        let queue = queue.into();
        Ok(Self { connection, queue, prefetch, channel, consumer, is_lost: false, refused: 0 })
    }

    /// After an outage `lapin` consumes again by itself; errors in between are waited out. Where it
    /// gives up, a new channel is opened. None: the broker has taken the queue away for good. It can be
    /// dropped at any moment, and goes on where it was.
    pub(crate) async fn receive(&mut self) -> Option<AmqpDelivery> {
        loop {
            if self.is_lost {
                self.open_again().await?;
            }
            let is_recovered = match self.consumer.next().await {
                Some(Ok(delivery)) => {
                    return Some(AmqpDelivery::new(self.queue.clone(), delivery));
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, queue = %self.queue, "waiting for the broker");
                    self.channel.wait_for_recovery(error).await.is_ok()
                }
                None => false,
            };
            self.is_lost = !is_recovered;
        }
    }

    /// Takes nothing any more. A channel that is merely let go of while the connection is away comes
    /// back with it, and with a consumer whose messages nobody reads: where the broker is away for
    /// long, it is closed when the broker is back, and nobody waits for that.
    pub(crate) async fn close(self) {
        let (queue, is_away) = (self.queue.clone(), !self.connection.is_connected());
        let closed = tokio::spawn(async move {
            self.connection.until_there().await;
            // Channels come back one after the other; one that has not yet cannot be closed.
            while self.channel.status().reconnecting() {
                tokio::time::sleep(RECOVERY_STEP).await;
            }
            // One that is closed already is what is wanted.
            let _ = self.channel.close(200, "done".into()).await;
        });
        if is_away || tokio::time::timeout(MAX_CLOSE, closed).await.is_err() {
            tracing::warn!(%queue, "the broker is away while a consumer ends");
        }
    }

    async fn open_again(&mut self) -> Option<()> {
        let mut backoff = Backoff::new(100, 5_000);
        while self.refused < MAX_TRIES {
            match consume(&self.connection, &self.queue, self.prefetch).await {
                Ok((channel, consumer)) => {
                    (self.channel, self.consumer) = (channel, consumer);
                    (self.is_lost, self.refused) = (false, 0);
                    return Some(());
                }
                Err(error) => {
                    let is_final = self.connection.is_connected() || self.connection.is_over();
                    self.refused += u32::from(is_final);
                    tracing::warn!(%error, queue = %self.queue, "waiting for the broker");
                    tokio::time::sleep(backoff.next(0.0)).await;
                }
            }
        }
        None
    }
}

async fn consume(
    connection: &Connection,
    queue: &str,
    prefetch: u16,
) -> Result<(Channel, lapin::Consumer), BusError> {
    let channel = connection.channel().await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await.map_err(broker)?;
    let (name, tag) = (ShortString::from(queue), ShortString::from(""));
    let consumer = channel
        .basic_consume(name, tag, BasicConsumeOptions::default(), FieldTable::default())
        .await
        .map_err(broker)?;
    Ok((channel, consumer))
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

    /// Without this the broker would keep it for us for as long as the channel is open.
    pub(crate) async fn give_back(self) {
        let options = BasicNackOptions { requeue: true, ..Default::default() };
        if let Err(error) = self.delivery.acker.nack(options).await {
            // A delivery from before an outage: the broker delivers it again.
            tracing::debug!(%error, "a message was given back too late");
        }
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
