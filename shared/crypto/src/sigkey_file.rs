//! Administrators' signature keys in files, as in IBM's `CLOUDTKEFILES` folder: an Ed25519 seed
//! sealed under argon2id of a passphrase.

use argon2::{Algorithm, Argon2, Params, Version};
use protocol::{PublicKey, Signature, Ski};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::domain;
use crate::identity::Identity;
use crate::quorum;
use crate::secret::Secret;
use crate::xchacha::{self, NONCE_BYTES};

/// The only format.
pub const SIGKEY_FORMAT: u32 = 1;
/// Shortest passphrase that is taken for a new file.
pub const MIN_PASSPHRASE: usize = 8;

/// RFC 9106, second recommended option, on one lane.
const KDF: KdfParams = KdfParams { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
/// Bounds on what a file may ask of the reader.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 8;

/// Why a file is not read or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigkeyError {
    /// Not such a file.
    #[error("it is no signature-key file: {0}")]
    Malformed(String),
    /// Written by a newer program.
    #[error("its format {0} is newer than this program reads: upgrade it")]
    NewerFormat(u32),
    /// It asks for more memory or passes than any file should.
    #[error("it asks for more work than any signature-key file needs")]
    Excessive,
    /// The passphrase does not open it.
    #[error("the passphrase does not open it")]
    WrongPassphrase,
    /// Too short.
    #[error("a passphrase has at least {MIN_PASSPHRASE} characters")]
    ShortPassphrase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KdfParams {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SigkeyFile {
    format: u32,
    description: String,
    subject_key_identifier: Ski,
    public_key: PublicKey,
    kdf: String,
    params: KdfParams,
    salt: String,
    nonce: String,
    sealed: String,
}

/// What a file says without its passphrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigkeyInfo {
    /// Its description (the administrator's name).
    pub description: String,
    /// Its subject key identifier.
    pub ski: Ski,
    /// The public key.
    pub public_key: PublicKey,
}

/// An administrator's key, opened.
#[derive(Debug)]
pub struct AdminKey(Identity);

impl AdminKey {
    /// Signs a message in a domain.
    pub fn sign(&self, domain: &str, message: &[u8]) -> (Ski, Signature) {
        (quorum::ski(&self.0.public_key()), self.0.sign(domain, message))
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        self.0.public_key()
    }
}

/// Makes a key and the bytes of its file.
pub fn create<R: CryptoRng + ?Sized>(
    description: &str,
    passphrase: &str,
    rng: &mut R,
) -> Result<Vec<u8>, SigkeyError> {
    if passphrase.chars().count() < MIN_PASSPHRASE {
        return Err(SigkeyError::ShortPassphrase);
    }
    let identity = Identity::generate(rng);
    let public_key = identity.public_key();
    let (mut salt, mut nonce) = ([0; 16], [0; NONCE_BYTES]);
    rng.fill_bytes(&mut salt);
    rng.fill_bytes(&mut nonce);
    let key = stretch(passphrase, &salt, KDF)?;
    let mut sealed = Vec::new();
    let aad = aad(&public_key);
    xchacha::seal_into(key.expose(), &nonce, &aad, identity.danger_seed().expose(), &mut sealed);
    let file = SigkeyFile {
        format: SIGKEY_FORMAT,
        description: description.to_owned(),
        subject_key_identifier: quorum::ski(&public_key),
        public_key,
        kdf: "argon2id".to_owned(),
        params: KDF,
        salt: hex::encode(salt),
        nonce: hex::encode(nonce),
        sealed: hex::encode(sealed),
    };
    serde_json::to_vec_pretty(&file).map_err(|error| SigkeyError::Malformed(error.to_string()))
}

/// Reads what is no secret.
pub fn describe(bytes: &[u8]) -> Result<SigkeyInfo, SigkeyError> {
    let file = parse(bytes)?;
    Ok(SigkeyInfo {
        description: file.description,
        ski: file.subject_key_identifier,
        public_key: file.public_key,
    })
}

/// Opens a key with its passphrase.
pub fn open(bytes: &[u8], passphrase: &str) -> Result<AdminKey, SigkeyError> {
    let file = parse(bytes)?;
    let malformed = |_| SigkeyError::Malformed("a field is not hex".to_owned());
    let salt = hex::decode(&file.salt).map_err(malformed)?;
    let sealed = hex::decode(&file.sealed).map_err(malformed)?;
    let mut nonce = [0; NONCE_BYTES];
    hex::decode_to_slice(&file.nonce, &mut nonce).map_err(malformed)?;
    let key = stretch(passphrase, &salt, file.params)?;
    let seed = xchacha::open(key.expose(), &nonce, &aad(&file.public_key), &sealed)
        .map_err(|_| SigkeyError::WrongPassphrase)?;
    let seed: &[u8; 32] = seed.as_slice().try_into().map_err(|_| SigkeyError::WrongPassphrase)?;
    let identity = Identity::from_seed(Secret::copied_from(seed));
    match identity.public_key() == file.public_key {
        true => Ok(AdminKey(identity)),
        false => Err(SigkeyError::Malformed("its public key is not its own".to_owned())),
    }
}

fn parse(bytes: &[u8]) -> Result<SigkeyFile, SigkeyError> {
    let file: SigkeyFile =
        serde_json::from_slice(bytes).map_err(|error| SigkeyError::Malformed(error.to_string()))?;
    if file.format > SIGKEY_FORMAT {
        return Err(SigkeyError::NewerFormat(file.format));
    }
    if file.format != SIGKEY_FORMAT || file.kdf != "argon2id" {
        return Err(SigkeyError::Malformed("its format or kdf is unknown".to_owned()));
    }
    if file.subject_key_identifier != quorum::ski(&file.public_key) {
        return Err(SigkeyError::Malformed("its identifier is not its key's".to_owned()));
    }
    let KdfParams { memory_kib, passes, lanes } = file.params;
    if memory_kib > MAX_MEMORY_KIB || passes > MAX_PASSES || lanes > MAX_LANES {
        return Err(SigkeyError::Excessive);
    }
    Ok(file)
}

fn stretch(passphrase: &str, salt: &[u8], kdf: KdfParams) -> Result<Secret, SigkeyError> {
    let refused = |error: argon2::Error| SigkeyError::Malformed(error.to_string());
    let params = Params::new(kdf.memory_kib, kdf.passes, kdf.lanes, Some(32)).map_err(refused)?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut out = Zeroizing::new([0; 32]);
    argon.hash_password_into(passphrase.as_bytes(), salt, out.as_mut_slice()).map_err(refused)?;
    Ok(Secret::copied_from(&out))
}

fn aad(public_key: &PublicKey) -> Vec<u8> {
    [domain::SIGKEY, &public_key.0].concat()
}
