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

/// Words that only this call makes, in a frame deep enough for the reading not to reach all of it.
#[cfg(target_os = "linux")]
fn leave(mark: u64) -> u64 {
    let words: [u64; 4096] = std::array::from_fn(|index| mark.wrapping_mul(index as u64 | 1));
    std::hint::black_box(&words).iter().fold(0, |sum, word| sum ^ word)
}

/// How many of those words lie in the mapping that this thread's stack is in.
#[cfg(target_os = "linux")]
fn left(mark: u64) -> usize {
    use std::os::unix::fs::FileExt;
    let here = 0_u8;
    let at = &raw const here as u64;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let bounds = |line: &str| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let parse = |text| u64::from_str_radix(text, 16).ok();
        Some((parse(start)?, parse(end)?))
    };
    let (start, end) =
        maps.lines().filter_map(bounds).find(|(start, end)| (*start..*end).contains(&at)).unwrap();
    let mut bytes = vec![0; (end - start) as usize];
    std::fs::File::open("/proc/self/mem").unwrap().read_exact_at(&mut bytes, start).unwrap();
    let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
    let marks: std::collections::BTreeSet<_> =
        (100..4096_u64).map(|index| mark.wrapping_mul(index | 1)).collect();
    words.filter(|word| marks.contains(word)).count()
}

#[cfg(target_os = "linux")]
#[test]
fn what_work_leaves_on_the_stack_is_wiped() {
    let mark = |seed: u8| {
        let digest = crypto::digest::sha256("test", &[&[seed]]).0;
        u64::from_le_bytes(std::array::from_fn(|index| digest[index])) | 1
    };
    // The same look finds what is left where nothing is wiped.
    let plain = mark(1);
    std::hint::black_box(leave(plain));
    assert!(left(plain) > 500, "{} words are left of plain work", left(plain));
    let wiped = mark(2);
    std::hint::black_box(crypto::wiping_stack(|| leave(wiped)));
    assert_eq!(left(wiped), 0);
}
