//! What a reencryptor says of itself and of its keystore: its announcement and its reports.

use bus::Outgoing;
use machines::envelope::{self, Outgoing as Sealing};
use machines::rewrap::KeystoreRefusal;
use protocol::codec;
use protocol::envelope::{Header, Kind, Recipient};
use protocol::keystore::{KeystoreRow, KeystoreStanding};
use protocol::manifest::Member;
use protocol::page::KeyCheck;
use protocol::report::{Announcement, Answering, KeystoreReport};
use protocol::topology::{self, PROTOCOL_VERSION};
use protocol::{Digest, Epoch, KeystoreId, MessageId, ProcessId, Role};

use crate::Reencryptor;

/// What a report says besides how the keystore stands.
#[derive(Default)]
pub(crate) struct Said<'a> {
    /// It answers a command.
    pub(crate) is_asked: bool,
    /// All key versions are counted for it.
    pub(crate) is_counted: bool,
    pub(crate) refusal: Option<&'a KeystoreRefusal>,
    pub(crate) hold_ends: Vec<(ProcessId, u64)>,
    pub(crate) check: Option<KeyCheck>,
}

impl Reencryptor {
    pub(crate) fn announcement(&mut self, keystore: KeystoreId) -> Vec<u8> {
        let body = codec::encode(&Announcement {
            member: Member {
                id: self.id,
                name: self.config.name.clone(),
                role: Role::Reencryptor,
                identity: self.identity.public_key(),
                location: self.config.location.clone(),
            },
            instance_name: self.config.instance_name.clone(),
            keystore: Some(keystore),
            manifest_serial: self.trust.serial(),
            protocol_version: PROTOCOL_VERSION,
        });
        self.seal(None, Recipient::Role(Role::Coordinator), Kind::Announcement, &body)
    }

    fn seal(
        &mut self,
        answered: Option<&Header>,
        recipient: Recipient,
        kind: Kind,
        body: &[u8],
    ) -> Vec<u8> {
        let sealing = Sealing {
            id: MessageId::from_uuid(crypto::random::uuid_v7(service::now(), &mut self.rng)),
            in_answer_to: answered.map(|header| header.id),
            instance: self.instance,
            recipient,
            manifest_serial: self.trust.serial(),
            rotation: answered.and_then(|header| header.rotation),
            epoch: Epoch::default(),
            kind,
        };
        envelope::seal(&self.identity, &sealing, body)
    }

    /// The report, as the keystore stands now.
    pub(crate) async fn report(&mut self, answered: &Header, said: Said<'_>) -> Outgoing {
        let Said { is_asked, is_counted, refusal, hold_ends, check } = said;
        // All versions are counted for whoever asks how it stands, not at every step.
        let found = match is_counted {
            true => self.store.row(self.instance).await,
            false => self.store.standing(self.instance).await,
        };
        let row = match found {
            Ok(row) => row,
            Err(error) => {
                tracing::error!(%error, "the keystore row could not be read");
                None
            }
        };
        let receipts_digest = match &row {
            Some(row) => self.receipts_digest(row).await,
            None => None,
        };
        // The clock in reports tells later from earlier ones: never twice the same.
        self.last_clock = self.last_clock.plus_ms(1).max(service::now());
        let report = KeystoreReport {
            reencryptor: self.id,
            manifest_serial: self.trust.serial(),
            row,
            receipts_digest,
            hold_ends,
            unopened: match refusal {
                Some(
                    KeystoreRefusal::Unopened { first, .. }
                    | KeystoreRefusal::WrittenMeanwhile { first, .. },
                ) => vec![first.clone()],
                _ => Vec::new(),
            },
            answering: is_asked.then(|| Answering {
                message: answered.id,
                refusal: refusal.map(KeystoreRefusal::to_report),
            }),
            clock: self.last_clock,
            check,
        };
        let to = answered.sender;
        let body = codec::encode(&report);
        let sealed = self.seal(Some(answered), Recipient::Process(to), Kind::KeystoreReport, &body);
        Outgoing::to(topology::process_address(Role::Coordinator, self.instance, to), sealed)
    }

    /// Chained digest of all receipts of the rotation's generation, once it is complete.
    async fn receipts_digest(&mut self, row: &KeystoreRow) -> Option<Digest> {
        let rotation = row.rotation.as_ref()?;
        let is_built = matches!(
            rotation.standing,
            KeystoreStanding::Complete | KeystoreStanding::Switched | KeystoreStanding::Flipped
        );
        let generation = row.open.as_ref().or(row.active.as_ref()).filter(|_| is_built)?;
        // Of a generation that is complete no record changes any more.
        let known = self.receipts.filter(|(of, _)| *of == generation.id);
        if let Some((_, digest)) = known {
            return Some(digest);
        }
        let chunks = self.store.chunks(self.instance, generation.number).await.ok()?;
        let receipts = chunks.iter().filter_map(|chunk| chunk.done.as_ref());
        let digest = crypto::digest::receipt_chain(receipts.map(|done| done.receipt.as_slice()));
        self.receipts = Some((generation.id, digest));
        Some(digest)
    }
}
