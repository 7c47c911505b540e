//! Verifying without the code under test: envelopes by Ed25519 and SHA-256 alone.

use ed25519_dalek::VerifyingKey;
use protocol::envelope::{Envelope, Header, Kind};
use protocol::report::UnitReport;
use protocol::{PublicKey, codec};
use sha2::{Digest, Sha256};

/// Header and body of an envelope whose signature is right under this key.
pub fn signed_by(key: &PublicKey, message: &[u8]) -> Option<(Header, Vec<u8>)> {
    let length = u32::from_le_bytes(message.get(1..5)?.try_into().ok()?) as usize;
    let header = message.get(5..5 + length)?;
    let signature = message.get(5 + length..5 + length + 64)?;
    let body = message.get(5 + length + 64..)?;
    let mut hash = Sha256::new();
    for part in [b"keyhelm envelope body v1".as_slice(), body] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let signed = [b"keyhelm envelope v1\0".as_slice(), header, digest.as_slice()].concat();
    let signature = ed25519_dalek::Signature::from_slice(signature).ok()?;
    VerifyingKey::from_bytes(&key.0).ok()?.verify_strict(&signed, &signature).ok()?;
    Some((codec::decode(header).ok()?, body.to_vec()))
}

/// The reports in these messages that the unit with this key has signed.
pub fn reports(key: &PublicKey, messages: &[(String, Vec<u8>)]) -> Vec<UnitReport> {
    let is_report = |message: &&(String, Vec<u8>)| {
        Envelope::parse(&message.1).is_ok_and(|it| it.header.kind == Kind::UnitReport)
    };
    let signed = messages.iter().filter(is_report).filter_map(|(_, body)| signed_by(key, body));
    signed.filter_map(|(_, body)| codec::decode(&body).ok()).collect()
}
