//! Invariant 6: an old coordinator is fenced. Whoever has seen an epoch changes nothing for a
//! command of a lower one.

use protocol::Epoch;
use protocol::envelope::{Envelope, Kind};

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
        if is_command && given < highest {
            let text = format!("{who} did something of epoch {given} after it had seen {highest}");
            self.broken = Some(Violation { checker: "fencing", text });
        }
    }

    pub(super) fn check(&mut self) -> Result<(), Violation> {
        self.broken.take().map_or(Ok(()), Err)
    }
}
