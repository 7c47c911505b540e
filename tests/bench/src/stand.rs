//! A cluster of the shipped binaries over the real servers, with as many keys as wanted.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use end_to_end::cluster::Plan;
use end_to_end::{Cluster, Flavour};

use crate::rotation::{Asker, Begun, Took};
use crate::seed;

/// How long a process may take until it is ready, and between two looks whether it is.
const READY_PATIENCE: Duration = Duration::from_secs(60);
const READY_LOOK: Duration = Duration::from_millis(2);
/// How long a check of all keys may take.
const CHECK_PATIENCE: Duration = Duration::from_secs(1_800);

/// A cluster with keys, and whoever asks it for rotations.
pub struct Stand {
    /// The cluster.
    pub cluster: Cluster,
    asker: Asker,
}

/// Waits until the process that shows itself on this port takes part.
pub async fn ready(observe_port: u16) -> anyhow::Result<()> {
    let (client, until) = (reqwest::Client::new(), Instant::now() + READY_PATIENCE);
    loop {
        let answer = client.get(format!("http://127.0.0.1:{observe_port}/readyz")).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        ensure!(Instant::now() < until, "it is never ready");
        tokio::time::sleep(READY_LOOK).await;
    }
}

impl Stand {
    /// The usual plan, past the proxies that tests cut, with the log that a service has by default.
    pub fn plan() -> Plan {
        let everybody = vec![("KEYHELM_LOG", "info".to_owned())];
        Plan { is_direct: true, everybody, ..Plan::of(Flavour::KnownKeys) }
    }

    /// Units of a test build draw the first master key, so that many keys can be sealed under it;
    /// then everything runs as it is shipped.
    pub async fn with_keys(plan: Plan, count: u64) -> anyhow::Result<Self> {
        let mut cluster = Cluster::start_planned(plan).await?;
        cluster.initialise().await?;
        seed::fill(&cluster, count).await?;
        cluster.become_release().await?;
        for process in &cluster.processes {
            ready(process.observe_port).await.with_context(|| process.name().to_owned())?;
        }
        let asker = Asker::connect(&cluster).await?;
        Ok(Self { cluster, asker })
    }

    /// A rotation on a server with nothing left to write.
    pub async fn rotate(&mut self) -> anyhow::Result<Took> {
        let client = end_to_end::database::connect(&self.cluster.database.url).await?;
        client.batch_execute("CHECKPOINT").await?;
        let begun = self.begin().await?;
        self.end(begun).await
    }

    /// Asks for a rotation.
    pub async fn begin(&self) -> anyhow::Result<Begun> {
        self.asker.begin().await
    }

    /// Waits for its end.
    pub async fn end(&mut self, begun: Begun) -> anyhow::Result<Took> {
        self.asker.end(&self.cluster, begun).await
    }

    /// Every key is opened by a unit.
    pub async fn check(&self) -> anyhow::Result<()> {
        let run = self.cluster.begin(&["keys", "check"])?;
        let done = tokio::time::timeout(CHECK_PATIENCE, run).await.context("keys check")???;
        ensure!(done.status.success(), "{}", end_to_end::cluster::text_of(&done));
        Ok(())
    }

    /// Stops everything.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.cluster.stop().await
    }
}
