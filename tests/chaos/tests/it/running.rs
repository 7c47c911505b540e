//! Goal: whoever is killed in the midst of a rotation, at whatever moment, the same command again ends
//! well, no client is told anything wrong, and nothing is lost.
//! Method: each of ten services is killed once during a rotation that nobody holds up, and started
//! again. Who at which moment, and the delay after it, are drawn: `KEYHELM_CHAOS_SEED` draws the same
//! again. The rotation's own record says in which phase it was when the container was dead.
//! Re-encryption is slowed down by the reencryptor's own setting (`slow.yml`), and some of the orders
//! have holds.

use std::collections::BTreeSet;
use std::process::Output;
use std::time::{Duration, Instant};

use chaos::compose::{PATIENCE, text_of};
use chaos::{Draw, Stack};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::arena::{Arena, until_whole};
use crate::quickstart::newest;
use crate::readers::{Readers, Reads};

/// Who is killed, each once.
const VICTIMS: [&str; 10] = [
    "op-1",
    "op-2",
    "op-3",
    "rec-1",
    "rec-2",
    "reencryptor",
    "coordinator",
    "gateway",
    "rabbitmq",
    "postgres",
];
/// Without these no rotation goes on and no command is answered: one may end with another code than 0,
/// and must be given again.
const INDISPENSABLE: [&str; 3] = ["coordinator", "rabbitmq", "postgres"];
/// Codes with which it may: failed, not finished, unreachable.
const MAY_END: [i32; 4] = [0, 1, 4, 6];
/// Phases that are looked for, in order.
const PHASES: [&str; 12] = [
    "inspect",
    "generate",
    "install",
    "commit",
    "hold-after-commit",
    "reencrypt",
    "promote",
    "flip",
    "hold-before-clear",
    "clear",
    "drop",
    "done",
];
/// How often a rotation is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Kills that may come when the rotation has just ended.
const MAY_BE_LATE: usize = 2;
/// In so many phases at least somebody was killed.
const LEAST_PHASES: usize = 3;

/// When somebody is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// As soon as there is a rotation.
    Begun,
    /// All units have committed; the order has them wait.
    Held,
    /// In the midst of the keys.
    Reencrypting,
    /// All keys are re-encrypted, and what is left takes a few milliseconds.
    Decided,
    /// The new master key is in use, the old one still kept.
    Kept,
}

/// As many as there are victims.
const MOMENTS: [Moment; 10] = [
    Moment::Begun,
    Moment::Begun,
    Moment::Held,
    Moment::Held,
    Moment::Reencrypting,
    Moment::Reencrypting,
    Moment::Reencrypting,
    Moment::Decided,
    Moment::Kept,
    Moment::Kept,
];

impl Moment {
    const fn command(self) -> &'static str {
        match self {
            Self::Held => "auto-mk-rotate --yes --hold-after-commit 1s",
            Self::Kept => "auto-mk-rotate --yes --hold-before-clear 3s",
            Self::Begun | Self::Reencrypting | Self::Decided => "auto-mk-rotate --yes",
        }
    }

    const fn phase(self) -> &'static str {
        match self {
            Self::Begun => "inspect",
            Self::Held => "hold-after-commit",
            Self::Reencrypting => "reencrypt",
            Self::Decided => "promote",
            Self::Kept => "hold-before-clear",
        }
    }

    /// The longest delay after it.
    const fn spread(self) -> Duration {
        Duration::from_millis(match self {
            Self::Begun => 100,
            Self::Held | Self::Kept => 400,
            Self::Reencrypting => 700,
            Self::Decided => 20,
        })
    }

    fn has_come(self, rotation: &Value) -> bool {
        let reached = rotation["phase"].as_str().unwrap_or_default();
        let place = |phase: &str| PHASES.iter().position(|name| *name == phase);
        let reached = place(reached).unwrap_or_else(|| panic!("nobody was killed yet: {rotation}"));
        Some(reached) >= place(self.phase())
    }
}

/// A kill, and what came of it.
struct Blow {
    victim: &'static str,
    moment: Moment,
    delay: Duration,
    /// In which phase the rotation was.
    phase: String,
    /// With what the command ended during which it came.
    code: i32,
    /// With what the same command ended before it ended well.
    codes: Vec<i32>,
    reads: Reads,
    took: Duration,
}

/// Ten rotations in each of which somebody else is killed.
pub async fn a_running_rotation_survives_every_service(stack: &mut Stack) {
    stack.set("COMPOSE_FILE", "docker-compose.yml:tests/chaos/slow.yml");
    stack.run(&["up", "-d", "--no-deps", "reencryptor"]).await.unwrap();
    until_whole(stack).await;
    let arena = Arena::of(stack).await;
    let mut draw = Draw::begin();
    let mut victims = VICTIMS;
    draw.shuffle(&mut victims);
    let mut blows = Vec::new();
    for (victim, moment) in victims.into_iter().zip(MOMENTS) {
        let blow = strike(&arena, victim, moment, draw.below(moment.spread())).await;
        println!("{blow}");
        blows.push(blow);
    }
    drop(arena);
    // The next start has the file's own settings again.
    stack.unset("COMPOSE_FILE");
    judge(&blows);
}

