//! The envelope around every signed message.
//!
//! On the wire: format byte, length of the header (4 bytes, little-endian), header, signature
//! (64 bytes), body. The signature covers the header's received bytes and SHA-256 of the body, and
//! is checked (`machines::envelope`) before the body is decoded.

use bincode::{Decode, Encode};

use crate::codec::{self, DecodeError};
use crate::ids::{Epoch, InstanceId, MessageId, ProcessId, PublicKey, Role, RotationId, Signature};

/// Longest header; a real one has under 300 bytes.
pub const MAX_HEADER_BYTES: usize = 1024;
const SIGNATURE_BYTES: usize = 64;

/// What the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Kind {
    /// `report::Announcement`, to every coordinator.
    Announcement,
    /// `command::Command`, coordinator to crypto unit.
    Command,
    /// `report::UnitReport`, crypto unit to coordinator.
    UnitReport,
    /// `command::Transfers`, recovery unit to coordinator.
    Transfers,
    /// `command::KeystoreCommand`, coordinator to reencryptor.
    KeystoreCommand,
    /// `report::KeystoreReport`, reencryptor to coordinator.
    KeystoreReport,
    /// `page::RewrapPage`, reencryptor to any operational unit.
    RewrapPage,
    /// `page::PageAnswer`.
    PageAnswer,
    /// `page::CheckPage`, reencryptor to any operational unit, or to one crypto unit.
    CheckPage,
    /// `page::CheckAnswer`.
    CheckAnswer,
    /// `session::SessionAsk`, gateway to operational unit.
    SessionAsk,
    /// `session::SessionOffer`, its answer.
    SessionOffer,
    /// `session::SealedRequest`, gateway to operational unit.
    SealedRequest,
    /// `session::SealedAnswer`, its answer.
    SealedAnswer,
    /// `command::Command::TakeManifest` for processes that are no units (gateway).
    ManifestNotice,
}

impl Kind {
    /// Stable word for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Announcement => "announcement",
            Self::Command => "command",
            Self::UnitReport => "unit-report",
            Self::Transfers => "transfers",
            Self::KeystoreCommand => "keystore-command",
            Self::KeystoreReport => "keystore-report",
            Self::RewrapPage => "rewrap-page",
            Self::PageAnswer => "page-answer",
            Self::CheckPage => "check-page",
            Self::CheckAnswer => "check-answer",
            Self::SessionAsk => "session-ask",
            Self::SessionOffer => "session-offer",
            Self::SealedRequest => "sealed-request",
            Self::SealedAnswer => "sealed-answer",
            Self::ManifestNotice => "manifest-notice",
        }
    }
}

/// Whom a message is for. One for somebody else is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Recipient {
    /// One process.
    Process(ProcessId),
    /// Any process of a role, on a shared queue.
    Role(Role),
}

/// What is known of a message before its body is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Header {
    /// The message's id (version 7).
    pub id: MessageId,
    /// The message that this one answers.
    pub in_answer_to: Option<MessageId>,
    /// The instance.
    pub instance: InstanceId,
    /// Who signs.
    pub sender: ProcessId,
    /// The sender's key; believed only where no manifest is there to take it from.
    pub sender_key: PublicKey,
    /// Whom it is for.
    pub recipient: Recipient,
    /// Serial of the sender's newest manifest; 0 for none.
    pub manifest_serial: u64,
    /// The rotation it belongs to.
    pub rotation: Option<RotationId>,
    /// The coordinator's epoch, in commands; echoed in reports.
    pub epoch: Epoch,
    /// What the body is.
    pub kind: Kind,
}

/// A parsed envelope whose signature has not been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The header.
    pub header: Header,
    /// The header's bytes as received.
    pub header_bytes: &'a [u8],
    /// The signature.
    pub signature: Signature,
    /// The body's bytes as received.
    pub body: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Takes the wire bytes apart.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let short = || DecodeError::Malformed { reason: "cut short".to_owned() };
        if bytes.len() > codec::LIMIT_BYTES {
            return Err(DecodeError::TooLong);
        }
        let (&format, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
        match format {
            codec::FORMAT => {}
            0 => return Err(DecodeError::UnknownFormat { found: 0 }),
            found => return Err(DecodeError::NewerFormat { found }),
        }
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_HEADER_BYTES {
            return Err(DecodeError::TooLong);
        }
        let (header_bytes, rest) = rest.split_at_checked(length).ok_or_else(short)?;
        let (signature, body) = rest.split_first_chunk::<SIGNATURE_BYTES>().ok_or_else(short)?;
        let header = codec::decode(header_bytes)?;
        Ok(Self { header, header_bytes, signature: Signature(*signature), body })
    }

    /// Puts wire bytes together.
    pub fn assemble(header_bytes: &[u8], signature: &Signature, body: &[u8]) -> Vec<u8> {
        let mut bytes = Self::begin(header_bytes, body.len());
        let body_at = bytes.len();
        bytes.extend_from_slice(body);
        Self::put_signature(&mut bytes, body_at, signature);
        bytes
    }

    /// Wire bytes up to the body, without their signature yet, and with room for so many bytes of body.
    pub fn begin(header_bytes: &[u8], body_bytes: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(5 + header_bytes.len() + SIGNATURE_BYTES + body_bytes);
        bytes.push(codec::FORMAT);
        bytes.extend_from_slice(&(header_bytes.len() as u32).to_le_bytes());
        bytes.extend_from_slice(header_bytes);
        bytes.extend_from_slice(&[0; SIGNATURE_BYTES]);
        bytes
    }

    /// Puts the signature in front of the body that begins there.
    pub fn put_signature(bytes: &mut [u8], body_at: usize, signature: &Signature) {
        bytes[body_at - SIGNATURE_BYTES..body_at].copy_from_slice(&signature.0);
    }
}
