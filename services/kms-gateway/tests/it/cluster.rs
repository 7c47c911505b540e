//! A real cluster behind a real listener: units, coordinator and reencryptor over the memory bus,
//! SQLite in a folder that is gone at the end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bus::{Bus, MemoryBus};
use coordinator::{CoordinatorConfig, Handle};
use crypto::identity::Identity;
use crypto::random::process_rng;
use crypto::{domain, quorum};
use identity::{AUDIENCE, Claims, Issuer, Role, Verifier};
use keystore::{Keystore, SqliteKeystore};
use keystore_reencryptor::ReencryptorConfig;
use kms_gateway::http::{HttpConfig, HttpState, Instances, router};
use kms_gateway::{GatewayConfig, boot};
use ledger::{Folder, Records};
use machines::conductor::{Answer, Ask, Conductor, DraftRequest, StartAsk, Times};
use machines::unit::UnitConfig;
use protocol::audit::Phase;
use protocol::keystore::GateMode;
use protocol::manifest::{AdminSignature, Administrator, Manifest, SignedManifest};
use protocol::order::{Authority, Purpose, SignedOrder, SignedStandingOrder, StandingOrder};
use protocol::{InstanceId, codec};
use service::{Shutdown, Status};
use tempfile::TempDir;

pub const INSTANCE: &str = "door";
const UNITS: [(&str, protocol::Role); 3] = [
    ("op-1", protocol::Role::OperationalUnit),
    ("op-2", protocol::Role::OperationalUnit),
    ("rec-1", protocol::Role::RecoveryUnit),
];
/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Cluster {
    folder: TempDir,
    pub base: String,
    pub instance: InstanceId,
    coordinator: Handle,
    administrator: Identity,
    issuer: Issuer,
    shutdown: Shutdown,
    /// Tells the gateway alone to stop.
    pub door: Shutdown,
    pub memory: MemoryBus,
}

/// Asks again until there is an answer, or the deadline has come.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let waiting = async {
        loop {
            match ask().await {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("{what} in time"))
}

impl Cluster {
    /// Everything is started; there is no manifest yet.
    pub async fn start(config: HttpConfig) -> Self {
        Self::start_with(config, None).await
    }

    async fn start_with(config: HttpConfig, stall_after: Option<Duration>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteKeystore::open(&keystore_path(folder.path())).await.unwrap();
        let stores = [store.clone().into(), store.into()];
        Self::start_on(folder, stores, config, stall_after).await
    }

