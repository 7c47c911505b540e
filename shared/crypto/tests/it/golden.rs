//! Goal: formats never change by accident, and are what their description says. Method: files made
//! with known randomness are compared byte for byte, and opened by a short Python program that
//! shares no code with ours.

use std::path::PathBuf;
use std::process::Command;

use crypto::blob::{self, BlobBinding, WrapKeys};
use crypto::master_key::MasterKey;
use crypto::merkle::KeyTree;
use crypto::sealed_state::{self, StorageKey};
use crypto::{data, random};
use protocol::{InstanceId, KeyId, UnixMillis, VersionId};

use crate::rng;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Each golden file: its name and what we make today.
fn made() -> Vec<(&'static str, String)> {
    let master = MasterKey::danger_from_state_bytes(&std::array::from_fn(|index| index as u8));
    let keys = WrapKeys::derive(&master);
    let binding = BlobBinding {
        instance: InstanceId::from_bytes([0x11; 16]),
        key: KeyId::from_bytes([0x22; 16]),
        version: VersionId::from_bytes([0x33; 16]),
        attributes: 0x11,
    };
    let blob = blob::seal_blob(&keys, &binding, b"thirty-two bytes of a golden key", &mut rng(1));
    let aad = [b"one".to_vec(), b"two".to_vec()];
    let (key, version) = (binding.key, binding.version);
    let data = data::wrap_data(&[0x44; 32], key, version, &aad, b"golden data", &mut rng(2));
    let storage = StorageKey::generate(&mut rng(3));
    let state = sealed_state::seal_state(&storage, b"golden unit", b"golden state", &mut rng(4));
    let mut tree = KeyTree::new();
    for number in 1..=7 {
        tree.push(KeyId::from_bytes([number; 16]), VersionId::from_bytes([number + 0x80; 16]));
    }
    let id = random::uuid_v7(UnixMillis(1_700_000_000_000), &mut rng(5));
    vec![
        ("pattern.hex", master.pattern().to_string()),
        ("blob.hex", hex::encode(blob.unwrap())),
        ("data.hex", hex::encode(data.unwrap())),
        ("storage-key.hex", storage.danger_hex().to_string()),
        ("state.hex", hex::encode(state)),
        ("key-root.hex", tree.root().to_string()),
        ("uuid-v7.txt", id.to_string()),
    ]
}

#[test]
fn formats_have_not_changed() {
    for (name, text) in made() {
        let path = folder().join(name);
        if std::env::var_os("KEYHELM_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, format!("{text}\n")).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap();
        assert_eq!(golden.trim(), text, "{name}");
    }
}

#[test]
fn python_opens_the_golden_files() {
    let required = std::env::var("KEYHELM_REQUIRE").unwrap_or_default().contains("python");
    let script = folder().join("check.py");
    match Command::new("python3").arg(script).output() {
        Ok(output) => {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{error}");
        }
        Err(_) if !required => println!("NOT RUN: golden files in Python (no python3)"),
        Err(error) => panic!("python3 is required: {error}"),
    }
}
