//! What is done while a process is about to end, and again after it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use end_to_end::cluster::{INSTANCE, text_of};
use end_to_end::process::PATIENCE;
use end_to_end::tap::Seen;
use end_to_end::{Cluster, database, tap};
use serde_json::Value;
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::witness::{self, Witness};
use crate::gate::{hold, until_phase};
use crate::words;

/// Signs an order where a crash came between a manifest and the standing order under it.
const ROTATE: &str = "auto-mk-rotate --yes --passphrase-file passphrase";
const MANIFEST: &str = "cryptounit-thrhld-set --revocation-threshold 2 --keep-standing-order --yes \
                        --passphrase-file passphrase";
const CREATE: &str = "keys create --count 20";
/// Within this time a coordinator has renewed its lease.
const RENEWED: Duration = Duration::from_secs(15);
/// Within this time a keystore has aborted, though no unit answers.
const ABORTED: Duration = Duration::from_secs(2);
const OPERATIONAL: [&str; 3] = ["op-1", "op-2", "op-3"];
/// How a command may end during which a process dies: well, to be run again, or not reachable.
const ENDS: [i32; 3] = [0, 4, 6];

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A rotation by the command line.
    Rotate,
    /// The coordinator is started, and renews its lease for a while.
    Start,
    /// A rotation whose pages nobody answers, aborted by hand.
    Abort,
    /// Keys created, one deleted and purged.
    Keys,
    /// A rotation asked for on the queue.
    Request,
    /// A new manifest, with its standing order.
    Manifest,
}

/// Work that is being done.
pub struct Doing {
    work: Work,
    commands: JoinHandle<Vec<Option<i32>>>,
    /// Events, where the work was asked for on the queue.
    events: Option<Seen>,
    /// The rotation that is being aborted.
    aborted: Option<JoinHandle<std::io::Result<std::process::Output>>>,
}

impl Work {
    /// Starts it; the process is told where to end just before what it is ended in.
    pub async fn start(
        self,
        cluster: &mut Cluster,
        witness: &Witness,
        arm: impl FnOnce(),
    ) -> Doing {
        let doing = |commands| Doing { work: self, commands, events: None, aborted: None };
        match self {
            Self::Start => {
                let process = cluster.process("coordinator").unwrap();
                assert_eq!(process.terminate().await.unwrap(), 0);
                arm();
                process.start().unwrap();
                doing(tokio::spawn(async {
                    tokio::time::sleep(RENEWED).await;
                    Vec::new()
                }))
            }
            Self::Rotate => doing(one_after_the_other(cluster, &[ROTATE.to_owned()], arm)),
            Self::Manifest => doing(one_after_the_other(cluster, &[MANIFEST.to_owned()], arm)),
            Self::Keys => {
                let key = witness.client.create("spare", 1).await.unwrap().remove(0);
                let lines = [CREATE.to_owned(), delete(&key), purge(&key)];
                doing(one_after_the_other(cluster, &lines, arm))
            }
            Self::Request => {
                arm();
                let (events, _) = tap::ask_by_queue(cluster.amqp_url(), INSTANCE).await.unwrap();
                let seen = events.clone();
                let commands = tokio::spawn(async move {
                    until_done(&seen).await;
                    Vec::new()
                });
                Doing { events: Some(events), ..doing(commands) }
            }
            Self::Abort => {
                let rotation = with_open_generation(cluster).await;
                let commands = one_after_the_other(cluster, &["abort --yes".to_owned()], arm);
                // Nobody else is waited for when the keystore has aborted; the command waits for all.
                go_on_later(cluster);
                Doing { aborted: Some(rotation), ..doing(commands) }
            }
        }
    }

    /// The same once more, which must end well now.
    pub async fn again(self, cluster: &Cluster, witness: &Witness, after: &str) {
        witness::until_up(cluster).await;
        match self {
            Self::Manifest => {
                cluster.expect(0, &words(MANIFEST)).await.unwrap();
            }
            Self::Keys => {
                cluster.expect(0, &words(CREATE)).await.unwrap();
                let key = witness.client.create("spare", 1).await.unwrap().remove(0);
                cluster.expect(0, &words(&delete(&key))).await.unwrap();
                cluster.expect(0, &words(&purge(&key))).await.unwrap();
            }
            Self::Rotate | Self::Start | Self::Abort | Self::Request => {}
        }
        let output = cluster.keyhelm(&words(ROTATE)).await.unwrap();
        assert!(output.status.success(), "after {after}: {}", text_of(&output));
    }
}

