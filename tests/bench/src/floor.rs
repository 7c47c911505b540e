//! The floor: what the database needs for the same rows alone. One stream of COPY out of the table
//! that is read, and into one that is made like it, with its primary key, index and CHECK.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, ensure};
use end_to_end::{Cluster, database};
use futures_util::{SinkExt, TryStreamExt};
use tokio::process::Command;
use tokio_postgres::Client;

/// Seconds for one stream of COPY out and in over two connections, until it is committed.
pub async fn copied(cluster: &Cluster) -> anyhow::Result<f64> {
    let (client, table) = prepared(cluster).await?;
    let writer = database::connect(&cluster.database.url).await?;
    let started = Instant::now();
    let out = client.copy_out(&format!("COPY {table} TO STDOUT (FORMAT binary)")).await?;
    let sink = writer.copy_in("COPY floor FROM STDIN (FORMAT binary)").await?;
    tokio::pin!(out, sink);
    while let Some(part) = out.try_next().await? {
        sink.feed(part).await?;
    }
    sink.finish().await?;
    let taken_s = started.elapsed().as_secs_f64();
    same(&client, &table).await?;
    Ok(taken_s)
}

/// The same by two `psql` and a pipe.
pub async fn psql(cluster: &Cluster) -> anyhow::Result<f64> {
    let (client, table) = prepared(cluster).await?;
    let out = format!(r"\copy {table} to stdout (format binary)");
    let into = r"\copy floor from stdin (format binary)";
    let url = &cluster.database.url;
    let line = format!("psql -qX '{url}' -c '{out}' | psql -qX '{url}' -c '{into}'");
    let started = Instant::now();
    let mut command = Command::new("sh");
    let done = command.args(["-c", &line]).stdin(Stdio::null()).status().await.context("psql")?;
    let taken_s = started.elapsed().as_secs_f64();
    ensure!(done.success(), "psql fails");
    same(&client, &table).await?;
    Ok(taken_s)
}

/// An empty table like the one that is read, and a server with nothing left to write.
async fn prepared(cluster: &Cluster) -> anyhow::Result<(Client, String)> {
    let client = database::connect(&cluster.database.url).await?;
    let table = cluster.database.wrapped_tables().await?.pop().context("no table")?;
    let made = format!("CREATE TABLE floor (LIKE {table} INCLUDING ALL)");
    client.batch_execute(&format!("DROP TABLE IF EXISTS floor; {made}")).await?;
    client.batch_execute("CHECKPOINT").await?;
    Ok((client, table))
}

async fn same(client: &Client, table: &str) -> anyhow::Result<()> {
    let sql = format!("SELECT (SELECT count(*) FROM {table}) = (SELECT count(*) FROM floor)");
    let is_same: bool = client.query_one(&sql, &[]).await?.get(0);
    ensure!(is_same, "not every row was copied");
    client.batch_execute("DROP TABLE floor").await?;
    Ok(())
}
