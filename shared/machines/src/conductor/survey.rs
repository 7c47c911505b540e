//! Surveys: everybody is asked how they stand, nothing is saved. A start makes two: one to write
//! the order, one to show it and hear who would refuse it.

use std::collections::BTreeMap;

use protocol::command::{Command, KeystoreCommand};
use protocol::manifest::SignedManifest;
use protocol::order::{Purpose, SignedOrder, SignedStandingOrder};
use protocol::report::Answering;
use protocol::{Epoch, MessageId, Pattern, ProcessId, UnixMillis};
use rand::CryptoRng;

use super::taking_up::taken_up;
use super::{
    Answer, AskId, Conductor, DraftRequest, Effects, StartAsk, plan, purpose_of, refused, unmet,
};
use crate::leave;
use crate::rotation::numbers::{self, Serials};
use crate::rotation::precheck::{self, Findings, Surveyed};
use crate::rotation::record::Record;

/// What a survey is for.
#[derive(Debug)]
enum Goal {
    Look(AskId),
    Draft(AskId, DraftRequest),
    Start(AskId, StartAsk),
    /// The order is there and has been shown.
    Show(AskId, StartAsk, SignedOrder, Findings),
    Recover(Option<Record>),
    /// Whether units that stay are in a rotation.
    Admit(AskId, SignedManifest, Option<SignedStandingOrder>),
}

/// A survey under way.
#[derive(Debug)]
pub(super) struct Survey {
    goal: Goal,
    asked_at: UnixMillis,
    until: UnixMillis,
    /// Who has not answered, and what.
    awaited: BTreeMap<ProcessId, MessageId>,
}

impl Survey {
    const fn new(goal: Goal) -> Self {
        let none = UnixMillis(0);
        Self { goal, asked_at: none, until: none, awaited: BTreeMap::new() }
    }

    pub(super) const fn to_look(id: AskId) -> Self {
        Self::new(Goal::Look(id))
    }

    pub(super) const fn to_draft(id: AskId, request: DraftRequest) -> Self {
        Self::new(Goal::Draft(id, request))
    }

    pub(super) const fn to_start(id: AskId, start: StartAsk) -> Self {
        Self::new(Goal::Start(id, start))
    }

    pub(super) const fn to_recover(record: Option<Record>) -> Self {
        Self::new(Goal::Recover(record))
    }

    pub(super) const fn to_admit(
        id: AskId,
        signed: SignedManifest,
        standing: Option<SignedStandingOrder>,
    ) -> Self {
        Self::new(Goal::Admit(id, signed, standing))
    }

    /// When it stops waiting.
    pub(super) const fn deadline(&self) -> UnixMillis {
        self.until
    }
}

