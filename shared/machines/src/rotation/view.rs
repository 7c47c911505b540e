//! A rotation as people see it.

use protocol::api::{RotationView, UnitEnvelope, Waiting};
use protocol::audit::Phase;
use protocol::order::Purpose;
use protocol::report::Standing;

use super::record::{Record, Verdict};
use super::{Rotation, desired};
use crate::certificate::{Reached, reached};

/// What is told when a phase begins.
pub const fn phase_text(phase: Phase, purpose: Purpose) -> &'static str {
    if let Purpose::Recover { .. } = purpose {
        match phase {
            Phase::Inspect => return "giving the order to both units",
            Phase::Install => return "transferring the master key from the recovery unit",
            Phase::Clear => return "ending the order in the recovery unit",
            Phase::Done => return "master key recovered",
            Phase::Aborting => return "ending the recovery in both units",
            _ => {}
        }
    }
    match phase {
        Phase::Survey => "asking all units and keystores how they stand",
        Phase::Inspect => "giving the order to all units",
        Phase::Generate => "generating a random master key in a recovery unit",
        Phase::Install => "transferring the master key to the other units",
        Phase::Commit => "committing the new master key registers",
        Phase::HoldAfterCommit => "holding: time for whoever keeps wrapped keys elsewhere",
        Phase::Reencrypt => "re-encrypting the key storage",
        Phase::Promote => "promoting the new master key in all units",
        Phase::Flip => "switching to the re-encrypted key storage and reading it back",
        Phase::HoldBeforeClear => "holding: the old master key is kept for a time",
        Phase::Clear => "clearing the old master key in all units",
        Phase::Drop => "dropping the old key storage",
        Phase::Done => "master key rotated",
        Phase::Aborting => "ending the rotation in all units and keystores",
        Phase::Aborted => "aborted: nothing has changed",
    }
}

/// What is told at the end of what was rebuilt from reports and aborted. Whoever was in it may have been set
/// back into a rotation that had ended well, so it is not said that nothing has changed.
const RELEASED: &str = "ended in whoever was still in it";

impl Rotation {
    /// As the HTTP interface shows it.
    pub fn to_view(&self) -> RotationView {
        let mut view = record_view(&self.record);
        view.waiting_for = self
            .asked
            .iter()
            .map(|(who, asked)| Waiting {
                process: *who,
                name: self.name_of(*who),
                command: asked.name.to_owned(),
                since: asked.first_at,
                refusal: asked.refusal.clone(),
            })
            .collect();
        view.hold_until = self.holds_until;
        view.units_total = self.view().unit_ids().count();
        view.units_done = self.units_done();
        view
    }

    /// Each unit's last report, as an amendment carries it.
    pub fn unit_envelopes(&self) -> Vec<UnitEnvelope> {
        let of_one = |held: &desired::Held<protocol::report::UnitReport>| UnitEnvelope {
            unit: held.report.unit,
            standing: held.report.in_order(&self.reference).map(|found| found.standing),
            envelope: held.envelope.clone(),
        };
        self.units.values().map(of_one).collect()
    }

    /// What is told when this rotation comes to a phase.
    pub(super) fn text_of(&self, phase: Phase) -> String {
        let text = match phase {
            Phase::Aborted if self.record.is_rebuilt() => RELEASED,
            _ => phase_text(phase, self.order.purpose),
        };
        let may_be_bound = |unit: &protocol::ProcessId| {
            let held = self.units.get(unit);
            held.is_none_or(|held| reached(&held.report, &self.reference).is_some())
        };
        let given_up = self.given_up().into_iter().filter(may_be_bound);
        let names: Vec<_> = given_up.map(|unit| self.name_of(unit)).collect();
        match phase == Phase::Aborted && !names.is_empty() {
            true => {
                let names = names.join(", ");
                format!("{text}; silent, and released by the next start if bound: {names}")
            }
            false => text.to_owned(),
        }
    }

    /// Units that have done what the phase is about.
    fn units_done(&self) -> usize {
        if self.recovery().is_some() {
            return self.units_in_recovery();
        }
        let needed = match self.record.phase() {
            Phase::Survey | Phase::Inspect | Phase::Generate => Reached::Bound,
            Phase::Install => Reached::Installed,
            Phase::Commit | Phase::HoldAfterCommit | Phase::Reencrypt => Reached::Committed,
            Phase::Promote | Phase::Flip | Phase::HoldBeforeClear => Reached::Promoted,
            Phase::Clear | Phase::Drop | Phase::Done => Reached::Cleared,
            Phase::Aborting | Phase::Aborted => return self.units_aborted(),
        };
        let has = |held: &&desired::Held<_>| {
            reached(&held.report, &self.reference).is_some_and(|(reached, _)| reached >= needed)
        };
        self.units.values().filter(has).count()
    }

    /// Of the two of an order to recover: who has taken it, then who has ended it.
    fn units_in_recovery(&self) -> usize {
        let is_begun = self.record.phase() > Phase::Inspect;
        let standings =
            self.units.values().filter_map(|held| held.report.in_order(&self.reference));
        standings.filter(|found| !is_begun || found.standing != Standing::Bound).count()
    }

    fn units_aborted(&self) -> usize {
        let is_bound = |held: &&desired::Held<_>| reached(&held.report, &self.reference).is_some();
        self.units.len() - self.units.values().filter(is_bound).count()
    }
}

/// For how long keys could not be created, once they can be again.
pub(super) fn gate_closed_ms(record: &Record) -> Option<u64> {
    record.gate_closed.and_then(|(from, until)| until.map(|until| until.since(from)))
}

/// A saved rotation, as the HTTP interface shows it.
pub fn record_view(record: &Record) -> RotationView {
    // A record was read when it was made; one that cannot be read is shown with empty numbers.
    let read = record.order().ok();
    let order = read.as_ref().map(|(order, _)| order);
    let traceparent = record.traceparent.as_deref();
    RotationView {
        rotation: order.map_or(protocol::RotationId::from_bytes([0; 16]), |order| order.rotation),
        instance: order.map_or(protocol::InstanceId::from_bytes([0; 16]), |order| order.instance),
        number: order.map(|order| order.number).unwrap_or_default(),
        purpose: order.map_or(Purpose::Rotate, |order| order.purpose),
        phase: record.phase(),
        is_decided: record.verdict == Verdict::Decided,
        from: order.and_then(|order| order.from),
        to: record.to,
        started_at: record.started_at(),
        finished_at: record.finished_at,
        phases: record.phases.clone(),
        keys_done: record.keys.1,
        keys_total: record.keys.0,
        keys_quarantined: record.keys_quarantined,
        verify_all: record.verify_all,
        units_done: 0,
        units_total: 0,
        gate_closed_ms: gate_closed_ms(record),
        waiting_for: Vec::new(),
        aborted_because: match &record.verdict {
            Verdict::Aborted { because } => Some(because.clone()),
            _ => None,
        },
        // Whoever asks outside any trace gets one that has the rotation's own id.
        trace_id: traceparent
            .and_then(|text| text.split('-').nth(1))
            .map(str::to_owned)
            .or_else(|| Some(order?.rotation.uuid().simple().to_string())),
        receipt: record.receipt,
        hold_until: None,
    }
}
