//! Only in test builds: randomness that a test knows, so that it can compute the master key; a clock
//! that is wrong, and another version of the protocol, so that it can see what comes of them.

use std::str::FromStr;

use crypto::random::ProcessRng;
use protocol::UnixMillis;
use rand::SeedableRng;

/// Names the seed; without it a test build draws like any other.
const SEED: &str = "KEYHELM_TESTING_SEED";
/// Seconds that the unit's clock is ahead; negative if it is behind.
const CLOCK_OFFSET_S: &str = "KEYHELM_TESTING_CLOCK_OFFSET_S";
/// The version of the protocol that the unit says it speaks.
const PROTOCOL_VERSION: &str = "KEYHELM_TESTING_PROTOCOL_VERSION";

/// Makes the source what the seed and the unit's state counter say.
pub(crate) fn reseed(rng: &mut ProcessRng, counter: u64) {
    if let Ok(seed) = std::env::var(SEED) {
        let parts: [&[u8]; 2] = [seed.as_bytes(), &counter.to_le_bytes()];
        *rng = ProcessRng::from_seed(crypto::digest::sha256("keyhelm testing v1", &parts).0);
    }
}

/// The time by a clock that is wrong as a test wants it.
pub(crate) fn shifted(now: UnixMillis) -> UnixMillis {
    let offset_s: i64 = variable(CLOCK_OFFSET_S).unwrap_or_default();
    UnixMillis(now.0.saturating_add_signed(offset_s.saturating_mul(1000)))
}

/// The version that a test wants the unit to speak, else its own.
pub(crate) fn claimed(version: u32) -> u32 {
    variable(PROTOCOL_VERSION).unwrap_or(version)
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}
