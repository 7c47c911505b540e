//! HPKE (RFC 9180), base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305.

use hpke::aead::{AeadCtxR, AeadCtxS, ChaCha20Poly1305};
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand::CryptoRng;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::secret::Secret;

type Sending = AeadCtxS<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>;
type Receiving = AeadCtxR<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>;

/// The peer's key or text is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("HPKE refused it")]
pub struct HpkeRefused;

/// The public key of a secret one.
pub(crate) fn public_key(secret: &Secret) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(*secret.expose())).to_bytes()
}

/// Opens a context to a recipient; answers the encapsulated key.
pub(crate) fn sender<R: CryptoRng>(
    recipient: &[u8; 32],
    info: &[u8],
    rng: &mut R,
) -> Result<([u8; 32], Sending), HpkeRefused> {
    let public =
        <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(recipient).map_err(|_| HpkeRefused)?;
    let (enc, context): (<X25519HkdfSha256 as Kem>::EncappedKey, Sending) =
        hpke::setup_sender_with_rng(&OpModeS::Base, &public, info, rng).map_err(|_| HpkeRefused)?;
    let mut bytes = [0; 32];
    bytes.copy_from_slice(&enc.to_bytes());
    Ok((bytes, context))
}

/// The recipient's side of it.
pub(crate) fn receiver(
    secret: &Secret,
    enc: &[u8; 32],
    info: &[u8],
) -> Result<Receiving, HpkeRefused> {
    let private = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(secret.expose())
        .map_err(|_| HpkeRefused)?;
    let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(enc).map_err(|_| HpkeRefused)?;
    hpke::setup_receiver(&OpModeR::Base, &private, &enc, info).map_err(|_| HpkeRefused)
}
