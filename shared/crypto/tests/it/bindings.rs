//! Goal: whatever a sealed thing is bound to, a change of it alone is refused. Method: every single
//! bit of the sealed bytes is flipped, and every bound field changed, one at a time.

use crypto::blob::{self, BlobBinding, BlobError, KeyAttributes, WrapKeys};
use crypto::master_key::MasterKey;
use crypto::sealed_state::{self, StorageKey};
use crypto::session::{self, Direction, ReplayWindow, SessionKey};
use crypto::transfer::{self, SealedKey, TransferInfo, TransferPurpose, TransportKey};
use crypto::{data, identity, quorum, sigkey_file};
use protocol::{InstanceId, KeyId, OrderNumber, Pattern, ProcessId, RotationId, VersionId};

use crate::rng;

fn binding() -> BlobBinding {
    BlobBinding {
        instance: InstanceId::from_bytes([1; 16]),
        key: KeyId::from_bytes([2; 16]),
        version: VersionId::from_bytes([3; 16]),
        attributes: KeyAttributes { is_root: true, is_extractable: false, is_imported: false }
            .to_byte(),
    }
}

#[test]
fn blob_refuses_every_changed_bit_and_field() {
    let keys = WrapKeys::derive(&MasterKey::generate(&mut rng(1)));
    let sealed = blob::seal_blob(&keys, &binding(), &[7; 32], &mut rng(2)).unwrap();
    assert_eq!(blob::open_blob(&keys, &binding(), &sealed).unwrap().expose(), [7; 32]);
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(blob::open_blob(&keys, &binding(), &changed).is_err(), "bit {bit}");
    }
    for length in 0..sealed.len() {
        assert!(blob::open_blob(&keys, &binding(), &sealed[..length]).is_err());
    }
    let right = binding();
    let others = [
        BlobBinding { instance: InstanceId::from_bytes([9; 16]), ..right },
        BlobBinding { key: KeyId::from_bytes([9; 16]), ..right },
        BlobBinding { version: VersionId::from_bytes([9; 16]), ..right },
        BlobBinding { attributes: right.attributes ^ 0x20, ..right },
    ];
    for other in others {
        let refused = blob::open_blob(&keys, &other, &sealed);
        assert_eq!(refused.unwrap_err(), BlobError::NotAuthentic);
    }
}

#[test]
fn rewrap_goes_from_one_key_to_the_other_only() {
    let [one, two, three] =
        [1, 2, 3].map(|seed| WrapKeys::derive(&MasterKey::generate(&mut rng(seed))));
    let sealed = blob::seal_blob(&one, &binding(), &[7; 32], &mut rng(4)).unwrap();
    let moved = blob::rewrap(&one, &two, &binding(), &sealed, &mut rng(5)).unwrap();
    assert_eq!(blob::open_blob(&two, &binding(), &moved).unwrap().expose(), [7; 32]);
    let refused = blob::open_blob(&one, &binding(), &moved).unwrap_err();
    assert_eq!(refused, BlobError::OtherPattern(two.pattern()));
    assert!(blob::rewrap(&three, &two, &binding(), &sealed, &mut rng(6)).is_err());
}

#[test]
fn transfer_refuses_every_changed_field() {
    let key = MasterKey::generate(&mut rng(1));
    let transport = TransportKey::generate(&mut rng(2));
    let info = TransferInfo {
        purpose: TransferPurpose::Rotate,
        instance: InstanceId::from_bytes([1; 16]),
        manifest_serial: 1,
        rotation: RotationId::from_bytes([2; 16]),
        number: OrderNumber { manifest_serial: 1, number: 5 },
        source: ProcessId::from_bytes([3; 16]),
        recipient: ProcessId::from_bytes([4; 16]),
        from: Some(Pattern([5; 32])),
        to: key.pattern(),
    };
    let sealed = transfer::seal_master_key(&key, &transport.public(), &info, &mut rng(3)).unwrap();
    let opened = transfer::open_master_key(&transport, &sealed, &info).unwrap();
    assert_eq!(opened.pattern(), key.pattern());
    let others = [
        TransferInfo { purpose: TransferPurpose::Recover, ..info },
        TransferInfo { instance: InstanceId::from_bytes([9; 16]), ..info },
        TransferInfo { manifest_serial: 2, ..info },
        TransferInfo { rotation: RotationId::from_bytes([9; 16]), ..info },
        TransferInfo { number: OrderNumber { manifest_serial: 1, number: 6 }, ..info },
        TransferInfo { number: OrderNumber { manifest_serial: 2, number: 5 }, ..info },
        TransferInfo { source: ProcessId::from_bytes([9; 16]), ..info },
        TransferInfo { recipient: ProcessId::from_bytes([9; 16]), ..info },
        TransferInfo { from: None, ..info },
        TransferInfo { from: Some(Pattern([0; 32])), ..info },
        TransferInfo { to: Pattern([9; 32]), ..info },
    ];
    for (index, other) in others.iter().enumerate() {
        let refused = transfer::open_master_key(&transport, &sealed, other);
        assert!(refused.is_err(), "field {index}");
    }
    for bit in 0..sealed.ciphertext.len() * 8 {
        let mut changed = sealed.clone();
        changed.ciphertext[bit / 8] ^= 1 << (bit % 8);
        assert!(transfer::open_master_key(&transport, &changed, &info).is_err());
    }
    let stranger = TransportKey::generate(&mut rng(9));
    assert!(transfer::open_master_key(&stranger, &sealed, &info).is_err());
    let swapped = SealedKey { enc: stranger.public(), ..sealed };
    assert!(transfer::open_master_key(&transport, &swapped, &info).is_err());
}

