//! Invariant 6: an old coordinator is fenced. Whoever has seen an epoch changes nothing for a
//! command of a lower one.

use protocol::command::{Command, KeystoreCommand};
use protocol::envelope::{Envelope, Kind};
use protocol::{Epoch, codec};

use super::Violation;

/// What has been seen.
#[derive(Default)]
pub(super) struct Memory {
    broken: Option<Violation>,
}

impl Memory {
    /// `who`, that had seen `highest`, has changed its state for this message.
    pub(super) fn changed(&mut self, who: &str, highest: Epoch, message: &[u8]) {
        let Ok(found) = Envelope::parse(message) else { return };
        let is_command = matches!(found.header.kind, Kind::Command | Kind::KeystoreCommand);
        let given = found.header.epoch;
        if is_command && !proves_itself(found.header.kind, found.body) && given < highest {
            let text = format!("{who} did something of epoch {given} after it had seen {highest}");
            self.broken = Some(Violation { checker: "fencing", text });
        }
    }

    pub(super) fn check(&mut self) -> Result<(), Violation> {
        self.broken.take().map_or(Ok(()), Err)
    }
}

/// Manifests and reminders need no coordinator's word.
fn proves_itself(kind: Kind, body: &[u8]) -> bool {
    match kind {
        Kind::Command => {
            matches!(codec::decode(body), Ok(Command::TakeManifest { .. } | Command::Remind { .. }))
        }
        _ => matches!(codec::decode(body), Ok(KeystoreCommand::TakeManifest { .. })),
    }
}
