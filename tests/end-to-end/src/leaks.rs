//! Looking for secrets where none may be: 16-byte runs of them, raw, in hex, in base64.

use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;
use anyhow::ensure;

/// Length of the runs that are looked for.
const RUN: usize = 16;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Looks for a set of secrets in one pass.
pub struct Finder {
    automaton: AhoCorasick,
    /// Whose each needle is.
    owners: Vec<String>,
}

impl Finder {
    /// Of named secrets of at least 16 bytes each.
    pub fn new(secrets: &[(String, Vec<u8>)]) -> anyhow::Result<Self> {
        let (mut needles, mut owners) = (Vec::new(), Vec::new());
        for (name, bytes) in secrets {
            ensure!(bytes.len() >= RUN, "{name} is too short to be looked for");
            // Every run that begins at a multiple of its length: a copy of the whole has one.
            for run in bytes.chunks_exact(RUN) {
                let forms =
                    [run.to_vec(), hex(run, b"0123456789abcdef"), hex(run, b"0123456789ABCDEF")];
                let coded = (0..3).map(|offset| base64_inside(run, offset));
                for needle in forms.into_iter().chain(coded) {
                    needles.push(needle);
                    owners.push(name.clone());
                }
            }
        }
        Ok(Self { automaton: AhoCorasick::new(needles)?, owners })
    }

    /// The names of the secrets that are in there.
    pub fn found(&self, haystack: &[u8]) -> BTreeSet<&str> {
        let matches = self.automaton.find_overlapping_iter(haystack);
        matches.map(|found| self.owners[found.pattern().as_usize()].as_str()).collect()
    }
}

fn hex(run: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    let two = |byte: &u8| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]];
    run.iter().flat_map(two).collect()
}

/// The base64 letters that depend on these bytes alone when `offset` bytes stand before them.
fn base64_inside(bytes: &[u8], offset: usize) -> Vec<u8> {
    let bit = |index: usize| (bytes[index / 8] >> (7 - index % 8)) & 1;
    // The first letter that begins at or behind our first bit.
    let start = (6 - offset * 8 % 6) % 6;
    let letters = (start..=bytes.len() * 8 - 6).step_by(6).map(|at| {
        let value = (0..6).fold(0, |value, index| value << 1 | bit(at + index));
        ALPHABET[usize::from(value)]
    });
    letters.collect()
}
