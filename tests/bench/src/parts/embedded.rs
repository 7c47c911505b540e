//! Rotations of the embedded cluster beside what SQLite needs for a copy of the same rows.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use keyhelm::embedded::cluster::Cluster;
use keyhelm::embedded::founding::{self, Administrators};
use machines::conductor::{Answer, Ask};
use rusqlite::Connection;

use super::{Sizes, at_least};
use crate::results::Measured;

/// The embedded cluster is for a machine of its own, not for many millions of keys.
const MAX_KEYS: u64 = 300_000;
const KEYS_A_CALL: u64 = 1_000;

/// Copy and rotation in turn, over the same keys in one process.
pub async fn beside_own_copy(sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
    let count = sizes.many.min(MAX_KEYS);
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(folder.path()).await?;
    founding::initialise(&cluster, &Administrators::new()).await?;
    for from in (0..count).step_by(KEYS_A_CALL as usize) {
        let names: Vec<_> = (from..count.min(from + KEYS_A_CALL)).map(name).collect();
        cluster.keys.create(&names, false, "bench").await?;
    }
    let (mut copies, mut whole) = (Vec::new(), Vec::new());
    // The first round warms up.
    let warm_up = usize::from(sizes.rounds > 1);
    for round in 0..sizes.rounds + warm_up {
        let copy_s = copied(folder.path(), count)?;
        let started = Instant::now();
        let rotated = cluster.rotate(founding::start(None), |_| {}).await?;
        let whole_s = started.elapsed().as_secs_f64();
        ensure!(rotated.keys_done == count, "{} keys of {count}", rotated.keys_done);
        if round >= warm_up {
            copies.push(copy_s);
            whole.push(whole_s);
        }
    }
    every_key_opens(&cluster).await?;
    cluster.stop().await?;
    let ratio = copies.iter().zip(&whole).map(|(copy, whole)| copy / whole).collect();
    let rate = whole.iter().map(|whole| count as f64 / whole).collect();
    Ok(vec![
        Measured::of("whole rotation, of the rate of SQLite's own copy", "", ratio)
            .aiming(at_least(0.6)),
        Measured::of(format!("INSERT ... SELECT of {count} rows"), "s", copies),
        Measured::of(format!("whole rotation of {count} keys"), "s", whole),
        Measured::of("whole rotation", "keys/s", rate),
    ])
}

fn name(index: u64) -> String {
    format!("key-{index:07}")
}

/// Seconds for a copy of the rows into a table that is made like theirs, until it is committed.
fn copied(folder: &Path, count: u64) -> anyhow::Result<f64> {
    let path = Cluster::keystore_path(folder);
    let db = Connection::open(path)?;
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
    let sql = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name LIKE 'wrapped%'";
    let (table, made): (String, String) =
        db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).context("no generation")?;
    db.execute_batch(&made.replacen(&table, "floor", 1))?;
    let started = Instant::now();
    let copied = db.execute(&format!("INSERT INTO floor SELECT * FROM {table}"), [])?;
    let taken_s = started.elapsed().as_secs_f64();
    ensure!(copied as u64 == count, "{copied} rows of {count}");
    db.execute_batch("DROP TABLE floor; PRAGMA wal_checkpoint(TRUNCATE);")?;
    Ok(taken_s)
}

async fn every_key_opens(cluster: &Cluster) -> anyhow::Result<()> {
    let Ask::Start(mut start) = founding::start(None) else { bail!("not a start") };
    (start.dry_run, start.check_keys) = (true, true);
    let answer = cluster.ask(Ask::Start(start)).await?;
    ensure!(matches!(answer, Answer::Planned(..)), "a check of all keys: {answer:?}");
    Ok(())
}
