//! What the administrators do: they sign orders, end holds, and remove units that are gone for good,
//! that were set back too far, or that stand on one side of a mixed end.

mod manifest;

use crypto::domain;
use machines::conductor::{Answer, Ask, DraftRequest, StartAsk};
use machines::rotation::numbers;
use machines::rotation::record::Verdict;
use protocol::codec;
use protocol::keystore::{GateMode, KeystoreStanding};
use protocol::manifest::AdminSignature;
use protocol::order::{
    Authority, Hold, HoldEnd, OrderRef, Purpose, SignedHoldEnd, SignedOrder, SignedStandingOrder,
    StandingOrder,
};
use protocol::report::Standing;
use protocol::{OrderNumber, ProcessId, Role};
use rand::RngExt;

use crate::unit::UnitNode;
use crate::world::World;

/// For so long a unit may be set back before somebody takes it out.
const PATIENCE_MS: u64 = 9_000;

impl World {
    /// Asks for an order; when it comes it is signed and given.
    pub(crate) fn draft(&mut self, purpose: Purpose, joining: Vec<ProcessId>) {
        let (hold_after_commit_s, hold_before_clear_s) = match purpose.recovery() {
            Some(_) => (0, 0),
            None => self.holds,
        };
        let quarantined = match purpose {
            Purpose::Rotate => self.keys_to_carry(),
            _ => Vec::new(),
        };
        self.request(Ask::Draft(DraftRequest {
            purpose,
            joining,
            quarantined,
            mode: GateMode::Strict,
            hold_after_commit_s,
            hold_before_clear_s,
            valid_for_s: 600,
        }));
    }

    /// An order that gives this unit a master key: the current one out of a recovery unit that holds it,
    /// or the next one in a rotation that it joins.
    pub(crate) fn give_master_key(&mut self, target: ProcessId) {
        let active = self.store.row.active.as_ref().map(|active| active.pattern);
        let holds = |unit: &&UnitNode| {
            let is_other = unit.id != target && unit.role == Role::RecoveryUnit;
            is_other && unit.counts() && unit.saved_state().registers().current == active
        };
        let source = self.units.iter().find(holds).map(|unit| unit.id);
        match source.filter(|_| self.recovers > 0.0 && self.rng.random_bool(self.recovers)) {
            Some(source) => self.draft(Purpose::Recover { target, source }, Vec::new()),
            None => self.draft(Purpose::Rotate, vec![target]),
        }
    }

    pub(crate) fn sign_draft(&mut self) {
        let Some(bytes) = self.drafted.take() else { return };
        let signatures = vec![self.sign(domain::ORDER, &bytes)];
        let order = SignedOrder { bytes, authority: Authority::Quorum(signatures) };
        if let Ok((read, reference)) = machines::leave::read(&order) {
            self.checkers.ordered(reference.digest, &read.quarantined);
        }
        let start = StartAsk::plain(Some(order), GateMode::Strict, "sim");
        self.request(Ask::Start(Box::new(start)));
    }

    /// A standing order under the newest manifest: any new one ends the one before.
    pub(crate) fn standing_order(&mut self) {
        let (hold_after_commit_s, hold_before_clear_s) = self.holds;
        let standing = StandingOrder {
            instance: self.instance,
            manifest_serial: self.coordinator.trust().serial(),
            not_more_often_than_s: if hold_before_clear_s == 0 {
                0
            } else {
                hold_before_clear_s + 1
            },
            pause_between_tries_s: 0,
            hold_after_commit_s,
            hold_before_clear_s,
            until: self.now.plus_ms(86_400_000),
        };
        let bytes = codec::encode(&standing);
        let signatures = vec![self.sign(domain::STANDING_ORDER, &bytes)];
        let signed = SignedStandingOrder { bytes, signatures };
        self.coordinator.keep_standing(signed.clone());
        self.request(Ask::Standing(signed));
    }

