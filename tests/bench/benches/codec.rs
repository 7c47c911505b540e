//! A page over the wire and back.

mod harness;
#[path = "harness/page.rs"]
mod page;

use protocol::codec;
use protocol::page::RewrapPage;

use self::page::{ROWS, Stage};

fn main() {
    let stage = Stage::new();
    harness::time("encode a key of a page", ROWS, || codec::encode(&stage.page));
    let bytes = codec::encode(&stage.page);
    println!("{:44} {:9} bytes a key", "", bytes.len() as u64 / ROWS);
    harness::time("decode a key of a page", ROWS, || codec::decode::<RewrapPage>(&bytes));
    let rows = stage.page.rows.to_vec();
    harness::time("encode a key as a value of its own", ROWS, || codec::encode(&rows));
}
