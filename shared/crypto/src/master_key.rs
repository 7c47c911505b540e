//! The master key. Its bytes leave this crate through two doors only: sealed to another unit
//! ([`crate::transfer`]), and into the unit's own sealed state.

use hkdf::Hkdf;
use protocol::Pattern;
use rand::CryptoRng;
use sha2::Sha256;

use crate::domain;
use crate::secret::Secret;

/// A master key and its verification pattern.
#[derive(Debug)]
pub struct MasterKey {
    secret: Secret,
    pattern: Pattern,
}

impl MasterKey {
    /// Draws a random one.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self::from_secret(Secret::generate(rng))
    }

    /// Of bytes that came out of a transfer or a sealed state.
    pub(crate) fn from_secret(secret: Secret) -> Self {
        let mut pattern = [0; 32];
        derive(&secret, domain::PATTERN, &mut pattern);
        Self { secret, pattern: Pattern(pattern) }
    }

    /// Its verification pattern: HKDF-SHA256 (RFC 5869) under a domain of its own, so that it says
    /// nothing about the key or about any key derived from it.
    pub const fn pattern(&self) -> Pattern {
        self.pattern
    }

    /// Its bytes, for the unit's sealed state only.
    pub fn danger_state_bytes(&self) -> &[u8; 32] {
        self.secret.expose()
    }

    /// Back from the unit's sealed state.
    pub fn danger_from_state_bytes(bytes: &[u8; 32]) -> Self {
        Self::from_secret(Secret::copied_from(bytes))
    }

    pub(crate) const fn secret(&self) -> &Secret {
        &self.secret
    }
}

/// HKDF-SHA256 with the secret as input keying material and no salt.
pub(crate) fn derive(secret: &Secret, info: &[u8], out: &mut [u8; 32]) {
    expand(secret.expose(), info, out);
}

/// HKDF-SHA256 of any input keying material, no salt, 32 bytes out.
pub(crate) fn expand(ikm: &[u8], info: &[u8], out: &mut [u8; 32]) {
    // 32 bytes are far below HKDF's limit of 255 blocks, the only thing it refuses.
    if Hkdf::<Sha256>::new(None, ikm).expand(info, out).is_err() {
        panic!("HKDF refused 32 bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5869, test case 3: no salt, no info; the first block of its 42 bytes.
    #[test]
    fn expands_the_published_vector() {
        let mut out = [0; 32];
        expand(&[0x0b; 22], &[], &mut out);
        let expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d";
        assert_eq!(hex::encode(out), expected);
    }
}
