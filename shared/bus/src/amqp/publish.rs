//! Publishing with confirms: again where a confirm is lost, a queue is full for a moment or the broker
//! is away for a moment; each message judged by itself where one of several closed their channel.

use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};

use super::connection::Connection;
use crate::backoff::Backoff;
use crate::{Outgoing, Properties, PublishError};

/// For so long a publish waits for its confirm before it is repeated.
const CONFIRM_WAIT: Duration = Duration::from_secs(5);

/// How often a message is published before whoever publishes it is told that it could not be.
const MAX_TRIES: u32 = 6;

/// Why one try did not come to a confirm.
enum Failed {
    /// Another try may.
    Again(PublishError),
    /// No other try will.
    Finally(PublishError),
}

pub(super) async fn publish(
    connection: &Connection,
    message: &Outgoing,
) -> Result<(), PublishError> {
    let mut backoff = Backoff::new(20, 1_000);
    let mut tries = 0;
    loop {
        tries += 1;
        match try_once(connection, message).await {
            Ok(()) => return Ok(()),
            Err(Failed::Again(_)) if tries < MAX_TRIES => {
                tokio::time::sleep(backoff.next(0.0)).await;
            }
            Err(Failed::Again(error) | Failed::Finally(error)) => return Err(error),
        }
    }
}

async fn try_once(connection: &Connection, message: &Outgoing) -> Result<(), Failed> {
    let channel = match connection.publishing().await {
        Ok(channel) => channel,
        Err(error) => return wait_for(connection, &error).await,
    };
    match tokio::time::timeout(CONFIRM_WAIT, send(&channel, message)).await {
        Ok(Ok(confirmation)) => judge(message, &confirmation),
        Ok(Err(error)) if error.is_amqp_soft_error() => try_apart(connection, message).await,
        Ok(Err(error)) => wait_for(connection, &error).await,
        Err(_) => Err(unconfirmed()),
    }
}

/// The broker has closed the channel for something that was published on it, and all that was under
/// way there is lost with it. On a channel of its own a message shows whether it was the one.
async fn try_apart(connection: &Connection, message: &Outgoing) -> Result<(), Failed> {
    let channel = match connection.apart().await {
        Ok(channel) => channel,
        Err(error) => return wait_for(connection, &error).await,
    };
    let sent = tokio::time::timeout(CONFIRM_WAIT, send(&channel, message)).await;
    // One that is closed already is what is wanted.
    let _ = channel.close(200, "done".into()).await;
    match sent {
        Ok(Ok(confirmation)) => judge(message, &confirmation),
        Ok(Err(error)) if error.is_amqp_soft_error() => {
            tracing::warn!(%error, exchange = message.exchange, "the broker refuses a message");
            Err(Failed::Finally(PublishError::Refused(error.to_string())))
        }
        Ok(Err(error)) => wait_for(connection, &error).await,
        Err(_) => Err(unconfirmed()),
    }
}

/// A connection that broke in the middle of a publish can lose its confirm without an error;
/// receivers answer what comes twice from state.
fn unconfirmed() -> Failed {
    tracing::warn!("publishing again: no confirm came in time");
    Failed::Again(PublishError::Unavailable("no confirm came".to_owned()))
}

/// Waits for a broker that is away, not without end: whoever publishes has other things to do, and
/// what is lost here is asked again.
async fn wait_for(connection: &Connection, error: &lapin::Error) -> Result<(), Failed> {
    tracing::warn!(%error, "publishing again after the broker is back");
    let unavailable = PublishError::Unavailable(error.to_string());
    match connection.is_back().await {
        true => Err(Failed::Again(unavailable)),
        false => Err(Failed::Finally(unavailable)),
    }
}

/// An acknowledgement alone is not delivery: a returned message comes with it.
fn judge(message: &Outgoing, confirmation: &Confirmation) -> Result<(), Failed> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => {
            Err(Failed::Finally(PublishError::Unroutable(message.routing_key.clone())))
        }
        // A queue that is full, or a quorum queue that has no leader for a moment.
        Confirmation::Nack(_) => {
            Err(Failed::Again(PublishError::Refused("negative acknowledgement".to_owned())))
        }
        Confirmation::NotRequested => {
            Err(Failed::Finally(PublishError::Refused("confirms are off".to_owned())))
        }
    }
}

async fn send(channel: &Channel, message: &Outgoing) -> Result<Confirmation, lapin::Error> {
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
