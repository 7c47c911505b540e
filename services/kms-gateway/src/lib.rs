//! The door for keys. It holds no key: what clients exchange is sealed to an operational unit, and
//! every write goes through the gate of the keystore row.

pub mod boot;
pub mod http;
mod keys;
mod process;
mod units;

use std::sync::{Arc, RwLock};
use std::time::Duration;

use bus::{Bus, Outgoing, QueueSpec};
use crypto::identity;
use crypto::random::process_rng;
use keystore::Keystore;
use ledger::Folder;
use machines::trust::Trust;
use protocol::codec;
use protocol::envelope::{Kind, Recipient};
use protocol::manifest::{Member, SignedManifest};
use protocol::report::Announcement;
use protocol::topology::{self, PROTOCOL_VERSION};
use protocol::{InstanceId, PublicKey, Role};
use service::{Shutdown, Status};

pub use self::keys::{CheckFailure, Checked, GatewayError, ImportKey, Keys, MakeKey, Wrapped};
use self::process::{Gateway, TRUST, TRUST_AAD};
use self::units::Units;

/// What a gateway is told by its configuration.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub location: String,
    /// Name of its instance.
    pub instance_name: String,
    /// Administrators who must have signed the first manifest.
    pub pinned_administrators: Vec<PublicKey>,
    /// Where a rotation has stood still for so long, keys are used again before its end; none for never.
    pub stall_after: Option<Duration>,
}

/// How long a rotation stands still before keys are used again.
pub const STALL_AFTER: Duration = Duration::from_secs(10);

/// Starts a gateway; the task ends after `shutdown`, when what was in hand is finished. Requests wait
/// for what the task takes from units: `shutdown` comes when there are none any more.
pub async fn start(
    bus: Bus,
    folder: Folder,
    store: impl Into<Keystore>,
    config: GatewayConfig,
    status: Status,
    shutdown: Shutdown,
) -> anyhow::Result<(Keys, tokio::task::JoinHandle<anyhow::Result<()>>)> {
    let mut rng = process_rng();
    let instance = InstanceId::named(&config.instance_name);
    let identity = Arc::new(folder.identity(&mut rng)?);
    let id = identity::process_id(&identity.public_key());
    let chain: Vec<SignedManifest> = match folder.load(TRUST, TRUST_AAD)? {
        Some(bytes) => codec::decode(&bytes)?,
        None => Vec::new(),
    };
    let trust = Arc::new(RwLock::new(Trust::from_saved(instance, chain)?));
    let own = topology::process_address(Role::Gateway, instance, id);
    let queues =
        [QueueSpec::transient(own.clone()), QueueSpec::durable(topology::announcement_address())];
    bus.declare(&queues).await?;
    let mut consumers = [bus.consume(&own.queue, 64).await?];
    let units = Arc::new(Units::new(bus.clone(), identity.clone(), trust.clone()));
    let serial = units.trust().serial();
    let announced = codec::encode(&Announcement {
        member: Member {
            id,
            name: config.name.clone(),
            role: Role::Gateway,
            identity: identity.public_key(),
            location: config.location.clone(),
        },
        instance_name: config.instance_name.clone(),
        keystore: None,
        manifest_serial: serial,
        protocol_version: PROTOCOL_VERSION,
    });
    let recipient = Recipient::Role(Role::Coordinator);
    let (_, sealed) = units.seal(recipient, Kind::Announcement, &announced);
    let message = Outgoing::persistent(topology::announcement_address(), sealed);
    if let Err(error) = bus.publish(&message).await {
        tracing::warn!(%error, "the gateway could not announce itself");
    }
    let keys = Keys::new(instance, store.into(), units.clone(), config.stall_after);
    status.ready_with(serial);
    let pinned = config.pinned_administrators;
    let mut gateway = Gateway { id, pinned, folder, trust, units, rng, announced, status };
    let task = tokio::spawn(async move {
        let (_asks, mut none) = tokio::sync::mpsc::channel(1);
        let stop = async move { shutdown.requested().await };
        bus::driver::run(&bus, &mut consumers, &mut none, &mut gateway, stop).await?;
        Ok(())
    });
    Ok((keys, task))
}
