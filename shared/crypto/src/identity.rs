//! Ed25519 identities of processes (RFC 8032, strict verification).

use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{SigningKey, VerifyingKey};
use protocol::{Digest, ProcessId, PublicKey, Signature};
use rand::CryptoRng;
use sha2::Sha512;

use crate::digest::sha256;
use crate::domain;
use crate::remembered;
use crate::secret::Secret;

/// A signing key, of a process or of an administrator. What signs is made of the seed each time, and wiped: only
/// the seed's own pages are locked.
pub struct Identity {
    seed: Secret,
    public: VerifyingKey,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.public_key())
    }
}

impl Identity {
    /// Makes one.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self::from_seed(Secret::generate(rng))
    }

    /// Of its 32-byte seed.
    pub fn from_seed(seed: Secret) -> Self {
        let public = SigningKey::from_bytes(seed.expose()).verifying_key();
        Self { seed, public }
    }

    /// Its seed, for a sealed file only.
    pub fn danger_seed(&self) -> &Secret {
        &self.seed
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.public.to_bytes())
    }

    /// Signs a message in a domain.
    pub fn sign(&self, domain: &str, message: &[u8]) -> Signature {
        if cfg!(simulated_signatures) {
            return simulated(&self.public_key(), domain, message);
        }
        let expanded = ExpandedSecretKey::from(self.seed.expose());
        let signature = raw_sign::<Sha512>(&expanded, &framed(domain, message), &self.public);
        let signature = Signature(signature.to_bytes());
        remembered::made(&self.public_key(), domain, message, &signature);
        signature
    }
}

/// Whether the signature is the key's, in this domain. Weak keys and malleable signatures are not.
pub fn verify(key: &PublicKey, domain: &str, message: &[u8], signature: &Signature) -> bool {
    if cfg!(simulated_signatures) {
        return *signature == simulated(key, domain, message);
    }
    let now = || verify_now(key, domain, message, signature);
    remembered::or_verify(key, domain, message, signature, now)
}

fn verify_now(key: &PublicKey, domain: &str, message: &[u8], signature: &Signature) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(&key.0) else { return false };
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    key.verify_strict(&framed(domain, message), &signature).is_ok()
}

/// A digest in place of a signature, in the world that `scripts/soak` builds with `--cfg simulated_signatures`
/// and in nothing else: real ones take a third of the time of a seed, and nobody in that world forges.
fn simulated(key: &PublicKey, domain: &str, message: &[u8]) -> Signature {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&sha256(domain, &[&key.0, message]).0);
    Signature(bytes)
}

/// The id that follows from an identity key: a version 8 UUID of the first sixteen bytes of its
/// digest.
pub fn process_id(key: &PublicKey) -> ProcessId {
    let digest = sha256(domain::PROCESS_ID, &[&key.0]);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.0[..16]);
    ProcessId::from_uuid(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// What people compare when a process is enrolled.
pub fn fingerprint(key: &PublicKey) -> Digest {
    sha256(domain::FINGERPRINT, &[&key.0])
}

fn framed(domain: &str, message: &[u8]) -> Vec<u8> {
    [domain.as_bytes(), &[0], message].concat()
}
