//! A cluster under Compose, with a project name and ports of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::OnceCell;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(240);
/// How long an answer over HTTP may take.
pub const ANSWER: Duration = Duration::from_secs(20);
/// Between two looks at something that takes its time.
const PAUSE: Duration = Duration::from_millis(200);

/// The crypto units, as the file names them.
pub const UNITS: [&str; 5] = ["op-1", "op-2", "op-3", "rec-1", "rec-2"];
/// All of keyhelm's services.
pub const SERVICES: [&str; 8] =
    ["op-1", "op-2", "op-3", "rec-1", "rec-2", "reencryptor", "coordinator", "gateway"];
/// The instance.
pub const INSTANCE: &str = "local";

/// A cluster of containers.
pub struct Stack {
    project: String,
    env_file: PathBuf,
    token: OnceCell<String>,
    variables: Vec<(&'static str, String)>,
    /// Port of the coordinator on the loopback.
    pub coordinator_port: u16,
    /// Port of the gateway on the loopback.
    pub gateway_port: u16,
    /// Port where received spans are shown.
    pub traces_port: u16,
}

fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compose in the words of `KEYHELM_TEST_COMPOSE`, else as `scripts/compose` finds it.
fn program() -> Command {
    let told = std::env::var("KEYHELM_TEST_COMPOSE").unwrap_or_default();
    let mut words = told.split_whitespace();
    let mut command = match words.next() {
        Some(first) => Command::new(first),
        None => Command::new(root().join("scripts/compose")),
    };
    command.args(words);
    command
}

/// What a program printed.
pub fn text_of(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    format!("{}\n{out}{}", output.status, String::from_utf8_lossy(&output.stderr))
}

impl Stack {
    /// A cluster under this name, of the images of the variables' file or of this one; nothing is
    /// started. None where there is no engine or there are no images.
    pub fn new(name: &str, image: Option<&str>) -> anyhow::Result<Option<Self>> {
        let Some(env_file) = std::env::var_os("KEYHELM_TEST_COMPOSE_ENV") else { return Ok(None) };
        let (coordinator_port, gateway_port) = (free_port()?, free_port()?);
        let traces_port = free_port()?;
        let mut variables = vec![
            ("KEYHELM_PORT", coordinator_port.to_string()),
            ("KEYHELM_GATEWAY_PORT", gateway_port.to_string()),
            ("KEYHELM_TRACES_PORT", traces_port.to_string()),
            ("KEYHELM_RABBITMQ_PORT", free_port()?.to_string()),
        ];
        variables.extend(image.map(|image| ("KEYHELM_IMAGE", image.to_owned())));
        let project = format!("keyhelm-test-{}-{name}", std::process::id());
        let env_file = env_file.into();
        Ok(Some(Self {
            project,
            env_file,
            token: OnceCell::new(),
            variables,
            coordinator_port,
            gateway_port,
            traces_port,
        }))
    }

    /// Gives the file a variable from now on.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.to_owned()));
    }

    /// Takes the variable away again: from now on the file says what it is.
    pub fn unset(&mut self, name: &str) {
        self.variables.retain(|(known, _)| *known != name);
    }

