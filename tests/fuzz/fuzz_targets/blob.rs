//! Wrapped keys: the header, and what a unit does with bytes that nobody has wrapped.
#![no_main]

use std::sync::OnceLock;

use crypto::blob::{self, BlobBinding, BlobHeader, WrapKeys};
use crypto::master_key::MasterKey;
use protocol::{InstanceId, KeyId, VersionId};

static KEYS: OnceLock<WrapKeys> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let golden = std::array::from_fn(|index| index as u8);
    let keys = KEYS.get_or_init(|| WrapKeys::derive(&MasterKey::danger_from_state_bytes(&golden)));
    let binding = BlobBinding {
        instance: InstanceId::from_bytes([0x11; 16]),
        key: KeyId::from_bytes([0x22; 16]),
        version: VersionId::from_bytes([0x33; 16]),
        attributes: 0x11,
    };
    let header = BlobHeader::parse(bytes);
    if let Ok(opened) = blob::open_blob(keys, &binding, bytes) {
        assert_eq!(header.map(|header| header.pattern), Ok(keys.pattern()));
        assert_eq!(opened.expose(), b"thirty-two bytes of a golden key", "somebody forged a blob");
    }
});
