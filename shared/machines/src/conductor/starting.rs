//! Drafts and starts: what a survey comes to, the order that is shown to everybody, and the rotation.

use protocol::UnixMillis;
use protocol::order::SignedOrder;
use rand::CryptoRng;

use super::survey::{Answered, Survey};
use super::taking_up::{closes_left_open, taken_up};
use super::{
    Answer, AskId, Conductor, DraftRequest, Effects, StartAsk, plan, purpose_of, refused, unmet,
};
use crate::leave;
use crate::rotation::precheck::keystores::is_left_open;
use crate::rotation::precheck::{self, Findings};
use crate::rotation::record::Record;

/// A start whose order has been shown to the units.
pub(super) struct Shown {
    pub(super) id: AskId,
    pub(super) start: StartAsk,
    pub(super) order: SignedOrder,
    pub(super) findings: Findings,
    pub(super) answered: Answered,
}

impl Conductor {
    pub(super) fn drafted<R: CryptoRng>(
        &self,
        now: UnixMillis,
        rng: &mut R,
        answered: &Answered,
        request: &DraftRequest,
    ) -> Answer {
        let mut findings = self.findings(answered, request.purpose, None, &request.joining);
        let surveyed = self.look(answered, request.purpose, None, &request.joining);
        let source = request.purpose.recovery().map(|recovery| recovery.source);
        let Some(generator) = source.or_else(|| precheck::choose_generator(&surveyed)) else {
            return Answer::Unmet(findings);
        };
        let order = self.draft(now, rng, request, generator, precheck::reference(&surveyed));
        unmet::number_leaps(&surveyed, order.number, &mut findings);
        if !findings.unmet.is_empty() {
            return Answer::Unmet(findings);
        }
        let bytes = protocol::codec::encode(&order);
        let digest = leave::order_digest(&bytes);
        let (rotation, number) = (order.rotation, order.number);
        let reference = protocol::order::OrderRef { rotation, number, digest };
        Answer::Drafted(Box::new(order), bytes, reference)
    }

    pub(super) fn judge_start<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        answered: &Answered,
        id: AskId,
        start: StartAsk,
        effects: &mut Effects,
    ) {
        if !start.dry_run
            && let Some(findings) = self.end_left_recovery(now, rng, answered, effects)
        {
            self.checked.remove(&id);
            effects.answers.push((id, Answer::Unmet(findings)));
            return;
        }
        if !start.dry_run && self.take_up(now, rng, answered, effects) {
            effects.answers.extend(self.joined(id).map(taken_up));
            return;
        }
        let (purpose, joining) = purpose_of(&start);
        let mut findings = self.findings(answered, purpose, start.expect_current, &joining);
        let surveyed = self.look(answered, purpose, None, &joining);
        let generator = precheck::choose_generator(&surveyed);
        let from = precheck::reference(&surveyed);
        let order = match (&start.order, generator) {
            (Some(order), _) => Some(order.clone()),
            (None, Some(generator)) => {
                self.order_by_standing(now, rng, start.mode, generator, from)
            }
            (None, None) => None,
        };
        if order.is_none() && self.trust.newest().is_some() && self.standing_order().is_none() {
            unmet::no_standing_order(&mut findings);
        }
        let read = order.as_ref().and_then(|order| order.unverified().ok());
        if let Some(order) = &read {
            unmet::number_leaps(&surveyed, order.number, &mut findings);
        }
        let wants_check = start.check_keys || start.plan.is_some();
        match self.checked.get(&id) {
            Some(checked) => checked.note(read.as_ref(), &mut findings),
            // Only what can start is worth opening every key.
            None if wants_check && findings.unmet.is_empty() => {
                self.check_keys(now, rng, id, start, effects);
                return;
            }
            None => {}
        }
        match order {
            // All differences at once: the order is shown even if something else is unmet.
            Some(order) => {
                self.survey = Some(Survey::to_show(id, start, order, findings));
                self.send_survey(now, rng, effects);
            }
            None => {
                findings.sort();
                self.checked.remove(&id);
                effects.answers.push((id, Answer::Unmet(findings)));
            }
        }
    }

    pub(super) fn judge_shown<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        shown: Shown,
        effects: &mut Effects,
    ) {
        let Shown { id, start, order, mut findings, answered } = shown;
        let checked = self.checked.remove(&id);
        self.note_refusals(&answered, &order, &mut findings);
        let (purpose, joining) = purpose_of(&start);
        let surveyed = self.look(&answered, purpose, None, &joining);
        let from = precheck::reference(&surveyed);
        let plan = self.plan(&order, &surveyed, from, checked.as_ref());
        if let Some(wanted) = start.plan {
            plan::note_moved(wanted, &plan, &mut findings);
        }
        findings.sort();
        let is_only_left_open = findings.unmet.iter().all(is_left_open);
        if !findings.unmet.is_empty() && (start.dry_run || !is_only_left_open) {
            effects.answers.push((id, Answer::Unmet(findings)));
            return;
        }
        if start.dry_run {
            effects.answers.push((id, Answer::Planned(plan, findings)));
            return;
        }
        let epoch = self.next_epoch(None, None);
        let mut record = Record::new(order, epoch, start.actor, now);
        record.verify_all = start.verify_all;
        record.traceparent = start.traceparent;
        // It is open in what nobody can be asked to go on with.
        if !findings.unmet.is_empty() {
            effects.events.push(closes_left_open(&mut findings, &mut record));
        }
        let started = self.start_rotation(now, rng, record, &answered, effects);
        let answer = match (started, &self.rotation) {
            (Ok(()), Some(rotation)) => Answer::Started {
                rotation: Box::new(rotation.to_view()),
                joined: false,
                warnings: findings,
            },
            (Err(error), _) => refused("no-leave", error.to_string()),
            (Ok(()), None) => refused("not-initialised", "there is no manifest".to_owned()),
        };
        effects.answers.push((id, answer));
    }
}
