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
        let epoch = match command {
            Command::Abort { .. } => self.epoch_of_abort(to),
            _ => self.epoch(),
        };
        self.seal_at(now, rng, (to, epoch), Kind::Command, command.name(), &body)
    }

    /// A keystore that somebody has had opened takes no manifest before that is ended, nor may a unit that
    /// is bound, and neither takes an epoch of a manifest that it does not have: the order is ended there
    /// under the epoch that it knows.
    fn epoch_of_abort(&self, to: ProcessId) -> Epoch {
        let epoch = self.epoch();
        let unit = self.heard.units.get(&to).map(|heard| &heard.said);
        let keystore = self.heard.keystores.get(&to).map(|heard| &heard.said);
        let known = unit.map(|said| (said.manifest_serial, said.epoch)).or_else(|| {
            let said = keystore?;
            Some((said.manifest_serial, said.row.as_ref()?.epoch))
        });
        let behind = known.filter(|(serial, _)| *serial < epoch.manifest_serial);
        behind.map_or(epoch, |(_, known)| known)
    }

    pub(super) fn seal_keystore<R: CryptoRng>(
        &self,
        now: UnixMillis,
        rng: &mut R,
        to: ProcessId,
        command: &KeystoreCommand,
    ) -> Message {
        let body = codec::encode(command);
        let epoch = match command {
            KeystoreCommand::Abort { .. } => self.epoch_of_abort(to),
            _ => self.epoch(),
        };
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
