//! The same result whoever does the work: one, two or four operational units and reencryptors.

use anyhow::{Context, ensure};
use end_to_end::cluster::{INSTANCE, UNITS};

use super::Sizes;
use crate::results::Measured;
use crate::stand::Stand;

const OPERATIONAL: [&str; 4] = ["op-1", "op-2", "op-3", "op-4"];
const REENCRYPTORS: [&str; 4] = ["reencryptor", "reencryptor-2", "reencryptor-3", "reencryptor-4"];

/// Whole rotations by so many of each; the receipt's count and root are those of the keys.
pub async fn one_two_four(sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
    let mut lines = Vec::new();
    for count in [1, 2, 4] {
        let mut plan = Stand::plan();
        plan.units = OPERATIONAL[..count].iter().map(|name| (*name, UNITS[0].1)).collect();
        plan.units.extend(UNITS.iter().filter(|(_, kind)| *kind == UNITS[3].1));
        plan.reencryptors = REENCRYPTORS[..count].to_vec();
        let mut stand = Stand::with_keys(plan, sizes.many).await?;
        let mut whole = Vec::new();
        for _ in 0..sizes.rounds.min(3) {
            whole.push(stand.rotate().await?.whole_ms / 1e3);
        }
        let path = format!("/v1/instances/{INSTANCE}/rotations?limit=1");
        let list = stand.cluster.get(&path).await?;
        let done = list[0]["keys_done"].as_u64().context("no count")?;
        ensure!(done == sizes.many, "{done} keys of {}", sizes.many);
        stand.check().await?;
        stand.stop().await?;
        let name = format!("{count} operational units, {count} reencryptors");
        lines.push(Measured::of(name, "s", whole));
    }
    Ok(lines)
}
