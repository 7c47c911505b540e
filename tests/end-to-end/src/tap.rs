//! Everything that is published at the broker, seen through RabbitMQ's own firehose.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};

/// Bodies of messages, in the order of the broker.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<(String, Vec<u8>)>>>);

impl Seen {
    /// Routing key and body of each.
    pub fn messages(&self) -> Vec<(String, Vec<u8>)> {
        match self.0.lock() {
            Ok(seen) => seen.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }
}

/// Listens to everything published from now on. The firehose must be switched on
/// (`rabbitmqctl trace_on`).
pub async fn listen(url: &str) -> anyhow::Result<(Connection, Seen)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
    let name = queue.name().clone();
    channel
        .queue_bind(
            name.clone(),
            "amq.rabbitmq.trace".into(),
            "publish.#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut consumer =
        channel.basic_consume(name, "tap".into(), options, FieldTable::default()).await?;
    let seen = Seen::default();
    let into = seen.clone();
    tokio::spawn(async move {
        // The channel lives as long as its consumer.
        let _channel = channel;
        while let Some(Ok(delivery)) = consumer.next().await {
            let message = (delivery.routing_key.to_string(), delivery.data);
            match into.0.lock() {
                Ok(mut seen) => seen.push(message),
                Err(poisoned) => poisoned.into_inner().push(message),
            }
        }
    });
    Ok((connection, seen))
}

/// Removes the queues that coordinators share, with whatever an earlier cluster left in them.
pub async fn forget_shared_queues(url: &str, names: &[&str]) -> anyhow::Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    for name in names {
        channel.queue_delete((*name).into(), QueueDeleteOptions::default()).await?;
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}