/// A kill in the midst of a rotation, what follows, and a look at everything.
async fn strike(arena: &Arena<'_>, victim: &'static str, moment: Moment, delay: Duration) -> Blow {
    let begun = Instant::now();
    let after = format!("{victim} killed {delay:?} after {moment:?}");
    let readers = Readers::begin(&arena.gateway, &arena.witness);
    readers.until_served().await;
    let (rotation, command) = rotate_until(arena, moment).await;
    tokio::time::sleep(delay).await;
    let dead_at = arena.kill(victim).await;
    arena.start(victim).await;
    let code = ended_as_it_may(command, victim, &after).await;
    let codes = arena.until_well(moment.command()).await;
    let is_first = codes.is_empty() || INDISPENSABLE.contains(&victim);
    assert!(is_first, "{after}: the same command again ended with {codes:?}");
    let newest = arena.newest_ended().await;
    assert_eq!(newest["phase"], "done", "{after}: {newest}");
    let rotation = arena.ended(&rotation).await;
    readers.until_served().await;
    let reads = readers.end(&after);
    // A connection that is open when its gateway dies is cut, and none comes about until it is back.
    assert!(victim != "gateway" || reads.cut > 0, "{after}: {reads:?}");
    arena.check(&after).await;
    let (phase, took) = (phase_at(&rotation, dead_at), begun.elapsed());
    Blow { victim, moment, delay, phase, code, codes, reads, took }
}

/// Gives the command, and waits until its rotation is that far. Answers its id, and the command.
async fn rotate_until(
    arena: &Arena<'_>,
    moment: Moment,
) -> (String, JoinHandle<anyhow::Result<Output>>) {
    let until = Instant::now() + PATIENCE;
    let before = newest(arena.stack).await;
    let command = arena.shell.begin(moment.command());
    loop {
        // A command may end before its rotation, where that has a hold: it is looked at first.
        let has_ended = command.is_finished();
        let now = newest(arena.stack).await;
        if now["rotation"] != before["rotation"] && moment.has_come(&now) {
            return (now["rotation"].as_str().unwrap().to_owned(), command);
        }
        if has_ended && now["rotation"] == before["rotation"] {
            let output = command.await.unwrap().unwrap();
            panic!("it ended without a rotation: {}", text_of(&output));
        }
        assert!(Instant::now() < until, "{moment:?} does not come: {now}");
        tokio::time::sleep(LOOK).await;
    }
}

/// The exit code of the command during which somebody was killed.
async fn ended_as_it_may(
    command: JoinHandle<anyhow::Result<Output>>,
    victim: &str,
    after: &str,
) -> i32 {
    let output = tokio::time::timeout(PATIENCE, command).await.unwrap().unwrap().unwrap();
    let code = output.status.code().unwrap_or(-1);
    let may_end = if INDISPENSABLE.contains(&victim) { &MAY_END[..] } else { &MAY_END[..1] };
    assert!(may_end.contains(&code), "{after}: {}", text_of(&output));
    code
}

/// The phase in which a rotation was, as its record says.
fn phase_at(rotation: &Value, at: u64) -> String {
    let phases = rotation["phases"].as_array().unwrap();
    let begun = |entry: &&Value| entry[1].as_u64().is_some_and(|begun| begun <= at);
    let last = phases.iter().rev().find(begun).unwrap_or_else(|| panic!("not begun: {rotation}"));
    last[0].as_str().unwrap().to_owned()
}

/// Most of them were struck before they had ended, and not all in the same phase.
fn judge(blows: &[Blow]) {
    let is_late = |blow: &&Blow| ["done", "aborted"].contains(&blow.phase.as_str());
    let late = blows.iter().filter(is_late).count();
    assert!(late <= MAY_BE_LATE, "{late} of {} came after the end", blows.len());
    let phases: BTreeSet<_> =
        blows.iter().filter(|blow| !is_late(blow)).map(|blow| blow.phase.as_str()).collect();
    println!("killed in {phases:?}; {late} came after the end");
    assert!(phases.len() >= LEAST_PHASES, "{phases:?}");
}

impl std::fmt::Display for Blow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { victim, moment, delay, phase, code, codes, reads, took } = self;
        let (moment, delay, took) = (format!("{moment:?}"), delay.as_millis(), took.as_secs_f64());
        write!(f, "{victim:<11} {moment:<12} +{delay:>3} ms: killed in {phase}, exit {code}, ")?;
        write!(f, "then {codes:?} and 0; reads {} right, ", reads.right)?;
        write!(f, "{} refused, {} cut; {took:.1} s", reads.refused, reads.cut)
    }
}
