//! Re-wrapping: opened under one master key, sealed under another, opened again and compared.

mod harness;
#[path = "harness/page.rs"]
mod page;

use crypto::blob::{Rewrapper, open_blob, rewrap};
use protocol::Blobs;

use self::page::{ROWS, Stage};

fn main() {
    let mut stage = Stage::new();
    let (page, instance) = (&stage.page, stage.instance);
    harness::time("rewrap a key of a page, self-check and all", ROWS, || {
        let mut rewrapper = Rewrapper::new(&stage.from, &stage.to);
        let mut blobs = Blobs::with_room(page.rows.byte_count());
        for row in page.rows.iter() {
            let bound = Stage::bound(instance, row);
            let added =
                blobs.push_with(|out| rewrapper.rewrap(&bound, row.blob, &mut stage.rng, out));
            assert!(added.is_ok());
        }
        blobs
    });
    harness::time("rewrap a key by itself", ROWS, || {
        let wrapped = page.rows.iter().map(|row| {
            let bound = Stage::bound(instance, row);
            rewrap(&stage.from, &stage.to, &bound, row.blob, &mut stage.rng).map(|blob| blob.len())
        });
        wrapped.filter_map(Result::ok).sum::<usize>()
    });
    harness::time("open a key", ROWS, || {
        let opened = page
            .rows
            .iter()
            .map(|row| open_blob(&stage.from, &Stage::bound(instance, row), row.blob).is_ok());
        opened.filter(|is_open| *is_open).count()
    });
}
