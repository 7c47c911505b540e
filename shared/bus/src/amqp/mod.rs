//! RabbitMQ by `lapin`: publisher confirms, `mandatory`, manual acknowledgement, recovery.

mod connection;
mod consumer;
mod topology;

use std::sync::Arc;

use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};
use tls::Authority;

use self::connection::Connection;
pub use self::consumer::{AmqpConsumer, AmqpDelivery};
use crate::backoff::Backoff;
use crate::{BusError, Outgoing, Properties, PublishError, QueueSpec, Topology};

/// For so long a publish waits for its confirm before it is repeated.
const CONFIRM_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

/// RabbitMQ.
#[derive(Clone)]
pub struct AmqpBus {
    connection: Arc<Connection>,
    how: Topology,
}

impl std::fmt::Debug for AmqpBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AmqpBus")
    }
}

impl AmqpBus {
    /// Connects; waits for a broker that is not there yet, and says so.
    pub async fn connect(
        uri: &str,
        name: &str,
        authority: Option<&Authority>,
        how: Topology,
    ) -> Result<Self, BusError> {
        let connection = Arc::new(Connection::open(uri, name, authority).await?);
        topology::declare_exchanges(&connection.publishing(), how).await?;
        Ok(Self { connection, how })
    }

    pub(crate) async fn declare(&self, queues: &[QueueSpec]) -> Result<(), BusError> {
        let channel = self.connection.publishing();
        for queue in queues {
            topology::declare(&channel, self.how, queue).await?;
        }
        Ok(())
    }

    pub(crate) async fn consume(
        &self,
        queue: &str,
        prefetch: u16,
    ) -> Result<AmqpConsumer, BusError> {
        AmqpConsumer::open(self.connection.clone(), queue, prefetch).await
    }

    /// An acknowledgement alone is not delivery: a returned message comes with it.
    pub(crate) async fn publish(&self, message: &Outgoing) -> Result<(), PublishError> {
        let mut tries = 0;
        let mut backoff = Backoff::new(20, 1_000);
        loop {
            let channel = self.connection.publishing();
            let sent = tokio::time::timeout(CONFIRM_WAIT, publish_once(&channel, message)).await;
            // A connection that broke in the middle of a publish can lose its confirm without an
            // error; receivers answer what comes twice from state.
            let Ok(sent) = sent else {
                if tries >= 5 {
                    return Err(PublishError::Unavailable("no confirm came".to_owned()));
                }
                tries += 1;
                tracing::warn!("publishing again: no confirm came in time");
                continue;
            };
            match sent {
                Ok(Confirmation::Ack(None)) => return Ok(()),
                Ok(Confirmation::Ack(Some(_))) => {
                    return Err(PublishError::Unroutable(message.routing_key.clone()));
                }
                // A queue that is full, or a quorum queue that has no leader for a moment.
                Ok(Confirmation::Nack(_)) if tries < 5 => {
                    tries += 1;
                    tokio::time::sleep(backoff.next(0.0)).await;
                }
                Ok(Confirmation::Nack(_)) => {
                    return Err(PublishError::Refused("negative acknowledgement".to_owned()));
                }
                Ok(Confirmation::NotRequested) => {
                    return Err(PublishError::Refused("confirms are off".to_owned()));
                }
                Err(error) if tries < 3 => {
                    tries += 1;
                    tracing::warn!(%error, "publishing again after the broker is back");
                    channel
                        .wait_for_recovery(error)
                        .await
                        .map_err(|error| PublishError::Unavailable(error.to_string()))?;
                }
                Err(error) => return Err(PublishError::Unavailable(error.to_string())),
            }
        }
    }
}

async fn publish_once(channel: &Channel, message: &Outgoing) -> Result<Confirmation, lapin::Error> {
    let options = BasicPublishOptions { mandatory: message.is_mandatory, ..Default::default() };
    let confirm = channel
        .basic_publish(
            ShortString::from(message.exchange.as_str()),
            ShortString::from(message.routing_key.as_str()),
            options,
            &message.body,
            properties(message),
        )
        .await?;
    fail_points::reach(fail_points::Place::Sent);
    let confirmation = confirm.await?;
    fail_points::reach(fail_points::Place::Confirmed);
    Ok(confirmation)
}

fn properties(message: &Outgoing) -> BasicProperties {
    let Properties { message_id, correlation_id, reply_to, content_type, headers } =
        &message.properties;
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert(
            ShortString::from(name.as_str()),
            AMQPValue::LongString(LongString::from(value.as_str())),
        );
    }
    let mode = if message.is_persistent { 2 } else { 1 };
    let mut properties = BasicProperties::default().with_delivery_mode(mode).with_headers(table);
    let short = |text: &String| ShortString::from(text.as_str());
    if let Some(id) = message_id {
        properties = properties.with_message_id(short(id));
    }
    if let Some(id) = correlation_id {
        properties = properties.with_correlation_id(short(id));
    }
    if let Some(queue) = reply_to {
        properties = properties.with_reply_to(short(queue));
    }
    if let Some(kind) = content_type {
        properties = properties.with_content_type(short(kind));
    }
    properties
}

fn broker(error: lapin::Error) -> BusError {
    BusError::Broker(error.to_string())
}
