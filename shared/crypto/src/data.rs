//! Wrapping data under a root key (KMS wrap and unwrap). A rotation of the master key does not
//! touch these ciphertexts: they are under the root key, not under the master key.
//!
//! `format 1 | version id 16 | nonce 24 | ciphertext | tag 16`; bound to key, version and the
//! caller's additional data, each with its length.

use protocol::{KeyId, VersionId};
use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::domain;
use crate::master_key::expand;
use crate::secret::Secret;
use crate::xchacha::{self, NONCE_BYTES, TAG_BYTES};

/// The only format.
pub const DATA_FORMAT: u8 = 1;
/// Longest text that is wrapped (IBM's limit is 4096 bytes of base64; ours is of bytes).
pub const MAX_DATA_BYTES: usize = 4096;

/// Why a ciphertext is not unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// Not one of ours.
    #[error("it is not a ciphertext of this service")]
    Malformed,
    /// Another key, version or other additional data, or it was changed.
    #[error("it was not made by this key version with these additional data")]
    NotAuthentic,
    /// Longer than [`MAX_DATA_BYTES`].
    #[error("at most {MAX_DATA_BYTES} bytes are wrapped")]
    Length,
}

/// The key version that made a ciphertext.
pub fn version_of(ciphertext: &[u8]) -> Result<VersionId, DataError> {
    if ciphertext.len() < 17 + NONCE_BYTES + TAG_BYTES || ciphertext[0] != DATA_FORMAT {
        return Err(DataError::Malformed);
    }
    let mut version = [0; 16];
    version.copy_from_slice(&ciphertext[1..17]);
    Ok(VersionId::from_bytes(version))
}

/// Wraps a text under a root key of 16, 24 or 32 bytes.
pub fn wrap_data<R: CryptoRng + ?Sized>(
    root_key: &[u8],
    key: KeyId,
    version: VersionId,
    aad: &[Vec<u8>],
    plaintext: &[u8],
    rng: &mut R,
) -> Result<Vec<u8>, DataError> {
    if plaintext.len() > MAX_DATA_BYTES {
        return Err(DataError::Length);
    }
    let mut out = vec![DATA_FORMAT];
    out.extend_from_slice(version.bytes());
    let mut nonce = [0; NONCE_BYTES];
    rng.fill_bytes(&mut nonce);
    out.extend_from_slice(&nonce);
    let aad = bound(key, version, aad);
    xchacha::seal_into(data_key(root_key).expose(), &nonce, &aad, plaintext, &mut out);
    Ok(out)
}

/// Unwraps a text.
pub fn unwrap_data(
    root_key: &[u8],
    key: KeyId,
    version: VersionId,
    aad: &[Vec<u8>],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, DataError> {
    if version_of(ciphertext)? != version {
        return Err(DataError::NotAuthentic);
    }
    let (nonce, sealed) = ciphertext[17..].split_first_chunk().ok_or(DataError::Malformed)?;
    let aad = bound(key, version, aad);
    xchacha::open(data_key(root_key).expose(), nonce, &aad, sealed)
        .map_err(|_| DataError::NotAuthentic)
}

fn data_key(root_key: &[u8]) -> Secret {
    Secret::filled_by(|out| expand(root_key, domain::DATA_KEY, out))
}

fn bound(key: KeyId, version: VersionId, aad: &[Vec<u8>]) -> Vec<u8> {
    let mut bound = domain::DATA.to_vec();
    bound.extend_from_slice(key.bytes());
    bound.extend_from_slice(version.bytes());
    bound.extend_from_slice(&(aad.len() as u32).to_le_bytes());
    for part in aad {
        bound.extend_from_slice(&(part.len() as u32).to_le_bytes());
        bound.extend_from_slice(part);
    }
    bound
}
