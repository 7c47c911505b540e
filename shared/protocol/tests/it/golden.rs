//! Goal: the bytes of a message never change by accident: what a program of this format has written,
//! every later one reads. Method: values made of fixed numbers are compared byte for byte with files.

use std::path::PathBuf;

use protocol::codec;
use protocol::request::RotationRequest;

use crate::decoders::with_every_message;
use crate::source::Source;

/// So many values of each kind: enough that every variant is among them.
const EACH: u64 = 24;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn compare(name: &str, lines: &[String]) {
    let path = folder().join(name);
    let text = lines.join("\n") + "\n";
    if std::env::var_os("KEYHELM_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (number, (golden, made)) in golden.lines().zip(lines).enumerate() {
        assert_eq!(golden, made, "{name}, line {}", number + 1);
    }
    assert_eq!(golden, text, "{name}");
}

macro_rules! compare_every {
    ($($name:ident: $type:ty,)*) => {
        $({
            let made = |seed| hex::encode(codec::encode::<$type>(&Source::new(seed).make()));
            let lines: Vec<_> = (0..EACH).map(made).collect();
            compare(concat!(stringify!($name), ".hex"), &lines);
        })*
    };
}

#[test]
fn formats_have_not_changed() {
    with_every_message!(compare_every);
    let made = |seed| {
        let request: RotationRequest = Source::new(seed).make();
        serde_json::to_string(&request).unwrap()
    };
    compare("request.json", &(0..EACH).map(made).collect::<Vec<_>>());
}
