//! What is made of a chunk besides its blobs: digests, and the Merkle root over its keys.

mod harness;
#[path = "harness/page.rs"]
mod page;

use crypto::merkle::KeyTree;
use machines::rewrap::chunk_digest;

use self::page::{ROWS, Stage};

fn main() {
    let stage = Stage::new();
    harness::time("digest a key of a chunk", ROWS, || chunk_digest(&stage.page.rows));
    harness::time("a key into the Merkle tree", ROWS, || {
        let mut tree = KeyTree::new();
        stage.page.rows.iter().for_each(|row| tree.push(row.key, row.version));
        tree.root()
    });
}
