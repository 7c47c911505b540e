//! Takes rotation requests from its queue, from people over HTTP and from inside the process, and
//! drives rotations: the shell around `machines::conductor`, one conductor an instance.

pub mod boot;
mod handle;
mod handler;
pub mod http;
mod publish;
mod request;
#[cfg(feature = "testing")]
mod testing;
mod views;

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, QueueSpec};
use crypto::identity;
use crypto::random::process_rng;
use ledger::{Folder, Records};
use machines::conductor::Times;
use protocol::manifest::Member;
use protocol::{InstanceId, Role, topology};
use service::{Shutdown, Status};
use tokio::sync::{broadcast, mpsc};

pub use self::handle::{Asker, Handle, Known, LocalAsk, Look, LookAll, Looked, Stopped};
use self::handler::Coordinator;

/// Events that a listener may be behind before it has to read them from the audit log.
const EVENTS_BEHIND: usize = 1024;
/// Requests from the queue that wait for their surveys at once; more stay on the queue.
const MAX_REQUESTS: u16 = 64;

/// What a coordinator is told by its configuration.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub location: String,
    /// Times of surveys and rotations.
    pub times: Times,
    /// How often everybody is asked how they stand, for the metrics; zero for never.
    pub survey_every: Duration,
}

/// Starts a coordinator; the task ends after `shutdown`, when what was in hand is finished.
pub async fn start(
    bus: Bus,
    folder: Folder,
    records: Records,
    config: CoordinatorConfig,
    status: Status,
    shutdown: Shutdown,
) -> anyhow::Result<(Handle, tokio::task::JoinHandle<anyhow::Result<()>>)> {
    let mut rng = process_rng();
    let identity = Arc::new(folder.identity(&mut rng)?);
    let id = identity::process_id(&identity.public_key());
    // A coordinator's queue is the same for all instances.
    let no_instance = InstanceId::from_bytes([0; 16]);
    let own = topology::process_address(Role::Coordinator, no_instance, id);
    let queues = [
        QueueSpec::transient(own.clone()),
        QueueSpec::durable(topology::request_address()),
        QueueSpec::durable(topology::announcement_address()),
    ];
    bus.declare(&queues).await?;
    let member = Member {
        id,
        name: config.name.clone(),
        role: Role::Coordinator,
        identity: identity.public_key(),
        location: config.location.clone(),
    };
    let (asks, mut receiver) = mpsc::channel(64);
    let (events, _) = broadcast::channel(EVENTS_BEHIND);
    let handle = Handle::new(asks, events.clone(), member);
    let mut coordinator = Coordinator::new(folder, identity, records, config, events, status, rng);
    let recovered = coordinator.recover().await?;
    let mut consumers = [
        bus.consume(&own.queue, 64).await?,
        bus.consume(topology::REQUEST_QUEUE, MAX_REQUESTS).await?,
        bus.consume(topology::ANNOUNCEMENT_QUEUE, 16).await?,
    ];
    let task = tokio::spawn(async move {
        let stop = async move { shutdown.requested().await };
        let acted = async {
            bus::driver::finish(&bus, &mut coordinator, recovered).await?;
            bus::driver::run(&bus, &mut consumers, &mut receiver, &mut coordinator, stop).await
        };
        let ended = acted.await;
        // The next term reads the same queues over the same connection.
        for consumer in consumers {
            consumer.close().await;
        }
        Ok(ended?)
    });
    Ok((handle, task))
}
