//! What everybody last said: for surveys, for views, and to see who lacks the newest manifest.

use std::collections::{BTreeMap, BTreeSet};

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
    /// The highest state counter that each unit has ever reported, and the envelope that said so.
    highest: BTreeMap<ProcessId, (u64, Vec<u8>)>,
}

/// Most announcements that are kept of processes that no manifest names.
const MAX_ANNOUNCED: usize = 256;

impl Heard {
    /// Takes in a unit's report about itself. One that `is_asked_now` is what the unit says today,
    /// even if it counts fewer saves than before: its state has gone back.
    pub fn take_unit(
        &mut self,
        at: UnixMillis,
        report: &UnitReport,
        envelope: &[u8],
        is_asked_now: bool,
    ) {
        self.serials.insert(report.unit, report.manifest_serial);
        self.keep_highest(report.unit, report.state_counter, envelope);
        let is_older = self
            .units
            .get(&report.unit)
            .is_some_and(|held| held.said.state_counter > report.state_counter);
        if is_asked_now || !is_older {
            self.units.insert(report.unit, HeardOf { said: report.clone(), at });
        }
    }

    /// Takes in a reencryptor's report about itself.
    pub fn take_keystore(&mut self, at: UnixMillis, report: &KeystoreReport) {
        self.serials.insert(report.reencryptor, report.manifest_serial);
        self.keystores.insert(report.reencryptor, HeardOf { said: report.clone(), at });
    }

    /// Takes in what a process says of itself. The newest of those that no manifest names are kept.
    pub fn take_announcement(&mut self, at: UnixMillis, said: Announcement) {
        self.serials.insert(said.member.id, said.manifest_serial);
        self.announced.insert(said.member.id, HeardOf { said, at });
        if self.announced.len() > MAX_ANNOUNCED {
            let oldest = self.announced.iter().min_by_key(|(_, heard)| heard.at);
            if let Some(id) = oldest.map(|(id, _)| *id) {
                self.announced.remove(&id);
            }
        }
    }

    /// Forgets the reports of whoever the newest manifest does not name: what was heard before there
    /// was a manifest was vouched for by nobody, and could raise numbers and epochs.
    pub fn keep_reports_of(&mut self, named: &BTreeSet<ProcessId>) {
        self.units.retain(|id, _| named.contains(id));
        self.keystores.retain(|id, _| named.contains(id));
        self.highest.retain(|id, _| named.contains(id));
    }

    /// The highest state counter that a unit has ever reported: one that reports a lower one today
    /// has been given an older state.
    pub fn highest_counter(&self, unit: ProcessId) -> u64 {
        self.highest(unit).map(|(counter, _)| counter).unwrap_or_default()
    }

    /// The same, and the envelope of the report that says so.
    pub fn highest(&self, unit: ProcessId) -> Option<(u64, &[u8])> {
        self.highest.get(&unit).map(|(counter, envelope)| (*counter, envelope.as_slice()))
    }

    /// Keeps what was heard, or what a record has kept, where it counts higher.
    pub fn keep_highest(&mut self, unit: ProcessId, counter: u64, envelope: &[u8]) {
        let is_higher = self.highest.get(&unit).is_none_or(|(highest, _)| *highest <= counter);
        if is_higher {
            self.highest.insert(unit, (counter, envelope.to_vec()));
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
