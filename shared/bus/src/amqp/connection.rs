//! One connection and its publishing channel, both recovered by `lapin` after an outage.

use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, ConnectionProperties};

use super::broker;
use crate::BusError;
use crate::backoff::Backoff;

/// A connection that recovers.
pub(super) struct Connection {
    connection: lapin::Connection,
    publishing: Channel,
}

impl Connection {
    /// Connects; a broker that does not answer is waited for.
    pub(super) async fn open(uri: &str, name: &str) -> Result<Self, BusError> {
        let mut backoff = Backoff::new(200, 5_000);
        loop {
            match Self::try_open(uri, name).await {
                Ok(connection) => return Ok(connection),
                Err(error) if is_final(&error) => return Err(broker(error)),
                Err(error) => {
                    tracing::warn!(%error, "waiting for the broker");
                    tokio::time::sleep(backoff.next(0.0)).await;
                }
            }
        }
    }

    async fn try_open(uri: &str, name: &str) -> Result<Self, lapin::Error> {
        let properties = ConnectionProperties::default()
            .with_connection_name(name.to_owned().into())
            .enable_auto_recover();
        let connection = lapin::Connection::connect(uri, properties).await?;
        let publishing = connection.create_channel().await?;
        publishing.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { connection, publishing })
    }

    pub(super) fn publishing(&self) -> Channel {
        self.publishing.clone()
    }

    pub(super) async fn channel(&self) -> Result<Channel, BusError> {
        self.connection.create_channel().await.map_err(broker)
    }
}

/// What waiting does not mend: credentials and rights.
fn is_final(error: &lapin::Error) -> bool {
    error.to_string().contains("ACCESS_REFUSED") || error.to_string().contains("NOT_ALLOWED")
}