    fn sign(&self, signing_domain: &str, bytes: &[u8]) -> AdminSignature {
        let ski = crypto::quorum::ski(&self.admin.public_key());
        AdminSignature { ski, signature: self.admin.sign(signing_domain, bytes) }
    }

    /// Ends the hold of the rotation that runs.
    pub(crate) fn end_hold(&mut self) {
        let Some(record) = self.coordinator.record() else { return };
        let Ok((order, reference)) = record.order() else { return };
        let hold = if self.rng.random_bool(0.5) { Hold::AfterCommit } else { Hold::BeforeClear };
        let (rotation, number) = (reference.rotation, reference.number);
        let bytes = codec::encode(&HoldEnd { instance: order.instance, rotation, number, hold });
        let signatures = vec![self.sign(domain::HOLD_END, &bytes)];
        self.note("client", &format!("ends the hold {}", hold.name()));
        self.checkers.hold_ended(reference.digest);
        self.request(Ask::HoldEnd(SignedHoldEnd { bytes, signatures }));
    }

    /// Whoever stands in the way of a good end is taken out, where the others can do without. Whether
    /// somebody was.
    pub(crate) fn administrate(&mut self) -> bool {
        if !self.are_all_named() {
            match self.whom_to_remove() {
                Some(whom) => self.remove(&whom),
                None => {
                    self.bring_back();
                    if !self.enroll_again() {
                        self.remove(&[]);
                    }
                }
            }
            return true;
        }
        match self.whom_to_remove() {
            Some(whom) => {
                self.remove(&whom);
                true
            }
            None if self.is_amendment_refused()
                || self.are_numbers_used_up()
                || self.must_be_judged_anew() =>
            {
                if !self.bring_back() {
                    self.remove(&[]);
                }
                true
            }
            None => {
                let was_brought_back = self.bring_back();
                self.refused.clear();
                was_brought_back || self.enroll_again()
            }
        }
    }

    /// A manifest was answered: what was refused is not asked for again before something else was tried, or
    /// the answer names who is to be removed too.
    pub(crate) fn note_manifest(&mut self, answer: &Answer) {
        match answer {
            Answer::Taken => {
                self.refused.clear();
                self.advised = None;
            }
            Answer::Refused(refusal) if refusal.code == "not-taken" => {
                self.refused.push(self.asked_to_remove.clone());
            }
            Answer::Refused(refusal) if refusal.text.ends_with("remove it too") => {
                let is_named = |unit: &&UnitNode| refusal.text.starts_with(&unit.name);
                self.advised = self.units.iter().find(is_named).map(|unit| unit.id);
                self.refused.clear();
            }
            _ => {}
        }
    }

    /// The rotation is decided, units have aborted it, none has promoted it, and nobody can do without
    /// those: whoever is left ends it under the next manifest.
    fn must_be_judged_anew(&self) -> bool {
        let (aborted, promoted) = self.sides();
        let record = self.coordinator.record();
        let is_decided = record.is_some_and(|record| record.verdict == Verdict::Decided);
        let is_due = self.amended_at.plus_ms(PATIENCE_MS) <= self.now;
        let is_one_sided = !aborted.is_empty() && promoted.is_empty();
        is_due && self.coordinator.running().is_some() && is_decided && is_one_sided
    }

    /// A unit has not taken the newest amendment for long: the next one has a newer report of a holder.
    fn is_amendment_refused(&self) -> bool {
        let newest = self.coordinator.trust().serial();
        let lacks = |unit: &UnitNode| {
            !unit.is_removed && unit.is_up() && unit.saved_state().trust.serial() < newest
        };
        let is_due = self.amended_at.plus_ms(PATIENCE_MS) <= self.now;
        is_due && self.coordinator.running().is_some() && self.units.iter().any(lacks)
    }