impl Conductor {
    /// Asks everybody of the manifest; without one, everybody who has announced itself.
    pub(super) fn send_survey<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        effects: &mut Effects,
    ) {
        let who = self.surveyed();
        let until = now.plus_ms(self.times.survey_ms);
        let Some(survey) = &mut self.survey else { return };
        survey.asked_at = now;
        survey.until = until;
        let order = match &survey.goal {
            Goal::Show(_, _, order, _) => Some(order.clone()),
            _ => None,
        };
        let mut awaited = BTreeMap::new();
        for (id, is_unit) in who {
            let message = match is_unit {
                true => self.seal_unit(now, rng, id, &Command::Survey { order: order.clone() }),
                false => self.seal_keystore(now, rng, id, &KeystoreCommand::Survey),
            };
            awaited.insert(id, message.id);
            self.note_sent(&message);
            effects.send.push(message);
        }
        if let Some(survey) = &mut self.survey {
            survey.awaited = awaited;
        }
    }

    /// Only an answer to this very survey ends the wait for somebody: a start makes two of them, and
    /// what was said to the first says nothing of the order that the second one shows. Whether it
    /// was one.
    pub(super) fn note_answer(&mut self, who: ProcessId, answering: Option<&Answering>) -> bool {
        let Some(survey) = &mut self.survey else { return false };
        let asked = survey.awaited.get(&who);
        let is_it = asked.is_some() && asked == answering.map(|answer| &answer.message);
        if is_it {
            survey.awaited.remove(&who);
        }
        is_it
    }

    /// Who is asked, and whether it is a crypto unit.
    fn surveyed(&self) -> BTreeMap<ProcessId, bool> {
        let is_asked =
            |role: protocol::Role| role.is_crypto_unit() || role == protocol::Role::Reencryptor;
        let members: Vec<_> = match self.trust.newest() {
            Some(manifest) => {
                manifest.members.iter().map(|member| (member.id, member.role)).collect()
            }
            None => {
                let announced = self.heard.announced.values();
                announced.map(|heard| (heard.said.member.id, heard.said.member.role)).collect()
            }
        };
        members
            .into_iter()
            .filter(|(_, role)| is_asked(*role))
            .map(|(id, role)| (id, role.is_crypto_unit()))
            .collect()
    }

    /// Ends the survey when all have answered, or its time is up.
    pub(super) fn judge_survey<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        effects: &mut Effects,
    ) {
        let Some(survey) = &self.survey else { return };
        if now < survey.until && !survey.awaited.is_empty() {
            return;
        }
        let Some(Survey { goal, asked_at, .. }) = self.survey.take() else { return };
        match goal {
            Goal::Look(id) => {
                let findings = self.findings(asked_at, Purpose::Rotate, None, &[]);
                effects.answers.push((id, Answer::Looked(findings)));
            }
            Goal::Draft(id, request) => {
                let answer = match self.end_left_recovery(now, rng, asked_at, effects) {
                    Some(findings) => Answer::Unmet(findings),
                    None => self.drafted(now, rng, asked_at, &request),
                };
                effects.answers.push((id, answer));
            }
            Goal::Start(id, start) => self.judge_start(now, rng, asked_at, id, start, effects),
            Goal::Show(id, start, order, findings) => {
                let shown = Shown { id, start, order, findings, asked_at };
                self.judge_shown(now, rng, shown, effects);
            }
            Goal::Recover(record) => self.recovered(now, rng, record, effects),
            Goal::Admit(id, signed, standing) => {
                let answer = match self.may_be_bound(&signed) {
                    None => self.admit_manifest(now, rng, &signed, standing, effects),
                    Some(text) => refused("rotation-running", text),
                };
                effects.answers.push((id, answer));
                // Whoever is in a rotation is gone on with: the manifest can then amend it.
                if !self.is_rotating() {
                    self.recovered(now, rng, None, effects);
                }
            }
        }
    }

    /// Only what was heard since the survey began counts: who was heard before is silent now.
    pub(super) fn look<'a>(
        &'a self,
        asked_at: UnixMillis,
        purpose: Purpose,
        expect_current: Option<Pattern>,
        joining: &'a [ProcessId],
    ) -> Surveyed<'a> {
        let units = self.heard.units.values().filter(|heard| heard.at >= asked_at);
        let keystores = self.heard.keystores.values().filter(|heard| heard.at >= asked_at);
        let running = self.rotation.as_ref().filter(|found| !found.is_ended());
        Surveyed {
            manifest: self.trust.newest(),
            units: units.map(|heard| (&heard.said, heard.at)).collect(),
            keystores: keystores.map(|heard| (&heard.said, heard.at)).collect(),
            announced: self.heard.announced.values().map(|heard| &heard.said.member).collect(),
            running: running.map(|found| found.reference().rotation),
            purpose,
            joining,
            expect_current,
            counted_before: self.rotation.as_ref().map_or(0, |found| found.record().keys.0),
        }
    }

    fn findings(
        &self,
        asked_at: UnixMillis,
        purpose: Purpose,
        expect_current: Option<Pattern>,
        joining: &[ProcessId],
    ) -> Findings {
        precheck::precheck(&self.look(asked_at, purpose, expect_current, joining))
    }

    fn drafted<R: CryptoRng>(
        &self,
        now: UnixMillis,
        rng: &mut R,
        asked_at: UnixMillis,
        request: &DraftRequest,
    ) -> Answer {
        let mut findings = self.findings(asked_at, request.purpose, None, &request.joining);
        let surveyed = self.look(asked_at, request.purpose, None, &request.joining);
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

    fn judge_start<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        asked_at: UnixMillis,
        id: AskId,
        start: StartAsk,
        effects: &mut Effects,
    ) {
        if !start.dry_run
            && let Some(findings) = self.end_left_recovery(now, rng, asked_at, effects)
        {
            self.checked.remove(&id);
            effects.answers.push((id, Answer::Unmet(findings)));
            return;
        }
        if !start.dry_run && self.take_up(now, rng, asked_at, effects) {
            effects.answers.extend(self.joined(id).map(taken_up));
            return;
        }
        let (purpose, joining) = purpose_of(&start);
        let mut findings = self.findings(asked_at, purpose, start.expect_current, &joining);
        let surveyed = self.look(asked_at, purpose, None, &joining);
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
                self.survey = Some(Survey::new(Goal::Show(id, start, order, findings)));
                self.send_survey(now, rng, effects);
            }
            None => {
                findings.sort();
                self.checked.remove(&id);
                effects.answers.push((id, Answer::Unmet(findings)));
            }
        }
    }

    fn judge_shown<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        shown: Shown,
        effects: &mut Effects,
    ) {
        let Shown { id, start, order, mut findings, asked_at } = shown;
        let checked = self.checked.remove(&id);
        self.note_refusals(asked_at, &order, &mut findings);
        let (purpose, joining) = purpose_of(&start);
        let surveyed = self.look(asked_at, purpose, None, &joining);
        let from = precheck::reference(&surveyed);
        let plan = self.plan(&order, &surveyed, from, checked.as_ref());
        if let Some(wanted) = start.plan {
            plan::note_moved(wanted, &plan, &mut findings);
        }
        findings.sort();
        if !findings.unmet.is_empty() {
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
        let started = self.start_rotation(now, rng, record, effects);
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

    /// Under the newest manifest, or that of the order that is gone on with.
    pub(super) fn next_epoch(&self, base: Option<u64>, record: Option<Epoch>) -> Epoch {
        let newest = self.trust.serial();
        let serials = Serials { base: base.unwrap_or(newest).min(newest), newest };
        let units = self.heard.units.values().map(|heard| &heard.said);
        let keystores = self.heard.keystores.values().map(|heard| &heard.said);
        numbers::next_epoch(serials, record, units, keystores)
    }
}

/// A start whose order has been shown to the units.
struct Shown {
    id: AskId,
    start: StartAsk,
    order: SignedOrder,
    findings: Findings,
    asked_at: UnixMillis,
}
