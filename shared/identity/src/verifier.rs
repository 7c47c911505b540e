//! Judging tokens by a key set.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use protocol::UnixMillis;

use crate::claims::{AUDIENCE, Claims};

/// Seconds that the issuer's clock may be ahead.
const LEEWAY_S: u64 = 30;
/// Longest token.
const MAX_BYTES: usize = 16 * 1024;

/// Why a key set is not used.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// The file cannot be read.
    #[error("key set {path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no key set.
    #[error("key set {path} is not understood: {reason}")]
    Malformed {
        /// Which file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// There is none.
    #[error("there is no bearer token: log in, or give one with --token-file")]
    Absent,
    /// It cannot be read, its signature is wrong, or it is for somebody else.
    #[error("the token is not valid: {0}")]
    Invalid(String),
    /// Its time is over.
    #[error("the token has expired: issue another one with `keyhelm token issue`")]
    Expired,
    /// Its time has not come.
    #[error("the token is issued in the future: are the clocks right?")]
    TooEarly,
    /// No key of the set has signed it.
    #[error("the token is signed with key {0}, which the key set does not have")]
    UnknownKey(String),
}

/// Judges tokens. The file is read again when a token names a key that it did not have.
#[derive(Clone, Debug)]
pub struct Verifier {
    path: Option<PathBuf>,
    keys: Arc<RwLock<Keys>>,
}

#[derive(Debug)]
struct Keys {
    set: JwkSet,
    changed_at: Option<SystemTime>,
}

impl Verifier {
    /// By the key set in a file.
    pub fn from_file(path: &Path) -> Result<Self, KeySetError> {
        let keys = Arc::new(RwLock::new(read(path)?));
        Ok(Self { path: Some(path.to_owned()), keys })
    }

    /// By a key set in memory.
    pub fn from_jwks(jwks: &str) -> Result<Self, KeySetError> {
        let set = parse(jwks, "in memory")?;
        Ok(Self { path: None, keys: Arc::new(RwLock::new(Keys { set, changed_at: None })) })
    }

    /// What the token says, if it is to be believed now.
    pub fn verify(&self, token: &str, now: UnixMillis) -> Result<Claims, TokenRefusal> {
        let invalid = |reason: &dyn std::fmt::Display| TokenRefusal::Invalid(reason.to_string());
        if token.is_empty() {
            return Err(TokenRefusal::Absent);
        }
        if token.len() > MAX_BYTES {
            return Err(invalid(&"it is too long"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| invalid(&error))?;
        if header.alg != Algorithm::EdDSA {
            return Err(invalid(&"its algorithm is not EdDSA"));
        }
        let kid = header.kid.ok_or_else(|| invalid(&"it names no key"))?;
        let key = self.key(&kid).ok_or_else(|| TokenRefusal::UnknownKey(kid.clone()))?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        // Time is an argument here, so it is judged below.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)
            .map_err(|error| invalid(&error))?
            .claims;
        let now_s = now.0 / 1000;
        if now_s >= claims.exp {
            return Err(TokenRefusal::Expired);
        }
        if claims.iat > now_s + LEEWAY_S {
            return Err(TokenRefusal::TooEarly);
        }
        Ok(claims)
    }

    fn key(&self, kid: &str) -> Option<DecodingKey> {
        if let Some(key) = find(&self.keys(), kid) {
            return Some(key);
        }
        let path = self.path.as_deref()?;
        let changed_at = modified(path);
        if changed_at == self.keys().changed_at {
            return None;
        }
        // A file that is broken for a moment leaves the keys that were read before.
        let fresh = read(path).ok()?;
        let found = find(&fresh, kid);
        match self.keys.write() {
            Ok(mut keys) => *keys = fresh,
            Err(poisoned) => *poisoned.into_inner() = fresh,
        }
        found
    }

    fn keys(&self) -> std::sync::RwLockReadGuard<'_, Keys> {
        match self.keys.read() {
            Ok(keys) => keys,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

fn find(keys: &Keys, kid: &str) -> Option<DecodingKey> {
    keys.set.find(kid).and_then(|jwk| DecodingKey::from_jwk(jwk).ok())
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|found| found.modified()).ok()
}

fn read(path: &Path) -> Result<Keys, KeySetError> {
    let shown = path.display().to_string();
    let changed_at = modified(path);
    let text = std::fs::read_to_string(path)
        .map_err(|source| KeySetError::Io { path: shown.clone(), source })?;
    Ok(Keys { set: parse(&text, &shown)?, changed_at })
}

fn parse(text: &str, path: &str) -> Result<JwkSet, KeySetError> {
    serde_json::from_str(text).map_err(|error| KeySetError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
