//! Goal: a unit that is killed while a rotation stands at a phase costs nothing: the rotation ends well
//! once it is back, at each of six phases.
//! Method: a coordinator of a test build keeps the commands of a phase back; each unit's container is
//! killed then.

use std::time::{Duration, Instant};

use chaos::Stack;
use chaos::compose::{PATIENCE, UNITS};

use crate::arena::Arena;
use crate::quickstart::newest;

/// Phases at which a rotation is held while a unit is killed.
const PHASES: [&str; 6] = ["install", "commit", "reencrypt", "promote", "flip", "clear"];

async fn hold(stack: &Stack, phase: Option<&str>) {
    let base = format!("http://127.0.0.1:{}/testing/hold", stack.coordinator_port);
    let http = reqwest::Client::new();
    let answer = match phase {
        Some(phase) => http.put(format!("{base}/{phase}")).send().await.unwrap(),
        None => http.delete(base).send().await.unwrap(),
    };
    assert_eq!(answer.status(), 204);
}

/// Starts a rotation that stands still at a phase; answers its id.
pub async fn begin_held(stack: &Stack, phase: &str) -> String {
    let before = newest(stack).await;
    hold(stack, Some(phase)).await;
    stack.begin_rotation().await.unwrap();
    let until = Instant::now() + PATIENCE;
    loop {
        let now = newest(stack).await;
        if now["rotation"] != before["rotation"] && now["phase"] == phase {
            return now["rotation"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < until, "{phase} is not reached: {now}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the rotation has ended well.
pub async fn until_done(stack: &Stack, rotation: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let now = newest(stack).await;
        assert_eq!(now["rotation"], rotation);
        match now["phase"].as_str() {
            Some("done") => return,
            Some("aborted") => panic!("it was aborted: {now}"),
            _ => {}
        }
        assert!(Instant::now() < until, "it does not end: {now}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Held by the coordinator at a phase, a unit killed there and started again: success, the same command
/// again succeeds, and everything is as it was.
pub async fn each_unit_at_each_phase(stack: &Stack) {
    let arena = Arena::of(stack).await;
    println!("{:<10} {}", "killed at", UNITS.map(|unit| format!("{unit:>8}")).join(" "));
    for phase in PHASES {
        let mut shown = format!("{phase:<10}");
        for unit in UNITS {
            let begun = Instant::now();
            let rotation = begin_held(stack, phase).await;
            arena.kill(unit).await;
            hold(stack, None).await;
            arena.start(unit).await;
            until_done(stack, &rotation).await;
            arena.shell.expect("auto-mk-rotate --yes").await.unwrap();
            arena.check(&format!("{unit} killed at {phase}")).await;
            shown.push_str(&format!(" {:>6.1} s", begun.elapsed().as_secs_f64()));
        }
        println!("{shown}");
    }
}
