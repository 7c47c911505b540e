//! Re-encrypts many keys over the real binaries, and prints its rate beside that of PostgreSQL
//! alone copying the same rows out and in again.
//!
//!     reencryption-rate [KEYS]      300,000 if not given; needs the servers of `scripts/servers`

use std::time::Instant;

use anyhow::{Context, ensure};
use end_to_end::cluster::INSTANCE;
use end_to_end::keys::Client;
use end_to_end::{Cluster, Flavour, database};
use futures_util::{SinkExt, TryStreamExt};

/// Least part of the rate of a bare copy that re-encryption shall reach.
const LEAST: f64 = 0.3;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let keys: usize = match std::env::args().nth(1) {
        Some(text) => text.parse().context("a number of keys")?,
        None => 300_000,
    };
    let cluster = Cluster::start(Flavour::Release).await?;
    cluster.initialise().await?;
    let client = Client::of(&cluster).await?;
    let started = Instant::now();
    client.create("many", keys).await?;
    println!("{keys} keys made in {:.1} s", started.elapsed().as_secs_f64());
    let mut best: f64 = 0.0;
    for round in 1..=3 {
        let copy_s = copy_out_and_in(&cluster).await?;
        cluster.expect(0, &["auto-mk-rotate", "--yes"]).await?;
        let reencrypt_s = last_reencryption_s(&cluster).await?;
        let ratio = copy_s / reencrypt_s;
        best = best.max(ratio);
        println!(
            "round {round}: re-encryption {:.0} keys/s ({reencrypt_s:.2} s), COPY out and in {:.0} \
             rows/s ({copy_s:.2} s), ratio {ratio:.2}",
            keys as f64 / reencrypt_s,
            keys as f64 / copy_s,
        );
    }
    cluster.stop().await?;
    println!("best ratio {best:.2}; at least {LEAST} is wanted");
    ensure!(best >= LEAST, "re-encryption is slower than it should be");
    Ok(())
}

/// Seconds between the beginning of the phase and the next one.
async fn last_reencryption_s(cluster: &Cluster) -> anyhow::Result<f64> {
    let list = cluster.get(&format!("/v1/instances/{INSTANCE}/rotations?limit=1")).await?;
    let phases = list[0]["phases"].as_array().context("no phases")?;
    let at = |name: &str| phases.iter().find(|phase| phase[0] == name)?[1].as_f64();
    let (from, until) = (at("reencrypt").context("begin")?, at("promote").context("end")?);
    Ok((until - from) / 1000.0)
}

/// Seconds that the server takes for a binary COPY of all rows to us and into a table that is made
/// like theirs.
async fn copy_out_and_in(cluster: &Cluster) -> anyhow::Result<f64> {
    let client = database::connect(&cluster.database.url).await?;
    let table = cluster.database.wrapped_tables().await?.pop().context("no table")?;
    client.batch_execute(&format!("CREATE TABLE copied (LIKE {table} INCLUDING ALL)")).await?;
    let started = Instant::now();
    let out = client
        .copy_out(&format!(
            "COPY (SELECT * FROM {table} ORDER BY version) TO STDOUT (FORMAT binary)"
        ))
        .await?;
    let rows: Vec<_> = out.try_collect().await?;
    let sink = client.copy_in("COPY copied FROM STDIN (FORMAT binary)").await?;
    tokio::pin!(sink);
    for part in rows {
        sink.feed(part).await?;
    }
    sink.finish().await?;
    let taken = started.elapsed().as_secs_f64();
    client.batch_execute("DROP TABLE copied").await?;
    Ok(taken)
}
