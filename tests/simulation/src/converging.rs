//! Once faults stop all must converge, within a bound: whatever runs ends, and another rotation ends well.

use machines::rotation::record::Verdict;
use machines::unit::state::TakenRotation;

use crate::checkers::Violation;
use crate::unit::UnitNode;
use crate::world::World;

impl World {
    /// Whatever runs must end, and a rotation asked for now must end well, within a bound.
    pub(crate) fn converge(&mut self) -> Result<(), Violation> {
        self.run_until("the rotation does not end once faults stop", |world| {
            world.is_stuck() || (world.all_up() && !world.coordinator.is_rotating())
        })?;
        if self.is_stuck() {
            // Only a rogue, or a lost record, brings it about; nothing is lost, and neither side can
            // do without the other.
            self.outcome.mixed_ends += 1;
            return Ok(());
        }
        let before = self.outcome.rotations_done;
        self.run_until("no rotation ends well, with a receipt, once faults stop", |world| {
            world.is_stuck()
                || (world.outcome.rotations_done > before
                    && !world.coordinator.is_rotating()
                    && world.all_members_count()
                    && world.is_proved())
        })?;
        if self.is_stuck() {
            self.outcome.mixed_ends += 1;
            return Ok(());
        }
        self.checkers.at_end(&self.units, &self.store)
    }

    /// What the keystore is under is that of the last receipt: one that was taken up after a rogue had moved
    /// a unit on has none.
    fn is_proved(&self) -> bool {
        let active = self.store.row.active.as_ref().map(|active| active.pattern);
        self.coordinator.receipt.as_ref().map(|receipt| receipt.to) == active
    }

    /// A mixed end of which the administrators can remove neither side, whichever order the others have
    /// taken since.
    fn is_stuck(&self) -> bool {
        let is_left = || !self.left_behind().is_empty() && self.could_return().is_empty();
        (self.is_mixed() || is_left()) && !self.can_administrate()
    }

    /// A rotation aborted in one unit and promoted (or decided) in another.
    fn is_mixed(&self) -> bool {
        if !self.has_rogue && !self.has_forgotten {
            return false;
        }
        let (aborted, promoted) = self.sides();
        let record = self.coordinator.record();
        let is_decided =
            record.is_some_and(|it| it.verdict == Verdict::Decided && it.finished_at.is_none());
        !aborted.is_empty() && (is_decided || !promoted.is_empty())
    }

    /// Where everybody stands, for whoever reads the trace.
    pub(crate) fn note_standings(&mut self) {
        let named = |taken: &TakenRotation| {
            let digest = taken.reference.digest.to_string();
            format!("{:?} in {} ({})", taken.standing, taken.reference.number, &digest[..8])
        };
        let of_unit = |unit: &UnitNode| {
            let taken = unit.saved_state().rotation.as_ref().map(named);
            let how = [
                (unit.is_removed, ", removed"),
                (unit.is_gone, ", gone"),
                (unit.is_set_back(), ", set back"),
                (!unit.is_up(), ", down"),
            ];
            let how: String =
                how.iter().filter(|(is_so, _)| *is_so).map(|(_, word)| *word).collect();
            (unit.name.clone(), format!("{}{how}", taken.unwrap_or_default()))
        };
        let units: Vec<_> = self.units.iter().map(of_unit).collect();
        for (name, stands) in units {
            self.note(&name, &stands);
        }
        let row = format!("{:?}, open: {}", self.store.row.rotation, self.store.row.open.is_some());
        self.note("keystore", &row);
        let record = self.coordinator.record();
        let number =
            record.and_then(|it| it.order().ok()).map(|(_, order)| order.number.to_string());
        let verdict = record.map(|it| (&it.verdict, it.finished_at));
        let text = format!("record of {}: {verdict:?}", number.unwrap_or_default());
        self.note("coordinator", &text);
    }

    fn all_members_count(&self) -> bool {
        self.units.iter().all(|unit| unit.is_removed || unit.counts())
    }

    fn all_up(&self) -> bool {
        let units = self.units.iter().all(|unit| unit.is_up() || unit.is_removed);
        units && self.reencryptor.is_up && self.coordinator.is_up()
    }

    pub(crate) fn run_until(
        &mut self,
        otherwise: &str,
        mut is_reached: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), Violation> {
        let until = self.now.plus_ms(120_000);
        while !is_reached(self) {
            if self.now >= until {
                let text = otherwise.to_owned();
                return Err(Violation { checker: "converges", text });
            }
            self.step()?;
        }
        Ok(())
    }
}
