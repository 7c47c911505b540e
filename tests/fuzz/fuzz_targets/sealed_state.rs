//! Sealed state files.
#![no_main]

use crypto::sealed_state::{StorageKey, open_state};
use rand::SeedableRng;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // That of the golden file.
    let key = StorageKey::generate(&mut rand_chacha::ChaCha20Rng::seed_from_u64(3));
    if let Ok(state) = open_state(&key, b"golden unit", bytes) {
        assert_eq!(state.as_slice(), b"golden state", "somebody forged a state");
    }
});
