//! The process around the unit machine, the same for recovery and operational units: its folder,
//! its queue, its sessions, and, where it is an operational unit, the pages that it re-wraps.

pub mod boot;
mod pages;
mod sessions;
#[cfg(feature = "testing")]
mod testing;

use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use bus::driver::{Handler, Outcome, SaveError};
use bus::{Bus, Outgoing, QueueSpec, Received};
use crypto::identity::Identity;
use crypto::random::{ProcessRng, process_rng};
use crypto::secret::Secret;
use crypto::wiping_stack;
use ledger::Folder;
use machines::envelope;
use machines::trust::Trust;
use machines::unit::keyring::Keyring;
use machines::unit::state::UnitState;
use machines::unit::{Message, Unit, UnitConfig, UnitOutcome};
use protocol::codec;
use protocol::envelope::{Envelope, Kind};
use protocol::topology::{self, Address};
use protocol::{InstanceId, Role, UnixMillis};
use service::{Shutdown, Status};
use telemetry::metric;
use telemetry::trace::Span;
use tokio::sync::watch;

use self::sessions::Sessions;

const STATE: &str = "unit.sealed";

/// The clock that the unit goes by.
pub(crate) fn now() -> UnixMillis {
    let now = service::now();
    #[cfg(feature = "testing")]
    let now = testing::shifted(now);
    now
}

/// What page workers see of the unit as of its last save.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) trust: Trust,
}

pub(crate) type Shared = Arc<RwLock<Arc<Served>>>;

/// Runs a crypto unit until `shutdown`; everything that it answered is saved.
pub async fn run(
    bus: Bus,
    folder: Folder,
    config: UnitConfig,
    status: Status,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let instance = InstanceId::named(&config.instance_name);
    let (identity, aad, state) = wiping_stack(|| saved(&folder, instance))?;
    let page_identity = Arc::new(copy_of(&identity));
    let role = config.role;
    let unit = Unit::new(config, identity, state);
    let own = topology::process_address(role, instance, unit.id());
    let pages = topology::page_address(instance);
    let mut queues = vec![
        QueueSpec::transient(own.clone()),
        QueueSpec::durable(topology::announcement_address()),
    ];
    if role == Role::OperationalUnit {
        queues.push(QueueSpec::transient(pages.clone()));
    }
    bus.declare(&queues).await?;
    let mut consumers = [bus.consume(&own.queue, 16).await?];
    let keyring = Arc::new(wiping_stack(|| unit.keyring(&Keyring::default())));
    let mut rng = process_rng();
    let served = Served { keyring, trust: unit.state().trust.clone() };
    let shared: Shared = Arc::new(RwLock::new(Arc::new(served)));
    let serving = watch::Sender::new(unit.takes_pages());
    let pages = match role {
        Role::OperationalUnit => {
            let worker = pages::Worker {
                bus: bus.clone(),
                queue: pages.queue,
                is_serving: serving.subscribe(),
                shared: shared.clone(),
                identity: page_identity.clone(),
            };
            Some(tokio::spawn(worker.run(shutdown.clone())))
        }
        _ => None,
    };
    announce(&bus, &unit, &mut rng).await;
    let sessions = wiping_stack(|| Sessions::new(now()));
    status.ready_with(unit.state().trust.serial());
    let identity = page_identity;
    let mut handler =
        UnitHandler { unit, identity, folder, aad, rng, sessions, shared, status, serving };
    let (_asks, mut none) = tokio::sync::mpsc::channel(1);
    let stop = shutdown.clone();
    let stop = async move { stop.requested().await };
    let ended = bus::driver::run(&bus, &mut consumers, &mut none, &mut handler, stop).await;
    shutdown.trigger();
    if let Some(pages) = pages {
        pages.await.context("page worker")??;
    }
    Ok(ended?)
}

/// The unit's identity and state, as saved or new, and what binds the sealed state.
fn saved(folder: &Folder, instance: InstanceId) -> anyhow::Result<(Identity, Vec<u8>, UnitState)> {
    let identity = folder.identity(&mut process_rng())?;
    let aad = state_aad(instance, &identity);
    let state = match folder.load(STATE, &aad)? {
        Some(bytes) => UnitState::from_bytes(&bytes).context("the unit's state")?,
        None => UnitState::imprint(instance),
    };
    Ok((identity, aad, state))
}

