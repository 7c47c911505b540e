//! Our formats: what opens, what does not, and golden files that must never change.
#![allow(clippy::unwrap_used, missing_docs)]

mod bindings;
mod golden;
mod merkle;
mod parsers;
mod secrecy;

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}
