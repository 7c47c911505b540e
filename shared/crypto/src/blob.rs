//! Wrapped keys: the blob format, sealing, opening, re-wrapping.
//!
//! `format 1 | suite 1 | pattern 32 | nonce 24 | ciphertext | tag 16`. The additional data are the
//! header and everything the key is bound to, at fixed lengths; a unit decides from them, never
//! from metadata, whether bytes may leave it.

use protocol::{InstanceId, KeyId, Pattern, VersionId};
use rand::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::domain;
use crate::master_key::{MasterKey, derive};
use crate::secret::Secret;
use crate::xchacha::{self, NONCE_BYTES, TAG_BYTES};

/// The only blob format.
pub const BLOB_FORMAT: u8 = 1;
/// XChaCha20-Poly1305 with random nonces.
pub const SUITE_XCHACHA: u8 = 1;
/// Longest key that is wrapped.
pub const MAX_KEY_BYTES: usize = 4096;

const HEADER_BYTES: usize = 2 + 32;
const SHORTEST: usize = HEADER_BYTES + NONCE_BYTES + 1 + TAG_BYTES;

/// Why a blob does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// Not a blob.
    #[error("it is not a wrapped key: {0}")]
    Malformed(&'static str),
    /// Sealed under another master key.
    #[error("it is wrapped under pattern {0}")]
    OtherPattern(Pattern),
    /// Changed, or bound to something else.
    #[error("it was changed, or belongs to another key, version or instance")]
    NotAuthentic,
    /// An empty key, or one beyond [`MAX_KEY_BYTES`].
    #[error("a key has 1 to {MAX_KEY_BYTES} bytes")]
    Length,
}

/// A blob's header, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobHeader {
    /// Whose master key opens it.
    pub pattern: Pattern,
}

impl BlobHeader {
    /// Reads the header; says nothing about what is behind it.
    pub fn parse(blob: &[u8]) -> Result<Self, BlobError> {
        if blob.len() < SHORTEST {
            return Err(BlobError::Malformed("it is too short"));
        }
        if blob[0] != BLOB_FORMAT {
            return Err(BlobError::Malformed("its format is unknown"));
        }
        if blob[1] != SUITE_XCHACHA {
            return Err(BlobError::Malformed("its suite is unknown"));
        }
        let mut pattern = [0; 32];
        pattern.copy_from_slice(&blob[2..HEADER_BYTES]);
        Ok(Self { pattern: Pattern(pattern) })
    }
}

/// What a key is, in one byte of its additional data: bits 0 to 3 algorithm (1 AES), bit 4 root
/// key, bit 5 extractable, bit 6 imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyAttributes {
    /// A root key wraps data and never leaves a unit; a standard key is handed out.
    pub is_root: bool,
    /// Whether its bytes may leave a unit.
    pub is_extractable: bool,
    /// Whether its bytes came from outside.
    pub is_imported: bool,
}

impl KeyAttributes {
    const AES: u8 = 1;

    /// As one byte.
    pub const fn to_byte(self) -> u8 {
        Self::AES
            | (self.is_root as u8) << 4
            | (self.is_extractable as u8) << 5
            | (self.is_imported as u8) << 6
    }

    /// From one byte; none if it is not one that [`Self::to_byte`] makes, or contradicts itself.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        if byte & 0b1000_1111 != Self::AES {
            return None;
        }
        let found = Self {
            is_root: byte & 0x10 != 0,
            is_extractable: byte & 0x20 != 0,
            is_imported: byte & 0x40 != 0,
        };
        if found.is_root && found.is_extractable { None } else { Some(found) }
    }
}

/// What a blob is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobBinding {
    /// The instance.
    pub instance: InstanceId,
    /// The key.
    pub key: KeyId,
    /// Its version.
    pub version: VersionId,
    /// [`KeyAttributes`] as a byte.
    pub attributes: u8,
}

const AAD_BYTES: usize = domain::BLOB.len() + HEADER_BYTES + 3 * 16 + 1;

