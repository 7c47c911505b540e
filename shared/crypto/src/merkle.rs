//! The Merkle root over the keys of a keystore's set, in the shape of RFC 6962, section 2.1: whoever
//! knows the ids can compute it anew, and one leaf can be proved without the others.

use protocol::{Digest, KeyId, VersionId};
use sha2::{Digest as _, Sha256};

/// Takes key versions one after the other and holds one hash for each bit of their count.
#[derive(Clone, Debug, Default)]
pub struct KeyTree {
    /// Roots of full trees, the largest first; their sizes are the bits of the count.
    peaks: Vec<[u8; 32]>,
    count: u64,
}

impl KeyTree {
    /// Of no key.
    pub const fn new() -> Self {
        Self { peaks: Vec::new(), count: 0 }
    }

    /// Adds the next one, in ascending order of version.
    pub fn push(&mut self, key: KeyId, version: VersionId) {
        let mut node = hash(&[&[0], key.bytes(), version.bytes()]);
        // Each full tree that is as large as what has just been made becomes its left half.
        for _ in 0..self.count.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = parent(&left, &node);
            }
        }
        self.peaks.push(node);
        self.count += 1;
    }

    /// How many there are.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The root of those so far; of none, SHA-256 of nothing.
    pub fn root(&self) -> Digest {
        let peaks = self.peaks.iter().rev().copied();
        let root = peaks.reduce(|right, left| parent(&left, &right));
        Digest(root.unwrap_or_else(|| hash(&[])))
    }
}

fn parent(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    hash(&[&[1], left, right])
}

/// No length in front of the parts: the first byte tells leaves from nodes, and each has one length.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}