    /// Compose with these arguments, not started yet.
    pub fn compose(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command
            .args(["--project-name", &self.project, "--env-file"])
            .arg(&self.env_file)
            .args(arguments)
            .current_dir(root())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs Compose and wants exit code 0; answers standard output.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let run = self.compose(arguments).output();
        let output = tokio::time::timeout(PATIENCE, run).await.context("it does not end")??;
        if !output.status.success() {
            bail!("compose {arguments:?}: {}", text_of(&output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts everything and waits until all of it is healthy.
    pub async fn up(&self) -> anyhow::Result<()> {
        self.run(&["up", "-d"]).await?;
        for service in SERVICES.iter().chain(&["rabbitmq", "postgres"]) {
            self.until_healthy(service).await?;
        }
        Ok(())
    }

    /// Waits until a service's own check says that it is well.
    pub async fn until_healthy(&self, service: &str) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        let id = self.container(service).await?;
        loop {
            let format = "{{.State.Status}} {{.State.Health.Status}}";
            let state = docker(&["inspect", "--format", format, &id]).await?;
            if state.trim() == "running healthy" {
                return Ok(());
            }
            if Instant::now() >= until {
                bail!("{service} is {}: {}", state.trim(), self.logs(service).await);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The id of a service's container.
    pub async fn container(&self, service: &str) -> anyhow::Result<String> {
        let id = self.run(&["ps", "-q", service]).await?;
        ensure!(!id.trim().is_empty(), "{service} has no container");
        Ok(id.trim().to_owned())
    }

    /// The ids of all services' containers, by service: looked up once, they are killed by what Docker
    /// itself knows, as Compose takes longer to find one than a rotation of a few thousand keys.
    pub async fn containers(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let of = format!("label=com.docker.compose.project={}", self.project);
        let lasting = "label=com.docker.compose.oneoff=False";
        let format = "{{.Label \"com.docker.compose.service\"}} {{.ID}}";
        let arguments =
            ["ps", "--no-trunc", "--filter", &of, "--filter", lasting, "--format", format];
        let list = docker(&arguments).await?;
        let pair = |line: &str| {
            line.split_once(' ').map(|(service, id)| (service.to_owned(), id.trim().to_owned()))
        };
        Ok(list.lines().filter_map(pair).collect())
    }

    /// The log of a service.
    pub async fn logs(&self, service: &str) -> String {
        self.run(&["logs", "--no-color", "--tail", "60", service]).await.unwrap_or_default()
    }

    /// Runs the command line in a container of its own, and wants this exit code.
    pub async fn cli(&self, code: i32, line: &str) -> anyhow::Result<String> {
        let output = self.cli_output(line).await?;
        if output.status.code() != Some(code) {
            bail!("keyhelm {line} did not exit {code}: {}", text_of(&output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs the command line in a container of its own.
    pub async fn cli_output(&self, line: &str) -> anyhow::Result<Output> {
        let words = ["run", "--rm", "-T", "cli"].into_iter().chain(line.split_whitespace());
        let run = self.compose(&words.collect::<Vec<_>>()).output();
        Ok(tokio::time::timeout(PATIENCE, run).await.context("it does not end")??)
    }

    /// Runs a program in a service's container.
    pub async fn exec(&self, service: &str, program: &[&str]) -> anyhow::Result<Output> {
        let arguments: Vec<_> = ["exec", "-T", service].iter().chain(program).copied().collect();
        let run = self.compose(&arguments).output();
        Ok(tokio::time::timeout(PATIENCE, run).await.context("it does not end")??)
    }

    /// A file that a service's secrets hold.
    pub async fn secret(&self, service: &str, name: &str) -> anyhow::Result<String> {
        let path = format!("/run/keyhelm/{name}");
        let arguments = ["run", "--rm", "-T", "--no-deps", "--entrypoint", "cat", service, &path];
        Ok(self.run(&arguments).await?.trim().to_owned())
    }

    /// Kills a service's container, as a power cut would.
    pub async fn kill(&self, service: &str) -> anyhow::Result<()> {
        let id = self.container(service).await?;
        docker(&["kill", "--signal", "KILL", &id]).await.map(drop)
    }

    /// Starts the container of a service that was killed.
    pub async fn start(&self, service: &str) -> anyhow::Result<()> {
        self.run(&["start", service]).await.map(drop)
    }

    /// The command line's token.
    pub async fn token(&self) -> anyhow::Result<&str> {
        let token = self.token.get_or_try_init(|| self.secret("cli", "token")).await?;
        Ok(token)
    }

    /// Asks the coordinator.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let url = format!("http://127.0.0.1:{}{path}", self.coordinator_port);
        let asked = reqwest::Client::new().get(url).bearer_auth(self.token().await?);
        Ok(asked.timeout(ANSWER).send().await?.error_for_status()?.json().await?)
    }

    /// Starts a rotation, and does not wait for anything of it.
    pub async fn begin_rotation(&self) -> anyhow::Result<()> {
        let port = self.coordinator_port;
        let url = format!("http://127.0.0.1:{port}/v1/instances/{INSTANCE}/rotations");
        let asked = reqwest::Client::new().post(url).bearer_auth(self.token().await?);
        let answer = asked.json(&json!({})).send().await?;
        ensure!(answer.status() == 201, "{}: {}", answer.status(), answer.text().await?);
        Ok(())
    }

    /// Stops everything; its volumes stay.
    pub async fn down(&self) -> anyhow::Result<()> {
        self.run(&["down"]).await.map(drop)
    }

    /// Stops everything and removes what it has stored.
    pub async fn forget(&self) -> anyhow::Result<()> {
        self.run(&["down", "--volumes", "--remove-orphans"]).await.map(drop)
    }
}

/// Runs Docker and wants exit code 0; answers standard output.
pub async fn docker(arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new("docker");
    let run = command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, run).await.context("it does not end")??;
    ensure!(output.status.success(), "docker {arguments:?}: {}", text_of(&output));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