impl BlobBinding {
    fn aad(&self, header: &[u8]) -> [u8; AAD_BYTES] {
        let mut aad = [0; AAD_BYTES];
        let parts: [&[u8]; 6] = [
            domain::BLOB,
            header,
            self.instance.bytes(),
            self.key.bytes(),
            self.version.bytes(),
            &[self.attributes],
        ];
        let mut at = 0;
        for part in parts {
            aad[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        aad
    }
}

/// The wrapping keys of one master key, one a suite.
#[derive(Debug)]
pub struct WrapKeys {
    pattern: Pattern,
    suite_1: Secret,
}

impl WrapKeys {
    /// Derives them.
    pub fn derive(key: &MasterKey) -> Self {
        let suite_1 = Secret::filled_by(|out| derive(key.secret(), domain::WRAP_SUITE_1, out));
        Self { pattern: key.pattern(), suite_1 }
    }

    /// Pattern of the master key.
    pub const fn pattern(&self) -> Pattern {
        self.pattern
    }
}

/// A key's bytes on their way through a unit, wiped when dropped.
pub struct OpenedKey(Zeroizing<Vec<u8>>);

impl OpenedKey {
    /// The one door to the bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Compares in constant time.
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl std::fmt::Debug for OpenedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenedKey([REDACTED])")
    }
}

/// Wraps a key's bytes.
pub fn seal_blob<R: CryptoRng + ?Sized>(
    keys: &WrapKeys,
    binding: &BlobBinding,
    plaintext: &[u8],
    rng: &mut R,
) -> Result<Vec<u8>, BlobError> {
    let mut blob = Vec::with_capacity(HEADER_BYTES + NONCE_BYTES + plaintext.len() + TAG_BYTES);
    seal_into(keys, binding, plaintext, rng, &mut blob)?;
    Ok(blob)
}

/// Appends a wrapped key.
fn seal_into<R: CryptoRng + ?Sized>(
    keys: &WrapKeys,
    binding: &BlobBinding,
    plaintext: &[u8],
    rng: &mut R,
    out: &mut Vec<u8>,
) -> Result<(), BlobError> {
    if plaintext.is_empty() || plaintext.len() > MAX_KEY_BYTES {
        return Err(BlobError::Length);
    }
    let start = out.len();
    out.extend_from_slice(&[BLOB_FORMAT, SUITE_XCHACHA]);
    out.extend_from_slice(&keys.pattern.0);
    let aad = binding.aad(&out[start..]);
    let mut nonce = [0; NONCE_BYTES];
    rng.fill_bytes(&mut nonce);
    out.extend_from_slice(&nonce);
    xchacha::seal_into(keys.suite_1.expose(), &nonce, &aad, plaintext, out);
    Ok(())
}

/// Header, nonce and sealed key of a blob.
type Parts<'a> = (&'a [u8], &'a [u8; NONCE_BYTES], &'a [u8]);

/// The parts of a blob under these keys: header, nonce, ciphertext with its tag.
fn parts<'a>(keys: &WrapKeys, blob: &'a [u8]) -> Result<Parts<'a>, BlobError> {
    let header = BlobHeader::parse(blob)?;
    if header.pattern != keys.pattern {
        return Err(BlobError::OtherPattern(header.pattern));
    }
    let (head, rest) = blob.split_at(HEADER_BYTES);
    let (nonce, sealed) =
        rest.split_first_chunk().ok_or(BlobError::Malformed("it is too short"))?;
    Ok((head, nonce, sealed))
}

/// Opens a blob.
pub fn open_blob(
    keys: &WrapKeys,
    binding: &BlobBinding,
    blob: &[u8],
) -> Result<OpenedKey, BlobError> {
    let (head, nonce, sealed) = parts(keys, blob)?;
    xchacha::open(keys.suite_1.expose(), nonce, &binding.aad(head), sealed)
        .map(OpenedKey)
        .map_err(|_| BlobError::NotAuthentic)
}

/// Opens blobs under one master key and seals them under another. The plaintext never leaves it;
/// what was sealed is opened again and compared before it is given out. One serves a whole page:
/// its room for plaintexts is made once, and wiped when it is dropped.
#[derive(Debug)]
pub struct Rewrapper<'a> {
    from: &'a WrapKeys,
    to: &'a WrapKeys,
    old: Room,
    new: Room,
}

/// Room for the longest key and its tag.
struct Room(Zeroizing<Vec<u8>>);

impl Room {
    fn new() -> Self {
        // It never grows: what has moved elsewhere would not be wiped.
        Self(Zeroizing::new(Vec::with_capacity(MAX_KEY_BYTES + TAG_BYTES)))
    }

    /// Opens a blob in here.
    fn open(
        &mut self,
        keys: &WrapKeys,
        binding: &BlobBinding,
        blob: &[u8],
    ) -> Result<&[u8], BlobError> {
        let (head, nonce, sealed) = parts(keys, blob)?;
        if sealed.len() > self.0.capacity() {
            return Err(BlobError::Length);
        }
        self.0.clear();
        self.0.extend_from_slice(sealed);
        let aad = binding.aad(head);
        xchacha::open_in_place(keys.suite_1.expose(), nonce, &aad, &mut self.0)
            .map(|text| &*text)
            .map_err(|_| BlobError::NotAuthentic)
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Room([REDACTED])")
    }
}

impl<'a> Rewrapper<'a> {
    /// From one master key to another.
    pub fn new(from: &'a WrapKeys, to: &'a WrapKeys) -> Self {
        Self { from, to, old: Room::new(), new: Room::new() }
    }

    /// Appends the blob's key, wrapped anew; nothing that may be used, where it fails.
    pub fn rewrap<R: CryptoRng + ?Sized>(
        &mut self,
        binding: &BlobBinding,
        blob: &[u8],
        rng: &mut R,
        out: &mut Vec<u8>,
    ) -> Result<(), BlobError> {
        let key = self.old.open(self.from, binding, blob)?;
        let start = out.len();
        seal_into(self.to, binding, key, rng, out)?;
        let again = self.new.open(self.to, binding, &out[start..])?;
        match bool::from(again.ct_eq(key)) {
            true => Ok(()),
            false => Err(BlobError::NotAuthentic),
        }
    }
}

/// Opens a blob under one master key and seals it under another, as [`Rewrapper`] does for many.
pub fn rewrap<R: CryptoRng + ?Sized>(
    from: &WrapKeys,
    to: &WrapKeys,
    binding: &BlobBinding,
    blob: &[u8],
    rng: &mut R,
) -> Result<Vec<u8>, BlobError> {
    let mut out = Vec::with_capacity(blob.len());
    Rewrapper::new(from, to).rewrap(binding, blob, rng, &mut out)?;
    Ok(out)
}
