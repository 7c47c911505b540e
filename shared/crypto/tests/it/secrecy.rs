//! Goal: no secret type prints its content. Method: every one of them is made of known bytes and
//! its `Debug` searched for them.

use crypto::blob::{self, BlobBinding, WrapKeys};
use crypto::identity::Identity;
use crypto::master_key::MasterKey;
use crypto::secret::Secret;
use crypto::transfer::TransportKey;
use protocol::session::SecretBytes;
use protocol::{InstanceId, KeyId, VersionId};

use crate::rng;

#[test]
fn debug_shows_no_secret_byte() {
    let bytes: [u8; 32] = std::array::from_fn(|index| 0xa0 ^ index as u8);
    let key = MasterKey::danger_from_state_bytes(&bytes);
    let keys = WrapKeys::derive(&key);
    let binding = BlobBinding {
        instance: InstanceId::from_bytes([1; 16]),
        key: KeyId::from_bytes([2; 16]),
        version: VersionId::from_bytes([3; 16]),
        attributes: 0x11,
    };
    let sealed = blob::seal_blob(&keys, &binding, &bytes, &mut rng(1)).unwrap();
    let opened = blob::open_blob(&keys, &binding, &sealed).unwrap();
    let shown = [
        format!("{key:?}"),
        format!("{keys:?}"),
        format!("{opened:?}"),
        format!("{:?}", Secret::copied_from(&bytes)),
        format!("{:?}", Identity::from_seed(Secret::copied_from(&bytes))),
        format!("{:?}", TransportKey::danger_from_state_bytes(&bytes)),
        format!("{:?}", SecretBytes::new(bytes.to_vec())),
    ];
    let digits = hex::encode(bytes);
    let numbers = format!("{:?}", &bytes[..4]);
    for text in shown {
        assert!(!text.contains(&digits[..8]), "{text}");
        assert!(!text.contains(numbers.trim_matches(['[', ']'])), "{text}");
    }
}

#[test]
fn secrets_lie_in_locked_memory() {
    let secrets: Vec<_> = (0..1_000).map(|seed| Secret::generate(&mut rng(seed))).collect();
    assert!(crypto::lock_status(), "1,000 secrets fit the usual limit of locked memory");
    let mut distinct: Vec<_> = secrets.iter().map(|secret| *secret.expose()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), secrets.len(), "each has a slot of its own");
}
