//! The real binaries over a real RabbitMQ and PostgreSQL.

#![allow(clippy::unwrap_used)]

mod builds;
mod configuration;
mod crashes;
mod exchanged;
mod fail_points;
mod gate;
mod holds;
mod hostile;
mod image_context;
mod key_check;
mod leaks;
mod memory;
mod online;
mod precheck;
mod recover;
mod rotation;
mod verify;

use end_to_end::{Cluster, Flavour, cluster};

/// A fresh, initialised cluster; none where there are no servers.
async fn started(flavour: Flavour) -> Option<Cluster> {
    servers_or_not()?;
    let cluster = Cluster::start(flavour).await.unwrap();
    cluster.initialise().await.unwrap();
    Some(cluster)
}

/// None where there are no servers, which is an error where they are required.
fn servers_or_not() -> Option<()> {
    if cluster::servers().is_some() {
        return Some(());
    }
    let required = std::env::var("KEYHELM_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|word| word == "amqp" || word == "postgres");
    assert!(!is_required, "a RabbitMQ and a PostgreSQL are required: see scripts/servers");
    println!("NOT RUN: no RabbitMQ and PostgreSQL (see scripts/servers)");
    None
}

/// Splits a command line at its spaces.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}
