//! Two recovery and three operational units, coordinator, reencryptor and gateway, each a process.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::database::Database;
use crate::process::{PATIENCE, Process};
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

/// Which binaries the units are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// As they are shipped.
    Release,
    /// Built with feature `testing`, in `target/testing`.
    Testing,
}

/// The servers of this machine; none where the tests have none.
pub fn servers() -> Option<(String, String)> {
    let amqp = std::env::var("KEYHELM_TEST_AMQP_URL").ok()?;
    let postgres = std::env::var("KEYHELM_TEST_POSTGRES_URL").ok()?;
    Some((amqp, postgres))
}

/// A cluster that runs.
pub struct Cluster {
    /// Where everything of it lies.
    pub folder: TempDir,
    /// Its database.
    pub database: Database,
    /// The broker as the services see it.
    pub amqp_url: String,
    /// All processes, the units first.
    pub processes: Vec<Process>,
    /// Port of the coordinator.
    pub coordinator_port: u16,
    /// Port of the gateway.
    pub gateway_port: u16,
}

/// A port that was free a moment ago.
fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The folder of the binaries of this build.
pub fn binaries() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let release = own.parent().and_then(Path::parent).context("no target folder")?;
    Ok(release.to_owned())
}

impl Cluster {
    /// Starts everything; `amqp_url` may lead through a proxy.
    pub async fn start(flavour: Flavour, amqp_url: &str, admin_url: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("keyhelm-e2e-").tempdir()?;
        let database = Database::create(admin_url).await?;
        let mut cluster = Self {
            folder,
            database,
            amqp_url: amqp_url.to_owned(),
            processes: Vec::new(),
            coordinator_port: free_port()?,
            gateway_port: free_port()?,
        };
        cluster.make_token().await?;
        cluster.define(flavour)?;
        for process in &mut cluster.processes {
            process.start()?;
        }
        Ok(cluster)
    }

    fn define(&mut self, flavour: Flavour) -> anyhow::Result<()> {
        let release = binaries()?;
        let target = release.parent().context("no target folder")?;
        let units = match flavour {
            Flavour::Release => release.clone(),
            Flavour::Testing => target.join("testing/release"),
        };
        for (name, kind) in UNITS {
            let own = [("KEYHELM_TESTING_SEED", SEED.to_owned())];
            self.add(name, units.join(kind), &own);
        }
        let keystore = [("KEYHELM_DATABASE_URL", self.database.url.clone())];
        self.add("reencryptor", release.join("keystore-reencryptor"), &keystore);
        let jwks = self.folder.path().join("jwks.json").display().to_string();
        let http = |port: u16| {
            [
                ("KEYHELM_DATABASE_URL", self.database.url.clone()),
                ("KEYHELM_JWKS_FILE", jwks.clone()),
                ("KEYHELM_LISTEN", format!("127.0.0.1:{port}")),
            ]
        };
        let (coordinator, gateway) = (http(self.coordinator_port), http(self.gateway_port));
        self.add("coordinator", release.join("coordinator"), &coordinator);
        self.add("gateway", release.join("kms-gateway"), &gateway);
        Ok(())
    }

    fn add(&mut self, name: &str, binary: PathBuf, own: &[(&str, String)]) {
        let folder = self.folder.path();
        let mut environment = vec![
            ("KEYHELM_NAME".to_owned(), name.to_owned()),
            ("KEYHELM_INSTANCE".to_owned(), INSTANCE.to_owned()),
            ("KEYHELM_DATA_DIR".to_owned(), folder.join(name).display().to_string()),
            ("KEYHELM_AMQP_URL".to_owned(), self.amqp_url.clone()),
        ];
        environment.extend(own.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        self.processes.push(Process::new(name, binary, folder, environment));
    }

    /// The process of this name.
    pub fn process(&mut self, name: &str) -> anyhow::Result<&mut Process> {
        let found = self.processes.iter_mut().find(|process| process.name() == name);
        found.with_context(|| format!("there is no process {name}"))
    }

    async fn make_token(&self) -> anyhow::Result<()> {
        let folder = self.folder.path();
        std::fs::write(folder.join("passphrase"), PASSPHRASE)?;
        let made = self
            .keyhelm(&[
                "token",
                "issue",
                "--key",
                "issuer.pem",
                "--create",
                "--jwks",
                "jwks.json",
                "--subject",
                "tester",
                "--role",
                "Manager",
                "--role",
                "KeyPurge",
                "--instances",
                INSTANCE,
                "--valid-for",
                "1h",
                "--out",
                "token",
            ])
            .await?;
        ensure!(made.status.success(), "no token: {}", text_of(&made));
        Ok(())
    }

    /// Runs the command line in the cluster's folder.
    pub async fn keyhelm(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let folder = self.folder.path();
        let run = Command::new(binaries()?.join("keyhelm"))
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
            .kill_on_drop(true)
            .output();
        Ok(tokio::time::timeout(2 * PATIENCE, run).await.context("keyhelm does not end")??)
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
        self.expect(0, &["sigkey-add", "alice", "--passphrase-file", "passphrase"]).await?;
        self.expect(
            0,
            &[
                "auto-init",
                "--instance",
                INSTANCE,
                "--standing-order",
                "0s",
                "--trust-first-use",
                "--passphrase-file",
                "passphrase",
                "--yes",
            ],
        )
        .await?;
        Ok(())
    }

    /// Waits until everybody has announced itself to the coordinator.
    async fn announced(&self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let found = self.get(&format!("/v1/instances/{INSTANCE}/members")).await;
            let count = match &found {
                Ok(members) => members.as_array().map_or(0, Vec::len),
                Err(_) => 0,
            };
            // Units, reencryptor, gateway; the coordinator may count itself.
            if count >= UNITS.len() + 2 {
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
        tap::forget_shared_queues(
            &self.amqp_url,
            &["keyhelm.coordinator.requests", "keyhelm.coordinator.announcements", "keyhelm.dead"],
        )
        .await?;
        self.database.drop().await
    }
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
