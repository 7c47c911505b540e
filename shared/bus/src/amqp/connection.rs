//! One connection and its publishing channel, both recovered by `lapin` after an outage.

use std::io;
use std::time::Duration;

use lapin::options::{ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::tcp::OwnedTLSConfig;
use lapin::types::FieldTable;
use lapin::uri::{AMQPAuthority, AMQPUri};
use lapin::{Channel, ConnectionProperties, ExchangeKind};
use protocol::topology;
use tls::Authority;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::broker;
use crate::BusError;
use crate::backoff::Backoff;

/// How long a broker may take to accept a connection.
const REACH: Duration = Duration::from_secs(5);

/// A connection that recovers.
pub(super) struct Connection {
    connection: lapin::Connection,
    publishing: Channel,
}

/// Where to, as whom, and whom to believe.
struct Target {
    uri: Zeroizing<String>,
    name: String,
    authority: Option<Authority>,
}

impl Target {
    async fn connect(&self) -> Result<lapin::Connection, lapin::Error> {
        let properties = ConnectionProperties::default()
            .with_connection_name(self.name.clone().into())
            .enable_auto_recover();
        let cert_chain = self.authority.as_ref().map(|authority| authority.pem().to_owned());
        let tls = OwnedTLSConfig { identity: None, cert_chain };
        let runtime = lapin::runtime::default_runtime()?;
        lapin::Connection::connect_with_config(&self.uri, properties, tls, runtime).await
    }
}

impl Connection {
    /// Connects; a broker that does not answer is waited for.
    pub(super) async fn open(
        uri: &str,
        name: &str,
        authority: Option<&Authority>,
    ) -> Result<Self, BusError> {
        let target = Target {
            uri: uri.to_owned().into(),
            name: name.to_owned(),
            authority: authority.cloned(),
        };
        let mut backoff = Backoff::new(200, 5_000);
        loop {
            match Self::try_open(&target).await {
                Ok(connection) => return Ok(connection),
                Err(error) if is_final(&error) => return Err(broker(error)),
                Err(error) => {
                    tracing::warn!(%error, "waiting for the broker");
                    tokio::time::sleep(backoff.next(0.0)).await;
                }
            }
        }
    }

    async fn try_open(target: &Target) -> Result<Self, lapin::Error> {
        reach(&target.uri).await?;
        let connection = target.connect().await?;
        let publishing = connection.create_channel().await?;
        publishing.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { connection, publishing })
    }

    /// Waits until the broker has answered something; gives up where it never will.
    pub(super) async fn until_there(&self) {
        let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
        loop {
            let (name, kind) = (topology::EVENTS.into(), ExchangeKind::Topic);
            let asked =
                self.publishing.exchange_declare(name, kind, passive, FieldTable::default()).await;
            let Err(error) = asked else { return };
            if self.publishing.wait_for_recovery(error).await.is_err() {
                return;
            }
        }
    }

    pub(super) fn publishing(&self) -> Channel {
        self.publishing.clone()
    }

    pub(super) async fn channel(&self) -> Result<Channel, BusError> {
        self.connection.create_channel().await.map_err(broker)
    }
}

/// Whether anybody listens there. With recovery on, `lapin` tries a first connection again and again
/// without a word; whoever starts a service wants to read what it waits for.
async fn reach(uri: &str) -> Result<(), lapin::Error> {
    let parsed: AMQPUri = uri.parse().map_err(|error: String| {
        let text = format!("NOT_ALLOWED: the broker's URL is not understood: {error}");
        lapin::Error::from(io::Error::other(text))
    })?;
    let AMQPAuthority { host, port, .. } = parsed.authority;
    let reached = tokio::time::timeout(REACH, TcpStream::connect((host, port))).await;
    reached.map_err(io::Error::from).and_then(|connected| connected).map(drop)?;
    Ok(())
}

/// What waiting does not mend: credentials and rights.
fn is_final(error: &lapin::Error) -> bool {
    error.to_string().contains("ACCESS_REFUSED") || error.to_string().contains("NOT_ALLOWED")
}
