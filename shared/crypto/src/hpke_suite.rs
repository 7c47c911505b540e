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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use rand::{TryCryptoRng, TryRng};

    use super::*;

    /// Gives the bytes of a published vector, once.
    struct Scripted(Vec<u8>);

    impl TryRng for Scripted {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            unreachable!("HPKE asks for bytes")
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            unreachable!("HPKE asks for bytes")
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
            let rest = self.0.split_off(out.len());
            out.copy_from_slice(&self.0);
            self.0 = rest;
            Ok(())
        }
    }

    impl TryCryptoRng for Scripted {}

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        let mut bytes = [0; N];
        hex::decode_to_slice(text, &mut bytes).expect("hex");
        bytes
    }

    /// RFC 9180, appendix A.2.1: base mode, X25519, HKDF-SHA256, ChaCha20-Poly1305.
    #[test]
    fn seals_and_opens_the_published_vector() {
        let ikm = "909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b";
        let recipient = "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb";
        let secret = Secret::copied_from(&bytes(recipient));
        let public = public_key(&secret);
        assert_eq!(
            hex::encode(public),
            "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a"
        );
        let info = hex::decode("4f6465206f6e2061204772656369616e2055726e").expect("hex");
        let mut rng = Scripted(hex::decode(ikm).expect("hex"));
        let (enc, mut context) = sender(&public, &info, &mut rng).expect("a sender");
        assert_eq!(
            hex::encode(enc),
            "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"
        );
        let text = b"Beauty is truth, truth beauty";
        let sealed = context.seal(text, b"Count-0").expect("sealed");
        assert_eq!(
            hex::encode(&sealed),
            "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1\
             b51a28"
        );
        let mut context = receiver(&secret, &enc, &info).expect("a receiver");
        assert_eq!(context.open(&sealed, b"Count-0").expect("opened"), text);
    }
}
