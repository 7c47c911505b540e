//! Master keys and what is derived from them lie in pages that are locked and left out of dumps, and
//! nowhere else, at each phase of a rotation; the old ones nowhere at all after the clear.
//!
//! Every process stands still (SIGSTOP) while all of its memory is read. What the same look must find,
//! and does: the keys in the guarded pages, the seed of the test build on its stack, a secret that a
//! shell was given to hold.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use end_to_end::cluster::{INSTANCE, SEED, UNITS};
use end_to_end::keys::Client;
use end_to_end::leaks::Finder;
use end_to_end::memory::{Found, look};
use end_to_end::process::PATIENCE;
use end_to_end::{Cluster, Flavour};
use protocol::Pattern;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::rotation::master_key_of;
use crate::{started, words};

/// Phases whose commands a test build of the coordinator keeps back, in order.
const PHASES: [&str; 9] =
    ["inspect", "generate", "install", "commit", "reencrypt", "promote", "flip", "clear", "drop"];

/// What is told of one look.
struct Look {
    phase: &'static str,
    process: String,
    bytes: u64,
    found: Vec<Found>,
}

/// HMAC-SHA256 (RFC 2104) of keys of at most a block.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

/// A master key, what HKDF makes of it first, and its wrapping key, by an HKDF that is not the
/// product's own.
fn secrets_of(which: &str, pattern: Pattern) -> Vec<(String, Vec<u8>)> {
    let key = *master_key_of(pattern).danger_state_bytes();
    let extracted = hmac(&[0; 32], &key);
    let expanded = |info: &[u8]| hmac(&extracted, &[info, &[1]].concat());
    assert_eq!(expanded(b"keyhelm pattern v1"), pattern.0, "this is not how keys are derived");
    let wrapping = expanded(b"keyhelm wrap suite 1 v1");
    let named = |name: &str, bytes: [u8; 32]| (format!("{which} {name}"), bytes.to_vec());
    vec![
        named("master key", key),
        named("extracted key", extracted),
        named("wrapping key", wrapping),
    ]
}

async fn hold(cluster: &Cluster, phase: Option<&str>) {
    let base = format!("http://127.0.0.1:{}/testing/hold", cluster.coordinator_port);
    let http = reqwest::Client::new();
    let request = match phase {
        Some(phase) => http.put(format!("{base}/{phase}")),
        None => http.delete(base),
    };
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 204);
}

async fn newest(cluster: &Cluster) -> Value {
    let list = cluster.get(&format!("/v1/instances/{INSTANCE}/rotations?limit=1")).await.unwrap();
    list[0].clone()
}

/// Waits until the newest rotation, another one than `before`, stands at a phase.
async fn reached(cluster: &Cluster, before: &Value, phase: &str) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let view = newest(cluster).await;
        if view["rotation"] != before["rotation"] && view["phase"] == phase {
            return view;
        }
        assert!(Instant::now() < until, "not at {phase}: {view}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn pattern(view: &Value, field: &str) -> Option<Pattern> {
    view[field].as_str().map(|text| text.parse().unwrap())
}

/// Stops each process, reads all of its memory, and lets it go on.
fn look_at_all(
    cluster: &Cluster,
    phase: &'static str,
    secrets: &[(String, Vec<u8>)],
    seen: &mut Vec<Look>,
) {
    let finder = Finder::new(secrets).unwrap();
    for process in &cluster.processes {
        process.signal("-STOP").unwrap();
        let looked = look(process.id().unwrap(), &finder);
        process.signal("-CONT").unwrap();
        let (found, bytes) = looked.unwrap();
        seen.push(Look { phase, process: process.name().to_owned(), bytes, found });
    }
}

fn is_unit(name: &str) -> bool {
    UNITS.iter().any(|(unit, _)| *unit == name)
}

/// Whose guarded pages must hold a secret at a phase, so that a look that finds nothing fails.
fn must_be_found(phase: &str, process: &str, secret: &str) -> bool {
    let at = PHASES.iter().position(|name| *name == phase).unwrap_or(PHASES.len());
    let from = |name: &str| PHASES.iter().position(|phase| *phase == name).unwrap();
    // Whoever is held before the clear has it still; the extracted key is never kept.
    let is_kept = match secret {
        "old master key" | "old wrapping key" => at <= from("clear"),
        "new master key" => at >= from("commit"),
        "new wrapping key" => at > from("commit"),
        _ => false,
    };
    is_unit(process) && is_kept
}

/// Every leak in one list, and nothing that should be there and is not.
fn judge(seen: &[Look]) {
    let mut leaks = BTreeSet::new();
    for Look { phase, process, found, .. } in seen {
        for Found { secret, region } in found {
            if !region.is_guarded() || !is_unit(process) {
                leaks.insert(format!("{phase}: {process}: {secret} in {}", region.name));
            }
        }
        let guarded: BTreeSet<_> = found.iter().map(|it| it.secret.as_str()).collect();
        for secret in ["old master key", "old wrapping key", "new master key", "new wrapping key"] {
            let is_lacking = must_be_found(phase, process, secret) && !guarded.contains(secret);
            assert!(!is_lacking, "{phase}: {process}: {secret} is not found in any page");
        }
    }
    assert!(leaks.is_empty(), "{} leaks: {leaks:#?}", leaks.len());
}

