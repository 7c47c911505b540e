//! Only in test builds: randomness that a test knows, so that it can compute the master key.

use crypto::random::ProcessRng;
use rand::SeedableRng;

/// Names the seed; without it a test build draws like any other.
const SEED: &str = "KEYHELM_TESTING_SEED";

/// Makes the source what the seed and the unit's state counter say.
pub(crate) fn reseed(rng: &mut ProcessRng, counter: u64) {
    if let Ok(seed) = std::env::var(SEED) {
        let parts: [&[u8]; 2] = [seed.as_bytes(), &counter.to_le_bytes()];
        *rng = ProcessRng::from_seed(crypto::digest::sha256("keyhelm testing v1", &parts).0);
    }
}
