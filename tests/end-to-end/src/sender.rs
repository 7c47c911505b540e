//! Publishing any bytes to any queue of the broker, as whoever has broken into it could.

use anyhow::ensure;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

/// A channel of one's own.
pub struct Sender {
    _connection: Connection,
    channel: Channel,
}

impl Sender {
    /// Connects.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { _connection: connection, channel })
    }

    /// Puts a message into a queue, and waits until the broker has it.
    pub async fn send(&self, queue: &str, body: &[u8]) -> anyhow::Result<()> {
        let confirm = self
            .channel
            .basic_publish(
                "".into(),
                queue.into(),
                BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() },
                body,
                BasicProperties::default(),
            )
            .await?
            .await?;
        ensure!(confirm.is_ack() && confirm.take_message().is_none(), "{queue} takes no message");
        Ok(())
    }
}
