//! One rotation, from the publish of its request at the broker to the event of its end, and what
//! each phase of it took.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};
use end_to_end::Cluster;
use end_to_end::cluster::INSTANCE;
use end_to_end::process::Process;
use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use protocol::topology;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A rotation of the largest keystore on a slow machine.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// A client of the broker that asks for rotations and hears of them.
pub struct Asker {
    _connection: Connection,
    channel: Channel,
    events: lapin::Consumer,
}

/// What a rotation took, in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Took {
    /// From the publish to the event of its end.
    pub whole_ms: f64,
    /// From the commit that opens the generation to the commit that flips.
    pub refused_ms: f64,
    /// Reading everything back after the flip.
    pub read_back_ms: f64,
    /// Between the events of one phase and the next.
    pub phases: Vec<(String, f64)>,
}

/// A rotation that has been asked for.
pub struct Begun {
    started: Instant,
    /// What logs say from then on is about it.
    at: SystemTime,
}

/// What all reencryptors have said so far; one of them does the work.
fn log_of(cluster: &Cluster) -> String {
    let is_it = |process: &&Process| process.program() == "keystore-reencryptor";
    cluster.processes.iter().filter(is_it).map(Process::log).collect()
}

impl Asker {
    /// Connects and listens.
    pub async fn connect(cluster: &Cluster) -> anyhow::Result<Self> {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(cluster.amqp_url(), properties).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
        let name = queue.name().clone();
        channel
            .queue_bind(
                name.clone(),
                topology::EVENTS.into(),
                "rotation.#".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let events = channel.basic_consume(name, "".into(), options, FieldTable::default()).await?;
        Ok(Self { _connection: connection, channel, events })
    }

    /// Asks for a rotation.
    pub async fn begin(&self) -> anyhow::Result<Begun> {
        let (started, at) = (Instant::now(), SystemTime::now());
        self.publish().await?;
        Ok(Begun { started, at })
    }

    /// Waits for its end.
    pub async fn end(&mut self, cluster: &Cluster, begun: Begun) -> anyhow::Result<Took> {
        let Begun { started, at: since } = begun;
        let mut at = vec![("precheck".to_owned(), 0.0)];
        loop {
            let event = self.next().await?;
            let since_ms = started.elapsed().as_secs_f64() * 1000.0;
            let phase = event["rotation"]["phase"].as_str().context("no phase")?.to_owned();
            if at.last().is_none_or(|(last, _)| *last != phase) {
                at.push((phase.clone(), since_ms));
            }
            match phase.as_str() {
                "done" => break,
                "aborted" => bail!("the rotation was aborted: {}", event["text"]),
                _ => {}
            }
        }
        let whole_ms = at.last().map_or(0.0, |(_, at)| *at);
        let phases = at.windows(2).map(|pair| (pair[0].0.clone(), pair[1].1 - pair[0].1)).collect();
        let said = said_at(&log_of(cluster), since)?;
        let between = |from: &str, to: &str| -> anyhow::Result<f64> {
            let at = |name: &str| said.get(name).copied().with_context(|| format!("no {name:?}"));
            Ok(at(to)? - at(from)?)
        };
        Ok(Took {
            whole_ms,
            refused_ms: between("a generation is open", "flipped")?,
            read_back_ms: between("flipped", "read back")?,
            phases,
        })
    }

    async fn publish(&self) -> anyhow::Result<()> {
        let body =
            json!({ "type": "keyhelm.rotation-request", "version": 1, "instance": INSTANCE });
        let address = topology::request_address();
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_message_id(uuid::Uuid::new_v4().to_string().into());
        let body = body.to_string();
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let queue = address.queue.as_str().into();
        let confirm = self
            .channel
            .basic_publish(address.exchange.into(), queue, options, body.as_bytes(), properties)
            .await?;
        ensure!(confirm.await?.is_ack(), "the broker does not take the request");
        Ok(())
    }

    async fn next(&mut self) -> anyhow::Result<Value> {
        let delivery = tokio::time::timeout(PATIENCE, self.events.next()).await;
        let delivery =
            delivery.context("the rotation does not end")?.context("no more events")??;
        Ok(serde_json::from_slice(&delivery.data)?)
    }
}

/// When each message of a log was written last since then, in milliseconds.
fn said_at(log: &str, since: SystemTime) -> anyhow::Result<BTreeMap<String, f64>> {
    let since = OffsetDateTime::from(since);
    let mut said = BTreeMap::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line)?;
        let (Some(at), Some(text)) = (line["timestamp"].as_str(), line["message"].as_str()) else {
            continue;
        };
        let at = OffsetDateTime::parse(at, &Rfc3339)?;
        if at >= since {
            said.insert(text.to_owned(), at.unix_timestamp_nanos() as f64 / 1e6);
        }
    }
    Ok(said)
}
