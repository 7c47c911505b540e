//! What everybody last said: for surveys, for views, and to see who lacks the newest manifest.

use std::collections::BTreeMap;

use protocol::report::{Announcement, KeystoreReport, UnitReport};
use protocol::{ProcessId, UnixMillis};

/// Something that was said, and when it was heard.
#[derive(Clone, Debug)]
pub struct HeardOf<T> {
    /// What.
    pub said: T,
    /// By the coordinator's clock.
    pub at: UnixMillis,
}

/// What everybody last said.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Units' reports.
    pub units: BTreeMap<ProcessId, HeardOf<UnitReport>>,
    /// Reencryptors' reports.
    pub keystores: BTreeMap<ProcessId, HeardOf<KeystoreReport>>,
    /// Announcements of whoever has started, in the manifest or not.
    pub announced: BTreeMap<ProcessId, HeardOf<Announcement>>,
    serials: BTreeMap<ProcessId, u64>,
}

/// Most announcements that are kept of processes that no manifest names.
const MAX_ANNOUNCED: usize = 256;

impl Heard {
    /// Takes a unit's report in; false if it is not about its sender. One that `is_asked_now` is what
    /// the unit says today, even if it counts fewer saves than before: its state has gone back.
    pub fn take_unit(
        &mut self,
        at: UnixMillis,
        sender: ProcessId,
        report: &UnitReport,
        is_asked_now: bool,
    ) -> bool {
        if report.unit != sender {
            return false;
        }
        self.serials.insert(sender, report.manifest_serial);
        let is_older = self
            .units
            .get(&sender)
            .is_some_and(|held| held.said.state_counter > report.state_counter);
        if is_asked_now || !is_older {
            self.units.insert(sender, HeardOf { said: report.clone(), at });
        }
        true
    }

    /// Takes a reencryptor's report in; false if it is not about its sender.
    pub fn take_keystore(
        &mut self,
        at: UnixMillis,
        sender: ProcessId,
        report: &KeystoreReport,
    ) -> bool {
        if report.reencryptor != sender {
            return false;
        }
        self.serials.insert(sender, report.manifest_serial);
        self.keystores.insert(sender, HeardOf { said: report.clone(), at });
        true
    }

    /// Takes an announcement in. The newest of those that no manifest names are kept.
    pub fn take_announcement(&mut self, at: UnixMillis, sender: ProcessId, said: Announcement) {
        if said.member.id != sender {
            return;
        }
        self.serials.insert(sender, said.manifest_serial);
        self.announced.insert(sender, HeardOf { said, at });
        if self.announced.len() > MAX_ANNOUNCED {
            let oldest = self.announced.iter().min_by_key(|(_, heard)| heard.at);
            if let Some(id) = oldest.map(|(id, _)| *id) {
                self.announced.remove(&id);
            }
        }
    }

    /// Serial of the newest manifest that this process has said to have.
    pub fn manifest_serial(&self, who: ProcessId) -> Option<u64> {
        self.serials.get(&who).copied()
    }

    /// A process that has said nothing yet is taken to have no manifest.
    pub fn expect(&mut self, who: ProcessId) {
        self.serials.entry(who).or_insert(0);
    }
}
