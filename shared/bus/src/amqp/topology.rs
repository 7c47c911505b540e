//! Exchanges, queues and bindings: made where there are none, or only looked for where an
//! administrator has made them (`keyhelm setup` does) and gives processes no right to.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, ExchangeKind};
use protocol::topology;

use super::broker;
use crate::{Argument, BusError, QueueSpec, Topology};

/// Every exchange, and the dead queue.
pub(super) async fn declare_exchanges(channel: &Channel, how: Topology) -> Result<(), BusError> {
    for name in topology::direct_exchanges() {
        declare_exchange(channel, how, name, ExchangeKind::Direct).await?;
    }
    declare_exchange(channel, how, topology::EVENTS, ExchangeKind::Topic).await?;
    declare_exchange(channel, how, topology::DEAD, ExchangeKind::Fanout).await?;
    declare(channel, how, &QueueSpec::durable(topology::dead_address())).await
}

async fn declare_exchange(
    channel: &Channel,
    how: Topology,
    name: &str,
    kind: ExchangeKind,
) -> Result<(), BusError> {
    let passive = how == Topology::Given;
    let options = ExchangeDeclareOptions { durable: true, passive, ..Default::default() };
    channel
        .exchange_declare(name.into(), kind, options, FieldTable::default())
        .await
        .map_err(broker)
}

/// A queue and its binding.
pub(super) async fn declare(
    channel: &Channel,
    how: Topology,
    queue: &QueueSpec,
) -> Result<(), BusError> {
    let name = ShortString::from(queue.address.queue.as_str());
    let passive = how == Topology::Given;
    let options = QueueDeclareOptions { durable: true, passive, ..Default::default() };
    channel.queue_declare(name.clone(), options, arguments(queue)).await.map_err(broker)?;
    if how == Topology::Given {
        return Ok(());
    }
    let exchange = queue.address.exchange.into();
    let options = QueueBindOptions::default();
    channel
        .queue_bind(name.clone(), exchange, name, options, FieldTable::default())
        .await
        .map_err(broker)
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
