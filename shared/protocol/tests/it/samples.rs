//! How each message and signed document is made.

use protocol::certificate::Certificate;
use protocol::command::*;
use protocol::keystore::*;
use protocol::manifest::*;
use protocol::order::*;
use protocol::page::*;
use protocol::report::*;
use protocol::request::RotationRequest;
use protocol::session::*;
use protocol::{Header, Kind, Recipient};

use crate::source::{Made, Source, made};

made! {
    AdminSignature { ski, signature }
    Administrator { name, key }
    Amendment { rotation, holder_report }
    Announcement { member, instance_name, keystore, manifest_serial, protocol_version }
    Answering { message, refusal }
    Certificate { envelopes, manifests }
    CheckPage { rows, new_blobs }
    ChunkRange { after, upto }
    ChunkReceipt {
        instance, rotation, order_digest, generation, from, to, range, count, old_digest,
        new_digest, unit,
    }
    CreateItem { key, version, attributes, payload }
    Generation { number, id, pattern, state, set_count, done_count, quarantined_count }
    Header {
        id, in_answer_to, instance, sender, sender_key, recipient, manifest_serial, rotation,
        epoch, kind,
    }
    HoldEnd { instance, rotation, number, hold }
    KeystoreReport {
        reencryptor, manifest_serial, row, receipts_digest, hold_ends, unopened, answering, clock,
        check,
    }
    KeyCheck {
        check, keystore, generation, pattern, checked_count, total_count, unopened_count, unopened,
        took_ms, end,
    }
    KeystoreRotation { rotation, number, order_digest, standing, from, to, key_root }
    KeystoreRow {
        instance, keystore, mode, active, open, retired, next_number, rotation, epoch,
        version_count,
    }
    Manifest {
        instance, name, serial, previous, members, keystores, administrators,
        signature_threshold, revocation_threshold, created_at, amendment,
    }
    Member { id, name, role, identity, location }
    NewRegister { pattern, is_committed }
    Offer { instance, manifest_serial, rotation, number, unit, transport_key }
    Order {
        instance, rotation, number, purpose, from, generator, joining, quarantined, mode, hold_after_commit_s,
        hold_before_clear_s, issued_at, expires_at,
    }
    OrderRef { rotation, number, digest }
    Refusal { code, text }
    Registers { current, new, retiring }
    RewrapPage { order_digest, number, generation, range, from, to, rows }
    RotationRequest {
        kind, version, instance, request_id, expect_current_pattern, mode, order, dry_run,
        verify_all, check_keys, plan,
    }
    SealedRequest { session, session_key, enc, counter, ciphertext }
    SessionInfo { instance, session, gateway, unit }
    SessionOffer { unit, session_key, until }
    SignedHoldEnd { bytes, signatures }
    SignedManifest { bytes, signatures }
    SignedOffer { bytes, signature }
    SignedOrder { bytes, authority }
    SignedReceipt { bytes, signature }
    SignedStandingOrder { bytes, signatures }
    SignedTransfer { bytes, signature }
    StandingOrder {
        instance, manifest_serial, not_more_often_than_s, pause_between_tries_s,
        hold_after_commit_s, hold_before_clear_s, until,
    }
    Transfer {
        instance, manifest_serial, rotation, number, source, recipient, from, to, enc, ciphertext,
    }
    Transfers { order, transfers }
    UnitFacts {
        is_imprint, clock, signature_threshold, revocation_threshold, administrators,
        is_storage_key_local, protocol_version, last_promoted_at, would_refuse,
    }
    UnitReport {
        instance, unit, role, manifest_serial, state_counter, registers, rotation, epoch,
        set_back_from, answering, facts,
    }
    UnitRotation {
        order, standing, signed_order, offer, promote_not_before, clear_not_before,
        hold_end_nonce,
    }
    UnopenedRow { version, key, reason }
    WrappedRow { version, key, attributes, blob }
}

/// An enum is made variant by variant.
macro_rules! made_one_of {
    ($($name:ident { $($at:literal => $make:expr),* $(,)? } of $end:literal)*) => {
        $(impl Made for $name {
            fn made(source: &mut Source) -> Self {
                let make: fn(&mut Source) -> Self = match source.pick($end) {
                    $($at => $make,)*
                    _ => unreachable!("a number below the end"),
                };
                make(source)
            }
        })*
    };
}

