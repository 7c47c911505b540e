//! One process of the cluster: started, stopped, killed, its log kept.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::process::{Child, Command};

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process and how to start it again.
pub struct Process {
    name: String,
    binary: PathBuf,
    environment: Vec<(String, String)>,
    log: PathBuf,
    /// Where it shows how it is and what it has counted.
    pub observe_port: u16,
    child: Option<Child>,
}

impl Process {
    /// Not started yet. Its log goes to `<folder>/<name>.log`, its metrics to this port.
    pub fn new(
        name: &str,
        binary: PathBuf,
        folder: &Path,
        mut environment: Vec<(String, String)>,
        observe_port: u16,
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let observed = format!("127.0.0.1:{observe_port}");
        environment.push(("KEYHELM_OBSERVE_LISTEN".to_owned(), observed));
        Self { name: name.to_owned(), binary, environment, log, observe_port, child: None }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives it a variable at its next start.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.unset(name);
        self.environment.push((name.to_owned(), value.into()));
    }

    /// Takes a variable away at its next start.
    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// Takes another build of its program at its next start.
    pub fn become_build(&mut self, folder: &Path) {
        self.binary = folder.join(self.program());
    }

    /// The name of its binary.
    pub fn program(&self) -> String {
        self.binary.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Starts it; its log goes on where it was.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.binary)
            .current_dir(self.log.parent().unwrap_or(Path::new(".")))
            .env_clear()
            .env("KEYHELM_LOG", "debug,lapin=warn,hyper=warn,tokio_postgres=warn")
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!("{}: build the workspace first (--release)", self.binary.display())
            })?;
        self.child = Some(child);
        Ok(())
    }

    /// Its process id; none if it does not run.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Sends it a signal, by the name that `kill` gives it: `-STOP`.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.id().with_context(|| format!("{} does not run", self.name))?;
        let sent = std::process::Command::new("kill").args([name, &id.to_string()]).status()?;
        ensure!(sent.success(), "{name} cannot be sent to {}", self.name);
        Ok(())
    }

    /// SIGKILL.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// SIGTERM; answers its exit code.
    pub async fn terminate(&mut self) -> anyhow::Result<i32> {
        let Some(mut child) = self.child.take() else { bail!("{} does not run", self.name) };
        let id = child.id().context("no process id")?;
        Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
        let status = ended.with_context(|| format!("{} does not stop", self.name))??;
        status.code().with_context(|| format!("{} ended by {status}", self.name))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until its log says something; a process that ends first is an error.
    pub async fn says(&mut self, text: &str) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            if !self.is_running() || Instant::now() > until {
                bail!("{} never said {text:?}; its log:\n{}", self.name, self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}
