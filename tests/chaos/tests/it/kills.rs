//! Each unit's container killed in the midst of a rotation: it ends well once the unit is back.

use std::time::{Duration, Instant};

use chaos::Stack;
use chaos::compose::{PATIENCE, UNITS, text_of};

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

/// Held by the coordinator at a phase, a unit killed there and started again: success, all keys open.
pub async fn each_unit_at_each_phase(stack: &Stack) {
    println!("{:<10} {}", "killed at", UNITS.map(|unit| format!("{unit:>8}")).join(" "));
    for phase in PHASES {
        let mut shown = format!("{phase:<10}");
        for unit in UNITS {
            let begun = Instant::now();
            let rotation = begin_held(stack, phase).await;
            stack.kill(unit).await.unwrap();
            hold(stack, None).await;
            stack.start(unit).await.unwrap();
            until_done(stack, &rotation).await;
            shown.push_str(&format!(" {:>6.1} s", begun.elapsed().as_secs_f64()));
        }
        println!("{shown}");
        stack.cli(0, "keys check").await.unwrap();
    }
}

/// Nobody is held: the unit is killed as soon as the rotation has begun.
pub async fn a_running_rotation_survives_each_unit(stack: &Stack) {
    for unit in UNITS {
        let before = newest(stack).await;
        let line = ["run", "--rm", "-T", "cli", "auto-mk-rotate", "--yes"];
        let rotating = stack.compose(&line).spawn().unwrap();
        while newest_phase(stack, &before["rotation"]).await.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stack.kill(unit).await.unwrap();
        stack.start(unit).await.unwrap();
        let ended = tokio::time::timeout(PATIENCE, rotating.wait_with_output()).await;
        let ended = ended.unwrap().unwrap();
        assert!(ended.status.success(), "{unit} killed: {}", text_of(&ended));
        stack.cli(0, "auto-mk-rotate --yes").await.unwrap();
        stack.cli(0, "keys check").await.unwrap();
    }
}

/// The phase of a rotation after `before`, once there is one.
async fn newest_phase(stack: &Stack, before: &serde_json::Value) -> Option<String> {
    let now = newest(stack).await;
    (now["rotation"] != *before).then(|| now["phase"].as_str().unwrap_or_default().to_owned())
}
