//! Sealing and opening envelopes: the signature is checked before the body is decoded.

use crypto::identity::{self, Identity};
use crypto::{digest, domain};
use protocol::codec::{self, Decode, DecodeError, Encode};
use protocol::envelope::{Envelope, Header, Kind, Recipient};
use protocol::{Epoch, InstanceId, MessageId, ProcessId, PublicKey, Role, RotationId};

use crate::trust::Trust;

/// Why a message was not looked at any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeRefusal {
    /// Not an envelope.
    #[error("not an envelope: {0}")]
    Malformed(#[from] DecodeError),
    /// It is of another instance.
    #[error("message of another instance, {0}")]
    OtherInstance(InstanceId),
    /// It is for somebody else.
    #[error("message for {0:?}")]
    OtherRecipient(Recipient),
    /// The manifest does not name its sender.
    #[error("sender {0} is not in the manifest")]
    UnknownSender(ProcessId),
    /// The signature is not the sender's.
    #[error("the signature is not that of sender {0}")]
    BadSignature(ProcessId),
}

impl EnvelopeRefusal {
    /// Stable word for counters and the dead-letter queue.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(error) => error.reason(),
            Self::OtherInstance(_) => "other-instance",
            Self::OtherRecipient(_) => "other-recipient",
            Self::UnknownSender(_) => "unknown-sender",
            Self::BadSignature(_) => "wrong-signature",
        }
    }
}

/// Who is reading.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// Its id.
    pub id: ProcessId,
    /// Its role, for messages on shared queues.
    pub role: Role,
}

/// A message whose signature is its sender's.
#[derive(Debug)]
pub struct Opened<'a> {
    /// The header.
    pub header: Header,
    /// The body's bytes.
    pub body: &'a [u8],
    /// The sender's role by the newest manifest; none where there is no manifest to vouch for it,
    /// so that only what proves itself (a survey, a manifest) may be answered.
    pub sender_role: Option<Role>,
}

/// Checks whom a message is for and who signed it.
pub fn open<'a>(
    bytes: &'a [u8],
    reader: Reader,
    trust: &Trust,
) -> Result<Opened<'a>, EnvelopeRefusal> {
    let envelope = Envelope::parse(bytes)?;
    let header = &envelope.header;
    if header.instance != trust.instance() {
        return Err(EnvelopeRefusal::OtherInstance(header.instance));
    }
    let is_mine = match header.recipient {
        Recipient::Process(id) => id == reader.id,
        Recipient::Role(role) => role == reader.role,
    };
    if !is_mine {
        return Err(EnvelopeRefusal::OtherRecipient(header.recipient));
    }
    let sender_role = verify_sender(&envelope, trust)?;
    Ok(Opened { header: envelope.header, body: envelope.body, sender_role })
}

/// Checks only who signed: for envelopes inside a certificate, whose recipient is not judged.
pub fn open_evidence<'a>(bytes: &'a [u8], trust: &Trust) -> Result<Opened<'a>, EnvelopeRefusal> {
    let envelope = Envelope::parse(bytes)?;
    if envelope.header.instance != trust.instance() {
        return Err(EnvelopeRefusal::OtherInstance(envelope.header.instance));
    }
    let sender_role = verify_sender(&envelope, trust)?;
    Ok(Opened { header: envelope.header, body: envelope.body, sender_role })
}

/// What an envelope says, whoever has signed it: of one that was verified before, or is so elsewhere.
pub fn unverified<T: Decode<()>>(bytes: &[u8]) -> Option<T> {
    codec::decode(Envelope::parse(bytes).ok()?.body).ok()
}

/// Checks that this very process has signed it: for what it is shown of itself.
pub fn open_own<'a>(bytes: &'a [u8], own: &PublicKey) -> Result<Opened<'a>, EnvelopeRefusal> {
    let envelope = Envelope::parse(bytes)?;
    let sender = envelope.header.sender;
    let message = signed_message(envelope.header_bytes, envelope.body);
    let is_own = sender == identity::process_id(own)
        && identity::verify(own, domain::ENVELOPE, &message, &envelope.signature);
    match is_own {
        true => Ok(Opened { header: envelope.header, body: envelope.body, sender_role: None }),
        false => Err(EnvelopeRefusal::BadSignature(sender)),
    }
}

