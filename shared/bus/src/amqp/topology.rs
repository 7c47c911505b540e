//! Exchanges, queues and bindings, made where there are none. Where an administrator has made them
//! (`keyhelm setup` does), a process needs no right to make any.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Connection, ExchangeKind};
use protocol::topology;

use super::broker;
use crate::{Argument, BusError, QueueSpec};

/// Makes what lacks of the exchanges, and the dead queue.
pub(super) async fn declare_exchanges(connection: &Connection) -> Result<(), BusError> {
    for name in topology::direct_exchanges() {
        declare_exchange(connection, name, ExchangeKind::Direct).await?;
    }
    declare_exchange(connection, topology::EVENTS, ExchangeKind::Topic).await?;
    declare_exchange(connection, topology::DEAD, ExchangeKind::Fanout).await?;
    declare(connection, &QueueSpec::durable(topology::dead_address())).await
}

async fn declare_exchange(
    connection: &Connection,
    name: &str,
    kind: ExchangeKind,
) -> Result<(), BusError> {
    // A channel each: the broker closes it with its refusal.
    let channel = connection.create_channel().await.map_err(broker)?;
    let name = ShortString::from(name);
    let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
    let nothing = FieldTable::default();
    if channel.exchange_declare(name.clone(), kind.clone(), passive, nothing).await.is_ok() {
        return Ok(());
    }
    let channel = connection.create_channel().await.map_err(broker)?;
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare(name, kind, durable, FieldTable::default()).await.map_err(broker)
}

/// Makes the queue and its binding where they are not.
pub(super) async fn declare(connection: &Connection, queue: &QueueSpec) -> Result<(), BusError> {
    let name = ShortString::from(queue.address.queue.as_str());
    let channel = connection.create_channel().await.map_err(broker)?;
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let asked = channel.queue_declare(name.clone(), passive, FieldTable::default()).await;
    let is_there = asked.is_ok();
    let channel = connection.create_channel().await.map_err(broker)?;
    if !is_there {
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(name.clone(), durable, arguments(queue)).await.map_err(broker)?;
    }
    // A process may have died between making a queue and binding it: it is bound anew each time.
    let bound = channel
        .queue_bind(
            name.clone(),
            queue.address.exchange.into(),
            name,
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await;
    match bound {
        // Who may not bind relies on the administrator who made the queue.
        Err(error) if is_there && super::is_access_refused(&error) => Ok(()),
        bound => bound.map_err(broker),
    }
}

fn arguments(queue: &QueueSpec) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in queue.arguments() {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString(LongString::from(*text)),
            Argument::Number(number) => AMQPValue::LongLongInt(*number as i64),
        };
        table.insert(ShortString::from(*name), value);
    }
    table
}
