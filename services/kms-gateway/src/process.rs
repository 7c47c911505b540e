//! The gateway's queue: answers of units, and manifests.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use bus::driver::{Handler, Outcome, SaveError};
use bus::{Outgoing, Received};
use crypto::random::ProcessRng;
use ledger::Folder;
use machines::envelope::{self, Reader};
use machines::trust::Trust;
use protocol::codec;
use protocol::command::Command;
use protocol::envelope::{Kind, Recipient};
use protocol::{ProcessId, PublicKey, Role, topology};
use service::Status;

use crate::units::{Reply, Units};

pub(crate) const TRUST: &str = "trust.sealed";
pub(crate) const TRUST_AAD: &[u8] = b"gateway trust";

pub(crate) struct Gateway {
    pub(crate) id: ProcessId,
    /// Administrators who must have signed its first manifest.
    pub(crate) pinned: Vec<PublicKey>,
    pub(crate) folder: Folder,
    pub(crate) trust: Arc<RwLock<Trust>>,
    pub(crate) units: Arc<Units>,
    pub(crate) rng: ProcessRng,
    /// What it says of itself.
    pub(crate) announced: Vec<u8>,
    pub(crate) status: Status,
}

impl Gateway {
    fn take(&mut self, body: &[u8]) -> Result<bool, &'static str> {
        let trust = self.units.trust();
        let reader = Reader { id: self.id, role: Role::Gateway };
        let opened = envelope::open(body, reader, &trust).map_err(|refusal| refusal.reason())?;
        let answered = opened.header.in_answer_to;
        let is_from_unit = opened.sender_role == Some(Role::OperationalUnit);
        match opened.header.kind {
            Kind::SessionOffer if is_from_unit => {
                let offer = codec::decode(opened.body).map_err(|error| error.reason())?;
                self.units.reply(answered, opened.header.sender, Reply::Offer(offer));
                Ok(false)
            }
            Kind::SealedAnswer if is_from_unit => {
                let answer = codec::decode(opened.body).map_err(|error| error.reason())?;
                self.units.reply(answered, opened.header.sender, Reply::Answer(answer));
                Ok(false)
            }
            Kind::ManifestNotice => {
                let command = codec::decode(opened.body).map_err(|error| error.reason())?;
                let Command::TakeManifest { chain } = command else {
                    return Err("unexpected-kind");
                };
                let mut trust = trust;
                let is_new = trust
                    .take(&chain, Some((self.id, Role::Gateway)), &self.pinned)
                    .map_err(|_| "manifest-refused")?;
                match self.trust.write() {
                    Ok(mut held) => *held = trust,
                    Err(poisoned) => *poisoned.into_inner() = trust,
                }
                Ok(is_new)
            }
            _ => Err("unexpected-kind"),
        }
    }
}

#[async_trait::async_trait]
impl Handler for Gateway {
    type Ask = ();

    async fn handle(&mut self, received: &Received) -> Outcome {
        match self.take(&received.body) {
            Ok(is_changed) => Outcome { is_changed, ..Outcome::default() },
            Err(reason) => Outcome { dead: Some(reason), ..Outcome::default() },
        }
    }

    async fn ask(&mut self, (): ()) -> Outcome {
        Outcome::default()
    }

    /// Nobody has answered the announcement with a manifest yet: it is made again.
    async fn tick(&mut self) -> Outcome {
        let recipient = Recipient::Role(Role::Coordinator);
        let (_, sealed) = self.units.seal(recipient, Kind::Announcement, &self.announced);
        let message = Outgoing::persistent(topology::announcement_address(), sealed);
        Outcome { publish: vec![message], ..Outcome::default() }
    }

    fn next_tick(&self) -> Option<Duration> {
        (self.units.trust().serial() == 0).then_some(topology::ANNOUNCE_AGAIN)
    }

    async fn save(&mut self) -> Result<(), SaveError> {
        let bytes = codec::encode(&self.units.trust().chain().to_vec());
        self.folder
            .save(TRUST, TRUST_AAD, &bytes, &mut self.rng)
            .map_err(|error| SaveError(error.to_string()))?;
        self.status.ready_with(self.units.trust().serial());
        Ok(())
    }
}
