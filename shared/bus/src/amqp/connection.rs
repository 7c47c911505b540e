//! One connection and its publishing channel, both recovered by `lapin` after an outage, however long
//! it lasts. A channel that the broker has closed is not: the next publish opens another.

use std::io;
use std::sync::{Arc, Mutex as Lock};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::{ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::tcp::OwnedTLSConfig;
use lapin::types::FieldTable;
use lapin::uri::{AMQPAuthority, AMQPUri};
use lapin::{Channel, ConnectionProperties, Event, ExchangeKind};
use protocol::topology;
use tls::Authority;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::broker;
use super::login::{Login, Shown};
use crate::backoff::Backoff;
use crate::{BrokerUrl, BusError};

/// How long a broker may take to accept a connection.
const REACH: Duration = Duration::from_secs(5);

/// First and longest pause between two tries to come back to a broker that has gone.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How long opening the first connection may take before the log says so.
const PATIENCE: Duration = Duration::from_secs(10);

/// For so long a publish waits for a broker that is away. What is not sent then is asked again.
const MAX_OUTAGE: Duration = Duration::from_secs(10);

/// Seconds between two signs of life, unless the broker wants more.
const HEARTBEAT_S: u16 = 10;

/// Between two looks whether a connection or a channel has come back.
pub(super) const RECOVERY_STEP: Duration = Duration::from_millis(20);

/// A connection that recovers.
pub(super) struct Connection {
    connection: lapin::Connection,
    publishing: Mutex<Channel>,
    away_since: Lock<Option<Instant>>,
}

/// Where to, as whom, and whom to believe.
struct Target {
    uri: Zeroizing<String>,
    login: Option<Arc<Login>>,
    name: String,
    authority: Option<Authority>,
}

impl Target {
    async fn connect(&self) -> Result<lapin::Connection, lapin::Error> {
        let mut properties = properties(&self.name);
        if let Some(login) = &self.login {
            properties = properties.with_auth_provider(Shown(login.clone()));
        }
        let cert_chain = self.authority.as_ref().map(|authority| authority.pem().to_owned());
        let tls = OwnedTLSConfig { identity: None, cert_chain };
        let runtime = lapin::runtime::default_runtime()?;
        let opening = lapin::Connection::connect_with_config(&self.uri, properties, tls, runtime);
        tokio::pin!(opening);
        loop {
            match tokio::time::timeout(PATIENCE, &mut opening).await {
                Ok(opened) => return opened,
                Err(_) => tracing::warn!(
                    "the broker can be reached, but has not taken the connection yet: it is \
                     starting, or TLS fails; it is tried on"
                ),
            }
        }
    }
}

/// How a connection is made and kept. Left alone, `lapin` gives up coming back after some minutes,
/// without a word to anybody who waits.
fn properties(name: &str) -> ConnectionProperties {
    let (first, longest) = PAUSES;
    ConnectionProperties::default()
        .with_connection_name(name.to_owned().into())
        .configure_backoff(|pauses| {
            pauses.with_min_delay(first).with_max_delay(longest).without_max_times()
        })
        .enable_auto_recover()
}

/// A broker whose host has vanished closes nothing: it is missed after a few heartbeats, of which an address
/// may ask for others.
fn with_heartbeat(uri: &str) -> String {
    match uri.split_once('?') {
        Some((_, query)) if query.contains("heartbeat=") => uri.to_owned(),
        Some(_) => format!("{uri}&heartbeat={HEARTBEAT_S}"),
        None => format!("{uri}?heartbeat={HEARTBEAT_S}"),
    }
}

impl Connection {
    /// Connects; a broker that does not answer is waited for.
    pub(super) async fn open(
        url: BrokerUrl,
        name: &str,
        authority: Option<&Authority>,
    ) -> Result<Self, BusError> {
        let target = Target {
            uri: with_heartbeat(&url.read().map_err(BusError::Broker)?).into(),
            login: Login::of(url).map_err(BusError::Broker)?,
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
        let publishing = Mutex::new(confirming(&connection).await?);
        if let Some(login) = target.login.clone() {
            login.is_taken();
            let mut events = Box::pin(connection.events_listener());
            tokio::spawn(async move {
                while let Some(event) = events.next().await {
                    if matches!(event, Event::Connected) {
                        login.is_taken();
                    }
                }
            });
        }
        Ok(Self { connection, publishing, away_since: Lock::default() })
    }

    /// Waits until the broker has answered something; gives up where it never will.
    pub(super) async fn until_there(&self) {
        let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
        while !self.is_over() {
            let (name, kind) = (topology::EVENTS.into(), ExchangeKind::Topic);
            let asked = match self.publishing().await {
                Ok(channel) => {
                    channel.exchange_declare(name, kind, passive, FieldTable::default()).await
                }
                Err(error) => Err(error),
            };
            match asked {
                Err(error) if !error.is_amqp_soft_error() => {
                    tokio::time::sleep(RECOVERY_STEP).await;
                }
                // A refusal is an answer too.
                _ => return,
            }
        }
    }

    /// The channel that everything is published on; another one where the broker has closed it for
    /// something that was published on it.
    pub(super) async fn publishing(&self) -> Result<Channel, lapin::Error> {
        let mut held = self.publishing.lock().await;
        let status = held.status();
        if !status.connected() && !status.reconnecting() {
            *held = confirming(&self.connection).await?;
        }
        Ok(held.clone())
    }

    /// A channel with confirms, for one message.
    pub(super) async fn apart(&self) -> Result<Channel, lapin::Error> {
        confirming(&self.connection).await
    }

    pub(super) async fn channel(&self) -> Result<Channel, BusError> {
        self.connection.create_channel().await.map_err(broker)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Whether it can be published again; waits for it, for [`MAX_OUTAGE`] at most.
    pub(super) async fn is_back(&self) -> bool {
        let back = async {
            while !self.is_connected() || self.publishing.lock().await.status().reconnecting() {
                tokio::time::sleep(RECOVERY_STEP).await;
            }
        };
        tokio::time::timeout(MAX_OUTAGE, back).await.is_ok()
    }

    /// For how long the broker has been away, from the first look that found it so.
    pub(super) fn away(&self) -> Option<Duration> {
        let mut since = match self.away_since.lock() {
            Ok(since) => since,
            // One value, set whole.
            Err(poisoned) => poisoned.into_inner(),
        };
        if self.is_connected() {
            *since = None;
            return None;
        }
        Some(since.get_or_insert_with(Instant::now).elapsed())
    }

    /// Closed for good: by us, or because the broker will not have us back.
    pub(super) fn is_over(&self) -> bool {
        let status = self.connection.status();
        status.closed() || status.errored()
    }
}

async fn confirming(connection: &lapin::Connection) -> Result<Channel, lapin::Error> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
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

#[cfg(test)]
mod tests {
    #[test]
    fn signs_of_life_are_asked_for_unless_the_address_says_how_often() {
        let asked = |uri| super::with_heartbeat(uri);
        assert_eq!(asked("amqp://a:b@c/%2f"), "amqp://a:b@c/%2f?heartbeat=10");
        assert_eq!(asked("amqp://c/v?channel_max=9"), "amqp://c/v?channel_max=9&heartbeat=10");
        assert_eq!(asked("amqp://c/v?heartbeat=60"), "amqp://c/v?heartbeat=60");
        let parsed = asked("amqp://c/v").parse::<lapin::uri::AMQPUri>();
        assert_eq!(parsed.map(|uri| uri.query.heartbeat), Ok(Some(10)));
    }

    /// How often it is tried and how long the pauses are, `lapin` shows only in words.
    #[test]
    fn a_broker_that_has_gone_is_looked_for_without_end_and_often() {
        let properties = format!("{:?}", super::properties("anybody"));
        assert!(properties.contains("max_times: None"), "{properties}");
        assert!(properties.contains("max_delay: Some(5s)"), "{properties}");
        assert!(properties.contains("total_delay: None"), "{properties}");
        assert!(properties.contains("auto_recover: true"), "{properties}");
    }
}