/// Says that the unit is there. A coordinator that is not there yet hears it when it starts: the
/// queue is durable.
async fn announce(bus: &Bus, unit: &Unit, rng: &mut ProcessRng) {
    let body = codec::encode(&unit.announcement());
    let sealed = unit.broadcast(now(), rng, Kind::Announcement, &body);
    let message = Outgoing::persistent(topology::announcement_address(), sealed);
    if let Err(error) = bus.publish(&message).await {
        tracing::warn!(%error, "the unit could not announce itself");
    }
}

fn state_aad(instance: InstanceId, identity: &Identity) -> Vec<u8> {
    let id = crypto::identity::process_id(&identity.public_key());
    [b"unit".as_slice(), instance.bytes(), id.bytes()].concat()
}

fn copy_of(identity: &Identity) -> Identity {
    Identity::from_seed(Secret::copied_from(identity.danger_seed().expose()))
}

struct UnitHandler {
    unit: Unit,
    identity: Arc<Identity>,
    folder: Folder,
    aad: Vec<u8>,
    rng: ProcessRng,
    sessions: Sessions,
    shared: Shared,
    status: Status,
    serving: watch::Sender<bool>,
}

impl UnitHandler {
    fn addressed(&self, message: Message) -> Outgoing {
        let trust = &self.unit.state().trust;
        Outgoing::to(address_of(trust, message.to), message.bytes)
    }

    fn noted(&self, outcome: UnitOutcome) -> Outcome {
        let unit = self.unit.config().name.as_str();
        match &outcome.noted {
            Some((command, Some(refusal))) => {
                count_refused(command, refusal.code());
                tracing::info!(unit, command, reason = refusal.code(), %refusal, "refused");
            }
            Some((command, None)) => tracing::debug!(unit, command, "done"),
            None => {}
        }
        Outcome {
            is_changed: outcome.is_changed,
            publish: outcome.messages.into_iter().map(|it| self.addressed(it)).collect(),
            dead: outcome.dead,
            ..Outcome::default()
        }
    }

    /// The span of a command that has changed something; a repeat that was answered from the state
    /// has had its own.
    fn span(&self, received: &Received, outcome: &UnitOutcome) -> Option<Span> {
        let (command, None) = outcome.noted.as_ref()? else { return None };
        let parent = received.trace().filter(|_| outcome.is_changed)?;
        let unit = &self.unit.config().name;
        let context = parent.child(&format!("{unit} {command}"));
        Some(Span::of_message(command, context, parent).with("keyhelm.unit", unit.clone()))
    }

    /// Looks at what another unit has re-wrapped, or at what it does not open.
    async fn second_look(&self, received: &Received) -> Outcome {
        let served = self.served();
        let (identity, role) = (self.identity.clone(), self.unit.config().role);
        let received = received.clone();
        let worked = tokio::task::spawn_blocking(move || {
            wiping_stack(|| pages::answer(&served, &identity, role, &received))
        });
        match worked.await {
            Ok(Ok(message)) => Outcome { publish: vec![message], ..Outcome::default() },
            Ok(Err(reason)) => Outcome { dead: Some(reason), ..Outcome::default() },
            Err(error) => {
                tracing::error!(%error, "a second look failed");
                Outcome { dead: Some("worker-failed"), ..Outcome::default() }
            }
        }
    }

