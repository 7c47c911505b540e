//! What more keys cost: time, memory and processor time, from 3,000 keys to 10,000,000.

use std::collections::BTreeMap;

use super::{Sizes, at_most};
use crate::results::Measured;
use crate::stand::Stand;
use crate::usage::{self, Watched};

/// Peaks of memory are compared between these.
const COMPARED: [u64; 3] = [10_000, 1_000_000, 10_000_000];

/// One cluster a size.
pub async fn with_keys(sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
    let counts: &[u64] = match (sizes.is_short, sizes.is_full) {
        (true, _) => &[1_000, 3_000],
        (false, false) => &[3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000],
        (false, true) => {
            &[3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000]
        }
    };
    let mut lines = Vec::new();
    let mut peaks: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for count in counts {
        let mut stand = Stand::with_keys(Stand::plan(), *count).await?;
        stand.rotate().await?;
        let watched = usage::watched(&stand.cluster);
        let idle = each(&watched, Watched::resident_kib)?;
        watched.iter().filter(|it| it.is_one()).try_for_each(Watched::forget_peak)?;
        let before = each(&watched, Watched::cpu_s)?;
        let rounds = if *count > 1_000_000 { 1 } else { sizes.rounds.min(3) };
        let (mut whole, mut refused) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let took = stand.rotate().await?;
            whole.push(took.whole_ms / 1e3);
            refused.push(took.refused_ms / 1e3);
        }
        let after = each(&watched, Watched::cpu_s)?;
        lines.push(Measured::of(format!("{count} keys, whole rotation"), "s", whole));
        lines.push(Measured::of(format!("{count} keys, opening to flip"), "s", refused));
        let done = rounds as f64 * *count as f64;
        for (index, process) in watched.iter().enumerate() {
            let name = &process.name;
            let cpu_s = (after[index] - before[index]) * 1e6 / done;
            if *count >= 1_000_000 {
                let line = format!("{count} keys, processor of {name}, a million keys");
                lines.push(Measured::of(line, "s", vec![cpu_s]));
            }
            let peak_kib = match process.is_one() {
                true => process.peak_kib()?,
                false => process.resident_kib()?,
            };
            let more = peak_kib as f64 - idle[index] as f64;
            let line = format!("{count} keys, memory of {name} above idle");
            lines.push(Measured::of(line, "MiB", vec![more / 1024.0]));
            if COMPARED.contains(count) && process.is_one() {
                peaks.entry(name.clone()).or_default().push(more / 1024.0);
            }
        }
        stand.check().await?;
        stand.stop().await?;
    }
    for (name, found) in peaks.into_iter().filter(|(_, found)| found.len() > 1) {
        let most = found.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = found.iter().copied().fold(f64::INFINITY, f64::min);
        let line = format!("peaks of {name} differ between sizes by");
        lines.push(Measured::of(line, "MiB", vec![most - least]).aiming(at_most(8.0)));
    }
    Ok(lines)
}

fn each<T>(
    watched: &[Watched],
    of: impl Fn(&Watched) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    watched.iter().map(of).collect()
}
