//! Two recovery and three operational units, coordinator, reencryptor and gateway, each a process.

use std::io;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

use crate::database::Database;
use crate::port;
use crate::process::{PATIENCE, Process};
use crate::proxy::Proxy;
use crate::tap;

/// Name of the instance.
pub const INSTANCE: &str = "end-to-end";
/// Names and kinds of the crypto units.
pub const UNITS: [(&str, &str); 5] = [
    ("op-1", "operational-unit"),
    ("op-2", "operational-unit"),
    ("op-3", "operational-unit"),
    ("rec-1", "recovery-unit"),
    ("rec-2", "recovery-unit"),
];
/// The passphrase of the administrators' keys.
pub const PASSPHRASE: &str = "correct horse battery staple";
/// What test builds of the units draw from.
pub const SEED: &str = "seed of the end-to-end tests";

/// Which binaries the services are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// As they are shipped.
    Release,
    /// Built with feature `testing`, in `target/testing`.
    Testing,
    /// As they are shipped, but for recovery units that draw master keys which a test knows.
    KnownKeys,
}

/// The servers of this machine; none where the tests have none.
pub fn servers() -> Option<(String, String)> {
    let amqp = std::env::var("KEYHELM_TEST_AMQP_URL").ok()?;
    let postgres = std::env::var("KEYHELM_TEST_POSTGRES_URL").ok()?;
    Some((amqp, postgres))
}

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which binaries.
    pub flavour: Flavour,
    /// Names and kinds of its crypto units.
    pub units: Vec<(&'static str, &'static str)>,
    /// Names of the reencryptors of its keystore.
    pub reencryptors: Vec<&'static str>,
    /// Processes reach broker and database themselves, not through proxies that a test can cut.
    pub is_direct: bool,
    /// Variables for all processes.
    pub everybody: Vec<(&'static str, String)>,
    /// Variables for the coordinator.
    pub coordinator: Vec<(&'static str, String)>,
}

impl Plan {
    /// The usual one.
    pub fn of(flavour: Flavour) -> Self {
        Self {
            flavour,
            units: UNITS.to_vec(),
            reencryptors: vec!["reencryptor"],
            is_direct: false,
            everybody: Vec::new(),
            coordinator: Vec::new(),
        }
    }
}

/// A cluster that runs.
pub struct Cluster {
    /// Where everything of it lies.
    pub folder: TempDir,
    /// Its database.
    pub database: Database,
    /// The way to the broker.
    pub broker: Proxy,
    /// The way to the database server.
    pub store: Proxy,
    /// Names and kinds of its crypto units.
    pub units: Vec<(&'static str, &'static str)>,
    /// All processes, the units first.
    pub processes: Vec<Process>,
    /// Port of the coordinator.
    pub coordinator_port: u16,
    /// Port of the gateway.
    pub gateway_port: u16,
    amqp_url: String,
    plan: Plan,
    /// Clusters share the broker's durable queues, so there is one at a time.
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::const_new(());

/// The folder of the binaries of this build.
pub fn binaries() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("no target folder")?;
    // Tests lie one folder below the binaries.
    let release = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    Ok(release.context("no target folder")?.to_owned())
}

impl Cluster {
    /// Starts everything before broker and database can be reached, wants everybody to say that it
    /// waits, and opens the ways to both.
    pub async fn start(flavour: Flavour) -> anyhow::Result<Self> {
        Self::start_with(flavour, &[], &[]).await
    }

    /// The same with more operational units, of these names, and a coordinator that is also told
    /// these variables.
    pub async fn start_with(
        flavour: Flavour,
        more: &[&'static str],
        coordinator: &[(&'static str, &str)],
    ) -> anyhow::Result<Self> {
        let mut plan = Plan::of(flavour);
        plan.units.extend(more.iter().map(|name| (*name, UNITS[0].1)));
        let owned = |(name, value): &(&'static str, &str)| (*name, (*value).to_owned());
        plan.coordinator = coordinator.iter().map(owned).collect();
        Self::start_planned(plan).await
    }

    /// The cluster of a plan.
    pub async fn start_planned(plan: Plan) -> anyhow::Result<Self> {
        let turn = TURN.lock().await;
        let (amqp_url, admin_url) = servers().context("no servers")?;
        tap::forget_shared_queues(&amqp_url, &SHARED_QUEUES).await?;
        let folder = tempfile::Builder::new().prefix("keyhelm-e2e-").tempdir()?;
        let database = Database::create(&admin_url).await?;
        let mut cluster = Self {
            folder,
            broker: Proxy::reserve(server_of(&amqp_url)?)?,
            store: Proxy::reserve(server_of(&database.url)?)?,
            database,
            units: plan.units.clone(),
            processes: Vec::new(),
            coordinator_port: port::free()?,
            gateway_port: port::free()?,
            amqp_url,
            plan,
            _turn: turn,
        };
        cluster.make_token().await?;
        cluster.define()?;
        for (name, value) in cluster.plan.coordinator.clone() {
            cluster.process("coordinator")?.set(name, value);
        }
        for process in &mut cluster.processes {
            process.start()?;
        }
        if cluster.plan.is_direct {
            return Ok(cluster);
        }
        for process in &mut cluster.processes {
            process.says("waiting for the").await?;
        }
        cluster.store.open().await?;
        cluster.broker.open().await?;
        Ok(cluster)
    }

    /// Stops everybody and starts it again as it is shipped, on the folders that test builds have made.
    pub async fn become_release(&mut self) -> anyhow::Result<()> {
        let release = binaries()?;
        for process in &mut self.processes {
            process.terminate().await?;
            process.become_build(&release);
            process.start()?;
        }
        Ok(())
    }

    /// The broker itself, past the proxy.
    pub fn amqp_url(&self) -> &str {
        &self.amqp_url
    }

    fn define(&mut self) -> anyhow::Result<()> {
        let release = binaries()?;
        let target = release.parent().context("no target folder")?;
        let testing = target.join("testing/release");
        let of_flavour = match self.plan.flavour {
            Flavour::Release | Flavour::KnownKeys => release.clone(),
            Flavour::Testing => testing.clone(),
        };
        let draws_known = self.plan.flavour == Flavour::KnownKeys;
        for (name, kind) in self.units.clone() {
            let own = [("KEYHELM_TESTING_SEED", format!("{SEED} {name}"))];
            let builds = if draws_known && kind == UNITS[3].1 { &testing } else { &of_flavour };
            self.add(name, builds.join(kind), &own)?;
        }
        let store = match self.plan.is_direct {
            true => self.database.url.clone(),
            false => through(&self.database.url, self.store.port())?,
        };
        let keystore = [("KEYHELM_DATABASE_URL", store.clone())];
        for name in self.plan.reencryptors.clone() {
            self.add(name, of_flavour.join("keystore-reencryptor"), &keystore)?;
        }
        let jwks = self.folder.path().join("jwks.json").display().to_string();
        let http = |port: u16| {
            [
                ("KEYHELM_DATABASE_URL", store.clone()),
                ("KEYHELM_JWKS_FILE", jwks.clone()),
                ("KEYHELM_LISTEN", format!("127.0.0.1:{port}")),
            ]
        };
        let (coordinator, gateway) = (http(self.coordinator_port), http(self.gateway_port));
        self.add("coordinator", of_flavour.join("coordinator"), &coordinator)?;
        self.add("gateway", of_flavour.join("kms-gateway"), &gateway)
    }

    fn add(&mut self, name: &str, binary: PathBuf, own: &[(&str, String)]) -> anyhow::Result<()> {
        let broker = match self.plan.is_direct {
            true => self.amqp_url.clone(),
            false => through(&self.amqp_url, self.broker.port())?,
        };
        let folder = self.folder.path();
        let mut environment = vec![
            ("KEYHELM_NAME".to_owned(), name.to_owned()),
            ("KEYHELM_INSTANCE".to_owned(), INSTANCE.to_owned()),
            ("KEYHELM_DATA_DIR".to_owned(), folder.join(name).display().to_string()),
            ("KEYHELM_AMQP_URL".to_owned(), broker),
        ];
        let own = self.plan.everybody.iter().chain(own);
        environment.extend(own.map(|(key, value)| ((*key).to_owned(), value.clone())));
        let process = Process::new(name, binary, folder, environment, port::free()?);
        self.processes.push(process);
        Ok(())
    }

    /// The process of this name.
    pub fn process(&mut self, name: &str) -> anyhow::Result<&mut Process> {
        let found = self.processes.iter_mut().find(|process| process.name() == name);
        found.with_context(|| format!("there is no process {name}"))
    }

    async fn make_token(&self) -> anyhow::Result<()> {
        let folder = self.folder.path();
        std::fs::write(folder.join("passphrase"), PASSPHRASE)?;
        let made = self.expect(0, &["token", "make-key", "issuer.pem"]).await?;
        std::fs::write(folder.join("jwks.json"), made)?;
        let issue = "token issue --key issuer.pem --subject tester --role Manager,KeyPurge \
                     --valid-for 1h --out token --instances";
        let arguments: Vec<_> = issue.split_whitespace().chain([INSTANCE]).collect();
        self.expect(0, &arguments).await?;
        Ok(())
    }

    /// The command line in the cluster's folder, to be run.
    pub fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let folder = self.folder.path();
        let mut command = Command::new(binaries()?.join("keyhelm"));
        command
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .env("HOME", folder)
            .env("NO_COLOR", "1")
            .env("CLOUDTKEFILES", folder.join("sigkeys"))
            .env("KEYHELM_SERVER", format!("http://127.0.0.1:{}", self.coordinator_port))
            .env("KEYHELM_GATEWAY", format!("http://127.0.0.1:{}", self.gateway_port))
            .env("KEYHELM_TOKEN_FILE", folder.join("token"))
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Starts the command line, and lets it run.
    pub fn begin(&self, arguments: &[&str]) -> anyhow::Result<JoinHandle<io::Result<Output>>> {
        let child = self.command(arguments)?.spawn()?;
        Ok(tokio::spawn(child.wait_with_output()))
    }

    /// Runs the command line.
    pub async fn keyhelm(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let run = self.begin(arguments)?;
        Ok(tokio::time::timeout(2 * PATIENCE, run).await.context("keyhelm does not end")???)
    }

    /// Runs the command line and wants this exit code; answers what it printed on standard output.
    pub async fn expect(&self, code: i32, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.keyhelm(arguments).await?;
        if output.status.code() != Some(code) {
            bail!("keyhelm {arguments:?} did not exit {code}: {}", text_of(&output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Makes a signature key, the manifest, the first master key and a standing order.
    pub async fn initialise(&self) -> anyhow::Result<()> {
        self.announced().await?;
        let add = "sigkey-add alice --passphrase-file passphrase";
        self.expect(0, &add.split_whitespace().collect::<Vec<_>>()).await?;
        let init = "auto-init --standing-order 0s --trust-first-use --passphrase-file passphrase";
        self.expect(0, &init.split_whitespace().collect::<Vec<_>>()).await?;
        Ok(())
    }

    /// Waits until everybody has announced itself to the coordinator.
    pub async fn announced(&self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let found = self.get(&format!("/v1/instances/{INSTANCE}/members")).await;
            let text = found.as_ref().map(ToString::to_string).unwrap_or_default();
            // Everybody but the coordinator announces itself; it answers, so it is there.
            let names = self.units.iter().map(|(name, _)| *name).chain(["gateway"]);
            let names = names.chain(self.plan.reencryptors.iter().copied());
            if names.into_iter().all(|name| text.contains(&format!("\"{name}\""))) {
                return Ok(());
            }
            ensure!(Instant::now() < until, "not everybody is there: {found:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The bearer token.
    pub fn token(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.folder.path().join("token"))?.trim().to_owned())
    }

    /// Asks the coordinator.
    pub async fn get(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let url = format!("http://127.0.0.1:{}{path}", self.coordinator_port);
        let answer = reqwest::Client::new().get(url).bearer_auth(self.token()?).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// Stops everything by SIGTERM, wants exit code 0 of all, and removes the database.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            if process.is_running() {
                let code = process.terminate().await?;
                ensure!(code == 0, "{} exits {code}:\n{}", process.name(), process.log());
            }
        }
        tap::forget_shared_queues(&self.amqp_url, &SHARED_QUEUES).await?;
        self.database.drop().await
    }
}

/// After a failure the logs are worth more than a tidy folder.
impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("the logs are kept in {}", self.folder.path().display());
        }
    }
}

/// The durable queues.
pub const SHARED_QUEUES: [&str; 3] =
    ["keyhelm.coordinator.requests", "keyhelm.coordinator.announcements", "keyhelm.dead"];

/// Host and port of a URL, as in `scheme://user:password@host:port/rest`.
fn server_of(url: &str) -> anyhow::Result<String> {
    let (_, rest) = url.split_once("://").context("no scheme")?;
    let (server, _) = rest.split_once('/').context("no path")?;
    let server = server.rsplit_once('@').map_or(server, |(_, server)| server);
    Ok(server.to_owned())
}

/// The same URL through a port of this machine.
fn through(url: &str, port: u16) -> anyhow::Result<String> {
    Ok(url.replacen(&server_of(url)?, &format!("127.0.0.1:{port}"), 1))
}

/// What a program printed.
pub fn text_of(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
