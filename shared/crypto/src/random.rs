//! Sources of randomness, and the ids that are made of it.

use protocol::UnixMillis;
use rand::CryptoRng;
use uuid::Uuid;

/// A process's source: ChaCha, seeded from the operating system. A system call for each nonce
/// would be forty times slower.
pub type ProcessRng = rand::rngs::StdRng;

/// A new source, seeded from the operating system.
pub fn process_rng() -> ProcessRng {
    rand::make_rng()
}

/// A version 7 UUID of this moment.
pub fn uuid_v7<R: CryptoRng + ?Sized>(now: UnixMillis, rng: &mut R) -> Uuid {
    let mut random = [0; 10];
    rng.fill_bytes(&mut random);
    uuid::Builder::from_unix_timestamp_millis(now.0, &random).into_uuid()
}

/// A version 4 UUID.
pub fn uuid_v4<R: CryptoRng + ?Sized>(rng: &mut R) -> Uuid {
    let mut random = [0; 16];
    rng.fill_bytes(&mut random);
    uuid::Builder::from_random_bytes(random).into_uuid()
}
