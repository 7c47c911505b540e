//! The reencryptor's judgement: which commands it does ([`pages`]: which answers of units it believes).
//! What it does to the keystore row is in [`crate::gate`].

mod pages;

pub use self::pages::{
    DoneChunk, Looked, PageFault, chunk_digest, judge_answer, judge_check, lookers, may_quarantine,
};

use protocol::codec;
use protocol::command::KeystoreCommand;
use protocol::envelope::{Header, Kind};
use protocol::keystore::{KeystoreRow, KeystoreStanding};
use protocol::manifest::SignedManifest;
use protocol::order::{Order, OrderRef};
use protocol::page::UnopenedRow;
use protocol::report::Refusal;
use protocol::{Epoch, Pattern, ProcessId, PublicKey, Role};

use crate::amendment::{self, Binding};
use crate::certificate::{self, CertificateRefusal, Judge, Reached};
use crate::envelope::{self, EnvelopeRefusal, Reader};
use crate::gate::{AbortRequest, GateRefusal};
use crate::leave::{self, LeaveRefusal};
use crate::trust::{ManifestRefusal, Trust};

/// Why a keystore command is not done. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreRefusal {
    /// The sender is no coordinator of the manifest.
    #[error("only a coordinator of the manifest may command")]
    NotACoordinator,
    /// No manifest yet.
    #[error("the reencryptor has no manifest: run auto-init")]
    Imprint,
    /// Nobody could outrank it by the next manifest.
    #[error(
        "epoch {given} is of a manifest that the reencryptor has not taken: its newest is {newest}"
    )]
    EpochAhead {
        /// In the command.
        given: Epoch,
        /// Serial of the newest manifest.
        newest: u64,
    },
    /// The order.
    #[error(transparent)]
    Leave(#[from] LeaveRefusal),
    /// A manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestRefusal),
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateRefusal),
    /// The keystore row.
    #[error(transparent)]
    Gate(#[from] GateRefusal),
    /// Key versions that no unit opens.
    #[error("{count} key versions do not open, the first is version {} of key {}: {}",
        .first.version, .first.key, .first.reason)]
    Unopened {
        /// How many.
        count: u64,
        /// The first of them.
        first: UnopenedRow,
    },
    /// Another unit does not open what a unit has re-wrapped, or finds another key in it.
    #[error("{checked_by} does not find in the new blobs of {rewrapped_by} what the old ones hold: \
        {count} key versions, the first is version {} of key {}: {}",
        .first.version, .first.key, .first.reason)]
    CrossCheck {
        /// Who re-wrapped.
        rewrapped_by: String,
        /// Who looked.
        checked_by: String,
        /// How many.
        count: u64,
        /// The first of them.
        first: UnopenedRow,
    },
    /// Rows of the new generation are not what the units signed.
    #[error("the new generation reads back other than the units signed: {0}")]
    ReadBack(String),
    /// Versions that were written between the opening and *flipped* do not open.
    #[error("{count} key versions that were written while the rotation ran do not open with the new \
        master key, the first is version {} of key {}: {}",
        .first.version, .first.key, .first.reason)]
    WrittenMeanwhile {
        /// How many.
        count: u64,
        /// The first of them.
        first: UnopenedRow,
    },
    /// The order is to recover a unit.
    #[error("the order is to recover a crypto unit: it has nothing to do with a keystore")]
    NotForKeystores,
    /// Not now; ask again.
    #[error("{0}")]
    Busy(String),
    /// The keystore is not flipped in this order, as a fresh look at its row shows.
    #[error("the keystore is not flipped in this order: it must be re-encrypted and flipped again")]
    NotFlipped,
}