    /// The first store is the gateway's, the second the reencryptor's.
    async fn start_on(
        folder: TempDir,
        stores: [Keystore; 2],
        config: HttpConfig,
        stall_after: Option<Duration>,
    ) -> Self {
        let path = folder.path();
        let [gateways, reencryptors] = stores;
        let memory = MemoryBus::default();
        let bus = Bus::Memory(memory.clone());
        let (shutdown, door, answers) = (Shutdown::new(), Shutdown::new(), Shutdown::new());
        let open = |name: &str| Folder::open(&path.join(name), None, &mut process_rng()).unwrap();
        let records = Records::open(&path.join("coordinator.db")).await.unwrap();
        let named = CoordinatorConfig {
            name: "coordinator".to_owned(),
            location: "[test]".to_owned(),
            times: Times::default(),
            survey_every: Duration::ZERO,
        };
        let own = open("coordinator");
        let (coordinator, _) = coordinator::start(
            bus.clone(),
            own,
            records,
            named,
            Status::default(),
            shutdown.clone(),
        )
        .await
        .unwrap();
        let named = GatewayConfig {
            name: "gateway".to_owned(),
            location: "[test]".to_owned(),
            instance_name: INSTANCE.to_owned(),
            pinned_administrators: Vec::new(),
            stall_after,
        };
        let own = open("gateway");
        let (keys, task) = kms_gateway::start(
            bus.clone(),
            own,
            gateways,
            named,
            Status::default(),
            answers.clone(),
        )
        .await
        .unwrap();
        let named = ReencryptorConfig {
            name: "reencryptor".to_owned(),
            location: "[test]".to_owned(),
            instance_name: INSTANCE.to_owned(),
            pinned_administrators: Vec::new(),
            rows_per_page: 100,
            pages_in_flight: 4,
            keys_per_second_max: None,
            cross_check_every: 16,
        };
        let own = open("reencryptor");
        let run = keystore_reencryptor::run(
            bus.clone(),
            own,
            reencryptors,
            named,
            Status::default(),
            shutdown.clone(),
        );
        tokio::spawn(run);
        for (name, role) in UNITS {
            let named = UnitConfig {
                name: name.to_owned(),
                location: "[test]".to_owned(),
                role,
                instance_name: INSTANCE.to_owned(),
                pinned_administrators: Vec::new(),
                is_storage_key_local: true,
                protocol_version: protocol::topology::PROTOCOL_VERSION,
            };
            tokio::spawn(crypto_unit::run(
                bus.clone(),
                open(name),
                named,
                Status::default(),
                shutdown.clone(),
            ));
        }
        let issuer = Issuer::create(&path.join("issuer.pem"), &mut process_rng()).unwrap();
        let verifier = Verifier::from_jwks(&issuer.jwks()).unwrap();
        let state = HttpState::new(Instances::one(keys), verifier, config);
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let served = boot::serve(listener, router(state), task, answers, door.clone());
        tokio::spawn(served);
        Self {
            folder,
            base,

            instance: InstanceId::named(INSTANCE),
            coordinator,
            administrator: Identity::generate(&mut process_rng()),
            issuer,
            shutdown,
            door,
            memory,
        }
    }

    /// Started, with a manifest, a master key and a standing order.
    pub async fn founded() -> Self {
        let cluster = Self::start(HttpConfig::default()).await;
        cluster.found().await;
        cluster
    }

    /// The same, on a keystore that gateway and reencryptor have opened each for itself.
    pub async fn founded_on(gateways: Keystore, reencryptors: Keystore) -> Self {
        let (folder, config) = (tempfile::tempdir().unwrap(), HttpConfig::default());
        let cluster = Self::start_on(folder, [gateways, reencryptors], config, None).await;
        cluster.found().await;
        cluster
    }

    /// The same, with a gateway that lets keys be used where a rotation stands still for so long.
    pub async fn founded_with_stall(after: Duration) -> Self {
        let cluster = Self::start_with(HttpConfig::default(), Some(after)).await;
        cluster.found().await;
        cluster
    }

    pub fn keystore(&self) -> PathBuf {
        keystore_path(self.folder.path())
    }

    /// A token of somebody with these roles.
    pub fn token(&self, roles: &[Role]) -> String {
        self.token_for(roles, INSTANCE)
    }

    pub fn token_for(&self, roles: &[Role], instance: &str) -> String {
        let now_s = service::now().0 / 1000;
        self.issued(roles, instance, now_s, now_s + 600)
    }

    pub fn issued(&self, roles: &[Role], instance: &str, iat: u64, exp: u64) -> String {
        let claims = Claims {
            iss: "tests".to_owned(),
            sub: "alice".to_owned(),
            aud: AUDIENCE.to_owned(),
            iat,
            exp,
            jti: "one".to_owned(),
            roles: roles.to_vec(),
            instances: vec![instance.to_owned()],
        };
        self.issuer.issue(&claims).unwrap()
    }

    async fn ask(&self, ask: Ask) -> Answer {
        self.coordinator.ask(self.instance, ask).await.unwrap()
    }

    fn sign(&self, signing_domain: &str, bytes: &[u8]) -> Vec<AdminSignature> {
        let signature = self.administrator.sign(signing_domain, bytes);
        vec![AdminSignature { ski: quorum::ski(&self.administrator.public_key()), signature }]
    }