made_one_of! {
    Authority {
        0 => |it| Self::Quorum(it.make()),
        1 => |it| Self::Standing {
            standing: it.make(), coordinator: it.make(), signature: it.make(),
        },
    } of 2
    CheckAnswer {
        0 => |it| Self::Checked { opened_count: it.make(), unopened: it.make() },
        1 => |it| Self::Refused(it.make()),
    } of 2
    Command {
        0 => |it| Self::Survey { order: it.make() },
        1 => |it| Self::Inspect { order: it.make() },
        2 => |it| Self::Step { order: it.make(), step: it.make() },
        3 => |it| Self::Abort { order: it.make() },
        4 => |it| Self::EndHold { statement: it.make() },
        5 => |it| Self::Remind { report: it.make() },
        6 => |it| Self::TakeManifest { chain: it.make() },
    } of 7
    GateMode { 0 => |_| Self::Strict, 1 => |_| Self::Online } of 2
    GenerationState {
        0 => |_| Self::Building, 1 => |_| Self::Complete, 2 => |_| Self::Active,
        3 => |_| Self::Retired, 4 => |_| Self::Dropped, 5 => |_| Self::Aborted,
    } of 6
    Hold { 0 => |_| Self::AfterCommit, 1 => |_| Self::BeforeClear } of 2
    KeyAnswer {
        0 => |it| Self::Created(it.make()),
        1 => |it| Self::Payload(it.make()),
        2 => |it| Self::Wrapped { ciphertext: it.make(), generated: it.make() },
        3 => |it| Self::Unwrapped(it.make()),
        4 => |it| Self::Checked { opened_count: it.make(), unopened: it.make() },
        5 => |it| Self::Refused(it.make()),
    } of 6
    KeyCheckEnd {
        0 => |it| Self::Done { key_root: it.make() },
        1 => |it| Self::Failed(it.make()),
    } of 2
    KeyRefusal {
        0 => |it| Self::PatternNotHeld(it.make()),
        1 => |it| Self::BlobDoesNotOpen(it.make()),
        2 => |it| Self::NotAllowed(it.make()),
        3 => |_| Self::Ciphertext,
        4 => |it| Self::NotServing(it.make()),
        5 => |it| Self::OutOfBounds(it.make()),
    } of 6
    KeyRequest {
        0 => |it| Self::Create { items: it.make(), patterns: it.make() },
        1 => |it| Self::Payload { row: it.make() },
        2 => |it| Self::Wrap { row: it.make(), plaintext: it.make(), aad: it.make() },
        3 => |it| Self::Unwrap { row: it.make(), ciphertext: it.make(), aad: it.make() },
        4 => |it| Self::Check { rows: it.make() },
    } of 5
    KeystoreCommand {
        0 => |_| Self::Survey,
        1 => |it| Self::Reencrypt {
            order: it.make(),
            to: it.make(),
            verify_all: it.make(),
            certificate: it.make(),
        },
        2 => |it| Self::Flip { order: it.make(), certificate: it.make() },
        3 => |it| Self::Restate { order: it.make(), hold_ends: it.make() },
        4 => |it| Self::Drop { order: it.make(), certificate: it.make() },
        5 => |it| Self::Abort { order: it.make(), certificate: it.make() },
        6 => |it| Self::TakeManifest { chain: it.make() },
        7 => |it| Self::CheckKeys { check: it.make() },
    } of 8
    KeystoreStanding {
        0 => |_| Self::Open, 1 => |_| Self::Complete, 2 => |_| Self::Switched,
        3 => |_| Self::Flipped, 4 => |_| Self::Dropped, 5 => |_| Self::Aborted,
    } of 6
    Kind {
        0 => |_| Self::Announcement, 1 => |_| Self::Command, 2 => |_| Self::UnitReport,
        3 => |_| Self::Transfers, 4 => |_| Self::KeystoreCommand, 5 => |_| Self::KeystoreReport,
        6 => |_| Self::RewrapPage, 7 => |_| Self::PageAnswer, 8 => |_| Self::CheckPage,
        9 => |_| Self::CheckAnswer, 10 => |_| Self::SessionAsk, 11 => |_| Self::SessionOffer,
        12 => |_| Self::SealedRequest, 13 => |_| Self::SealedAnswer,
        14 => |_| Self::ManifestNotice,
    } of 15
    PageAnswer {
        0 => |it| Self::Rewrapped { blobs: it.make(), receipt: it.make() },
        1 => |it| Self::Unopened(it.make()),
        2 => |it| Self::Refused(it.make()),
    } of 3
    Purpose {
        0 => |_| Self::Initialise,
        1 => |_| Self::Rotate,
        2 => |it| Self::Recover { target: it.make(), source: it.make() },
    } of 3
    Recipient { 0 => |it| Self::Process(it.make()), 1 => |it| Self::Role(it.make()) } of 2
    SealedAnswer {
        0 => |it| Self::Sealed {
            session: it.make(), counter: it.make(), ciphertext: it.make(),
        },
        1 => |it| Self::UnknownSession(it.make()),
        2 => |_| Self::Replayed,
    } of 3
    Standing {
        0 => |_| Self::Bound, 1 => |_| Self::Aborted, 2 => |_| Self::Promoted,
        3 => |_| Self::Cleared,
    } of 4
    Step {
        0 => |it| Self::Generate { offers: it.make() },
        1 => |it| Self::Install { transfer: it.make() },
        2 => |it| Self::Commit { pattern: it.make() },
        3 => |it| Self::Promote { certificate: it.make() },
        4 => |it| Self::Clear { certificate: it.make() },
    } of 5
}

impl Made for SessionAsk {
    fn made(_: &mut Source) -> Self {
        Self {}
    }
}

impl Made for protocol::Rows {
    fn made(source: &mut Source) -> Self {
        Self::from(source.make::<Vec<WrappedRow>>())
    }
}

impl Made for protocol::Blobs {
    fn made(source: &mut Source) -> Self {
        Self::from(source.make::<Vec<Vec<u8>>>())
    }
}

impl Made for SecretBytes {
    fn made(source: &mut Source) -> Self {
        Self::new(source.make())
    }
}
