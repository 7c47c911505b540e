//! Sealing a process's durable state under its storage key.
//!
//! `format 1 | nonce 24 | ciphertext | tag 16`, XChaCha20-Poly1305.

use std::path::Path;

use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::domain;
use crate::secret::Secret;
use crate::xchacha::{self, NONCE_BYTES, TAG_BYTES};

/// The only format.
pub const STATE_FORMAT: u8 = 1;

/// Why a state does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Cut short, or not a state.
    #[error("it is cut short or no sealed state")]
    Malformed,
    /// Written by a newer program.
    #[error("its format {0} is newer than this program reads: upgrade it")]
    NewerFormat(u8),
    /// Another storage key, unit or instance, or it was changed.
    #[error("it was changed, or sealed with another storage key or for another process")]
    NotAuthentic,
    /// The storage key's file.
    #[error("storage key: {0}")]
    KeyFile(String),
}

/// The key that seals a process's state.
#[derive(Debug)]
pub struct StorageKey(Secret);

impl StorageKey {
    /// Makes one.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self(Secret::generate(rng))
    }

    /// Reads a file of 64 hex digits; white space around them is ignored.
    pub fn from_file(path: &Path) -> Result<Self, StateError> {
        let refuse = |reason: &str| StateError::KeyFile(format!("{}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| refuse(&error.to_string()))?;
        let text = Zeroizing::new(text);
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), bytes.as_mut_slice())
            .map_err(|_| refuse("it must hold 64 hex digits"))?;
        Ok(Self(Secret::copied_from(&bytes)))
    }

    /// The hex digits of a key's file.
    pub fn danger_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.expose()))
    }
}

/// Seals a state; `aad` names the process and its instance.
pub fn seal_state<R: CryptoRng + ?Sized>(
    key: &StorageKey,
    aad: &[u8],
    state: &[u8],
    rng: &mut R,
) -> Vec<u8> {
    let mut out = vec![STATE_FORMAT];
    let mut nonce = [0; NONCE_BYTES];
    rng.fill_bytes(&mut nonce);
    out.extend_from_slice(&nonce);
    // The plaintext is written into this buffer before it is encrypted in place: it must not grow.
    out.reserve_exact(state.len() + TAG_BYTES);
    xchacha::seal_into(key.0.expose(), &nonce, &full_aad(aad), state, &mut out);
    out
}

/// Opens a state.
pub fn open_state(
    key: &StorageKey,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, StateError> {
    let (&format, rest) = sealed.split_first().ok_or(StateError::Malformed)?;
    match format {
        STATE_FORMAT => {}
        0 => return Err(StateError::Malformed),
        newer => return Err(StateError::NewerFormat(newer)),
    }
    let (nonce, sealed) = rest.split_first_chunk().ok_or(StateError::Malformed)?;
    xchacha::open(key.0.expose(), nonce, &full_aad(aad), sealed)
        .map_err(|_| StateError::NotAuthentic)
}

fn full_aad(aad: &[u8]) -> Vec<u8> {
    [domain::STATE, aad].concat()
}