    pub async fn found(&self) {
        let manifest = self.manifest().await;
        let bytes = codec::encode(&manifest);
        let signatures = self.sign(domain::MANIFEST, &bytes);
        let signed = SignedManifest { bytes, signatures };
        assert!(matches!(self.ask(Ask::Manifest(signed, None)).await, Answer::Taken));
        let draft = DraftRequest {
            purpose: Purpose::Initialise,
            joining: Vec::new(),
            quarantined: Vec::new(),
            mode: GateMode::Strict,
            hold_after_commit_s: 0,
            hold_before_clear_s: 0,
            valid_for_s: 300,
        };
        // Units that have not taken the manifest yet are waited for.
        let order = until("the draft of an order", async || {
            match self.ask(Ask::Draft(draft.clone())).await {
                Answer::Drafted(_, bytes, _) => Some(bytes),
                _ => None,
            }
        })
        .await;
        let signatures = self.sign(domain::ORDER, &order);
        let order = SignedOrder { bytes: order, authority: Authority::Quorum(signatures) };
        self.rotate(Some(order), GateMode::Strict).await;
        let standing = codec::encode(&StandingOrder {
            instance: self.instance,
            manifest_serial: manifest.serial,
            not_more_often_than_s: 0,
            pause_between_tries_s: 0,
            hold_after_commit_s: 0,
            hold_before_clear_s: 0,
            until: service::now().plus_ms(3_600_000),
        });
        let signatures = self.sign(domain::STANDING_ORDER, &standing);
        let standing = SignedStandingOrder { bytes: standing, signatures };
        assert!(matches!(self.ask(Ask::Standing(standing)).await, Answer::Taken));
    }

    async fn manifest(&self) -> Manifest {
        let look = |found: Option<&Conductor>| {
            let heard = found.map(|conductor| conductor.heard().announced.values());
            heard.into_iter().flatten().map(|heard| heard.said.clone()).collect::<Vec<_>>()
        };
        let announced = until("everybody announced", async || {
            let found = self.coordinator.see(self.instance, look).await.unwrap();
            (found.len() == UNITS.len() + 2).then_some(found)
        })
        .await;
        let mut members: Vec<_> = announced.iter().map(|said| said.member.clone()).collect();
        members.push(self.coordinator.member().clone());
        members.sort_by(|one, other| one.name.cmp(&other.name));
        Manifest {
            instance: self.instance,
            name: INSTANCE.to_owned(),
            serial: 1,
            previous: None,
            members,
            keystores: announced.iter().filter_map(|said| said.keystore).collect(),
            administrators: vec![Administrator {
                name: "tests".to_owned(),
                key: self.administrator.public_key(),
            }],
            signature_threshold: 1,
            revocation_threshold: 1,
            created_at: service::now(),
            amendment: None,
        }
    }

    /// Rotates the master key, by the standing order where none is given, to the end.
    pub async fn rotate(&self, order: Option<SignedOrder>, mode: GateMode) {
        let start = StartAsk::plain(order, mode, "tests");
        let started = self.ask(Ask::Start(Box::new(start)));
        let Answer::Started { rotation, .. } = started.await else { panic!("no rotation started") };
        let started = rotation.rotation;
        let phase = until("the end of the rotation", async || {
            let look = move |found: Option<&Conductor>| {
                let rotation = found?.rotation()?;
                (rotation.reference().rotation == started).then(|| rotation.to_view().phase)
            };
            let phase = self.coordinator.see(self.instance, look).await.unwrap();
            phase.filter(|phase| matches!(phase, Phase::Done | Phase::Aborted))
        })
        .await;
        assert_eq!(phase, Phase::Done);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shutdown.trigger();
        self.door.trigger();
    }
}

fn keystore_path(folder: &Path) -> PathBuf {
    folder.join("keystore.db")
}
