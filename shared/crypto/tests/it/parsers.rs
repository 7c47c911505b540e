//! Goal: whatever bytes are taken for a wrapped key, a sealed state or a key file, they are read or
//! refused. Method: genuine ones whole, cut short, with a byte more and with a byte changed; and
//! random bytes.

use std::sync::OnceLock;

use crypto::blob::{self, BlobBinding, BlobHeader, MAX_KEY_BYTES, WrapKeys};
use crypto::master_key::MasterKey;
use crypto::sealed_state::{self, StorageKey};
use crypto::sigkey_file;
use proptest::prelude::*;
use protocol::{InstanceId, KeyId, VersionId};

use crate::rng;

fn binding(bytes: [u8; 4]) -> BlobBinding {
    BlobBinding {
        instance: InstanceId::from_bytes([bytes[0]; 16]),
        key: KeyId::from_bytes([bytes[1]; 16]),
        version: VersionId::from_bytes([bytes[2]; 16]),
        attributes: bytes[3],
    }
}

/// Made once: a key file costs 64 MiB and three passes.
fn key_file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| sigkey_file::create("admin", "a passphrase", &mut rng(1)).unwrap())
}

/// The bytes with one of them other than it was.
fn changed(bytes: &[u8], at: usize, by: u8) -> Vec<u8> {
    let mut other = bytes.to_vec();
    other[at % bytes.len()] ^= by;
    other
}

proptest! {
    #[test]
    fn a_blob_opens_whole_and_unchanged_only(
        seed: u64,
        bound: [u8; 4],
        key in prop::collection::vec(any::<u8>(), 1..200),
        at: usize,
        by in 1..=u8::MAX,
    ) {
        let keys = WrapKeys::derive(&MasterKey::generate(&mut rng(seed)));
        let binding = binding(bound);
        let sealed = blob::seal_blob(&keys, &binding, &key, &mut rng(seed)).unwrap();
        prop_assert_eq!(BlobHeader::parse(&sealed).unwrap().pattern, keys.pattern());
        let opened = blob::open_blob(&keys, &binding, &sealed).unwrap();
        prop_assert_eq!(opened.expose(), key.as_slice());
        for other in [
            changed(&sealed, at, by),
            sealed[..at % sealed.len()].to_vec(),
            [sealed.as_slice(), &[by]].concat(),
        ] {
            prop_assert!(blob::open_blob(&keys, &binding, &other).is_err());
        }
    }

    #[test]
    fn any_bytes_are_no_blob(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let keys = WrapKeys::derive(&MasterKey::generate(&mut rng(1)));
        let own = [&[blob::BLOB_FORMAT, blob::SUITE_XCHACHA], &keys.pattern().0[..], &bytes].concat();
        for bytes in [bytes, own] {
            let _ = BlobHeader::parse(&bytes);
            prop_assert!(blob::open_blob(&keys, &binding([1; 4]), &bytes).is_err());
        }
    }

    #[test]
    fn a_sealed_state_opens_whole_and_unchanged_only(
        seed: u64,
        state in prop::collection::vec(any::<u8>(), 0..300),
        bytes in prop::collection::vec(any::<u8>(), 0..100),
        at: usize,
        by in 1..=u8::MAX,
    ) {
        let key = StorageKey::generate(&mut rng(seed));
        let sealed = sealed_state::seal_state(&key, b"unit", &state, &mut rng(seed));
        let opened = sealed_state::open_state(&key, b"unit", &sealed).unwrap();
        prop_assert_eq!(opened.as_slice(), state.as_slice());
        for other in [
            changed(&sealed, at, by),
            sealed[..at % sealed.len()].to_vec(),
            [sealed.as_slice(), &[by]].concat(),
            bytes,
        ] {
            prop_assert!(sealed_state::open_state(&key, b"unit", &other).is_err());
        }
        prop_assert!(sealed_state::open_state(&key, b"other unit", &sealed).is_err());
    }

    #[test]
    fn a_key_file_is_described_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at: usize,
        by in 1..=u8::MAX,
    ) {
        let file = key_file();
        let described = sigkey_file::describe(file).unwrap();
        prop_assert!(sigkey_file::describe(&bytes).is_err());
        prop_assert!(sigkey_file::describe(&file[..at % (file.len() - 1)]).is_err());
        prop_assert!(sigkey_file::describe(&[file, b"x"].concat()).is_err());
        // Another one is never taken for it: the identifier is that of the key.
        if let Ok(other) = sigkey_file::describe(&changed(file, at, by)) {
            prop_assert_eq!((other.ski, other.public_key), (described.ski, described.public_key));
        }
    }
}

#[test]
fn no_key_beyond_the_limit_is_wrapped() {
    let keys = WrapKeys::derive(&MasterKey::generate(&mut rng(1)));
    let sealed = |length: usize| {
        blob::seal_blob(&keys, &binding([1; 4]), &vec![7; length], &mut rng(1)).is_ok()
    };
    let lengths = [0, 1, MAX_KEY_BYTES, MAX_KEY_BYTES + 1];
    assert_eq!(lengths.map(sealed), [false, true, true, false]);
}