impl KeystoreRefusal {
    /// As reports carry it.
    pub fn to_report(&self) -> Refusal {
        let code = match self {
            Self::NotACoordinator => "not-a-coordinator",
            Self::Imprint => "imprint-mode",
            Self::EpochAhead { .. } => "epoch-ahead",
            Self::Leave(refusal) => refusal.code(),
            Self::Manifest(_) => "manifest-refused",
            Self::Certificate(_) => "certificate-refused",
            Self::Gate(GateRefusal::StaleEpoch { .. }) => "stale-epoch",
            Self::Gate(_) => "keystore-refused",
            Self::Unopened { .. } => "unopened",
            Self::CrossCheck { .. } => "cross-check",
            Self::ReadBack(_) => "read-back",
            Self::WrittenMeanwhile { .. } => "written-meanwhile",
            Self::NotForKeystores => "not-for-recovery",
            Self::Busy(_) => "busy",
            Self::NotFlipped => "not-flipped",
        };
        Refusal { code: code.to_owned(), text: self.to_string() }
    }
}

/// A command whose envelope holds.
#[derive(Debug)]
pub struct Received {
    /// Its header.
    pub header: Header,
    /// The sender's role by the manifest.
    pub sender_role: Option<Role>,
    /// The command.
    pub command: KeystoreCommand,
}

/// Verifies and decodes; the error is the reason for the dead-letter queue.
pub fn receive(bytes: &[u8], reader: Reader, trust: &Trust) -> Result<Received, &'static str> {
    let opened = envelope::open(bytes, reader, trust)
        .map_err(|refusal: EnvelopeRefusal| refusal.reason())?;
    if opened.header.kind != Kind::KeystoreCommand {
        return Err("unexpected-kind");
    }
    let command = codec::decode(opened.body).map_err(|error| error.reason())?;
    Ok(Received { header: opened.header, sender_role: opened.sender_role, command })
}

/// Whether the sender may give the command at all. A survey and a manifest prove themselves.
pub fn may_command(received: &Received, trust: &Trust) -> Result<(), KeystoreRefusal> {
    match received.command {
        KeystoreCommand::Survey | KeystoreCommand::TakeManifest { .. } => Ok(()),
        _ if trust.newest().is_none() => Err(KeystoreRefusal::Imprint),
        _ if received.sender_role != Some(Role::Coordinator) && !may_end(received, trust) => {
            Err(KeystoreRefusal::NotACoordinator)
        }
        _ if received.header.epoch.manifest_serial > trust.serial() => {
            let (given, newest) = (received.header.epoch, trust.serial());
            Err(KeystoreRefusal::EpochAhead { given, newest })
        }
        _ => Ok(()),
    }
}

fn may_end(received: &Received, trust: &Trust) -> bool {
    let is_abort = matches!(received.command, KeystoreCommand::Abort { .. });
    is_abort && trust.may_end(received.header.sender)
}

/// The order of a re-encryption, whose leave the reencryptor checks itself.
fn judge_order(
    signed: &protocol::order::SignedOrder,
    trust: &Trust,
) -> Result<(Order, OrderRef), KeystoreRefusal> {
    of_keystores(leave::verify(signed, trust)?)
}

/// What opens a generation: an order that every crypto unit has committed to, with this pattern. An
/// order alone would not do, as a coordinator may have the administrators' leave to give them.
pub fn judge_opening(
    signed: &protocol::order::SignedOrder,
    to: Pattern,
    certificate: &protocol::certificate::Certificate,
    trust: &Trust,
) -> Result<(Order, OrderRef), KeystoreRefusal> {
    let (order, reference) = judge_order(signed, trust)?;
    certificate::verify_opening(certificate, &reference, to, trust)?;
    Ok((order, reference))
}

/// The earlier order in which the row was switched and not read back: the copy that was restored was made at
/// that moment. Units commit to a later order only after the end of all before, so nobody asks for that
/// read-back any more, and whoever opens the next generation does it first.
///
/// Only where the re-encryption that follows is over these very keys (`from`): it opens all of them, what was
/// written meanwhile too.
pub fn left_unread(row: &KeystoreRow, order: &OrderRef, from: Option<Pattern>) -> Option<OrderRef> {
    let is_from = row.active.as_ref().map(|active| active.pattern) == from;
    let found = row.rotation.as_ref().filter(|found| {
        is_from && found.standing == KeystoreStanding::Switched && found.number < order.number
    })?;
    Some(found.order())
}

