//! What everybody last said: for surveys, for views, and to see who lacks the newest manifest.

use std::collections::{BTreeMap, BTreeSet};

use protocol::report::{Announcement, KeystoreReport, UnitReport};
use protocol::{ProcessId, UnixMillis};

use crate::envelope;
use crate::rotation::set_back::is_earlier;

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
    /// Units that have answered this process: what others have said may be from before an order that
    /// an earlier coordinator has brought them.
    pub answered: BTreeSet<ProcessId>,
    /// Announcements of whoever has started, in the manifest or not.
    pub announced: BTreeMap<ProcessId, HeardOf<Announcement>>,
    serials: BTreeMap<ProcessId, u64>,
    /// The report with the highest state counter that each unit has ever signed, the first of those that
    /// count as high, and its envelope.
    highest: BTreeMap<ProcessId, (UnitReport, Vec<u8>)>,
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
        self.keep_highest(report, envelope);
        let held = self.units.get(&report.unit);
        let is_older = held.is_some_and(|held| is_earlier(report, &held.said));
        if is_asked_now || !is_older {
            self.units.insert(report.unit, HeardOf { said: report.clone(), at });
        }
    }

    /// Takes in a reencryptor's report about itself: the latest by its clock, or what it says now that it
    /// `is_asked_now`.
    pub fn take_keystore(&mut self, at: UnixMillis, report: &KeystoreReport, is_asked_now: bool) {
        let id = report.reencryptor;
        self.serials.insert(id, report.manifest_serial);
        let is_older = self.keystores.get(&id).is_some_and(|held| held.said.clock > report.clock);
        if is_asked_now || !is_older {
            self.keystores.insert(id, HeardOf { said: report.clone(), at });
        }
    }

    /// What units last said, of those who are among these.
    pub fn units_among<'a>(
        &'a self,
        who: &BTreeSet<ProcessId>,
    ) -> impl Iterator<Item = &'a HeardOf<UnitReport>> {
        self.units.values().filter(|heard| who.contains(&heard.said.unit))
    }

    /// What reencryptors last said, of those who are among these.
    pub fn keystores_among<'a>(
        &'a self,
        who: &BTreeSet<ProcessId>,
    ) -> impl Iterator<Item = &'a HeardOf<KeystoreReport>> {
        self.keystores.values().filter(|heard| who.contains(&heard.said.reencryptor))
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
        self.highest(unit).map(|(report, _)| report.state_counter).unwrap_or_default()
    }

    /// The report that says so, and its envelope.
    pub fn highest(&self, unit: ProcessId) -> Option<(&UnitReport, &[u8])> {
        self.highest.get(&unit).map(|(report, envelope)| (report, envelope.as_slice()))
    }

    /// Those reports of all units.
    pub fn all_highest(&self) -> impl Iterator<Item = &UnitReport> {
        self.highest.values().map(|(report, _)| report)
    }

    /// Keeps what was heard where it counts higher. What a unit says that knows itself to be set back shows
    /// less than it had come to.
    fn keep_highest(&mut self, report: &UnitReport, envelope: &[u8]) {
        let is_higher = self.highest_counter(report.unit) < report.state_counter;
        if is_higher && report.set_back_from.is_none() {
            self.highest.insert(report.unit, (report.clone(), envelope.to_vec()));
        }
    }

    /// Keeps what a record has kept where it counts higher.
    pub fn remember(&mut self, envelope: &[u8]) {
        if let Some(report) = envelope::unverified(envelope) {
            self.keep_highest(&report, envelope);
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
