//! Wrapping a fresh key.

mod harness;
#[path = "harness/page.rs"]
mod page;

use crypto::blob::seal_blob;

use self::page::{ROWS, Stage};

fn main() {
    let mut stage = Stage::new();
    let (page, instance) = (&stage.page, stage.instance);
    for length in [16, 32, 512, 4096] {
        let key = vec![7; length];
        harness::time(&format!("seal a key of {length} bytes"), ROWS, || {
            let sealed = page.rows.iter().map(|row| {
                let bound = Stage::bound(instance, row);
                seal_blob(&stage.to, &bound, &key, &mut stage.rng).map(|blob| blob.len())
            });
            sealed.filter_map(Result::ok).sum::<usize>()
        });
    }
}
