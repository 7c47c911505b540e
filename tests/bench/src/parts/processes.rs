//! Each process by itself: how much memory it holds when nothing is asked of it, and how soon it is
//! ready after its start.

use std::time::{Duration, Instant};

use anyhow::Context;
use end_to_end::Cluster;

use super::{Sizes, at_most};
use crate::results::Measured;
use crate::stand::{Stand, ready};
use crate::usage;

/// How long nothing is asked before memory is looked at.
const QUIET: Duration = Duration::from_secs(5);

/// Idle memory, and the time to readiness of each process started again.
pub async fn idle(sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
    let mut stand = Stand::with_keys(Stand::plan(), sizes.few).await?;
    stand.rotate().await?;
    let names: Vec<_> =
        stand.cluster.processes.iter().map(|process| process.name().to_owned()).collect();
    let mut lines = Vec::new();
    for name in &names {
        let mut taken_ms = Vec::with_capacity(sizes.rounds);
        for _ in 0..sizes.rounds {
            taken_ms.push(started_ms(&mut stand.cluster, name).await?);
        }
        lines.push(Measured::of(format!("{name} is ready"), "ms", taken_ms).aiming(at_most(300.0)));
    }
    tokio::time::sleep(QUIET).await;
    for watched in usage::watched(&stand.cluster) {
        let mib = watched.resident_kib()? as f64 / 1024.0;
        let line = Measured::of(format!("{} idle", watched.name), "MiB", vec![mib]);
        lines.push(if watched.is_one() { line.aiming(at_most(24.0)) } else { line });
    }
    stand.check().await?;
    stand.stop().await?;
    Ok(lines)
}

async fn started_ms(cluster: &mut Cluster, name: &str) -> anyhow::Result<f64> {
    let process = cluster.process(name)?;
    process.terminate().await?;
    let port = process.observe_port;
    let started = Instant::now();
    process.start()?;
    ready(port).await.with_context(|| name.to_owned())?;
    Ok(started.elapsed().as_secs_f64() * 1000.0)
}