/// An abort: a manifest that came later does not keep the order from its end.
pub fn judge_abort(
    signed: &protocol::order::SignedOrder,
    certificate: &protocol::certificate::Certificate,
    epoch: Epoch,
    trust: &Trust,
) -> Result<AbortRequest, KeystoreRefusal> {
    let (read, order) = of_keystores(leave::verify_ended(signed, trust)?)?;
    let is_taken = certificate::is_taken(certificate, &order, trust);
    // What it would have led to is not known to whoever aborts before a generation.
    Ok(AbortRequest { order, epoch, from_to: (read.from, Pattern([0; 32])), is_taken })
}

fn of_keystores(
    (order, reference): (Order, OrderRef),
) -> Result<(Order, OrderRef), KeystoreRefusal> {
    match order.purpose.recovery() {
        Some(_) => Err(KeystoreRefusal::NotForKeystores),
        None => Ok((order, reference)),
    }
}

/// A flip needs a promoted report of every crypto unit of the manifest.
pub fn judge_flip(
    row: &KeystoreRow,
    order: &OrderRef,
    certificate: &protocol::certificate::Certificate,
    trust: &Trust,
) -> Result<Pattern, KeystoreRefusal> {
    let to = pattern_of(row, order)?;
    certificate::verify_units(certificate, order, to, Reached::Promoted, Judge::by(trust))?;
    Ok(to)
}

/// *Flipped* is signed anew, with the units' ends of the hold, only where a fresh look at the row
/// shows that it still is.
pub fn judge_restate(row: &KeystoreRow, order: &OrderRef) -> Result<(), KeystoreRefusal> {
    let to = pattern_of(row, order)?;
    let standing = row.rotation.as_ref().map(|found| found.standing);
    let is_active = row.active.as_ref().is_some_and(|active| active.pattern == to);
    match standing {
        Some(KeystoreStanding::Flipped | KeystoreStanding::Dropped) if is_active => Ok(()),
        _ => Err(KeystoreRefusal::NotFlipped),
    }
}

/// Takes manifests: from the opening of a generation to *flipped* only those that amend the rotation,
/// judged as its units judge them; after it until *dropped* also those that amend nothing. The first must
/// be signed by whoever is `pinned`.
pub fn take_manifests(
    trust: &mut Trust,
    chain: &[SignedManifest],
    row: &KeystoreRow,
    (who, pinned): (ProcessId, &[PublicKey]),
) -> Result<bool, KeystoreRefusal> {
    let open = row.rotation.as_ref().filter(|found| !found.standing.is_over());
    let Some(found) = open.filter(|_| trust.serial() > 0) else {
        return Ok(trust.take(chain, Some((who, Role::Reencryptor)), pinned)?);
    };
    let order = found.order();
    // A flip has been shown that every unit promoted.
    let is_promoted = found.standing >= KeystoreStanding::Switched;
    let binding = Binding { order, from: found.from, to: Some(found.to), is_promoted, who };
    // What is left then is the drop, which may never come where the coordinator's record is lost once all
    // units have cleared: they take any manifest then, and so does the keystore.
    let is_over = found.standing == KeystoreStanding::Flipped
        && !chain.iter().any(|signed| amendment::amends(signed, found.rotation));
    match is_over {
        true => Ok(trust.take(chain, Some((who, Role::Reencryptor)), &[])?),
        false => {
            Ok(amendment::take(trust, chain, &binding)
                .inspect_err(|_| trust.note_waiting(chain))?)
        }
    }
}

/// A drop needs a cleared report of every crypto unit of the manifest.
pub fn judge_drop(
    row: &KeystoreRow,
    order: &OrderRef,
    certificate: &protocol::certificate::Certificate,
    trust: &Trust,
) -> Result<(), KeystoreRefusal> {
    let to = pattern_of(row, order)?;
    certificate::verify_units(certificate, order, to, Reached::Cleared, Judge::by(trust))?;
    Ok(())
}

fn pattern_of(row: &KeystoreRow, order: &OrderRef) -> Result<Pattern, GateRefusal> {
    let found = row.rotation.as_ref().filter(|found| found.is_of(order));
    found.map(|found| found.to).ok_or(GateRefusal::NotOpen)
}
