//! Surveys: everybody is asked how they stand, nothing is saved. A start makes two: one to write
//! the order, one to show it and hear who would refuse it.

use std::collections::{BTreeMap, BTreeSet};

use protocol::command::{Command, KeystoreCommand};
use protocol::manifest::SignedManifest;
use protocol::order::{Purpose, SignedOrder, SignedStandingOrder};
use protocol::report::Answering;
use protocol::{Epoch, MessageId, Pattern, ProcessId, UnixMillis};
use rand::CryptoRng;

use super::starting::Shown;
use super::{Answer, Ask, AskId, Conductor, DraftRequest, Effects, StartAsk, refused};
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

/// Who has answered a survey. What was said before says how somebody stood, not how it stands: it may have
/// lain in the queue of a coordinator that is no more.
pub(super) type Answered = BTreeSet<ProcessId>;

/// A survey under way.
#[derive(Debug)]
pub(super) struct Survey {
    goal: Goal,
    until: UnixMillis,
    /// Who has answered this very survey.
    answered: Answered,
    /// Who has not, and which message.
    awaited: BTreeMap<ProcessId, MessageId>,
}

impl Survey {
    const fn new(goal: Goal) -> Self {
        Self { goal, until: UnixMillis(0), answered: Answered::new(), awaited: BTreeMap::new() }
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

    pub(super) const fn to_show(
        id: AskId,
        start: StartAsk,
        order: SignedOrder,
        findings: Findings,
    ) -> Self {
        Self::new(Goal::Show(id, start, order, findings))
    }

    pub(super) const fn to_recover(record: Option<Record>) -> Self {
        Self::new(Goal::Recover(record))
    }

    /// The record that is gone on with when it ends.
    pub(super) const fn record(&self) -> Option<&Record> {
        match &self.goal {
            Goal::Recover(record) => record.as_ref(),
            _ => None,
        }
    }

    pub(super) const fn to_admit(
        id: AskId,
        signed: SignedManifest,
        standing: Option<SignedStandingOrder>,
    ) -> Self {
        Self::new(Goal::Admit(id, signed, standing))
    }

    /// What is still to be done where it ends before its time: the request, asked anew, or the record that
    /// is to be gone on with.
    pub(super) fn left(self) -> (Option<(AskId, Ask)>, Option<Record>) {
        match self.goal {
            Goal::Look(id) => (Some((id, Ask::Look)), None),
            Goal::Draft(id, request) => (Some((id, Ask::Draft(request))), None),
            Goal::Start(id, start) | Goal::Show(id, start, ..) => {
                (Some((id, Ask::Start(Box::new(start)))), None)
            }
            Goal::Admit(id, signed, standing) => {
                (Some((id, Ask::Manifest(signed, standing))), None)
            }
            Goal::Recover(record) => (None, record),
        }
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
            survey.answered.insert(who);
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
        let Some(Survey { goal, answered, .. }) = self.survey.take() else { return };
        match goal {
            Goal::Look(id) => {
                let findings = self.findings(&answered, Purpose::Rotate, None, &[]);
                effects.answers.push((id, Answer::Looked(findings)));
            }
            Goal::Draft(id, request) => {
                let answer = match self.end_left_recovery(now, rng, &answered, effects) {
                    Some(findings) => Answer::Unmet(findings),
                    None => self.drafted(now, rng, &answered, &request),
                };
                effects.answers.push((id, answer));
            }
            Goal::Start(id, start) => self.judge_start(now, rng, &answered, id, start, effects),
            Goal::Show(id, start, order, findings) => {
                let shown = Shown { id, start, order, findings, answered };
                self.judge_shown(now, rng, shown, effects);
            }
            Goal::Recover(record) => self.recovered(now, rng, record, &answered, effects),
            Goal::Admit(id, signed, standing) => {
                let answer = match self.may_be_bound(&signed) {
                    None => self.admit_manifest(now, rng, &signed, standing, effects),
                    Some(text) => refused("rotation-running", text),
                };
                effects.answers.push((id, answer));
                // Whoever is in a rotation is gone on with: the manifest can then amend it.
                if !self.is_rotating() {
                    self.recovered(now, rng, None, &answered, effects);
                }
            }
        }
    }

    /// Only what answers the survey counts: who was heard before is silent now.
    pub(super) fn look<'a>(
        &'a self,
        answered: &Answered,
        purpose: Purpose,
        expect_current: Option<Pattern>,
        joining: &'a [ProcessId],
    ) -> Surveyed<'a> {
        let units = self.heard.units_among(answered);
        let keystores = self.heard.keystores_among(answered);
        let running = self.rotation.as_ref().filter(|found| !found.is_ended());
        Surveyed {
            manifest: self.trust.newest(),
            units: units.map(|heard| (&heard.said, heard.at)).collect(),
            keystores: keystores.map(|heard| (&heard.said, heard.at)).collect(),
            announced: self.heard.announced.values().map(|heard| &heard.said.member).collect(),
            running: running.map(|found| found.reference().rotation),
            purpose,
            joining,
            coordinator: self.id,
            expect_current,
            counted_before: self.rotation.as_ref().map_or(0, |found| found.record().keys.0),
        }
    }

    pub(super) fn findings(
        &self,
        answered: &Answered,
        purpose: Purpose,
        expect_current: Option<Pattern>,
        joining: &[ProcessId],
    ) -> Findings {
        precheck::precheck(&self.look(answered, purpose, expect_current, joining))
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
