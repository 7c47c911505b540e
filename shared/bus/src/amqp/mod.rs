//! RabbitMQ by `lapin`: publisher confirms, `mandatory`, manual acknowledgement, recovery.

mod connection;
mod consumer;
mod login;
mod publish;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use tls::Authority;

use self::connection::Connection;
pub use self::consumer::{AmqpConsumer, AmqpDelivery};
use crate::{BrokerUrl, BusError, Outgoing, PublishError, QueueSpec, Topology};

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
        url: impl Into<BrokerUrl>,
        name: &str,
        authority: Option<&Authority>,
        how: Topology,
    ) -> Result<Self, BusError> {
        let connection = Arc::new(Connection::open(url.into(), name, authority).await?);
        let channel = connection.publishing().await.map_err(broker)?;
        topology::declare_exchanges(&channel, how).await?;
        Ok(Self { connection, how })
    }

    pub(crate) async fn declare(&self, queues: &[QueueSpec]) -> Result<(), BusError> {
        let channel = self.connection.publishing().await.map_err(broker)?;
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

    pub(crate) async fn publish(&self, message: &Outgoing) -> Result<(), PublishError> {
        publish::publish(&self.connection, message).await
    }

    pub(crate) fn away(&self) -> Option<Duration> {
        self.connection.away()
    }
}

fn broker(error: lapin::Error) -> BusError {
    BusError::Broker(error.to_string())
}
