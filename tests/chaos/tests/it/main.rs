//! The Compose cluster as its users have it: from nothing to a rotation, by command and by message,
//! stopped and started again; what its processes may do at the broker; the trace of a rotation; and
//! containers killed in the midst of one, each unit's, each other service's, the servers'.

#![allow(clippy::unwrap_used)]

mod arena;
mod kills;
mod quickstart;
mod readers;
mod rights;
mod running;
mod tracing;
mod witness;

use chaos::Stack;
use tokio::sync::Mutex;

/// Two clusters at once would be more than a small machine has memory and cores for.
static TURN: Mutex<()> = Mutex::const_new(());

/// One cluster for everything that leaves it whole: starting one takes most of the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_starts_from_nothing_rotates_and_survives() {
    let _turn = TURN.lock().await;
    let Some(mut stack) = stack("whole", None) else { return };
    let done = tokio::spawn(async move {
        quickstart::four_lines(&stack).await;
        quickstart::nothing_for_tests_is_in_the_image().await;
        rights::a_process_reaches_only_what_its_role_speaks_to(&stack).await;
        rights::nothing_is_said_in_clear(&stack).await;
        tracing::each_rotation_is_one_trace(&stack).await;
        quickstart::a_message_starts_a_rotation(&stack).await;
        running::a_running_rotation_survives_every_service(&mut stack).await;
        quickstart::everything_is_kept(&mut stack, "10").await;
        tracing::of_many_pages_only_the_telling_ones_have_spans(&stack, 3_000 / 10).await;
    });
    finish("whole", done).await;
}

/// The same with units and a coordinator that tests can hold at a phase.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_is_killed_at_any_phase_costs_no_key() {
    let _turn = TURN.lock().await;
    let Some(stack) = stack("held", Some("keyhelm:failpoints")) else { return };
    let done = tokio::spawn(async move {
        quickstart::four_lines(&stack).await;
        kills::each_unit_at_each_phase(&stack).await;
        tracing::a_coordinator_that_is_killed_goes_on_in_the_same_trace(&stack).await;
    });
    finish("held", done).await;
}

fn stack(name: &str, image: Option<&str>) -> Option<Stack> {
    let stack = Stack::new(name, image).unwrap();
    if stack.is_none() {
        let required = std::env::var("KEYHELM_REQUIRE").unwrap_or_default();
        let is_required = required.split(',').any(|word| word == "docker");
        assert!(!is_required, "KEYHELM_TEST_COMPOSE_ENV is required: scripts/images/local");
        println!("NOT RUN: compose (KEYHELM_TEST_COMPOSE_ENV unset)");
    }
    stack
}

/// Whatever happened, nothing is left behind.
async fn finish(name: &str, done: tokio::task::JoinHandle<()>) {
    let stack = Stack::new(name, None).unwrap().unwrap();
    let ended = done.await;
    if ended.is_err() {
        for service in chaos::compose::SERVICES.iter().chain(&["rabbitmq", "postgres"]) {
            eprintln!("== {service}\n{}", stack.logs(service).await);
        }
    }
    stack.forget().await.unwrap();
    if let Err(failed) = ended {
        let panic = failed.into_panic();
        // Once more, below the logs.
        eprintln!("== {name} failed: {}", said(&*panic));
        std::panic::resume_unwind(panic);
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it says nothing")
}