#[test]
fn state_refuses_every_changed_bit_and_another_name() {
    let key = StorageKey::generate(&mut rng(1));
    let sealed = sealed_state::seal_state(&key, b"unit a", b"state", &mut rng(2));
    assert_eq!(*sealed_state::open_state(&key, b"unit a", &sealed).unwrap(), b"state");
    assert!(sealed_state::open_state(&key, b"unit b", &sealed).is_err());
    let other = StorageKey::generate(&mut rng(3));
    assert!(sealed_state::open_state(&other, b"unit a", &sealed).is_err());
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(sealed_state::open_state(&key, b"unit a", &changed).is_err(), "bit {bit}");
    }
}

#[test]
fn data_is_bound_to_key_version_and_additional_data() {
    let (key, version) = (KeyId::from_bytes([1; 16]), VersionId::from_bytes([2; 16]));
    let aad = [b"a".to_vec(), b"bc".to_vec()];
    let sealed = data::wrap_data(&[7; 32], key, version, &aad, b"text", &mut rng(1)).unwrap();
    let open = |root: &[u8], key, version, aad: &[Vec<u8>]| {
        data::unwrap_data(root, key, version, aad, &sealed).map(|text| text.to_vec())
    };
    assert_eq!(open(&[7; 32], key, version, &aad).unwrap(), b"text");
    assert!(open(&[8; 32], key, version, &aad).is_err());
    assert!(open(&[7; 32], KeyId::from_bytes([9; 16]), version, &aad).is_err());
    assert!(open(&[7; 32], key, VersionId::from_bytes([9; 16]), &aad).is_err());
    // The same bytes, cut into other parts.
    assert!(open(&[7; 32], key, version, &[b"ab".to_vec(), b"c".to_vec()]).is_err());
    assert!(open(&[7; 32], key, version, &[]).is_err());
}

#[test]
fn session_directions_and_counters_are_apart() {
    let unit = SessionKey::generate(&mut rng(1));
    let (enc, gateway) = session::open_session(&unit.public(), b"info", &mut rng(2)).unwrap();
    let accepted = unit.accept(&enc, b"info").unwrap();
    let sealed = gateway.seal(Direction::Request, 1, b"ask").unwrap();
    assert_eq!(*accepted.open(Direction::Request, 1, &sealed).unwrap(), b"ask");
    assert!(accepted.open(Direction::Request, 2, &sealed).is_err());
    assert!(accepted.open(Direction::Answer, 1, &sealed).is_err());
    let other = unit.accept(&enc, b"other info").unwrap();
    assert!(other.open(Direction::Request, 1, &sealed).is_err());
}

#[test]
fn replay_window_takes_each_counter_once() {
    let mut window = ReplayWindow::default();
    assert!(!window.accept(0));
    for counter in [1, 3, 2, 2_000, 1_999, 1_000, 5_000] {
        assert!(window.accept(counter), "{counter} is new");
        assert!(!window.accept(counter), "{counter} is a repeat");
    }
    assert!(!window.accept(3_900), "far behind the highest");
    assert!(window.accept(4_500));
}

#[test]
fn quorum_counts_distinct_administrators_only() {
    let admins: Vec<_> = (1..=3).map(|seed| identity::Identity::generate(&mut rng(seed))).collect();
    let keys: Vec<_> = admins.iter().map(identity::Identity::public_key).collect();
    let sign = |index: usize| (quorum::ski(&keys[index]), admins[index].sign("domain", b"message"));
    let verify = |signatures: &[_], threshold| {
        quorum::verify_quorum("domain", b"message", signatures, &keys, threshold)
    };
    assert!(verify(&[sign(0), sign(1)], 2).is_ok());
    assert!(verify(&[sign(0), sign(0)], 2).is_err(), "twice is once");
    assert!(verify(&[sign(0)], 2).is_err());
    assert!(verify(&[], 0).is_err(), "a threshold of 0 is still one signature");
    let stranger = identity::Identity::generate(&mut rng(9));
    let foreign = (quorum::ski(&stranger.public_key()), stranger.sign("domain", b"message"));
    assert!(verify(&[sign(0), sign(1), foreign], 2).is_err(), "a stranger refuses them all");
    let wrong = (quorum::ski(&keys[1]), admins[1].sign("other domain", b"message"));
    assert!(verify(&[sign(0), sign(2), wrong], 2).is_err(), "one that is invalid too");
}

#[test]
fn signature_key_file_needs_its_passphrase_and_asks_for_no_more_than_it_may() {
    let file = sigkey_file::create("ada", "correct horse", &mut rng(1)).unwrap();
    let info = sigkey_file::describe(&file).unwrap();
    assert_eq!(info.description, "ada");
    let key = sigkey_file::open(&file, "correct horse").unwrap();
    assert_eq!(key.public_key(), info.public_key);
    let wrong = sigkey_file::open(&file, "wrong horse!");
    assert_eq!(wrong.unwrap_err(), sigkey_file::SigkeyError::WrongPassphrase);
    let text = String::from_utf8(file).unwrap().replace("65536", "2147483647");
    let excessive = sigkey_file::open(text.as_bytes(), "correct horse");
    assert_eq!(excessive.unwrap_err(), sigkey_file::SigkeyError::Excessive);
    assert!(sigkey_file::create("ada", "short", &mut rng(1)).is_err());
}

/// RFC 8032, section 7.1, tests 1 to 3: the public key of a seed.
#[test]
fn identities_have_the_published_public_keys() {
    let vectors = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        ),
    ];
    for (seed, public) in vectors {
        let mut bytes = [0; 32];
        hex::decode_to_slice(seed, &mut bytes).unwrap();
        let seed = crypto::secret::Secret::copied_from(&bytes);
        assert_eq!(identity::Identity::from_seed(seed).public_key().to_string(), public);
    }
}
