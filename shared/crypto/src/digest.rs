//! SHA-256 with a domain and length-prefixed parts, and the digests over chunks of wrapped keys.

use protocol::{Digest, KeyId, VersionId};
use sha2::{Digest as _, Sha256};

use crate::domain;

/// SHA-256 over a domain and parts, each with its length in front.
pub fn sha256(domain: &str, parts: &[&[u8]]) -> Digest {
    let mut hash = start(domain);
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Digest(hash.finalize().into())
}

/// SHA-256 over the rows of a chunk, in ascending order of version.
#[derive(Clone, Debug)]
pub struct ChunkDigest(Sha256);

impl Default for ChunkDigest {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkDigest {
    /// Of no row.
    pub fn new() -> Self {
        Self(start(domain::CHUNK))
    }

    /// Adds one row.
    pub fn row(&mut self, version: VersionId, key: KeyId, attributes: u8, blob: &[u8]) {
        let mut head = [0; 37];
        head[..16].copy_from_slice(version.bytes());
        head[16..32].copy_from_slice(key.bytes());
        head[32] = attributes;
        head[33..].copy_from_slice(&(blob.len() as u32).to_le_bytes());
        self.0.update(head);
        self.0.update(blob);
    }

    /// The digest.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// Chains the encoded receipts of all chunks, in the order of their ranges.
pub fn receipt_chain<'a>(receipts: impl Iterator<Item = &'a [u8]>) -> Digest {
    let empty = sha256(domain::RECEIPT_CHAIN, &[]);
    receipts.fold(empty, |chain, receipt| sha256(domain::RECEIPT_CHAIN, &[&chain.0, receipt]))
}

fn start(domain: &str) -> Sha256 {
    let mut hash = Sha256::new();
    hash.update((domain.len() as u64).to_le_bytes());
    hash.update(domain.as_bytes());
    hash
}