    fn served(&self) -> Arc<Served> {
        match self.shared.read() {
            Ok(served) => served.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    /// Keys are drawn from a source of this command alone, which goes with the stack: what is left
    /// of a source that is kept tells what was drawn from it.
    fn command(&mut self, received: &Received) -> UnitOutcome {
        let mut rng = process_rng();
        #[cfg(feature = "testing")]
        testing::reseed(&mut rng, self.unit.state().counter);
        self.unit.handle(now(), &mut rng, &received.body)
    }

    fn seal_state(&mut self) -> Result<(), SaveError> {
        let bytes = self.unit.state().to_bytes();
        self.folder
            .save(STATE, &self.aad, &bytes, &mut self.rng)
            .map_err(|error| SaveError(error.to_string()))
    }

    fn session(&mut self, received: &Received, kind: Kind) -> Outcome {
        let reader = self.unit.reader();
        let opened = envelope::open(&received.body, reader, &self.unit.state().trust);
        let opened = match opened {
            Ok(opened) if opened.sender_role == Some(Role::Gateway) => opened,
            Ok(_) => return Outcome { dead: Some("not-a-gateway"), ..Outcome::default() },
            Err(error) => return Outcome { dead: Some(error.reason()), ..Outcome::default() },
        };
        let keyring = self.served().keyring.clone();
        let (id, header, body) = (self.unit.id(), &opened.header, opened.body);
        let (sessions, rng) = (&mut self.sessions, &mut self.rng);
        let answered =
            wiping_stack(|| sessions.handle(now(), rng, id, header, kind, body, &keyring));
        match answered {
            Ok((kind, body)) => {
                if kind == Kind::SealedAnswer {
                    metric::count(metric::KEY_REQUESTS, &[]);
                }
                let (unit, rng) = (&self.unit, &mut self.rng);
                let message = unit.message(now(), rng, Some(&opened.header), kind, &body);
                Outcome { publish: vec![self.addressed(message)], ..Outcome::default() }
            }
            Err(reason) => Outcome { dead: Some(reason), ..Outcome::default() },
        }
    }
}

/// Counts what the unit answers with a refusal.
pub(crate) fn count_refused(command: &'static str, reason: &'static str) {
    let labels = [("command", command.to_owned()), ("reason", reason.to_owned())];
    metric::count(metric::COMMANDS_REFUSED, &labels);
}

/// Whoever asks before there is a manifest is a coordinator.
pub(crate) fn address_of(trust: &Trust, to: protocol::ProcessId) -> Address {
    let role = trust.member(to).map_or(Role::Coordinator, |member| member.role);
    topology::process_address(role, trust.instance(), to)
}

#[async_trait::async_trait]
impl Handler for UnitHandler {
    type Ask = ();

    async fn handle(&mut self, received: &Received) -> Outcome {
        let kind = Envelope::parse(&received.body).map(|envelope| envelope.header.kind);
        if let Ok(kind @ (Kind::SessionAsk | Kind::SealedRequest)) = kind {
            return self.session(received, kind);
        }
        if kind == Ok(Kind::CheckPage) {
            return self.second_look(received).await;
        }
        let begun = SystemTime::now();
        let outcome = wiping_stack(|| self.command(received));
        let span = self.span(received, &outcome).map(|span| span.since(begun));
        let mut outcome = self.noted(outcome);
        if let Some(span) = span {
            // It lasts until the state is saved.
            outcome.after_save.push(Box::new(move || span.end()));
        }
        outcome
    }

    async fn ask(&mut self, (): ()) -> Outcome {
        Outcome::default()
    }

    /// Nobody has answered the announcement with a manifest yet: it is made again.
    async fn tick(&mut self) -> Outcome {
        let body = codec::encode(&self.unit.announcement());
        let sealed = self.unit.broadcast(now(), &mut self.rng, Kind::Announcement, &body);
        let message = Outgoing::persistent(topology::announcement_address(), sealed);
        Outcome { publish: vec![message], ..Outcome::default() }
    }

    fn next_tick(&self) -> Option<Duration> {
        (self.unit.state().trust.serial() == 0).then_some(topology::ANNOUNCE_AGAIN)
    }

    async fn save(&mut self) -> Result<(), SaveError> {
        wiping_stack(|| self.seal_state())?;
        let mut shared = match self.shared.write() {
            Ok(shared) => shared,
            Err(poisoned) => poisoned.into_inner(),
        };
        let keyring = Arc::new(wiping_stack(|| self.unit.keyring(&shared.keyring)));
        *shared = Arc::new(Served { keyring, trust: self.unit.state().trust.clone() });
        self.status.ready_with(self.unit.state().trust.serial());
        self.serving.send_replace(self.unit.takes_pages());
        Ok(())
    }
}
