//! Five crypto units, a reencryptor and a coordinator, each of which can be stopped alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bus::{Bus, MemoryBus, Outgoing};
use coordinator::http::{HttpState, router};
use coordinator::{CoordinatorConfig, Handle};
use crypto::random::process_rng;
use futures_util::FutureExt;
use identity::{Issuer, Verifier};
use keystore::SqliteKeystore;
use keystore_reencryptor::ReencryptorConfig;
use ledger::{Folder, Records};
use machines::conductor::{Conductor, Times};
use machines::rotation::Limits;
use machines::unit::UnitConfig;
use protocol::codec;
use protocol::command::Command;
use protocol::envelope::{Envelope, Kind};
use protocol::manifest::Member;
use protocol::{InstanceId, Role, topology};
use service::{Shutdown, Status};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::api::Api;

pub const INSTANCE: &str = "prod";
pub const UNITS: [(&str, Role); 5] = [
    ("op-1", Role::OperationalUnit),
    ("op-2", Role::OperationalUnit),
    ("op-3", Role::OperationalUnit),
    ("rec-1", Role::RecoveryUnit),
    ("rec-2", Role::RecoveryUnit),
];

/// A process of the cluster.
struct Process {
    shutdown: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Process {
    async fn stop(self) {
        self.shutdown.trigger();
        self.task.await.unwrap().unwrap();
    }
}

/// A unit ends when it is sent this command, before it takes it.
type Trap = Arc<Mutex<Option<Trapped>>>;

struct Trapped {
    queue: String,
    command: &'static str,
    shutdown: Shutdown,
}

pub struct Cluster {
    pub folder: TempDir,
    pub memory: MemoryBus,
    pub handle: Handle,
    pub api: Api,
    pub issuer: Issuer,
    units: BTreeMap<&'static str, Process>,
    reencryptor: Option<Process>,
    coordinator: Option<Process>,
    trap: Trap,
}

impl Cluster {
    /// Everything started, nothing founded.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let memory = MemoryBus::default();
        let trap = Trap::default();
        set(&memory, trap.clone());
        let issuer = Issuer::create(&folder.path().join("issuer"), &mut process_rng()).unwrap();
        let (coordinator, handle, address) = coordinator(&folder, &memory, &issuer).await;
        let api = Api::new(address, &issuer);
        let mut cluster = Self {
            folder,
            memory,
            handle,
            api,
            issuer,
            units: BTreeMap::new(),
            reencryptor: None,
            coordinator: Some(coordinator),
            trap,
        };
        cluster.reencryptor = Some(cluster.start_reencryptor().await);
        for (name, _) in UNITS {
            cluster.start_unit(name);
        }
        cluster
    }

    pub fn bus(&self) -> Bus {
        Bus::Memory(self.memory.clone())
    }

    pub fn instance() -> InstanceId {
        InstanceId::named(INSTANCE)
    }

    fn own_folder(&self, name: &str) -> Folder {
        Folder::open(&self.folder.path().join(name), None, &mut process_rng()).unwrap()
    }

    async fn start_reencryptor(&self) -> Process {
        let store = SqliteKeystore::open(&self.folder.path().join("keystore.db")).await.unwrap();
        let config = ReencryptorConfig {
            name: "reencryptor".to_owned(),
            location: "[test]".to_owned(),
            instance_name: INSTANCE.to_owned(),
            pinned_administrators: Vec::new(),
            rows_per_page: 100,
            pages_in_flight: 2,
            keys_per_second_max: None,
            cross_check_every: 2,
        };
        let shutdown = Shutdown::new();
        let own = self.own_folder("reencryptor");
        let run = keystore_reencryptor::run(
            self.bus(),
            own,
            store,
            config,
            Status::default(),
            shutdown.clone(),
        );
        Process { shutdown, task: tokio::spawn(run) }
    }

    /// Starts a unit, anew if it was stopped.
    pub fn start_unit(&mut self, name: &'static str) {
        let (_, role) = UNITS.into_iter().find(|(unit, _)| *unit == name).unwrap();
        let config = UnitConfig {
            name: name.to_owned(),
            location: "[test]".to_owned(),
            role,
            instance_name: INSTANCE.to_owned(),
            pinned_administrators: Vec::new(),
            is_storage_key_local: true,
            protocol_version: topology::PROTOCOL_VERSION,
        };
        let shutdown = Shutdown::new();
        let run = crypto_unit::run(
            self.bus(),
            self.own_folder(name),
            config,
            Status::default(),
            shutdown.clone(),
        );
        self.units.insert(name, Process { shutdown, task: tokio::spawn(run) });
    }

