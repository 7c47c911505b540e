//! The two holds, as the coordinator waits for them: units keep them, each by its own clock.

use protocol::audit::Phase;
use protocol::command::{Command, KeystoreCommand, Step};
use protocol::order::Hold;
use protocol::report::UnitRotation;
use protocol::{ProcessId, UnixMillis};

use super::desired::{Desired, View, Wanted};
use super::{Effects, Event, Rotation};
use crate::certificate::Reached;
use crate::explain::words::moment;

/// Where the hold before clear stands in one unit.
enum Stands {
    /// It has not seen *flipped* yet, or has to save that the hold is over.
    MustSee,
    /// It lasts until then, by the coordinator's clock.
    Until(UnixMillis),
    /// It is over, and was saved with this state counter.
    Over(u64),
}

impl View<'_> {
    /// A unit's time, by the coordinator's clock: units report theirs with it.
    fn by_our_clock(&self, unit: ProcessId, at: UnixMillis) -> UnixMillis {
        match self.units.get(&unit) {
            Some(held) => held.heard_at.plus_ms(at.since(held.report.facts.clock)),
            None => at,
        }
    }

    fn taken_by(&self, unit: ProcessId) -> Option<&UnitRotation> {
        self.heard(unit)?.in_order(self.reference)
    }

    /// End of the hold after commit in each unit in which it still lasts.
    fn holding_after_commit(&self) -> Vec<(ProcessId, UnixMillis)> {
        let until = |unit: ProcessId| {
            let until = self.taken_by(unit)?.promote_not_before?;
            Some((unit, self.by_our_clock(unit, until)))
        };
        self.unit_ids().filter_map(until).filter(|(_, until)| *until > self.now).collect()
    }

    fn hold_before_clear(&self, unit: ProcessId) -> Stands {
        let Some(taken) = self.taken_by(unit) else { return Stands::MustSee };
        match (taken.hold_end_nonce, taken.clear_not_before) {
            (Some(counter), _) => Stands::Over(counter),
            (None, Some(until)) => match self.by_our_clock(unit, until) {
                until if until > self.now => Stands::Until(until),
                _ => Stands::MustSee,
            },
            (None, None) => Stands::MustSee,
        }
    }

    /// The statement that ends a hold, for these units.
    fn ending(&self, hold: Hold, units: &[ProcessId]) -> Vec<Wanted> {
        let statement = self.hold_ends.iter().find(|signed| {
            signed.unverified().is_ok_and(|it| it.hold == hold && it.is_for(self.reference))
        });
        let Some(statement) = statement else { return Vec::new() };
        let wanted = |unit: &ProcessId| {
            Wanted::Unit(*unit, Command::EndHold { statement: statement.clone() })
        };
        units.iter().map(wanted).collect()
    }
}

impl Rotation {
    /// Once every unit counts the hold its end is known, and told.
    pub(super) fn tell_hold(&mut self, found: &Desired, effects: &mut Effects) {
        let is_clear = |wanted: &Wanted| wanted.name() == "clear";
        let until = found.holds_until.filter(|_| !found.wanted.iter().any(is_clear));
        if let (Some(until), false) = (until, self.is_hold_told) {
            let text = format!("the hold lasts until {}", moment(until));
            effects.events.push(Event { phase: found.phase, text });
        }
        self.is_hold_told = until.is_some();
    }
}

/// The hold after commit: keys are not refused while it lasts.
pub(super) fn holding_after_commit(view: &View<'_>) -> Option<Desired> {
    let holding = view.holding_after_commit();
    let until = holding.iter().map(|(_, until)| *until).max()?;
    let units: Vec<_> = holding.into_iter().map(|(unit, _)| unit).collect();
    let wanted = view.ending(Hold::AfterCommit, &units);
    Some(Desired::holding(Phase::HoldAfterCommit, wanted, until))
}

/// The hold before clear: every unit sees *flipped*, waits, saves that it has waited, and clears by a
/// *flipped* that was signed after that and names it.
pub(super) fn holding_before_clear(view: &View<'_>) -> Option<Desired> {
    if view.order.hold_before_clear_s == 0 {
        return None;
    }
    let short = view.units_short_of(Reached::Cleared);
    let (mut seeing, mut waiting, mut until, mut ends) = (Vec::new(), Vec::new(), None, Vec::new());
    for unit in short {
        match view.hold_before_clear(unit) {
            Stands::MustSee => seeing.push(unit),
            Stands::Until(at) => {
                waiting.push(unit);
                until = until.max(Some(at));
            }
            Stands::Over(counter) => ends.push((unit, counter)),
        }
    }
    let clear = |unit| {
        let certificate = view.keystore_certificate();
        view.step(unit, Step::Clear { certificate })
    };
    if let Some(until) = until {
        let mut wanted = view.ending(Hold::BeforeClear, &waiting);
        wanted.extend(seeing.into_iter().map(clear));
        return Some(Desired::holding(Phase::HoldBeforeClear, wanted, until));
    }
    if !seeing.is_empty() {
        let wanted = seeing.into_iter().map(clear).collect();
        return Some(Desired::new(Phase::HoldBeforeClear, wanted));
    }
    let lacks = |id: &ProcessId| {
        let named = view.keystores.get(id).map(|held| held.report.hold_ends.as_slice());
        !ends.iter().all(|end| named.unwrap_or_default().contains(end))
    };
    let restate = |id| {
        let (order, hold_ends) = (*view.reference, ends.clone());
        Wanted::Keystore(id, KeystoreCommand::Restate { order, hold_ends })
    };
    let lacking: Vec<_> = view.reencryptors().into_iter().filter(lacks).map(restate).collect();
    Desired::lacking(Phase::Clear, lacking)
}
