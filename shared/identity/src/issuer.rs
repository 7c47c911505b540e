//! Issuing tokens, with an Ed25519 key in a PKCS #8 PEM file (RFC 8410), as `openssl genpkey
//! -algorithm ed25519` makes it too.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use crypto::identity::Identity;
use crypto::secret::Secret;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rand::CryptoRng;
use serde_json::json;
use zeroize::Zeroizing;

use crate::claims::Claims;

/// PKCS #8 before the 32 bytes of an Ed25519 seed (RFC 8410, section 10.3).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// Why no token is issued.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The file cannot be read or written.
    #[error("the issuer's key {path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no Ed25519 key.
    #[error("{0} is no Ed25519 private key in PKCS #8 PEM")]
    NotAKey(String),
    /// The token could not be signed.
    #[error("the token could not be signed: {0}")]
    Signing(String),
}

/// Issues tokens.
pub struct Issuer {
    key: EncodingKey,
    public: [u8; 32],
    key_id: String,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Issuer({})", self.key_id)
    }
}

impl Issuer {
    /// Makes a key in a new file that only its owner reads. A file that is there stays as it is.
    pub fn create<R: CryptoRng>(path: &Path, rng: &mut R) -> Result<Self, IssuerError> {
        let io = |source| IssuerError::Io { path: path.display().to_string(), source };
        let seed = Secret::generate(rng);
        let der = Zeroizing::new([PKCS8_PREFIX.as_slice(), seed.expose()].concat());
        let body = Zeroizing::new(STANDARD.encode(der.as_slice()));
        let text = Zeroizing::new(format!("{BEGIN}\n{}\n{END}\n", body.as_str()));
        let mut open = std::fs::OpenOptions::new();
        let mut file = open.write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
        Self::from_file(path)
    }

    /// Reads a key.
    pub fn from_file(path: &Path) -> Result<Self, IssuerError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(|source| IssuerError::Io { path: shown.clone(), source })?;
        let refused = || IssuerError::NotAKey(shown.clone());
        let inside = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
        let body: Zeroizing<String> =
            Zeroizing::new(inside.ok_or_else(refused)?.split_whitespace().collect());
        let der = Zeroizing::new(STANDARD.decode(body.as_bytes()).map_err(|_| refused())?);
        let seed: &[u8; 32] = der
            .strip_prefix(PKCS8_PREFIX.as_slice())
            .and_then(|seed| seed.try_into().ok())
            .ok_or_else(refused)?;
        let public = Identity::from_seed(Secret::copied_from(seed)).public_key().0;
        let key_id = crypto::digest::sha256("keyhelm token key v1", &[&public]).to_string();
        let key_id = key_id.chars().take(16).collect();
        Ok(Self { key: EncodingKey::from_ed_der(&der), public, key_id })
    }

    /// The key set (RFC 7517, RFC 8037) that verifies what this issues.
    pub fn jwks(&self) -> String {
        let key = json!({
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
            "kid": self.key_id, "x": URL_SAFE_NO_PAD.encode(self.public),
        });
        format!("{:#}\n", json!({ "keys": [key] }))
    }

    /// Signs a token.
    pub fn issue(&self, claims: &Claims) -> Result<String, IssuerError> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, claims, &self.key)
            .map_err(|error| IssuerError::Signing(error.to_string()))
    }
}