    pub async fn stop_unit(&mut self, name: &str) {
        self.units.remove(name).unwrap().stop().await;
    }

    /// The unit ends as soon as it is sent this command, and does not take it.
    pub async fn trap_unit(&self, name: &'static str, command: &'static str) {
        let shutdown = self.units[name].shutdown.clone();
        let look = move |found: Option<&Conductor>| {
            let manifest = found.unwrap().trust().newest().unwrap();
            let found = manifest.members.iter().find(|member| member.name == name).unwrap();
            (found.role, found.id)
        };
        let (role, id) = self.handle.see(Self::instance(), look).await.unwrap();
        let queue = topology::process_address(role, Self::instance(), id).queue;
        *self.trap.lock().unwrap() = Some(Trapped { queue, command, shutdown });
    }

    /// Waits until the trapped unit has ended, and starts it anew.
    pub async fn free_unit(&mut self, name: &'static str) {
        self.trapped(name).await;
        self.start_unit(name);
    }

    /// Waits until the trapped unit has ended.
    pub async fn trapped(&mut self, name: &str) {
        let process = self.units.remove(name).unwrap();
        process.task.await.unwrap().unwrap();
    }

    pub async fn stop_coordinator(&mut self) {
        self.coordinator.take().unwrap().stop().await;
    }

    /// The queue of the coordinator.
    pub async fn coordinator_queue(&self) -> String {
        let look = |found: Option<&Conductor>| {
            let manifest = found.unwrap().trust().newest().unwrap();
            let is_it = |member: &&Member| member.role == Role::Coordinator;
            manifest.members.iter().find(is_it).unwrap().id
        };
        let id = self.handle.see(Self::instance(), look).await.unwrap();
        topology::process_address(Role::Coordinator, Self::instance(), id).queue
    }

    /// What waits in a queue is gone, as after its time to live.
    pub async fn empty(&self, queue: &str) {
        let mut consumer = self.bus().consume(queue, 1).await.unwrap();
        while let Some(Some(delivery)) = consumer.receive().now_or_never() {
            delivery.ack().await;
        }
    }

    pub async fn start_coordinator(&mut self) {
        let (process, handle, address) =
            coordinator(&self.folder, &self.memory, &self.issuer).await;
        self.coordinator = Some(process);
        self.handle = handle;
        self.api = Api::new(address, &self.issuer);
    }
}

fn set(memory: &MemoryBus, trap: Trap) {
    memory.tap(move |message: &Outgoing| {
        let mut trap = trap.lock().unwrap();
        let Some(trapped) = &*trap else { return };
        if message.routing_key != trapped.queue {
            return;
        }
        let Ok(envelope) = Envelope::parse(&message.body) else { return };
        if envelope.header.kind != Kind::Command {
            return;
        }
        let command: Command = codec::decode(envelope.body).unwrap();
        if command.name() == trapped.command {
            trap.take().unwrap().shutdown.trigger();
        }
    });
}

async fn coordinator(
    folder: &TempDir,
    memory: &MemoryBus,
    issuer: &Issuer,
) -> (Process, Handle, SocketAddr) {
    let path = folder.path();
    let records = Records::open(&path.join("coordinator.db")).await.unwrap();
    let own = Folder::open(&path.join("coordinator"), None, &mut process_rng()).unwrap();
    let rotation = Limits {
        silence_abort_ms: 60_000,
        first_retry_ms: 50,
        max_retry_ms: 200,
        abort_grace_ms: 300,
    };
    let config = CoordinatorConfig {
        name: "coordinator".to_owned(),
        location: "[test]".to_owned(),
        times: Times { survey_ms: 500, order_valid_s: 300, rotation },
        survey_every: std::time::Duration::ZERO,
    };
    let shutdown = Shutdown::new();
    let bus = Bus::Memory(memory.clone());
    let started =
        coordinator::start(bus, own, records.clone(), config, Status::default(), shutdown.clone())
            .await;
    let (handle, task) = started.unwrap();
    let verifier = Verifier::from_jwks(&issuer.jwks()).unwrap();
    let router = router(HttpState::new(handle.clone(), records, verifier));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Process { shutdown, task }, handle, address)
}
