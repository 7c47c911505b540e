//! Streams the wrapped keys of a keystore through operational units into a new generation. It owns
//! the keystore row and its generations, and never sees a plaintext key.

mod answers;
mod asking;
pub mod boot;
mod check;
mod commands;
mod flip;
mod job;
mod receipts;
mod reporting;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bus::driver::{Handler, Outcome, SaveError};
use bus::{Bus, Outgoing, QueueSpec, Received};
use crypto::identity::{self, Identity};
use crypto::random::{ProcessRng, process_rng};
use keystore::Keystore;
use ledger::Folder;
use machines::envelope::Reader;
use machines::rewrap;
use machines::trust::Trust;
use protocol::codec;
use protocol::command::KeystoreCommand;
use protocol::envelope::{Envelope, Kind};
use protocol::manifest::SignedManifest;
use protocol::topology;
use protocol::{
    Digest, GenerationId, InstanceId, KeystoreId, ProcessId, PublicKey, Role, UnixMillis,
};
use service::{Shutdown, Status};
use telemetry::metric;
use telemetry::trace::Span;
use tokio::sync::mpsc;

use self::check::Check;
use self::flip::Meanwhile;
use self::job::{Job, JobEvent};
use self::reporting::Said;

const TRUST: &str = "trust.sealed";
const TRUST_AAD: &[u8] = b"reencryptor trust";

/// What a reencryptor is told by its configuration.
#[derive(Clone, Debug)]
pub struct ReencryptorConfig {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub location: String,
    /// Name of its instance.
    pub instance_name: String,
    /// Administrators who must have signed the first manifest.
    pub pinned_administrators: Vec<PublicKey>,
    /// Key versions in a page.
    pub rows_per_page: u32,
    /// Pages that are out at once.
    pub pages_in_flight: usize,
    /// Most keys that are re-encrypted in a second; none for as many as the machines can.
    pub keys_per_second_max: Option<NonZeroU32>,
    /// Of so many pages one is looked at by another unit before it is written.
    pub cross_check_every: u32,
}

/// Runs a reencryptor until `shutdown`.
pub async fn run(
    bus: Bus,
    folder: Folder,
    store: impl Into<Keystore>,
    config: ReencryptorConfig,
    status: Status,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let mut rng = process_rng();
    let instance = InstanceId::named(&config.instance_name);
    let identity = Arc::new(folder.identity(&mut rng)?);
    let id = identity::process_id(&identity.public_key());
    let chain: Vec<SignedManifest> = match folder.load(TRUST, TRUST_AAD)? {
        Some(bytes) => codec::decode(&bytes)?,
        None => Vec::new(),
    };
    let trust = Trust::from_saved(instance, chain)?;
    let keystore = KeystoreId::from_uuid(crypto::random::uuid_v4(&mut rng));
    let store = store.into();
    let row = store.ensure(instance, keystore).await?;
    let own = topology::process_address(Role::Reencryptor, instance, id);
    let queues = [
        QueueSpec::transient(own.clone()),
        QueueSpec::transient(topology::page_address(instance)),
        QueueSpec::durable(topology::announcement_address()),
    ];
    bus.declare(&queues).await?;
    let mut consumers = [bus.consume(&own.queue, 64).await?];
    let (events, mut asks) = mpsc::channel(64);
    let mut handler = Reencryptor {
        config,
        identity,
        id,
        instance,
        folder,
        store,
        bus: bus.clone(),
        trust: Arc::new(trust),
        rng,
        last_clock: UnixMillis(0),
        job: None,
        check: None,
        meanwhile: None,
        receipts: None,
        events,
        status,
    };
    handler.status.ready_with(handler.trust.serial());
    let announced = handler.announcement(row.keystore);
    let message = Outgoing::persistent(topology::announcement_address(), announced);
    if let Err(error) = bus.publish(&message).await {
        tracing::warn!(%error, "the reencryptor could not announce itself");
    }
    let stop = async move { shutdown.requested().await };
    Ok(bus::driver::run(&bus, &mut consumers, &mut asks, &mut handler, stop).await?)
}