/// What must be found outside of guarded pages, or the look sees nothing.
fn planted_secrets_are_found(cluster: &Cluster) {
    for (name, _) in UNITS {
        let seed = (name.to_owned(), format!("{SEED} {name}").into_bytes());
        let process = cluster.processes.iter().find(|process| process.name() == name).unwrap();
        let finder = Finder::new(&[seed]).unwrap();
        let (found, _) = look(process.id().unwrap(), &finder).unwrap();
        assert!(found.iter().any(|it| !it.region.is_guarded()), "the seed of {name}: {found:?}");
    }
    let secret = "a secret that lies on the heap of a shell";
    let script = "read -r secret; echo read; read -r more";
    let mut shell = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(shell.stdin.as_ref().unwrap(), "{secret}").unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "read\n");
    let finder = Finder::new(&[("planted".to_owned(), secret.as_bytes().to_vec())]).unwrap();
    let (found, _) = look(shell.id(), &finder).unwrap();
    drop(shell.stdin.take());
    shell.wait().unwrap();
    let is_on_heap = |it: &Found| it.region.name == "[heap]" && !it.region.is_guarded();
    assert!(found.iter().any(is_on_heap), "{found:?}");
}

/// What a unit that aborts leaves behind; none, with the reason, where the machine writes no core.
async fn core_of(cluster: &mut Cluster, name: &str) -> Result<Vec<u8>, String> {
    let form = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if form.trim_end().is_empty() || form.contains(['|', '/', '%']) {
        return Err(format!("core dumps go elsewhere: {}", form.trim_end()));
    }
    let folder = cluster.folder.path().to_owned();
    let process = cluster.process(name).unwrap();
    let id = process.id().unwrap();
    let limit = Command::new("prlimit")
        .args([format!("--pid={id}"), "--core=unlimited:unlimited".to_owned()])
        .status();
    if !limit.is_ok_and(|status| status.success()) {
        return Err("the limit of core dumps cannot be raised".to_owned());
    }
    process.signal("-ABRT").unwrap();
    let until = Instant::now() + PATIENCE;
    while process.is_running() {
        assert!(Instant::now() < until, "{name} does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let paths = [form.trim_end().to_owned(), format!("{}.{id}", form.trim_end())];
    let path: Option<PathBuf> =
        paths.iter().map(|name| folder.join(name)).find(|path| path.exists());
    let path = path.ok_or("no core dump was written")?;
    std::fs::read(path).map_err(|error| error.to_string())
}

async fn no_core_holds_a_key(cluster: &mut Cluster, secrets: &[(String, Vec<u8>)]) {
    for name in ["op-1", "rec-1"] {
        match core_of(cluster, name).await {
            Err(reason) => println!("NOT RUN: the core dump of {name} ({reason})"),
            Ok(core) => {
                let found = Finder::new(secrets).unwrap().found(&core).len();
                assert_eq!(found, 0, "{name}: {:?}", Finder::new(secrets).unwrap().found(&core));
                let seed = ("seed".to_owned(), format!("{SEED} {name}").into_bytes());
                let sees = !Finder::new(&[seed]).unwrap().found(&core).is_empty();
                assert!(sees, "the core of {name} does not even hold its environment");
                println!("core dump of {name}: {} bytes, no key in it", core.len());
            }
        }
        let process = cluster.process(name).unwrap();
        process.kill().await.unwrap();
        process.start().unwrap();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_lie_in_guarded_pages_alone_and_old_ones_nowhere_after_the_clear() {
    let Some(mut cluster) = started(Flavour::Testing).await else { return };
    let client = Client::of(&cluster).await.unwrap();
    let keys = client.create("key", 600).await.unwrap();
    let text = STANDARD.encode("a text");
    // So that stacks and heaps have seen each kind of work.
    for key in &keys[..20] {
        let sealed = client.wrap(key, &text, "aad").await.unwrap();
        client.unwrap(key, &sealed, "aad").await.unwrap();
    }
    let before = newest(&cluster).await;
    let old = secrets_of("old", pattern(&before, "to").unwrap());
    let (mut seen, mut new) = (Vec::new(), Vec::new());
    hold(&cluster, Some(PHASES[0])).await;
    let rotate = cluster.begin(&words("auto-mk-rotate --yes")).unwrap();
    for (index, phase) in PHASES.into_iter().enumerate() {
        let view = reached(&cluster, &before, phase).await;
        if let (Some(to), true) = (pattern(&view, "to"), new.is_empty()) {
            new = secrets_of("new", to);
        }
        look_at_all(&cluster, phase, &[old.clone(), new.clone()].concat(), &mut seen);
        hold(&cluster, PHASES.get(index + 1).copied()).await;
    }
    let done = rotate.await.unwrap().unwrap();
    assert!(done.status.success(), "{done:?}");
    let all = [old, new].concat();
    look_at_all(&cluster, "done", &all, &mut seen);
    planted_secrets_are_found(&cluster);
    let mut read = BTreeMap::new();
    for Look { process, bytes, .. } in &seen {
        *read.entry(process.as_str()).or_insert(0) += bytes;
    }
    println!("{} looks, bytes read of each process: {read:?}", seen.len());
    judge(&seen);
    let old_after = seen.iter().filter(|look| matches!(look.phase, "drop" | "done"));
    for Look { phase, process, found, .. } in old_after {
        let is_old = |it: &&Found| it.secret.starts_with("old");
        assert_eq!(found.iter().find(is_old), None, "{phase}: {process}");
    }
    no_core_holds_a_key(&mut cluster, &all).await;
    cluster.expect(0, &words("auto-mk-rotate --yes")).await.unwrap();
    cluster.expect(0, &words("keys check")).await.unwrap();
    cluster.stop().await.unwrap();
}
