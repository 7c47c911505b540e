//! Three operational and two recovery units, a coordinator, a reencryptor and a gateway, each with
//! a folder of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use bus::{Bus, MemoryBus};
use coordinator::{CoordinatorConfig, Handle};
use crypto::random::process_rng;
use keystore::SqliteKeystore;
use keystore_reencryptor::ReencryptorConfig;
use kms_gateway::{GatewayConfig, Keys};
use ledger::{Folder, Records};
use machines::conductor::{Answer, Ask, Times};
use machines::unit::UnitConfig;
use protocol::api::{RotationEvent, RotationView};
use protocol::audit::Phase;
use protocol::{InstanceId, Role};
use service::{Shutdown, Status};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

/// Name of the embedded instance.
pub const INSTANCE: &str = "embedded";
/// Name, role and location of each crypto unit.
pub const UNITS: [(&str, Role, &str); 5] = [
    ("op-1", Role::OperationalUnit, "[local].[AZ1]"),
    ("op-2", Role::OperationalUnit, "[local].[AZ2]"),
    ("op-3", Role::OperationalUnit, "[local].[AZ3]"),
    ("rec-1", Role::RecoveryUnit, "[local].[AZ1]"),
    ("rec-2", Role::RecoveryUnit, "[backup].[AZ1]"),
];
/// Key versions in a page of re-encryption.
const ROWS_PER_PAGE: u32 = 2_000;
/// Of so many pages one is opened by another unit before it is written.
const CROSS_CHECK_EVERY: u32 = 16;
/// Pages that are out at once.
const PAGES_IN_FLIGHT: usize = 8;

/// A cluster that runs in this process.
pub struct Cluster {
    /// The coordinator.
    pub coordinator: Handle,
    /// The keys, through the gateway.
    pub keys: Keys,
    /// The instance.
    pub instance: InstanceId,
    /// The coordinator's records.
    pub records: Records,
    bus: MemoryBus,
    folder: PathBuf,
    shutdown: Shutdown,
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Cluster {
    /// Starts everything in `folder`; what was there before is gone on with.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let memory = MemoryBus::default();
        Self::start_on(folder, memory).await
    }

    /// Starts everything on a bus that somebody may tap.
    pub async fn start_on(folder: &Path, memory: MemoryBus) -> anyhow::Result<Self> {
        let shutdown = Shutdown::new();
        let bus = Bus::Memory(memory.clone());
        let open = |name: &str| Folder::open(&folder.join(name), None, &mut process_rng());
        let store = SqliteKeystore::open(&Self::keystore_path(folder)).await?;
        let records = Records::open(&folder.join("coordinator.db")).await?;
        let config = CoordinatorConfig {
            name: "coordinator".to_owned(),
            location: "[local]".to_owned(),
            times: Times::default(),
            survey_every: Duration::ZERO,
        };
        let (status, stop) = (Status::default(), shutdown.clone());
        let (coordinator, task) = coordinator::start(
            bus.clone(),
            open("coordinator")?,
            records.clone(),
            config,
            status.clone(),
            stop,
        )
        .await?;
        let mut tasks = vec![task];
        let config = GatewayConfig {
            name: "gateway".to_owned(),
            location: "[local]".to_owned(),
            instance_name: INSTANCE.to_owned(),
            pinned_administrators: Vec::new(),
            stall_after: Some(kms_gateway::STALL_AFTER),
        };
        let stop = shutdown.clone();
        let own = open("gateway")?;
        let (keys, task) =
            kms_gateway::start(bus.clone(), own, store.clone(), config, status.clone(), stop)
                .await?;
        tasks.push(task);
        let config = ReencryptorConfig {
            name: "reencryptor".to_owned(),
            location: "[local]".to_owned(),
            instance_name: INSTANCE.to_owned(),
            pinned_administrators: Vec::new(),
            rows_per_page: ROWS_PER_PAGE,
            pages_in_flight: PAGES_IN_FLIGHT,
            keys_per_second_max: None,
            cross_check_every: CROSS_CHECK_EVERY,
        };
        let own = open("reencryptor")?;
        let stop = shutdown.clone();
        let run = keystore_reencryptor::run(bus.clone(), own, store, config, status.clone(), stop);
        tasks.push(tokio::spawn(run));
        for (name, role, location) in UNITS {
            let config = UnitConfig {
                name: name.to_owned(),
                location: location.to_owned(),
                role,
                instance_name: INSTANCE.to_owned(),
                pinned_administrators: Vec::new(),
                is_storage_key_local: true,
                protocol_version: protocol::topology::PROTOCOL_VERSION,
            };
            let (status, stop) = (status.clone(), shutdown.clone());
            let run = crypto_unit::run(bus.clone(), open(name)?, config, status, stop);
            tasks.push(tokio::spawn(run));
        }
        let instance = InstanceId::named(INSTANCE);
        let folder = folder.to_owned();
        Ok(Self { coordinator, keys, instance, records, bus: memory, folder, shutdown, tasks })
    }

    /// The keystore's file in a cluster's folder.
    pub fn keystore_path(folder: &Path) -> PathBuf {
        folder.join("keystore.db")
    }

    /// The cluster's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The bus, for whoever publishes a request onto it.
    pub fn bus(&self) -> Bus {
        Bus::Memory(self.bus.clone())
    }

    /// Asks the coordinator.
    pub async fn ask(&self, ask: Ask) -> anyhow::Result<Answer> {
        Ok(self.coordinator.ask(self.instance, ask).await?)
    }

    /// Starts a rotation and follows it to its end; `watch` sees every event.
    pub async fn rotate(
        &self,
        ask: Ask,
        mut watch: impl FnMut(&RotationView),
    ) -> anyhow::Result<RotationView> {
        let mut events = self.coordinator.events();
        let started = match self.ask(ask).await? {
            Answer::Started { rotation, .. } => rotation.rotation,
            Answer::Unmet(findings) => {
                let lines: Vec<_> = findings
                    .unmet
                    .iter()
                    .map(|unmet| {
                        format!("{}: {} (mend: {})", unmet.subject, unmet.text, unmet.mend)
                    })
                    .collect();
                bail!("conditions are not met, nothing has changed:\n  {}", lines.join("\n  "));
            }
            Answer::Refused(refusal) => bail!("{}", refusal.text),
            _ => bail!("the coordinator gave an unexpected answer"),
        };
        let mut pulse = tokio::time::interval(Duration::from_millis(50));
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(RotationEvent { rotation, .. }) if rotation.rotation == started => {
                        watch(&rotation);
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => bail!("the coordinator has stopped"),
                },
                _ = pulse.tick() => {}
            }
            let look = move |found: Option<&machines::conductor::Conductor>| {
                let rotation = found?.rotation()?;
                (rotation.reference().rotation == started).then(|| rotation.to_view())
            };
            let view = self.coordinator.see(self.instance, look).await?;
            let Some(view) = view else { bail!("the rotation is not known any more") };
            watch(&view);
            match view.phase {
                Phase::Done => return Ok(view),
                Phase::Aborted => {
                    let because = view.aborted_because.unwrap_or_default();
                    bail!("the rotation was aborted, nothing has changed: {because}");
                }
                _ => {}
            }
        }
    }

    /// Stops everything; what was in hand is finished first.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.trigger();
        for task in self.tasks {
            task.await.context("a service ended badly")??;
        }
        Ok(())
    }
}