pub(crate) struct Reencryptor {
    config: ReencryptorConfig,
    identity: Arc<Identity>,
    id: ProcessId,
    instance: InstanceId,
    folder: Folder,
    store: Keystore,
    bus: Bus,
    trust: Arc<Trust>,
    rng: ProcessRng,
    last_clock: UnixMillis,
    job: Option<Job>,
    check: Option<Check>,
    meanwhile: Option<Meanwhile>,
    /// Chained digest of the receipts of the generation that was complete last.
    receipts: Option<(GenerationId, Digest)>,
    events: mpsc::Sender<JobEvent>,
    status: Status,
}

#[async_trait::async_trait]
impl Handler for Reencryptor {
    type Ask = JobEvent;

    async fn handle(&mut self, received: &Received) -> Outcome {
        let kind = Envelope::parse(&received.body).map(|envelope| envelope.header.kind);
        if let Ok(Kind::PageAnswer | Kind::CheckAnswer) = kind {
            return self.take_answer(received).await;
        }
        let reader = Reader { id: self.id, role: Role::Reencryptor };
        let command = match rewrap::receive(&received.body, reader, &self.trust) {
            Ok(command) => command,
            Err(reason) => return Outcome { dead: Some(reason), ..Outcome::default() },
        };
        let name = command.command.name();
        let (place, begun) = (received.trace(), SystemTime::now());
        let refusal = match self.obey(&command, place).await {
            Ok(()) => None,
            Err(refusal) => {
                let reason = refusal.to_report().code;
                metric::count(
                    metric::COMMANDS_REFUSED,
                    &[("command", name.to_owned()), ("reason", reason)],
                );
                tracing::info!(command = name, reason = %refusal, "refused");
                Some(refusal)
            }
        };
        let is_told = matches!(name, "flip" | "drop" | "abort") && refusal.is_none();
        if let Some(parent) = place.filter(|_| is_told) {
            let place = parent.child(&format!("{} {name}", self.config.name));
            Span::of_message(name, place, parent).since(begun).end();
        }
        let (mut hold_ends, mut check) = (Vec::new(), None);
        match &command.command {
            KeystoreCommand::Restate { hold_ends: ends, .. } if refusal.is_none() => {
                hold_ends.clone_from(ends);
            }
            KeystoreCommand::CheckKeys { .. } => {
                check = self.check.as_ref().and_then(Check::said);
            }
            _ => {}
        }
        let is_counted = matches!(command.command, KeystoreCommand::Survey);
        let refusal = refusal.as_ref();
        let said = Said { is_asked: true, is_counted, refusal, hold_ends, check };
        let report = self.report(&command.header, said).await;
        Outcome { publish: vec![report], ..Outcome::default() }
    }

    /// The job has come further, or to its end.
    async fn ask(&mut self, event: JobEvent) -> Outcome {
        let (header, refusal, check) = match event {
            JobEvent::Progress(header) => (header, None, None),
            JobEvent::Ended(header, refusal) => (header, refusal, None),
            JobEvent::Checked(header) => {
                let refusal = self.end_flip().await.err();
                (header, refusal, self.check.as_ref().and_then(Check::said))
            }
        };
        let (is_asked, refusal) = (refusal.is_some(), refusal.as_ref());
        let report =
            self.report(&header, Said { is_asked, refusal, check, ..Said::default() }).await;
        Outcome { publish: vec![report], ..Outcome::default() }
    }

    /// Nobody has answered the announcement with a manifest yet: it is made again.
    async fn tick(&mut self) -> Outcome {
        let Ok(Some(row)) = self.store.saved_row(self.instance).await else {
            return Outcome::default();
        };
        let sealed = self.announcement(row.keystore);
        let message = Outgoing::persistent(topology::announcement_address(), sealed);
        Outcome { publish: vec![message], ..Outcome::default() }
    }

    fn next_tick(&self) -> Option<Duration> {
        (self.trust.serial() == 0).then_some(topology::ANNOUNCE_AGAIN)
    }

    /// Every command has saved what it did in its own transaction.
    async fn save(&mut self) -> Result<(), SaveError> {
        Ok(())
    }
}