/// The sender's key comes from the manifest. Where there is none (imprint mode), or the sender is
/// not in it and introduces itself or commands, the key in the header must be the one that its id
/// follows from, and nothing vouches for it. So a coordinator in the place of one that is lost can hand
/// on the manifest that names it: with it goes nothing that does not prove itself.
fn verify_sender(envelope: &Envelope<'_>, trust: &Trust) -> Result<Option<Role>, EnvelopeRefusal> {
    let header = &envelope.header;
    let sender = header.sender;
    let (key, role) = match trust.member(sender) {
        Some(member) => (member.identity, Some(member.role)),
        None if trust.newest().is_none() || may_be_strangers(header.kind) => {
            (header.sender_key, None)
        }
        None => return Err(EnvelopeRefusal::UnknownSender(sender)),
    };
    if identity::process_id(&key) != sender {
        return Err(EnvelopeRefusal::UnknownSender(sender));
    }
    let message = signed_message(envelope.header_bytes, envelope.body);
    match identity::verify(&key, domain::ENVELOPE, &message, &envelope.signature) {
        true => Ok(role),
        false => Err(EnvelopeRefusal::BadSignature(sender)),
    }
}

/// What a process says, too, that no manifest names yet.
const fn may_be_strangers(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Announcement | Kind::Command | Kind::KeystoreCommand | Kind::ManifestNotice
    )
}

fn signed_message(header_bytes: &[u8], body: &[u8]) -> Vec<u8> {
    let body_digest = digest::sha256(domain::BODY, &[body]);
    [header_bytes, &body_digest.0].concat()
}

/// What a sender says of a message.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The message's id.
    pub id: MessageId,
    /// What it answers.
    pub in_answer_to: Option<MessageId>,
    /// The instance.
    pub instance: InstanceId,
    /// Whom it is for.
    pub recipient: Recipient,
    /// Serial of the sender's newest manifest.
    pub manifest_serial: u64,
    /// The rotation.
    pub rotation: Option<RotationId>,
    /// The coordinator's epoch.
    pub epoch: Epoch,
    /// What the body is.
    pub kind: Kind,
}

/// Signs and assembles an envelope around an encoded body.
pub fn seal(identity: &Identity, outgoing: &Outgoing, body: &[u8]) -> Vec<u8> {
    seal_written(identity, outgoing, body.len(), |bytes| bytes.extend_from_slice(body))
}

/// The same around a value, which is encoded where it goes: pages are long.
pub fn seal_value<T: Encode>(identity: &Identity, outgoing: &Outgoing, value: &T) -> Vec<u8> {
    let room = codec::encoded_bytes(value);
    seal_written(identity, outgoing, room, |bytes| codec::encode_into(value, bytes))
}

fn seal_written(
    identity: &Identity,
    outgoing: &Outgoing,
    body_bytes: usize,
    write_body: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let sender_key = identity.public_key();
    let header = Header {
        id: outgoing.id,
        in_answer_to: outgoing.in_answer_to,
        instance: outgoing.instance,
        sender: identity::process_id(&sender_key),
        sender_key,
        recipient: outgoing.recipient,
        manifest_serial: outgoing.manifest_serial,
        rotation: outgoing.rotation,
        epoch: outgoing.epoch,
        kind: outgoing.kind,
    };
    let header_bytes = codec::encode(&header);
    let mut bytes = Envelope::begin(&header_bytes, body_bytes);
    let body_at = bytes.len();
    write_body(&mut bytes);
    let message = signed_message(&header_bytes, &bytes[body_at..]);
    let signature = identity.sign(domain::ENVELOPE, &message);
    Envelope::put_signature(&mut bytes, body_at, &signature);
    bytes
}
