//! What a crash in the middle costs: pages that units re-wrap a second time.

use std::time::Duration;

use end_to_end::counters::Counters;
use end_to_end::database;

use super::Sizes;
use crate::results::Measured;
use crate::stand::Stand;

/// Between two looks at how far the work has come.
const LOOK: Duration = Duration::from_millis(5);

/// The reencryptor is killed when half is written, and started again.
pub async fn in_the_middle(sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
    let mut stand = Stand::with_keys(Stand::plan(), sizes.many).await?;
    stand.rotate().await?;
    let (mut again, mut chunks) = (Vec::new(), Vec::new());
    for _ in 0..sizes.rounds.min(3) {
        let before = pages(&stand).await?;
        let rotating = stand.begin().await?;
        let client = database::connect(&stand.cluster.database.url).await?;
        let sql = "SELECT coalesce(sum(done), 0)::bigint, count(*) FROM chunks
                   WHERE generation = (SELECT max(generation) FROM chunks)";
        loop {
            let row = client.query_one(sql, &[]).await?;
            let done: i64 = row.get(0);
            if done as u64 >= sizes.many / 2 {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        let process = stand.cluster.process("reencryptor")?;
        process.kill().await?;
        process.start()?;
        stand.end(rotating).await?;
        let needed = client.query_one(sql, &[]).await?.get::<_, i64>(1) as f64;
        again.push(pages(&stand).await? - before - needed);
        chunks.push(needed);
    }
    stand.check().await?;
    stand.stop().await?;
    Ok(vec![
        Measured::of("chunks re-wrapped a second time", "", again),
        Measured::of("chunks in all", "", chunks),
    ])
}

/// Pages that all operational units have answered.
async fn pages(stand: &Stand) -> anyhow::Result<f64> {
    let mut all = 0.0;
    for process in stand.cluster.processes.iter().filter(|it| it.name().starts_with("op-")) {
        let counters = Counters::read(process.observe_port).await?;
        all += counters.sum("keyhelm_unit_page_seconds_count", &[]) as f64;
    }
    Ok(all)
}
