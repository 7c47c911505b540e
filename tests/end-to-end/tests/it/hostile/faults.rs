//! The twelve faults, each made out of a genuine message.

use crypto::identity::{self, Identity};
use crypto::random::process_rng;
use machines::envelope::{self, Outgoing};
use protocol::codec::{self, LIMIT_BYTES};
use protocol::envelope::{Envelope, Header, Kind, Recipient};
use protocol::{Epoch, InstanceId, MessageId, ProcessId, Role};

/// What may be wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Garbage,
    Truncated,
    Oversized,
    WrongVersion,
    WrongSignature,
    UnknownSender,
    OtherRecipient,
    OtherInstance,
    Replay,
    StaleEpoch,
    LowerOrderNumber,
    TrailingBytes,
}

pub const ALL: [Fault; 12] = [
    Fault::Garbage,
    Fault::Truncated,
    Fault::Oversized,
    Fault::WrongVersion,
    Fault::WrongSignature,
    Fault::UnknownSender,
    Fault::OtherRecipient,
    Fault::OtherInstance,
    Fault::Replay,
    Fault::StaleEpoch,
    Fault::LowerOrderNumber,
    Fault::TrailingBytes,
];

/// A message that its reader would take, and all that is needed to sign others like it.
pub struct Genuine {
    pub signer: Identity,
    pub outgoing: Outgoing,
    pub body: Vec<u8>,
}

impl Genuine {
    pub fn new(
        signer: Identity,
        instance: InstanceId,
        recipient: Recipient,
        kind: Kind,
        body: Vec<u8>,
    ) -> Self {
        let outgoing = Outgoing {
            id: MessageId::from_bytes([0; 16]),
            in_answer_to: None,
            instance,
            recipient,
            manifest_serial: 1,
            rotation: None,
            epoch: Epoch::default(),
            kind,
        };
        Self { signer, outgoing, body }
    }

    /// Signed under a fresh message id, changed first.
    pub fn sealed(&self, change: impl FnOnce(&mut Outgoing, &mut Vec<u8>)) -> Vec<u8> {
        let (mut outgoing, mut body) = (self.outgoing.clone(), self.body.clone());
        outgoing.id = MessageId::from_uuid(crypto::random::uuid_v4(&mut process_rng()));
        change(&mut outgoing, &mut body);
        envelope::seal(&self.signer, &outgoing, &body)
    }

    /// The same with this fault. Replays, stale epochs and lower numbers are earlier messages, not
    /// spoilt ones.
    pub fn spoilt(&self, fault: Fault) -> Vec<u8> {
        let genuine = || self.sealed(|_, _| {});
        match fault {
            // Format, length and the header's format could be; then nothing makes sense.
            Fault::Garbage => [&[1, 200, 0, 0, 0, 1], [0xa5; 400].as_slice()].concat(),
            // Within the header, which has more bytes than that.
            Fault::Truncated => genuine()[..100].to_vec(),
            Fault::Oversized => self.sealed(|_, body| body.resize(LIMIT_BYTES + 1, 0)),
            Fault::WrongVersion => {
                let mut bytes = genuine();
                bytes[0] += 1;
                bytes
            }
            Fault::WrongSignature => wrongly_signed(&genuine()),
            Fault::UnknownSender => self.by_nobody(),
            Fault::OtherRecipient => self.sealed(|outgoing, _| {
                outgoing.recipient = match outgoing.recipient {
                    Recipient::Process(_) => Recipient::Process(ProcessId::from_bytes([9; 16])),
                    Recipient::Role(Role::Gateway) => Recipient::Role(Role::RecoveryUnit),
                    Recipient::Role(_) => Recipient::Role(Role::Gateway),
                };
            }),
            Fault::OtherInstance => {
                self.sealed(|outgoing, _| outgoing.instance = InstanceId::named("elsewhere"))
            }
            Fault::TrailingBytes => self.sealed(|_, body| body.push(0)),
            Fault::Replay | Fault::StaleEpoch | Fault::LowerOrderNumber => {
                panic!("{fault:?} is an earlier message")
            }
        }
    }

    /// Signed by a stranger in its own name; what strangers may say, too, under an id that is not that of its
    /// key.
    fn by_nobody(&self) -> Vec<u8> {
        let stranger = Identity::generate(&mut process_rng());
        let bytes = envelope::seal(&stranger, &self.outgoing, &self.body);
        let may_be_strangers = matches!(
            self.outgoing.kind,
            Kind::Announcement | Kind::Command | Kind::KeystoreCommand | Kind::ManifestNotice
        );
        if !may_be_strangers {
            return bytes;
        }
        let parsed = Envelope::parse(&bytes).unwrap();
        let other = Identity::generate(&mut process_rng());
        let sender = identity::process_id(&other.public_key());
        let header = Header { sender, ..parsed.header.clone() };
        Envelope::assemble(&codec::encode(&header), &parsed.signature, parsed.body)
    }
}

/// One bit of the signature is another.
pub fn wrongly_signed(bytes: &[u8]) -> Vec<u8> {
    let parsed = Envelope::parse(bytes).unwrap();
    let mut signature = parsed.signature;
    signature.0[20] ^= 1;
    Envelope::assemble(parsed.header_bytes, &signature, parsed.body)
}
