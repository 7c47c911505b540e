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
    let mut text = Zeroizing::new(sealed.to_vec());
    let length = open_in_place(key, nonce, aad, &mut text)?.len();
    text.truncate(length);
    Ok(text)
}

/// Opens ciphertext and tag where they are: the text is in the front part then.
pub(crate) fn open_in_place<'a>(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    sealed: &'a mut [u8],
) -> Result<&'a mut [u8], NotAuthentic> {
    let (key, inner) = subkey(key, nonce);
    let key = key.ok_or(NotAuthentic)?;
    key.open_in_place(inner, Aad::from(aad), sealed).map_err(|_| NotAuthentic)
}

fn subkey(key: &[u8; 32], nonce: &[u8; NONCE_BYTES]) -> (Option<LessSafeKey>, Nonce) {
    let mut half = [0; 16];
    half.copy_from_slice(&nonce[..16]);
    let mut derived = hchacha::<R20>(key.into(), &half.into());
    let made = UnboundKey::new(&CHACHA20_POLY1305, &derived).ok().map(LessSafeKey::new);
    zeroize::Zeroize::zeroize(derived.as_mut_slice());
    let mut inner = [0; 12];
    inner[4..].copy_from_slice(&nonce[16..]);
    (made, Nonce::assume_unique_for_key(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// draft-irtf-cfrg-xchacha-03, appendix A.3.1.
    #[test]
    fn seals_and_opens_the_published_vector() {
        let mut key = [0; 32];
        key.iter_mut().zip(0x80..).for_each(|(byte, value)| *byte = value);
        let mut nonce = [0; NONCE_BYTES];
        nonce.iter_mut().zip(0x40..).for_each(|(byte, value)| *byte = value);
        let aad = hex::decode("50515253c0c1c2c3c4c5c6c7").expect("hex");
        let text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip \
                     for the future, sunscreen would be it.";
        let mut sealed = Vec::new();
        seal_into(&key, &nonce, &aad, text, &mut sealed);
        assert_eq!(
            hex::encode(&sealed),
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3\
             a82f4eda7e39ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2b\
             c369488f76b2383565d3fff921f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8\
             780acf49"
        );
        let opened = open(&key, &nonce, &aad, &sealed);
        assert_eq!(opened.as_ref().map(|text| text.as_slice()), Ok(text.as_slice()));
    }

    /// The fast path and the `chacha20poly1305` crate give the same bytes for any input.
    #[test]
    fn agrees_with_the_reference() {
        use chacha20poly1305::aead::{Aead, Payload};
        use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
        use rand::{Rng, SeedableRng};
        let mut rng = rand::rngs::StdRng::seed_from_u64(7);
        for length in 0..200 {
            let (mut key, mut nonce) = ([0; 32], [0; NONCE_BYTES]);
            let (mut aad, mut text) = (vec![0; length / 2], vec![0; length]);
            rng.fill_bytes(&mut key);
            rng.fill_bytes(&mut nonce);
            rng.fill_bytes(&mut aad);
            rng.fill_bytes(&mut text);
            let mut sealed = Vec::new();
            seal_into(&key, &nonce, &aad, &text, &mut sealed);
            let reference = XChaCha20Poly1305::new(&key.into());
            let expected = reference
                .encrypt(&nonce.into(), Payload { msg: &text, aad: &aad })
                .expect("the reference seals");
            assert_eq!(sealed, expected, "length {length}");
        }
    }
}
