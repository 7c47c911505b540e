//! Chance that can be had again: everything drawn follows from one number, which is printed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The variable that names the number; without it the clock does.
const VARIABLE: &str = "KEYHELM_CHAOS_SEED";

/// Draws.
#[derive(Debug)]
pub struct Draw(ChaCha8Rng);

impl Draw {
    /// Begins with the number of the variable, or one of the clock's, and prints it.
    pub fn begin() -> Self {
        let given = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| now_ms() % 1_000_000);
        println!("{VARIABLE}={seed}");
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A time below this one.
    pub fn below(&mut self, most: Duration) -> Duration {
        self.0.random_range(Duration::ZERO..most)
    }

    /// Brings them into another order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        all.shuffle(&mut self.0);
    }
}

/// Milliseconds since 1970, as rotations count them: containers have this machine's clock.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
