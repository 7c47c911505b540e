//! RabbitMQ by `lapin`: publisher confirms, `mandatory`, manual acknowledgement, recovery.

mod connection;
mod consumer;

use std::sync::Arc;

use lapin::options::QueueDeclareOptions;
use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, ExchangeKind};
use protocol::topology;

use self::connection::Connection;
pub use self::consumer::{AmqpConsumer, AmqpDelivery};
use crate::backoff::Backoff;
use crate::{BusError, Outgoing, Properties, PublishError, QueueKind, QueueSpec};

/// RabbitMQ.
#[derive(Clone)]
pub struct AmqpBus {
    connection: Arc<Connection>,
}

impl std::fmt::Debug for AmqpBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AmqpBus")
    }
}

impl AmqpBus {
    /// Connects; waits for a broker that is not there yet, and says so.
    pub async fn connect(uri: &str, name: &str) -> Result<Self, BusError> {
        let bus = Self { connection: Arc::new(Connection::open(uri, name).await?) };
        bus.declare_exchanges().await?;
        Ok(bus)
    }

    async fn declare_exchanges(&self) -> Result<(), BusError> {
        let channel = self.connection.publishing();
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let exchanges = [
            (topology::DIRECT, ExchangeKind::Direct),
            (topology::REQUESTS, ExchangeKind::Direct),
            (topology::EVENTS, ExchangeKind::Topic),
            (topology::DEAD, ExchangeKind::Fanout),
        ];
        for (name, kind) in exchanges {
            channel
                .exchange_declare(name.into(), kind, durable, FieldTable::default())
                .await
                .map_err(broker)?;
        }
        let spec = QueueSpec {
            name: topology::DEAD_QUEUE.to_owned(),
            kind: QueueKind::Durable,
            exchange: topology::DEAD,
        };
        self.declare(&spec).await
    }

    pub(crate) async fn declare(&self, queue: &QueueSpec) -> Result<(), BusError> {
        let channel = self.connection.publishing();
        let name = ShortString::from(queue.name.as_str());
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        channel
            .queue_declare(name.clone(), options, arguments(queue.kind))
            .await
            .map_err(broker)?;
        channel
            .queue_bind(
                name.clone(),
                queue.exchange.into(),
                name,
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(broker)
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
            match publish_once(&channel, message).await {
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
    channel
        .basic_publish(
            ShortString::from(message.exchange.as_str()),
            ShortString::from(message.routing_key.as_str()),
            options,
            &message.body,
            properties(message),
        )
        .await?
        .await
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

fn arguments(kind: QueueKind) -> FieldTable {
    let mut table = FieldTable::default();
    let mut text = |name: &str, value: &str| {
        let value = AMQPValue::LongString(LongString::from(value));
        table.insert(ShortString::from(name), value);
    };
    match kind {
        QueueKind::Durable => text("x-queue-type", "quorum"),
        QueueKind::Transient => {
            text("x-queue-type", "classic");
            text("x-overflow", "reject-publish");
            for (name, value) in [
                ("x-message-ttl", topology::TRANSIENT_TTL_MS),
                ("x-max-length", topology::TRANSIENT_MAX_LENGTH),
                ("x-max-length-bytes", topology::TRANSIENT_MAX_BYTES),
            ] {
                table.insert(ShortString::from(name), AMQPValue::LongLongInt(value as i64));
            }
        }
    }
    table
}

fn broker(error: lapin::Error) -> BusError {
    BusError::Broker(error.to_string())
}
