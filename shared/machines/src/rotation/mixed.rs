//! A mixed end: some units have aborted the rotation and others have promoted it, or it is decided. It
//! can only come of a lost record and a silent unit, or of a rogue coordinator. It can never flip and
//! has lost nothing; the administrators end it by an amendment that removes one of the two sides.

use protocol::ProcessId;
use protocol::audit::Phase;
use protocol::command::Command;
use protocol::keystore::KeystoreStanding;
use protocol::report::Standing;

use super::desired::{Desired, View, Wanted};
use super::record::Verdict;

/// Units on both sides of a mixed end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    /// Have aborted, or have taken another order instead.
    pub aborted: Vec<ProcessId>,
    /// Have promoted, or cleared.
    pub promoted: Vec<ProcessId>,
}

impl Sides {
    /// Whether both have somebody on them.
    pub const fn is_mixed(&self) -> bool {
        !self.aborted.is_empty() && !self.promoted.is_empty()
    }

    /// What the units that are left say: forward if one has promoted, else ended if one has aborted.
    pub fn verdict(&self) -> Option<Verdict> {
        match (self.promoted.is_empty(), self.aborted.is_empty()) {
            (false, true) => Some(Verdict::Decided),
            (true, false) => Some(Verdict::Aborted {
                because: "every unit that stays and has ended it has aborted it".to_owned(),
            }),
            _ => None,
        }
    }
}

impl View<'_> {
    /// Who of the manifest has ended the rotation how. Who has taken another order before the flip never
    /// promotes this one; an abort is over in it.
    pub fn sides(&self) -> Sides {
        let mut sides = Sides::default();
        let goes_on = !matches!(self.verdict, Verdict::Aborted { .. });
        for unit in self.unit_ids() {
            let Some(report) = self.units.get(&unit).map(|held| &held.report) else { continue };
            match report.in_order(self.reference).map(|found| found.standing) {
                Some(Standing::Aborted) => sides.aborted.push(unit),
                Some(Standing::Promoted | Standing::Cleared) => sides.promoted.push(unit),
                Some(Standing::Bound) => {}
                None if goes_on && report.has_spent(self.reference) && self.is_before_flip() => {
                    sides.aborted.push(unit);
                }
                None => {}
            }
        }
        sides
    }
}

/// Nothing is asked of units any more but how they stand: of all that have not promoted, as an amendment
/// wants to know, and as one that has aborted may have been set back to before its promote, and its volume
/// may be brought back. The keystore is let go of, so that it serves.
pub(super) fn mixed(view: &View<'_>) -> Option<Desired> {
    let sides = view.sides();
    let is_decided = *view.verdict == Verdict::Decided;
    // Whether one unit's end keeps the rotation from the end of the others.
    let is_mixed = sides.is_mixed() || (is_decided && !sides.aborted.is_empty());
    if !is_mixed {
        return None;
    }
    let is_open = |id: &ProcessId| {
        view.keystore_rotation(*id).is_none_or(|found| {
            matches!(found.standing, KeystoreStanding::Open | KeystoreStanding::Complete)
        })
    };
    let keystores = view.reencryptors().into_iter().filter(is_open).map(|id| view.abort(id));
    let is_asked = |unit: &ProcessId| !sides.promoted.contains(unit);
    let survey = |unit| Wanted::Unit(unit, Command::Survey { order: None });
    let units = view.unit_ids().filter(is_asked).map(survey);
    let found = Desired::new(Phase::Inspect, keystores.chain(units).collect());
    Some(Desired { is_mixed: true, ..found })
}