impl Doing {
    /// Whether all of it has ended.
    pub fn is_over(&self) -> bool {
        self.commands.is_finished()
    }

    /// Waits for the end.
    pub async fn finish(self, cluster: &mut Cluster, what: &str) {
        if self.work == Work::Start {
            return self.commands.abort();
        }
        if self.aborted.is_some() {
            signal_operational(cluster, "-CONT");
        }
        let codes = self.commands.await.unwrap();
        let is_well = |code: &Option<i32>| code.is_some_and(|code| ENDS.contains(&code));
        // A key may be gone already when a deletion is asked for again.
        assert!(self.work == Work::Keys || codes.iter().all(is_well), "{what}: {codes:?}");
        if let Some(rotation) = self.aborted {
            rotation.await.unwrap().unwrap();
        }
        if let Some(events) = self.events {
            let begun: BTreeSet<_> = events.messages().iter().filter_map(rotation_of).collect();
            assert_eq!(begun.len(), 1, "{what}: one request, {begun:?}");
        }
    }
}

fn delete(key: &str) -> String {
    format!("keys delete {key} --yes")
}

fn purge(key: &str) -> String {
    format!("keys purge {key} --yes")
}

/// Commands in a task of their own; answers their exit codes.
fn one_after_the_other(
    cluster: &Cluster,
    lines: &[String],
    arm: impl FnOnce(),
) -> JoinHandle<Vec<Option<i32>>> {
    let commands: Vec<Command> =
        lines.iter().map(|line| cluster.command(&words(line)).unwrap()).collect();
    arm();
    tokio::spawn(async move {
        let mut codes = Vec::new();
        for mut command in commands {
            codes.push(command.output().await.unwrap().status.code());
        }
        codes
    })
}

/// A rotation that has opened its generation and goes no further, as no operational unit runs.
async fn with_open_generation(
    cluster: &mut Cluster,
) -> JoinHandle<std::io::Result<std::process::Output>> {
    hold(cluster, Some("reencrypt")).await;
    let rotation = cluster.begin(&words(ROTATE)).unwrap();
    until_phase(cluster, "reencrypt").await;
    signal_operational(cluster, "-STOP");
    hold(cluster, None).await;
    let client = database::connect(&cluster.database.url).await.unwrap();
    let until = Instant::now() + PATIENCE;
    loop {
        let row = client.query_one("SELECT row FROM keystores", &[]).await.unwrap();
        let row: Value = serde_json::from_str(row.get(0)).unwrap();
        if !row["open"].is_null() {
            return rotation;
        }
        assert!(Instant::now() < until, "no generation is opened: {row}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn signal_operational(cluster: &mut Cluster, signal: &str) {
    for name in OPERATIONAL {
        cluster.process(name).unwrap().signal(signal).unwrap();
    }
}

/// The operational units go on when the keystore has had time to abort.
fn go_on_later(cluster: &mut Cluster) {
    let ids = OPERATIONAL.map(|name| cluster.process(name).unwrap().id().unwrap().to_string());
    tokio::spawn(async move {
        tokio::time::sleep(ABORTED).await;
        Command::new("kill").arg("-CONT").args(ids).status().await
    });
}

/// Until an event tells of the end of a rotation.
async fn until_done(events: &Seen) {
    let until = Instant::now() + 2 * PATIENCE;
    while !events.messages().iter().any(|(key, _)| key.ends_with(".done")) {
        assert!(Instant::now() < until, "{:?}", events.texts());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn rotation_of((_, body): &(String, Vec<u8>)) -> Option<String> {
    let event: Value = serde_json::from_slice(body).ok()?;
    event["rotation"]["rotation"].as_str().map(str::to_owned)
}
