//! Signing what a conductor sends.

use protocol::codec;
use protocol::command::{Command, KeystoreCommand};
use protocol::envelope::{Kind, Recipient};
use protocol::{Epoch, MessageId, ProcessId, UnixMillis};
use rand::CryptoRng;

use super::{Conductor, Message};
use crate::envelope::{self, Outgoing};

impl Conductor {
    pub(super) fn epoch(&self) -> Epoch {
        self.rotation.as_ref().map(|rotation| rotation.record().epoch).unwrap_or_default()
    }

    pub(super) fn seal_unit<R: CryptoRng>(
        &self,
        now: UnixMillis,
        rng: &mut R,
        to: ProcessId,
        command: &Command,
    ) -> Message {
        let body = codec::encode(command);
        self.seal(now, rng, to, Kind::Command, command.name(), &body)
    }

    /// A keystore that somebody has had opened takes no manifest before that is ended, and no epoch of a
    /// manifest that it has not taken: it is ended there under the epoch that it knows.
    fn epoch_for(&self, to: ProcessId, command: &KeystoreCommand) -> Epoch {
        let epoch = self.epoch();
        let is_abort = matches!(command, KeystoreCommand::Abort { .. });
        let heard = self.heard.keystores.get(&to).map(|heard| &heard.said);
        let behind = heard.filter(|said| is_abort && said.manifest_serial < epoch.manifest_serial);
        behind.and_then(|said| said.row.as_ref()).map_or(epoch, |row| row.epoch)
    }

    pub(super) fn seal_keystore<R: CryptoRng>(
        &self,
        now: UnixMillis,
        rng: &mut R,
        to: ProcessId,
        command: &KeystoreCommand,
    ) -> Message {
        let (body, epoch) = (codec::encode(command), self.epoch_for(to, command));
        self.seal_at(now, rng, (to, epoch), Kind::KeystoreCommand, command.name(), &body)
    }

    pub(super) fn seal<R: CryptoRng>(
        &self,
        now: UnixMillis,
        rng: &mut R,
        to: ProcessId,
        kind: Kind,
        name: &'static str,
        body: &[u8],
    ) -> Message {
        self.seal_at(now, rng, (to, self.epoch()), kind, name, body)
    }

    fn seal_at<R: CryptoRng>(
        &self,
        now: UnixMillis,
        rng: &mut R,
        (to, epoch): (ProcessId, Epoch),
        kind: Kind,
        name: &'static str,
        body: &[u8],
    ) -> Message {
        let id = MessageId::from_uuid(crypto::random::uuid_v7(now, rng));
        let outgoing = Outgoing {
            id,
            in_answer_to: None,
            instance: self.trust.instance(),
            recipient: Recipient::Process(to),
            manifest_serial: self.trust.serial(),
            rotation: self.rotation.as_ref().map(|found| found.reference().rotation),
            epoch,
            kind,
        };
        Message { to, id, name, bytes: envelope::seal(&self.identity, &outgoing, body) }
    }
}
