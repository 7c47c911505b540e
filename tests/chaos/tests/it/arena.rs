//! A cluster in which containers are killed: by ids that were looked up before, with a command line
//! that is there already, so that a kill comes when it shall and not a second later.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chaos::compose::{INSTANCE, PATIENCE, docker, text_of};
use chaos::draw::now_ms;
use chaos::{Gateway, Shell, Stack};
use serde_json::Value;

use crate::witness::Witness;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Exit codes after which the same command is to be given again: conditions unmet and nothing changed,
/// not finished, unreachable.
const AGAIN: [i32; 3] = [3, 4, 6];

/// The cluster, and what was noted of it.
pub struct Arena<'a> {
    /// Its containers.
    pub stack: &'a Stack,
    /// The command line.
    pub shell: Shell,
    /// A client.
    pub gateway: Gateway,
    /// What must be there afterwards.
    pub witness: Witness,
    containers: BTreeMap<String, String>,
}

impl<'a> Arena<'a> {
    /// Of a cluster that is well and has keys.
    pub async fn of(stack: &'a Stack) -> Self {
        until_whole(stack).await;
        let shell = Shell::open(stack).await.unwrap();
        let gateway = Gateway::of(stack).await.unwrap();
        let witness = Witness::of(&gateway).await;
        let containers = stack.containers().await.unwrap();
        Self { stack, shell, gateway, witness, containers }
    }

    fn container(&self, service: &str) -> &str {
        let found = self.containers.get(service);
        found.unwrap_or_else(|| panic!("{service} is not in {:?}", self.containers))
    }

    /// Kills a service's container, as a power cut would. Answers a moment at which it was dead.
    pub async fn kill(&self, service: &str) -> u64 {
        docker(&["kill", "--signal", "KILL", self.container(service)]).await.unwrap();
        now_ms()
    }

    /// Starts it again.
    pub async fn start(&self, service: &str) {
        docker(&["start", self.container(service)]).await.unwrap();
    }

    /// Gives a command again until it ends well, as its exit codes tell. Answers those before.
    pub async fn until_well(&self, line: &str) -> Vec<i32> {
        let until = Instant::now() + PATIENCE;
        let mut codes = Vec::new();
        loop {
            let output = self.shell.output(line).await.unwrap();
            let code = output.status.code().unwrap_or(-1);
            if code == 0 {
                return codes;
            }
            let said = text_of(&output);
            assert!(AGAIN.contains(&code), "keyhelm {line}: {said}");
            assert!(Instant::now() < until, "after {codes:?} still: keyhelm {line}: {said}");
            codes.push(code);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the rotation has ended, whether anybody answers meanwhile or not.
    pub async fn ended(&self, rotation: &str) -> Value {
        let path = format!("/v1/rotations/{rotation}");
        let is_ended = |view: &Value| !view["finished_at"].is_null();
        until(self.stack, &path, is_ended).await
    }

    /// The same of whichever is the newest.
    pub async fn newest_ended(&self) -> Value {
        let path = format!("/v1/instances/{INSTANCE}/rotations?limit=1");
        let view = until(self.stack, &path, |list| !list[0]["finished_at"].is_null()).await;
        view[0].clone()
    }

    /// Everything is as it was.
    pub async fn check(&self, after: &str) {
        self.witness.check(&self.gateway, &self.shell, after).await;
    }
}

/// Waits until nothing keeps a rotation from starting.
pub async fn until_whole(stack: &Stack) {
    let path = format!("/v1/instances/{INSTANCE}/compare");
    let is_whole = |view: &Value| view["unmet"].as_array().is_some_and(Vec::is_empty);
    until(stack, &path, is_whole).await;
}

/// Asks until the coordinator answers what is waited for.
async fn until(stack: &Stack, path: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = stack.get(path).await;
        match answer {
            Ok(view) if is_it(&view) => return view,
            _ => {}
        }
        assert!(Instant::now() < until, "{path} stays {answer:?}");
        tokio::time::sleep(LOOK).await;
    }
}
