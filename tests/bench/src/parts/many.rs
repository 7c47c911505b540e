//! Whole rotations of many keys beside the floor, and of few keys by phase.

use super::{Sizes, at_least, at_most};
use crate::floor;
use crate::results::Measured;
use crate::rotation::Took;
use crate::stand::Stand;

/// Floor, `psql` and rotation in turn, over the same keys.
pub async fn beside_floor(sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
    let mut stand = Stand::with_keys(Stand::plan(), sizes.many).await?;
    let (mut floors, mut psqls, mut took) = (Vec::new(), Vec::new(), Vec::new());
    // The first round warms up: files of the database, pools, allocators.
    let warm_up = usize::from(sizes.rounds > 1);
    for round in 0..sizes.rounds + warm_up {
        let (floor_s, psql_s) =
            (floor::copied(&stand.cluster).await?, floor::psql(&stand.cluster).await?);
        let rotated = stand.rotate().await?;
        println!(
            "round {round}: floor {floor_s:.2} s, psql {psql_s:.2} s, whole {:.2} s, refused {:.2} s, \
             read back {:.2} s",
            rotated.whole_ms / 1e3,
            rotated.refused_ms / 1e3,
            rotated.read_back_ms / 1e3
        );
        if round >= warm_up {
            floors.push(floor_s);
            psqls.push(psql_s);
            took.push(rotated);
        }
    }
    stand.check().await?;
    stand.stop().await?;
    let ratio = |of: fn(&Took) -> f64| -> Vec<f64> {
        floors.iter().zip(&took).map(|(floor, took)| floor * 1e3 / of(took)).collect()
    };
    let seconds = |of: fn(&Took) -> f64| took.iter().map(|took| of(took) / 1e3).collect();
    let beside_psql = floors.iter().zip(&psqls).map(|(floor, psql)| floor / psql).collect();
    let mut lines = vec![
        Measured::of("whole rotation, of the floor's rate", "", ratio(|took| took.whole_ms))
            .aiming(at_least(0.6)),
        Measured::of("opening to flip, of the floor's rate", "", ratio(|took| took.refused_ms))
            .aiming(at_least(0.8)),
        Measured::of("floor: COPY out and in", "s", floors.clone()),
        Measured::of("psql's \\copy out and in", "s", psqls),
        Measured::of("floor's time, of psql's", "", beside_psql).aiming(at_most(1.2)),
        Measured::of("whole rotation", "s", seconds(|took| took.whole_ms)),
        Measured::of("refused window, opening to flip", "s", seconds(|took| took.refused_ms)),
        Measured::of("read-back after the flip", "s", seconds(|took| took.read_back_ms)),
    ];
    lines.extend(phases(&took));
    Ok(lines)
}

/// Rotations of few keys: what a person waits for.
pub async fn few(sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
    let mut stand = Stand::with_keys(Stand::plan(), sizes.few).await?;
    let mut took = Vec::new();
    for round in 0..=4 * sizes.rounds {
        let rotated = stand.rotate().await?;
        if round > 0 {
            took.push(rotated);
        }
    }
    stand.check().await?;
    stand.stop().await?;
    let of = |of: fn(&Took) -> f64| took.iter().map(of).collect();
    let mut lines = vec![
        Measured::of("whole rotation", "ms", of(|took| took.whole_ms)).aiming(at_most(150.0)),
        Measured::of("refused window, opening to flip", "ms", of(|took| took.refused_ms))
            .aiming(at_most(40.0)),
        Measured::of("read-back after the flip", "ms", of(|took| took.read_back_ms)),
    ];
    lines.extend(phases(&took));
    Ok(lines)
}

fn phases(took: &[Took]) -> Vec<Measured> {
    let Some(first) = took.first() else { return Vec::new() };
    let names = first.phases.iter().map(|(name, _)| name.clone());
    let of = |name: &str| -> Vec<f64> {
        let found =
            |took: &Took| took.phases.iter().find(|(known, _)| known == name).map(|it| it.1);
        took.iter().filter_map(found).collect()
    };
    names.map(|name| Measured::of(format!("phase {name}"), "ms", of(&name))).collect()
}
