//! What clients notice: how long metadata reads take while nothing goes on, during a rotation, and
//! during one that is held back by `rewrap_keys_per_second_max`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use end_to_end::keys::Client;

use super::Sizes;
use crate::results::Measured;
use crate::stand::Stand;

/// Reads at once.
const READERS: usize = 2;
/// How long reads are timed while nothing goes on.
const QUIET: Duration = Duration::from_secs(5);

/// The 99th percentile of each.
pub async fn beside_rotations(sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
    let mut lines = Vec::new();
    for limit in [0, sizes.many / 10] {
        let mut plan = Stand::plan();
        plan.everybody.push(("KEYHELM_REWRAP_KEYS_PER_SECOND_MAX", limit.to_string()));
        let mut stand = Stand::with_keys(plan, sizes.many).await?;
        stand.rotate().await?;
        let client = Arc::new(Client::of(&stand.cluster).await?);
        if limit == 0 {
            let reading = Reading::begin(&client);
            tokio::time::sleep(QUIET).await;
            lines.push(line("no rotation", vec![reading.end().await?]));
        }
        let (mut slow, mut whole) = (Vec::new(), Vec::new());
        for _ in 0..sizes.rounds.min(3) {
            let reading = Reading::begin(&client);
            whole.push(stand.rotate().await?.whole_ms / 1e3);
            slow.push(reading.end().await?);
        }
        let name = match limit {
            0 => "a rotation".to_owned(),
            limit => format!("a rotation of at most {limit} keys a second"),
        };
        lines.push(line(&name, slow));
        lines.push(Measured::of(format!("the rotation: {name}"), "s", whole));
        stand.check().await?;
        stand.stop().await?;
    }
    Ok(lines)
}

fn line(during: &str, values: Vec<f64>) -> Measured {
    Measured::of(format!("99 % of metadata reads within, {during}"), "ms", values)
}

/// Readers at work.
struct Reading {
    is_over: Arc<AtomicBool>,
    readers: Vec<tokio::task::JoinHandle<anyhow::Result<Vec<f64>>>>,
}

impl Reading {
    fn begin(client: &Arc<Client>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let reader = |_| {
            let (client, is_over) = (client.clone(), is_over.clone());
            tokio::spawn(async move {
                let mut taken_ms = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    let (status, _) = client.call("GET", "/api/v2/keys?limit=10", None).await?;
                    anyhow::ensure!(status == 200, "a read is answered {status}");
                    taken_ms.push(started.elapsed().as_secs_f64() * 1000.0);
                }
                Ok(taken_ms)
            })
        };
        Self { readers: (0..READERS).map(reader).collect(), is_over }
    }

    async fn end(self) -> anyhow::Result<f64> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for reader in self.readers {
            all.extend(reader.await??);
        }
        all.sort_by(f64::total_cmp);
        Ok(all.get(all.len() * 99 / 100).copied().unwrap_or(f64::NAN))
    }
}
