//! An order to recover, as the coordinator brings it to its end: it has two units and no keystore. The
//! target alone decides: once it holds the master key that is so for good, until then the order may end
//! at any time with nothing changed.

use protocol::ProcessId;
use protocol::audit::Phase;
use protocol::certificate::Certificate;
use protocol::command::{Command, Step};
use protocol::order::Recovery;
use protocol::report::Standing;

use super::desired::{Desired, View, Wanted};
use super::record::Verdict;
use super::steps::inspecting;
use super::{Effects, Rotation};

impl View<'_> {
    /// How a unit last said that it stands in this order.
    fn stands(&self, unit: ProcessId) -> Option<Standing> {
        let held = self.units.get(&unit)?;
        held.report.in_order(self.reference).map(|found| found.standing)
    }

    /// Whether the target has installed the master key.
    pub(super) fn has_recovered(&self, recovery: Recovery) -> bool {
        self.stands(recovery.target) == Some(Standing::Cleared)
    }

    /// Whether the order holds a unit no more, as far as it has said since this coordinator commands.
    fn is_free(&self, unit: ProcessId) -> bool {
        let has_ended = matches!(self.stands(unit), Some(Standing::Cleared | Standing::Aborted));
        has_ended
            || self.heard(unit).is_some_and(|report| report.in_order(self.reference).is_none())
    }
}

/// What is lacking in an order to recover that is not being ended.
pub(super) fn recovering(view: &View<'_>, recovery: Recovery) -> Desired {
    let Recovery { target, source } = recovery;
    let is_member = |unit| view.manifest.member(unit).is_some();
    let is_decided = *view.verdict == Verdict::Decided;
    // Whatever has become of the target since: another order gives it the key once more.
    let is_over = !is_member(source) || view.is_free(source) || view.given_up.contains(&source);
    if is_decided && is_over {
        return Desired::new(Phase::Done, Vec::new());
    }
    if !view.has_recovered(recovery) {
        if !is_member(target) || !is_member(source) {
            let hopeless = Some("one of its units was removed");
            return Desired { hopeless, ..Desired::new(Phase::Inspect, Vec::new()) };
        }
        return transferring(view, recovery);
    }
    if !is_decided {
        return Desired { may_decide: true, ..Desired::new(Phase::Install, Vec::new()) };
    }
    let envelope = view.units.get(&target).map(|held| held.envelope.clone());
    let envelopes = envelope.into_iter().collect();
    let certificate = Certificate { envelopes, manifests: Vec::new() };
    Desired::new(Phase::Clear, vec![view.step(source, Step::Clear { certificate })])
}

/// Both take the order; the source seals to the target's offer, the target installs.
fn transferring(view: &View<'_>, recovery: Recovery) -> Desired {
    let Recovery { target, source } = recovery;
    if let Some(lacking) = inspecting(view) {
        return lacking;
    }
    let wanted = match view.transfers.get(&target) {
        Some(transfer) => view.step(target, Step::Install { transfer: transfer.clone() }),
        None => {
            let offers = view.offer(target).cloned().into_iter().collect();
            view.step(source, Step::Generate { offers })
        }
    };
    Desired::new(Phase::Install, vec![wanted])
}

/// Both are told, but whoever has been silent for long finds it ended when the next order is drafted:
/// one that is gone for good keeps nobody else from recovering.
pub(super) fn ending(view: &View<'_>) -> Desired {
    let abort = |unit| Wanted::Unit(unit, Command::Abort { order: view.signed_order.clone() });
    view.ended_but_for(view.unit_ids().filter(|unit| !view.is_free(*unit)).map(abort).collect())
}

impl Rotation {
    /// Between whom it is, if it is an order to recover.
    pub const fn recovery(&self) -> Option<Recovery> {
        self.order.purpose.recovery()
    }

    /// A new manifest ends an order to recover: each of its units ends it by itself with the manifest.
    pub fn end_by_manifest(&mut self, now: protocol::UnixMillis, serial: u64) -> Effects {
        let mut effects = Effects::default();
        self.now = now;
        let because = format!("manifest {serial} was signed meanwhile");
        if self.record.verdict == Verdict::Open {
            let has_recovered = self.recovery().is_some_and(|it| self.view().has_recovered(it));
            let verdict = match has_recovered {
                true => Verdict::Decided,
                false => Verdict::Aborted { because: because.clone() },
            };
            self.reach(verdict, &mut effects);
        }
        let is_decided = self.record.verdict == Verdict::Decided;
        let phase = if is_decided { Phase::Done } else { Phase::Aborted };
        self.begin_phase(now, phase, because, &mut effects);
        self.pending_abort = None;
        self.keep_latest();
        effects
    }
}
