//! A secret of 32 bytes. One door leads to its bytes; nothing prints, clones or orders it.

use std::fmt;

use rand::CryptoRng;
use subtle::ConstantTimeEq;

use crate::locked::Slot;

/// 32 secret bytes in locked memory, wiped when dropped.
pub struct Secret(Slot);

impl Secret {
    /// Fresh from the source.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self::filled_by(|bytes| rng.fill_bytes(bytes))
    }

    /// Copies the bytes in; wiping the original is the caller's.
    pub fn copied_from(bytes: &[u8; 32]) -> Self {
        Self::filled_by(|slot| slot.copy_from_slice(bytes))
    }

    /// Lets `fill` write into the locked slot, so that no copy is made on the way.
    pub fn filled_by(fill: impl FnOnce(&mut [u8; 32])) -> Self {
        let mut slot = Slot::new();
        fill(slot.bytes_mut());
        Self(slot)
    }

    /// The one door to the bytes.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.bytes()
    }

    /// Compares in constant time.
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([REDACTED])")
    }
}
