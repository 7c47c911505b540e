//! What the README promises of the Compose cluster.

use std::time::{Duration, Instant};

use chaos::Stack;
use chaos::compose::{INSTANCE, PATIENCE, docker, text_of};

/// The four lines.
pub async fn four_lines(stack: &Stack) {
    stack.up().await.unwrap();
    // A second start of the same is nothing new: secrets that are there stay.
    stack.up().await.unwrap();
    stack.cli(0, "auto-init --standing-order 0s --trust-first-use").await.unwrap();
    stack.cli(0, "keys create --count 3000").await.unwrap();
    let said = stack.cli(0, "auto-mk-rotate --yes").await.unwrap();
    assert!(said.contains("3,000 keys, 0 failed, 5 of 5 crypto units"), "{said}");
    println!("{}", said.trim());
    stack.cli(0, "keys check").await.unwrap();
}

/// The images hold the binaries that users have, and none that a test can look into.
pub async fn nothing_for_tests_is_in_the_image() {
    for (image, expected) in [("keyhelm:local", false), ("keyhelm:failpoints", true)] {
        for program in ["operational-unit", "recovery-unit", "coordinator"] {
            let said = docker(&["run", "--rm", image, program, "--version"]).await.unwrap();
            assert_eq!(said.contains("TESTING"), expected, "{image} {said}");
        }
    }
}

/// The patterns before and after, of the newest rotation.
pub async fn newest(stack: &Stack) -> serde_json::Value {
    let path = format!("/v1/instances/{INSTANCE}/rotations?limit=1");
    stack.get(&path).await.unwrap()[0].clone()
}

/// Posts the JSON request with RabbitMQ's own tool, and reads what comes of it as events.
pub async fn a_message_starts_a_rotation(stack: &Stack) {
    let before = newest(stack).await;
    let request = format!(
        "payload={{\"type\":\"keyhelm.rotation-request\",\"version\":1,\"instance\":\"{INSTANCE}\"}}"
    );
    let post = [
        "rabbitmqadmin",
        "--config=/run/keyhelm/rabbitmqadmin.conf",
        "publish",
        "exchange=keyhelm.requests",
        "routing_key=keyhelm.coordinator.requests",
        &request,
    ];
    let posted = stack.exec("rabbitmq", &post).await.unwrap();
    assert!(posted.status.success(), "{}", text_of(&posted));
    let until = Instant::now() + PATIENCE;
    let mut events = String::new();
    while !events.contains(".done") {
        assert!(Instant::now() < until, "no event of the end: {events}");
        let get = [
            "rabbitmqadmin",
            "--config=/run/keyhelm/rabbitmqadmin.conf",
            "--format=raw_json",
            "get",
            "queue=keyhelm.requester.events",
            "count=100",
            "ackmode=ack_requeue_false",
        ];
        let got = stack.exec("rabbitmq", &get).await.unwrap();
        assert!(got.status.success(), "{}", text_of(&got));
        events.push_str(&String::from_utf8_lossy(&got.stdout));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let after = newest(stack).await;
    assert_eq!(after["from"], before["to"]);
    assert_ne!(after["to"], before["to"]);
    stack.cli(0, "keys check").await.unwrap();
}

/// `down` and `up` again, now with a small setting of pages: manifest, keys and master key are as they
/// were, and rotate again.
pub async fn everything_is_kept(stack: &mut Stack, rows_per_page: &str) {
    let before = newest(stack).await;
    stack.down().await.unwrap();
    stack.set("KEYHELM_ROWS_PER_PAGE", rows_per_page);
    stack.up().await.unwrap();
    stack.cli(0, "keys check").await.unwrap();
    assert_eq!(newest(stack).await["rotation"], before["rotation"]);
    stack.cli(0, "auto-mk-rotate --yes").await.unwrap();
    assert_eq!(newest(stack).await["from"], before["to"]);
    stack.cli(0, "keys check").await.unwrap();
}
