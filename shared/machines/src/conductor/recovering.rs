//! Orders to recover beside everything else: nothing else runs meanwhile, a new manifest ends them, and
//! one that nobody drives is ended before anything is drafted.

use protocol::UnixMillis;
use protocol::audit::Phase;
use protocol::order::Purpose;
use protocol::report::Standing;
use rand::CryptoRng;

use super::survey::Answered;
use super::{Conductor, Effects, StartAsk, purpose_of};
use crate::rotation::Event;
use crate::rotation::precheck::{Findings, TAKE_UP_RECOVERY, units};
use crate::rotation::record::{Record, Verdict};

impl Conductor {
    /// Whether what runs is an order to recover.
    pub(super) fn is_recovering(&self) -> bool {
        self.running_purpose().is_some_and(|purpose| purpose.recovery().is_some())
    }

    fn running_purpose(&self) -> Option<Purpose> {
        let running = self.rotation.as_ref().filter(|found| !found.is_ended())?;
        Some(running.order().purpose)
    }

    /// What runs is not what is asked for, and is not joined: whoever asks for a rotation would take a
    /// recovery for it, or the other way round.
    pub(super) fn runs_otherwise(&self, start: &StartAsk) -> Option<Findings> {
        let running = self.running_purpose()?;
        let (asked, _) = purpose_of(start);
        let target = |purpose: Purpose| purpose.recovery().map(|recovery| recovery.target);
        if target(running) == target(asked) {
            return None;
        }
        let id = self.rotation.as_ref().map(|found| found.reference().rotation)?;
        let (code, what) = match target(running) {
            Some(_) => ("recovery-running", "recovery"),
            None => ("rotation-running", "rotation"),
        };
        let mut findings = Findings::default();
        let text = format!("{what} {id} is running: one at a time");
        findings.unmet(code, "instance", text, format!("keyhelm rotations {id} --follow"));
        Some(findings)
    }

    pub(super) fn end_recovery_by_manifest<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        effects: &mut Effects,
    ) {
        let is_recovering = self.is_recovering();
        let Some(rotation) = self.rotation.as_mut().filter(|_| is_recovering) else { return };
        let ended = rotation.end_by_manifest(now, self.trust.serial());
        self.merge(now, rng, ended, effects);
    }

    /// Ends an order to recover that a unit is bound to and that nobody drives, which is right at any
    /// moment. What is said of it then: it comes first.
    pub(super) fn end_left_recovery<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        answered: &Answered,
        effects: &mut Effects,
    ) -> Option<Findings> {
        if self.is_rotating() || self.trust.newest().is_none() {
            return None;
        }
        let left = self.heard.units_among(answered).find_map(|heard| {
            let found = units::in_rotation(&heard.said)?;
            let recovery = units::recovery(found)?;
            Some((found.order, found.signed_order.clone(), recovery))
        });
        let (order, signed, recovery) = left?;
        let target = self.heard.units.get(&recovery.target);
        let stands = target.and_then(|heard| heard.said.in_order(&order));
        let has_recovered = stands.is_some_and(|it| it.standing == Standing::Cleared);
        let verdict = match has_recovered {
            true => Verdict::Decided,
            false => Verdict::Aborted { because: "nobody drove it any more".to_owned() },
        };
        let record = Record::rebuilt(signed, verdict, now);
        let text = "taken up: units were bound to an order to recover that nobody drove";
        effects.events.push(Event { phase: Phase::Survey, text: text.to_owned() });
        self.go_on(now, rng, record, answered, effects);
        let mut findings = Findings::default();
        let text = "an order to recover that nobody drove was found, and is ended first".to_owned();
        findings.unmet("recovery-running", "instance", text, TAKE_UP_RECOVERY.to_owned());
        Some(findings)
    }
}
