//! Everything that is published at the broker, seen through RabbitMQ's own firehose.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};

/// Routing key and body of a message.
pub type Message = (String, Vec<u8>);

/// Bodies of messages, in the order of the broker.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<Message>>>);

impl Seen {
    /// Routing key and body of each.
    pub fn messages(&self) -> Vec<Message> {
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
    let (seen, _) = listen_to(&channel, Some(("amq.rabbitmq.trace", "publish.#"))).await?;
    // Kept open with its connection.
    std::mem::forget(channel);
    Ok((connection, seen))
}

/// A queue of our own, bound where it is said, and everything that comes to it; also its name.
async fn listen_to(
    channel: &Channel,
    bound: Option<(&str, &str)>,
) -> anyhow::Result<(Seen, String)> {
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
    let name = queue.name().clone();
    if let Some((exchange, key)) = bound {
        let options = QueueBindOptions::default();
        channel
            .queue_bind(name.clone(), exchange.into(), key.into(), options, FieldTable::default())
            .await?;
    }
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut consumer =
        channel.basic_consume(name.clone(), "".into(), options, FieldTable::default()).await?;
    let seen = Seen::default();
    let into = seen.clone();
    tokio::spawn(async move {
        while let Some(Ok(delivery)) = consumer.next().await {
            let message = (delivery.routing_key.to_string(), delivery.data);
            match into.0.lock() {
                Ok(mut seen) => seen.push(message),
                Err(poisoned) => poisoned.into_inner().push(message),
            }
        }
    });
    Ok((seen, name.to_string()))
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

impl Seen {
    /// Bodies as text.
    pub fn texts(&self) -> Vec<String> {
        let text = |(_, body): &(String, Vec<u8>)| String::from_utf8_lossy(body).into_owned();
        self.messages().iter().map(text).collect()
    }
}

/// Posts a rotation request as any AMQP client would; answers what comes on the exchange of events,
/// and what comes to `reply_to`.
pub async fn ask_by_queue(url: &str, instance: &str) -> anyhow::Result<(Seen, Seen)> {
    let body = serde_json::json!({
        "type": "keyhelm.rotation-request", "version": 1, "instance": instance,
    });
    post_request(url, &body).await
}

/// The same with a body of one's own.
pub async fn post_request(url: &str, body: &serde_json::Value) -> anyhow::Result<(Seen, Seen)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let (events, _) = listen_to(&channel, Some(("keyhelm.events", "rotation.#"))).await?;
    let (answers, reply_to) = listen_to(&channel, None).await?;
    let properties = lapin::BasicProperties::default()
        .with_content_type("application/json".into())
        .with_message_id(uuid::Uuid::new_v4().to_string().into())
        .with_reply_to(reply_to.into());
    channel
        .basic_publish(
            "".into(),
            "keyhelm.coordinator.requests".into(),
            lapin::options::BasicPublishOptions::default(),
            body.to_string().as_bytes(),
            properties,
        )
        .await?
        .await?;
    // Kept open until the program ends: what it hears is in `Seen`.
    std::mem::forget((connection, channel));
    Ok((events, answers))
}

/// Messages ready in each of these queues, which must be there.
pub async fn depths(url: &str, names: &[&str]) -> anyhow::Result<Vec<(String, u32)>> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let mut depths = Vec::with_capacity(names.len());
    for name in names {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare((*name).into(), options, FieldTable::default()).await?;
        depths.push(((*name).to_owned(), queue.message_count()));
    }
    connection.close(200, "done".into()).await?;
    Ok(depths)
}
