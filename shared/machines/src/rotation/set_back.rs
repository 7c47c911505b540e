//! Units whose state was set back to an older one while the rotation runs: they are brought up again
//! like units that were away, but what they said before no longer says how they stand.

use protocol::ProcessId;
use protocol::report::UnitReport;

use super::Rotation;
use super::record::LatestReport;

impl Rotation {
    /// From now on only what the unit says today counts.
    pub(super) fn note_set_back(&mut self, report: &UnitReport) {
        let unit = report.unit;
        // What it says while it knows itself to be set back counts for nothing.
        let held = self.units.remove(&unit).filter(|held| held.report.set_back_from.is_none());
        let held = held.map(|held| held.report.state_counter);
        let kept = self.record.latest.iter().find(|latest| latest.unit == unit);
        let known = self.set_back.entry(unit).or_insert((0, report.facts.clock));
        let before = held.into_iter().chain(kept.map(|latest| latest.state_counter)).max();
        known.0 = before.unwrap_or_default().max(known.0);
    }

    /// Whether this was said before the unit's state was set back, and comes late. One that counts
    /// higher than anything from before has come as far again; so has one that counts as high, where
    /// its own clock says that it was signed since: it has saved as often again.
    pub(super) fn is_from_before(&mut self, report: &UnitReport) -> bool {
        let Some((highest, noted)) = self.set_back.get(&report.unit).copied() else {
            return false;
        };
        if report.set_back_from.is_some() {
            return false;
        }
        let held = self.units.get(&report.unit).map(|held| held.report.state_counter);
        let is_since = report.facts.clock > noted;
        if report.state_counter > highest || (report.state_counter == highest && is_since) {
            self.set_back.remove(&report.unit);
            // However high it had counted while it knew itself to be set back.
            self.units
                .retain(|unit, held| *unit != report.unit || held.report.set_back_from.is_none());
            return false;
        }
        // The one that said so is taken: there is none held yet.
        held.is_some()
    }

    /// Whether a unit does not know yet that its state was set back.
    pub(super) fn is_unaware(&self, who: ProcessId) -> bool {
        self.set_back.contains_key(&who)
            && self.units.get(&who).is_none_or(|held| held.report.set_back_from.is_none())
    }

    /// All of those.
    pub(super) fn unaware(&self) -> Vec<ProcessId> {
        self.set_back.keys().copied().filter(|unit| self.is_unaware(*unit)).collect()
    }

    /// Keeps each unit's report with its highest state counter in the record.
    pub(super) fn keep_latest(&mut self) {
        for held in self.units.values().filter(|held| held.report.set_back_from.is_none()) {
            let (unit, state_counter) = (held.report.unit, held.report.state_counter);
            let new = || LatestReport { unit, state_counter, envelope: held.envelope.clone() };
            match self.record.latest.iter_mut().find(|latest| latest.unit == unit) {
                Some(latest) if latest.state_counter < state_counter => *latest = new(),
                Some(_) => {}
                None => self.record.latest.push(new()),
            }
        }
    }
}

/// Whether a unit had said this before it said the other. The one that counts higher was later, never the
/// one that arrived later; but what a unit says that knows itself to be set back counts on from an older
/// state, and came before whatever counts higher than the report that it was reminded of.
pub(crate) fn is_earlier(report: &UnitReport, other: &UnitReport) -> bool {
    let moment = |said: &UnitReport, counter| (counter, said.facts.clock);
    match (report.set_back_from, other.set_back_from) {
        (Some(lost), None) => moment(report, lost) < moment(other, other.state_counter),
        (None, Some(lost)) => moment(report, report.state_counter) < moment(other, lost),
        _ => report.state_counter < other.state_counter,
    }
}
