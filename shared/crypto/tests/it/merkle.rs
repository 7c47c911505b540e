//! The root over keys: as RFC 6962 says it, whatever the count, and other for any other key.

use crypto::merkle::KeyTree;
use protocol::{Digest, KeyId, VersionId};
use sha2::{Digest as _, Sha256};

type Leaf = ([u8; 16], [u8; 16]);

fn leaf(number: u16) -> Leaf {
    let mut version = [0; 16];
    version[..2].copy_from_slice(&number.to_be_bytes());
    ([number as u8; 16], version)
}

fn root(leaves: &[Leaf]) -> Digest {
    let mut tree = KeyTree::new();
    for (key, version) in leaves {
        tree.push(KeyId::from_bytes(*key), VersionId::from_bytes(*version));
    }
    assert_eq!(tree.count(), leaves.len() as u64);
    tree.root()
}

/// The definition, word for word: all leaves in memory, from the top.
fn by_definition(leaves: &[Leaf]) -> [u8; 32] {
    match leaves {
        [] => Sha256::digest(b"").into(),
        [(key, version)] => Sha256::digest([&[0], &key[..], version].concat()).into(),
        _ => {
            let half = (1 << (usize::BITS - (leaves.len() - 1).leading_zeros())) / 2;
            let (left, right) = leaves.split_at(half);
            let node = [&[1], &by_definition(left)[..], &by_definition(right)].concat();
            Sha256::digest(node).into()
        }
    }
}

#[test]
fn it_is_the_root_of_the_rfc_for_every_count() {
    let leaves: Vec<_> = (0..300).map(leaf).collect();
    for count in 0..=leaves.len() {
        assert_eq!(root(&leaves[..count]).0, by_definition(&leaves[..count]), "{count}");
    }
}

/// Computed by Python's hashlib from the definition: keys are sixteen times n, versions n + 0x80.
#[test]
fn it_has_these_values() {
    let leaves: Vec<_> = (1..=7_u8).map(|n| ([n; 16], [n + 0x80; 16])).collect();
    for (count, expected) in VECTORS.iter().enumerate() {
        assert_eq!(root(&leaves[..count]).to_string(), *expected, "{count}");
    }
}

const VECTORS: [&str; 8] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "a628271e61ca9a50b918844a80bd73c572dd6e71188c184278f528867204b221",
    "de03f05830cd73a5d6c20f4914cfe912205443264431f5a6ad7491d339441a81",
    "e94d8c4e64abc32364525b007f07741aedea6cf96949948ab2ff99194bff3156",
    "fdc59f69db43cdea27d34d6d97613217d51aa6b09ab6cd4a78d33609a7672e8e",
    "71b3ac1b1efb5eaea26bb34d0d61a0ac6544789a985468a8f0d3ec5e560d01af",
    "2f2f5bccfd5bc0e271e72909062730187a1e0bfb0effdf9a7247ddac7beafb6a",
    "bd0bda89b317918eac8018e3d0d364deb6831ed8b8d8c61fccdc2495cab5cc7f",
];

#[test]
fn any_other_key_version_or_order_has_another_root() {
    let leaves: Vec<_> = (0..37).map(leaf).collect();
    let right = root(&leaves);
    for at in 0..leaves.len() {
        let mut changed = leaves.clone();
        changed[at].0[0] ^= 1;
        assert_ne!(root(&changed), right, "another key at {at}");
        let mut changed = leaves.clone();
        changed[at].1[15] ^= 1;
        assert_ne!(root(&changed), right, "another version at {at}");
        let mut changed = leaves.clone();
        changed.remove(at);
        assert_ne!(root(&changed), right, "without {at}");
        let mut changed = leaves.clone();
        changed.insert(at, leaves[at]);
        assert_ne!(root(&changed), right, "{at} twice");
        if at > 0 {
            let mut changed = leaves.clone();
            changed.swap(at - 1, at);
            assert_ne!(root(&changed), right, "{at} earlier");
        }
    }
}
