//! Master keys that test builds of the recovery units have drawn.

use anyhow::Context;
use crypto::master_key::MasterKey;
use crypto::random::ProcessRng;
use protocol::Pattern;
use rand::SeedableRng;

use crate::cluster::{SEED, UNITS};

/// More draws than any test makes a unit do.
const MOST_DRAWS: u64 = 5_000;

/// The master key of a pattern: a unit of a test build has drawn it from a seed that we know.
pub fn master_key_of(pattern: Pattern) -> anyhow::Result<MasterKey> {
    let recovery_units = UNITS.iter().filter(|(_, kind)| *kind == "recovery-unit");
    let mut drawn = recovery_units.flat_map(|(unit, _)| {
        (0..MOST_DRAWS).map(move |counter| {
            let seed = format!("{SEED} {unit}");
            let parts: [&[u8]; 2] = [seed.as_bytes(), &counter.to_le_bytes()];
            let seed = crypto::digest::sha256("keyhelm testing v1", &parts).0;
            MasterKey::generate(&mut ProcessRng::from_seed(seed))
        })
    });
    let found = drawn.find(|key| key.pattern() == pattern);
    found.with_context(|| format!("no unit has drawn the master key of pattern {pattern}"))
}
