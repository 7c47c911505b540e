//! Goal: whatever bytes a decoder is given, it answers or refuses, and what was encoded is decoded to
//! the same. Method: values made of random numbers, whole, cut short, with a byte more and with bytes
//! changed; and random bytes.

use std::fmt::Debug;

use proptest::prelude::*;
use protocol::codec::{self, Decode, DecodeError, Encode};
use protocol::{Envelope, Header, Signature};

use crate::source::{Made, Source};

/// Calls a macro with every type that is encoded by itself: each message, each signed document.
macro_rules! with_every_message {
    ($call:ident) => {
        $call! {
            announcement: protocol::report::Announcement,
            certificate: protocol::certificate::Certificate,
            check_answer: protocol::page::CheckAnswer,
            check_page: protocol::page::CheckPage,
            chunk_receipt: protocol::page::ChunkReceipt,
            command: protocol::command::Command,
            header: protocol::Header,
            hold_end: protocol::order::HoldEnd,
            key_answer: protocol::session::KeyAnswer,
            key_request: protocol::session::KeyRequest,
            keystore_command: protocol::command::KeystoreCommand,
            keystore_report: protocol::report::KeystoreReport,
            manifest: protocol::manifest::Manifest,
            offer: protocol::command::Offer,
            order: protocol::order::Order,
            page_answer: protocol::page::PageAnswer,
            rewrap_page: protocol::page::RewrapPage,
            sealed_answer: protocol::session::SealedAnswer,
            sealed_request: protocol::session::SealedRequest,
            session_ask: protocol::session::SessionAsk,
            session_info: protocol::session::SessionInfo,
            session_offer: protocol::session::SessionOffer,
            signed_order: protocol::order::SignedOrder,
            standing_order: protocol::order::StandingOrder,
            transfer: protocol::command::Transfer,
            transfers: protocol::command::Transfers,
            unit_report: protocol::report::UnitReport,
        }
    };
}
pub(super) use with_every_message;

/// What holds of every decoder.
fn reads_what_was_written<T: Made + Encode + Decode<()> + PartialEq + Debug>(
    seed: u64,
    cut: usize,
    changed: &[(usize, u8)],
) {
    let value: T = Source::new(seed).make();
    let bytes = codec::encode(&value);
    assert_eq!(codec::decode::<T>(&bytes).as_ref(), Ok(&value));
    let longer = [bytes.as_slice(), &[0]].concat();
    let trailing = DecodeError::TrailingBytes { count: 1 };
    assert_eq!(codec::decode::<T>(&longer), Err(trailing));
    let shorter = &bytes[..cut % bytes.len()];
    assert!(codec::decode::<T>(shorter).is_err(), "cut short to {}", shorter.len());
    for format in [0, codec::FORMAT + 1, u8::MAX] {
        let other = [&[format], &bytes[1..]].concat();
        assert_eq!(codec::decode::<T>(&other).map_err(|it| it.reason()), Err("wrong-version"));
    }
    let mut other = bytes;
    for (at, to) in changed {
        let at = at % other.len();
        other[at] = *to;
    }
    agrees_with_itself::<T>(&other);
}

/// Any bytes are refused, or are a value that can be written and read again.
fn agrees_with_itself<T: Encode + Decode<()> + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(value) = codec::decode::<T>(bytes) {
        assert_eq!(codec::decode::<T>(&codec::encode(&value)).as_ref(), Ok(&value));
    }
}

macro_rules! properties {
    ($($name:ident: $type:ty,)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(128))]
            $(#[test]
            fn $name(
                seed: u64,
                cut: usize,
                changed in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
                any_bytes in prop::collection::vec(any::<u8>(), 0..400),
            ) {
                reads_what_was_written::<$type>(seed, cut, &changed);
                agrees_with_itself::<$type>(&any_bytes);
                // Behind the right format byte it is looked at more closely.
                agrees_with_itself::<$type>(&[&[codec::FORMAT], any_bytes.as_slice()].concat());
            })*
        }
    };
}
with_every_message!(properties);

proptest! {
    #[test]
    fn an_envelope_is_taken_apart_as_it_was_put_together(
        seed: u64,
        body in prop::collection::vec(any::<u8>(), 0..200),
        cut: usize,
        at: usize,
        to: u8,
    ) {
        let mut source = Source::new(seed);
        let (header, signature): (Header, Signature) = source.make();
        let header_bytes = codec::encode(&header);
        let bytes = Envelope::assemble(&header_bytes, &signature, &body);
        let parsed = Envelope::parse(&bytes).unwrap();
        prop_assert_eq!(&parsed.header, &header);
        prop_assert_eq!((parsed.signature, parsed.body), (signature, body.as_slice()));
        prop_assert_eq!(parsed.header_bytes, header_bytes.as_slice());
        let fixed = bytes.len() - body.len();
        prop_assert!(Envelope::parse(&bytes[..cut % fixed]).is_err());
        let mut other = bytes.clone();
        other[at % bytes.len()] = to;
        if let Ok(found) = Envelope::parse(&other) {
            let again = Envelope::assemble(found.header_bytes, &found.signature, found.body);
            prop_assert_eq!(again, other);
        }
    }

    #[test]
    fn any_bytes_are_an_envelope_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        length in 0..600_u32,
    ) {
        let _ = Envelope::parse(&bytes);
        let head = [&[codec::FORMAT], length.to_le_bytes().as_slice()].concat();
        if let Ok(found) = Envelope::parse(&[head, bytes].concat()) {
            prop_assert_eq!(found.header_bytes.len(), length as usize);
        }
    }
}

/// A length that no bytes follow reserves no memory for them.
#[test]
fn a_hostile_length_is_refused() {
    let head = [[codec::FORMAT].as_slice(), &u64::MAX.to_le_bytes()].concat();
    let refused = codec::decode::<protocol::order::SignedOrder>(&head);
    assert!(refused.is_err(), "{refused:?}");
    let mut long = vec![codec::FORMAT];
    long.resize(codec::LIMIT_BYTES + 2, 0);
    let refused = codec::decode::<protocol::session::SessionAsk>(&long);
    assert_eq!(refused, Err(DecodeError::TooLong));
    assert_eq!(Envelope::parse(&long).map_err(|it| it.reason()).err(), Some("oversized"));
}