    /// Somebody has taken an order that none can follow under this manifest: they begin anew under the
    /// next one.
    fn are_numbers_used_up(&self) -> bool {
        let newest = self.coordinator.trust().serial();
        let leaps = |number: OrderNumber| {
            number.manifest_serial == newest && number.number > numbers::MAX_LEAP
        };
        let members = self.units.iter().filter(|unit| !unit.is_removed);
        let of_units = members.map(|unit| unit.saved_state().last_number());
        let of_row = self.store.row.rotation.as_ref().map(|found| found.number);
        !self.coordinator.is_rotating() && of_units.chain(of_row).any(leaps)
    }

    /// Nobody can do without a unit: its device is found, or its newest volume put back.
    fn bring_back(&mut self) -> bool {
        let (now, left) = (self.now, self.left_behind());
        // Or their removal is refused, or who is left behind has to go, too.
        let is_tight = !left.is_empty() || !self.refused.is_empty();
        let is_due = |unit: &UnitNode| {
            let is_needed = !self.can_go(&[&left[..], &[unit.id]].concat());
            !unit.is_removed
                && (unit.is_gone || unit.is_behind() || (is_tight && has_only_aborted(unit)))
                && unit.set_back_at.plus_ms(PATIENCE_MS) <= now
                && (is_needed || !self.refused.is_empty())
        };
        let Some(index) = self.units.iter().position(is_due) else { return false };
        let unit = &mut self.units[index];
        unit.bring_back();
        let name = unit.name.clone();
        self.note(&name, "is brought back as it was last");
        true
    }

    /// Whether the administrators can still do something, or will when their patience ends.
    pub(crate) fn can_administrate(&self) -> bool {
        let (aborted, promoted) = self.sides();
        self.can_go(&aborted) || self.can_go(&promoted)
    }

    fn whom_to_remove(&mut self) -> Option<Vec<ProcessId>> {
        let waits = |unit: &UnitNode| unit.set_back_at.plus_ms(PATIENCE_MS) > self.now;
        let gone: Vec<_> = self
            .units
            .iter()
            .filter(|unit| !unit.is_removed)
            .filter(|unit| {
                unit.is_gone || (unit.is_set_back() && !waits(unit)) || self.is_out_of_reach(unit)
            })
            .map(|unit| unit.id)
            .collect();
        let left = self.left_behind();
        let (aborted, promoted) = self.sides();
        let sides = match aborted.is_empty() || promoted.is_empty() {
            true => Vec::new(),
            false => vec![aborted, promoted],
        };
        // What one manifest cannot do, as a unit that stays has ended it otherwise, another one can.
        let both = sides.iter().map(|side| [gone.clone(), side.clone()].concat());
        let all = [gone.clone(), left.clone()].concat();
        let advised: Vec<_> =
            self.advised.into_iter().filter(|unit| !gone.contains(unit)).collect();
        let mut ways: Vec<_> = [all, gone.clone(), left].into_iter().chain(sides.clone()).collect();
        if !advised.is_empty() {
            ways.push([gone.clone(), advised].concat());
        }
        ways.extend(both);
        ways.retain(|whom| !whom.is_empty() && self.can_go(whom) && !self.refused.contains(whom));
        let at = self.rng.random_range(0..ways.len().max(1));
        ways.into_iter().nth(at)
    }

    /// Whether a unit has refused one manifest after the other since a member was exchanged: it has promoted
    /// another order than one of them amends, and nobody whom it would obey, or believe, is left.
    fn is_out_of_reach(&self, unit: &UnitNode) -> bool {
        let newest = self.coordinator.trust().serial();
        let lags = newest.saturating_sub(unit.saved_state().trust.serial());
        let exchanged = self.outcome.exchanged + self.outcome.reencryptors_exchanged;
        exchanged > 0 && unit.is_up() && lags > 2
    }

