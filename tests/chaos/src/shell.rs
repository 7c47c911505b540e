//! The command line in a container that stays. To make a container for each command takes longer
//! than most commands.

use std::process::{Output, Stdio};

use anyhow::{Context, bail};
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::Stack;
use crate::compose::{PATIENCE, text_of};

/// What keeps the container there, and lets it go at once when it is stopped.
const STAY: &str = "trap 'exit 0' TERM; while :; do sleep 1; done";

/// A container of the service `cli`, removed when this is dropped.
pub struct Shell {
    id: String,
}

impl Shell {
    /// Starts the container.
    pub async fn open(stack: &Stack) -> anyhow::Result<Self> {
        let said = stack.run(&["run", "-d", "--entrypoint", "sh", "cli", "-c", STAY]).await?;
        let id = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
        Ok(Self { id: id.context("it has no name")?.to_owned() })
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("docker");
        command
            .args(["exec", &self.id, "keyhelm"])
            .args(line.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs `keyhelm` with these arguments.
    pub async fn output(&self, line: &str) -> anyhow::Result<Output> {
        let run = self.command(line).output();
        Ok(tokio::time::timeout(PATIENCE, run).await.context("it does not end")??)
    }

    /// Runs it and wants exit code 0; answers standard output.
    pub async fn expect(&self, line: &str) -> anyhow::Result<String> {
        let output = self.output(line).await?;
        if !output.status.success() {
            bail!("keyhelm {line}: {}", text_of(&output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts it, and leaves it running beside whoever asks.
    pub fn begin(&self, line: &str) -> JoinHandle<anyhow::Result<Output>> {
        let mut command = self.command(line);
        tokio::spawn(async move {
            let run = command.output();
            Ok(tokio::time::timeout(PATIENCE, run).await.context("it does not end")??)
        })
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let mut remove = std::process::Command::new("docker");
        // Where it is gone already, nothing is left to be done.
        _ = remove.args(["rm", "--force", "--volumes", &self.id]).output();
    }
}
