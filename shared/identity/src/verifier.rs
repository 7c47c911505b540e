//! Judging tokens by a key set.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use protocol::UnixMillis;
use serde::Deserialize;

use crate::claims::{AUDIENCE, Claims};

/// Seconds that the issuer's clock may be ahead.
const LEEWAY_S: u64 = 30;
/// Longest token.
const MAX_BYTES: usize = 16 * 1024;
/// How often the file is looked at.
const LOOK_EVERY_MS: u64 = 2_000;
/// Longest key set.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

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
    #[error("the token is issued, or valid, only in the future: are the clocks right?")]
    TooEarly,
    /// No key of the set has signed it.
    #[error("the token is signed with key {0}, which the key set does not have")]
    UnknownKey(String),
}

/// What a token says, with what only its judge asks for.
#[derive(Clone, Deserialize)]
struct Said {
    #[serde(flatten)]
    claims: Claims,
    /// Not valid before, in seconds since 1970; fractions are allowed. Issuers need not say it.
    nbf: Option<f64>,
}

/// Judges tokens. Whether the file has changed is looked at every few seconds, and when a token names
/// a key that it did not have: a key that was taken out of it is not believed for longer.
#[derive(Clone, Debug)]
pub struct Verifier {
    path: Option<PathBuf>,
    keys: Arc<RwLock<Keys>>,
}

#[derive(Debug)]
struct Keys {
    set: JwkSet,
    file: Option<FileState>,
    looked_at: UnixMillis,
}

/// What shows that a file is another one: when it was changed, and its length.
type FileState = (SystemTime, u64);

impl Verifier {
    /// By the key set in a file.
    pub fn from_file(path: &Path) -> Result<Self, KeySetError> {
        let file = state_of(path);
        let keys = Keys { set: read(path)?, file, looked_at: UnixMillis(0) };
        Ok(Self { path: Some(path.to_owned()), keys: Arc::new(RwLock::new(keys)) })
    }

    /// By a key set in memory.
    pub fn from_jwks(jwks: &str) -> Result<Self, KeySetError> {
        let set = parse(jwks, "in memory")?;
        let keys = Keys { set, file: None, looked_at: UnixMillis(0) };
        Ok(Self { path: None, keys: Arc::new(RwLock::new(keys)) })
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
        let key = self.key(&kid, now).ok_or_else(|| TokenRefusal::UnknownKey(kid.clone()))?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        // Time is an argument here, so it is judged below.
        validation.validate_exp = false;
        let Said { claims, nbf } = jsonwebtoken::decode::<Said>(token, &key, &validation)
            .map_err(|error| invalid(&error))?
            .claims;
        let now_s = now.0 / 1000;
        if now_s >= claims.exp {
            return Err(TokenRefusal::Expired);
        }
        let latest_s = now_s + LEEWAY_S;
        if claims.iat > latest_s || nbf.is_some_and(|nbf| nbf > latest_s as f64) {
            return Err(TokenRefusal::TooEarly);
        }
        Ok(claims)
    }

    fn key(&self, kid: &str, now: UnixMillis) -> Option<DecodingKey> {
        let is_due = now.0.abs_diff(self.keys().looked_at.0) >= LOOK_EVERY_MS;
        if is_due {
            self.look(now);
        }
        if let Some(key) = find(&self.keys(), kid) {
            return Some(key);
        }
        self.look(now);
        find(&self.keys(), kid)
    }

    /// Reads the file again if it has changed. One that is broken, or gone, leaves the keys that were
    /// read before, until it changes once more.
    fn look(&self, now: UnixMillis) {
        let Some(path) = &self.path else { return };
        let mut keys = match self.keys.write() {
            Ok(keys) => keys,
            Err(poisoned) => poisoned.into_inner(),
        };
        keys.looked_at = now;
        let file = state_of(path);
        if file == keys.file {
            return;
        }
        keys.file = file;
        match read(path) {
            Ok(set) => {
                tracing::info!(path = %path.display(), keys = set.keys.len(), "key set read again");
                keys.set = set;
            }
            Err(error) => {
                tracing::error!(%error, "the key set is not used: keys of before are believed");
            }
        }
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

/// Taken before the file is read: what is written meanwhile shows the next time.
fn state_of(path: &Path) -> Option<FileState> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

fn read(path: &Path) -> Result<JwkSet, KeySetError> {
    let shown = path.display().to_string();
    let io = |source| KeySetError::Io { path: shown.clone(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(io)?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(io)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        let reason = format!("it is longer than {MAX_FILE_BYTES} bytes");
        return Err(KeySetError::Malformed { path: shown, reason });
    }
    parse(&text, &shown)
}

fn parse(text: &str, path: &str) -> Result<JwkSet, KeySetError> {
    serde_json::from_str(text).map_err(|error| KeySetError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
