//! Takes rotation requests from its queue and from inside the process, and drives rotations: the
//! shell around `machines::conductor`, one conductor an instance.

mod handler;
mod publish;
mod request;

use std::sync::Arc;

use bus::{Bus, QueueSpec};
use crypto::identity;
use crypto::random::process_rng;
use ledger::{Folder, Records};
use machines::conductor::{Answer, Ask, Conductor, Times};
use protocol::api::RotationEvent;
use protocol::manifest::Member;
use protocol::{InstanceId, Role, topology};
use service::Shutdown;
use tokio::sync::{broadcast, mpsc, oneshot};

use self::handler::Coordinator;

/// What a coordinator is told by its configuration.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub location: String,
    /// Times of surveys and rotations.
    pub times: Times,
}

/// Looks at an instance's conductor; none if the instance is not known.
pub type Look = Box<dyn FnOnce(Option<&Conductor>) + Send>;

/// A request from inside the process.
pub enum LocalAsk {
    /// For an instance's conductor.
    Conduct(InstanceId, Box<Ask>, oneshot::Sender<Answer>),
    /// Looks at an instance's conductor.
    See(InstanceId, Look),
}

/// The coordinator's process has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator has stopped: start it and run the command again")]
pub struct Stopped;

/// A coordinator that runs in this process.
#[derive(Clone, Debug)]
pub struct Handle {
    asks: mpsc::Sender<LocalAsk>,
    events: broadcast::Sender<RotationEvent>,
    member: Member,
}

impl Handle {
    /// Asks an instance's conductor.
    pub async fn ask(&self, instance: InstanceId, ask: Ask) -> Result<Answer, Stopped> {
        let (answer, answered) = oneshot::channel();
        let ask = LocalAsk::Conduct(instance, Box::new(ask), answer);
        self.asks.send(ask).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// Looks at an instance's conductor.
    pub async fn see<T: Send + 'static>(
        &self,
        instance: InstanceId,
        look: impl FnOnce(Option<&Conductor>) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        // Whoever asked may have gone; then nobody needs the answer.
        let look = move |found: Option<&Conductor>| _ = answer.send(look(found));
        let ask = LocalAsk::See(instance, Box::new(look));
        self.asks.send(ask).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// Events of all rotations from now on.
    pub fn events(&self) -> broadcast::Receiver<RotationEvent> {
        self.events.subscribe()
    }

    /// The coordinator as it would stand in a manifest.
    pub const fn member(&self) -> &Member {
        &self.member
    }
}

/// Starts a coordinator; the task ends after `shutdown`, when what was in hand is finished.
pub async fn start(
    bus: Bus,
    folder: Folder,
    records: Records,
    config: CoordinatorConfig,
    shutdown: Shutdown,
) -> anyhow::Result<(Handle, tokio::task::JoinHandle<anyhow::Result<()>>)> {
    let mut rng = process_rng();
    let identity = Arc::new(folder.identity(&mut rng)?);
    let id = identity::process_id(&identity.public_key());
    let own = topology::coordinator_queue(id);
    bus.declare(&QueueSpec::transient(own.clone())).await?;
    for queue in [topology::REQUEST_QUEUE, topology::ANNOUNCEMENT_QUEUE] {
        bus.declare(&QueueSpec::durable(queue)).await?;
    }
    let mut consumers = [
        bus.consume(&own, 64).await?,
        bus.consume(topology::REQUEST_QUEUE, 4).await?,
        bus.consume(topology::ANNOUNCEMENT_QUEUE, 16).await?,
    ];
    let member = Member {
        id,
        name: config.name.clone(),
        role: Role::Coordinator,
        identity: identity.public_key(),
        location: config.location.clone(),
    };
    let (asks, mut receiver) = mpsc::channel(64);
    let (events, _) = broadcast::channel(1024);
    let handle = Handle { asks, events: events.clone(), member };
    let mut coordinator = Coordinator::new(folder, identity, records, config, events, rng);
    let recovered = coordinator.recover().await?;
    let task = tokio::spawn(async move {
        bus::driver::finish(&bus, &mut coordinator, recovered).await?;
        let stop = async move { shutdown.requested().await };
        bus::driver::run(&bus, &mut consumers, &mut receiver, &mut coordinator, stop).await?;
        Ok(())
    });
    Ok((handle, task))
}
