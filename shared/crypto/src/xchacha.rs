//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha): HChaCha20 makes a subkey of key and nonce, and
//! aws-lc does the ChaCha20-Poly1305 inside, several times faster on short texts than the
//! `chacha20poly1305` crate, which the tests compare it with.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use chacha20::{R20, hchacha};
use zeroize::Zeroizing;

/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 24;
/// Bytes of a tag.
pub(crate) const TAG_BYTES: usize = 16;

/// The text does not belong to this key, nonce and additional data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAuthentic;

/// Appends ciphertext and tag to `out`.
pub(crate) fn seal_into(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    plaintext: &[u8],
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.reserve(plaintext.len() + TAG_BYTES);
    out.extend_from_slice(plaintext);
    let (key, inner) = subkey(key, nonce);
    let sealed = key.and_then(|key| {
        key.seal_in_place_separate_tag(inner, Aad::from(aad), &mut out[start..]).ok()
    });
    match sealed {
        Some(tag) => out.extend_from_slice(tag.as_ref()),
        // A key of 32 bytes and a text below 256 GiB cannot be refused; if they were, nothing
        // readable may stay behind.
        None => panic!("ChaCha20-Poly1305 refused to seal"),
    }
}

/// Opens ciphertext and tag.
pub(crate) fn open(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, NotAuthentic> {
    let (key, inner) = subkey(key, nonce);
    let key = key.ok_or(NotAuthentic)?;
    let mut text = Zeroizing::new(sealed.to_vec());
    let length =
        key.open_in_place(inner, Aad::from(aad), &mut text).map_err(|_| NotAuthentic)?.len();
    text.truncate(length);
    Ok(text)
}

fn subkey(key: &[u8; 32], nonce: &[u8; NONCE_BYTES]) -> (Option<LessSafeKey>, Nonce) {
    let mut half = [0; 16];
    half.copy_from_slice(&nonce[..16]);
    let mut derived = hchacha::<R20>(&(*key).into(), &half.into());
    let made = UnboundKey::new(&CHACHA20_POLY1305, &derived).ok().map(LessSafeKey::new);
    zeroize::Zeroize::zeroize(derived.as_mut_slice());
    let mut inner = [0; 12];
    inner[4..].copy_from_slice(&nonce[16..]);
    (made, Nonce::assume_unique_for_key(inner))
}
