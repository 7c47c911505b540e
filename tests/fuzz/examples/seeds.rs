//! Writes the first corpus of every target: out of the golden files, and a key file made anew.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use machines::gate;
use machines::rotation::record::Record;
use protocol::codec;
use protocol::order::SignedOrder;
use protocol::{Envelope, Epoch, InstanceId, KeystoreId, Signature, UnixMillis};
use rand::SeedableRng;

/// Targets, and the golden files whose lines they begin with.
const MESSAGES: &[(&str, &[&str])] = &[
    ("command", &["command", "keystore_command"]),
    ("envelope", &["header"]),
    ("manifest", &["manifest"]),
    ("order", &["order", "signed_order", "standing_order", "hold_end"]),
    ("page", &["rewrap_page", "page_answer", "check_page", "check_answer", "chunk_receipt"]),
    ("report", &["unit_report", "keystore_report", "announcement"]),
    (
        "session",
        &[
            "session_ask",
            "session_offer",
            "session_info",
            "sealed_request",
            "sealed_answer",
            "key_request",
            "key_answer",
        ],
    ),
    ("transfer", &["offer", "transfer", "transfers", "certificate"]),
];

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = here.join("../../shared");
    let corpus = here.join("corpus");
    let protocol = shared.join("protocol/tests/golden");
    for (target, files) in MESSAGES {
        for file in *files {
            for (number, bytes) in hex_lines(&protocol.join(format!("{file}.hex")))? {
                write(&corpus, target, &format!("{file}-{number}"), &bytes)?;
                let envelope = Envelope::assemble(&bytes, &Signature([7; 64]), b"body");
                if *file == "header" {
                    write(&corpus, target, &format!("envelope-{number}"), &envelope)?;
                }
            }
        }
    }
    let requests = fs::read_to_string(protocol.join("request.json"))?;
    for (number, line) in requests.lines().enumerate() {
        write(&corpus, "request", &number.to_string(), line.as_bytes())?;
    }
    for (target, file) in [
        ("blob", "crypto/tests/golden/blob.hex"),
        ("sealed_state", "crypto/tests/golden/state.hex"),
        ("unit_state", "machines/tests/golden/unit-state.hex"),
    ] {
        for (number, bytes) in hex_lines(&shared.join(file))? {
            write(&corpus, target, &number.to_string(), &bytes)?;
        }
    }
    for (number, bytes) in hex_lines(&protocol.join("signed_order.hex"))? {
        let order = codec::decode::<SignedOrder>(&bytes)?;
        let record = Record::new(order, Epoch::default(), "admin".to_owned(), UnixMillis(1));
        write(&corpus, "saved", &format!("record-{number}"), &codec::encode(&record))?;
    }
    let row = gate::new_row(InstanceId::named("fuzz"), KeystoreId::from_bytes([7; 16]));
    write(&corpus, "saved", "row", &serde_json::to_vec(&row)?)?;
    let manifests = br#"{"type":"keyhelm.manifests","version":1,"chain":[]}"#;
    write(&corpus, "saved", "manifests", manifests)?;
    let receipt = br#"{"type":"keyhelm.rotation-receipt","version":1}"#;
    write(&corpus, "receipt", "head", receipt)?;
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
    let file = crypto::sigkey_file::create("admin", "a passphrase", &mut rng)?;
    write(&corpus, "sigkey", "made", &file)
}

fn hex_lines(path: &PathBuf) -> Result<Vec<(usize, Vec<u8>)>, Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    let decoded = text.lines().map(|line| hex::decode(line.trim()));
    Ok(decoded.collect::<Result<Vec<_>, _>>()?.into_iter().enumerate().collect())
}

fn write(corpus: &Path, target: &str, name: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let folder = corpus.join(target);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), bytes)?)
}