    /// Members that have promoted an order and not cleared it, where others that have cleared it have
    /// taken another one since, as a rogue coordinator orders: nothing brings them to its end.
    pub(crate) fn left_behind(&self) -> Vec<ProcessId> {
        let highest = self.units.iter().map(|unit| unit.saved_state().last_number()).max();
        let row = self.store.row.rotation.as_ref();
        let flipped = row.filter(|it| it.standing == KeystoreStanding::Flipped);
        let flipped = flipped.map(|it| it.order_digest);
        let is_left = |unit: &&UnitNode| {
            let taken = unit.saved_state().rotation.as_ref();
            let is_promoted = taken.is_some_and(|it| {
                it.standing == Standing::Promoted && Some(it.reference.digest) != flipped
            });
            is_promoted && Some(unit.saved_state().last_number()) < highest
        };
        let is_over = self.has_rogue && !self.coordinator.is_rotating();
        let left = self.units.iter().filter(|unit| is_over && !unit.is_removed).filter(is_left);
        left.map(|unit| unit.id).collect()
    }

    /// Members that have aborted, and those that have promoted, the same order: that which runs, else the
    /// newest.
    pub(crate) fn sides(&self) -> (Vec<ProcessId>, Vec<ProcessId>) {
        let members = || self.units.iter().filter(|unit| !unit.is_removed);
        let taken = |unit: &&UnitNode| {
            let found = unit.saved_state().rotation.as_ref();
            found.filter(|it| it.order.purpose.recovery().is_none()).map(|it| it.reference)
        };
        let record = self.coordinator.record().filter(|it| it.finished_at.is_none());
        let running = record.and_then(|it| it.order().ok()).map(|(_, reference)| reference);
        let newest = || members().filter_map(|unit| taken(&unit)).max_by_key(|found| found.number);
        let Some(newest) = running.or_else(newest) else {
            return (Vec::new(), Vec::new());
        };
        let stand = |wanted: fn(Standing) -> bool| {
            let is_so = |unit: &&UnitNode| {
                let found = unit.saved_state().rotation.as_ref();
                found.is_some_and(|it| it.reference == newest && wanted(it.standing))
            };
            members().filter(is_so).map(|unit| unit.id).collect()
        };
        let aborted = stand(|standing| standing == Standing::Aborted);
        let left: Vec<_> =
            members().filter(|unit| self.has_gone_on(unit, newest)).map(|unit| unit.id).collect();
        (
            [aborted, left].concat(),
            stand(|standing| matches!(standing, Standing::Promoted | Standing::Cleared)),
        )
    }

    /// Whether a unit has taken another order than the one that runs and is not being aborted, before its flip.
    fn has_gone_on(&self, unit: &UnitNode, running: OrderRef) -> bool {
        let record = self.coordinator.record();
        let goes_on = record.is_some_and(|it| {
            it.finished_at.is_none() && !matches!(it.verdict, Verdict::Aborted { .. })
        });
        let row = self.store.row.rotation.as_ref();
        let has_flipped = row.is_some_and(|it| {
            it.order_digest == running.digest && it.standing.has_reached(KeystoreStanding::Switched)
        });
        let taken = unit.saved_state().rotation.as_ref().map(|it| it.reference);
        let is_later =
            taken.is_some_and(|it| it.digest != running.digest && it.number >= running.number);
        goes_on && !has_flipped && is_later
    }

    /// Whether a unit of either role that counts is left without them, and without whoever must go too.
    fn can_go(&self, whom: &[ProcessId]) -> bool {
        let must_go = self.left_behind();
        let is_left = |role| {
            let mut left = self
                .units
                .iter()
                .filter(|unit| !whom.contains(&unit.id) && !must_go.contains(&unit.id));
            left.any(|unit| unit.role == role && unit.counts() && !unit.is_gone)
        };
        is_left(Role::RecoveryUnit) && is_left(Role::OperationalUnit)
    }
}

/// Whether all that a unit that was set back has done since is to end an order.
fn has_only_aborted(unit: &UnitNode) -> bool {
    let taken = unit.saved_state().rotation.as_ref();
    unit.is_set_back() && taken.is_some_and(|it| it.standing == Standing::Aborted)
}
