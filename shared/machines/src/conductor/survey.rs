//! Surveys: everybody is asked how they stand, nothing is saved. A start makes two: one to write
//! the order, one to show it and hear who would refuse it.

use std::collections::{BTreeMap, BTreeSet};

use protocol::api::{PlanView, Unmet};
use protocol::command::{Command, KeystoreCommand};
use protocol::order::{Purpose, SignedOrder};
use protocol::report::{Standing, UnitReport};
use protocol::{Pattern, ProcessId, UnixMillis};
use rand::CryptoRng;

use super::{Answer, AskId, Conductor, DraftRequest, Effects, StartAsk, purpose_of, refused};
use crate::leave;
use crate::rotation::numbers;
use crate::rotation::precheck::{self, Findings, Surveyed};
use crate::rotation::record::{Record, Verdict};

/// What a survey is for.
#[derive(Debug)]
enum Goal {
    Look(AskId),
    Draft(AskId, DraftRequest),
    Start(AskId, StartAsk),
    /// The order is there and has been shown.
    Show(AskId, StartAsk, SignedOrder, Findings),
    Recover(Option<Record>),
}

/// A survey under way.
#[derive(Debug)]
pub(super) struct Survey {
    goal: Goal,
    asked_at: UnixMillis,
    until: UnixMillis,
    awaited: BTreeSet<ProcessId>,
}

impl Survey {
    const fn new(goal: Goal) -> Self {
        let none = UnixMillis(0);
        Self { goal, asked_at: none, until: none, awaited: BTreeSet::new() }
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
        survey.awaited = who.keys().copied().collect();
        let order = match &survey.goal {
            Goal::Show(_, _, order, _) => Some(order.clone()),
            _ => None,
        };
        for (id, is_unit) in who {
            let message = match is_unit {
                true => self.seal_unit(now, rng, id, &Command::Survey { order: order.clone() }),
                false => self.seal_keystore(now, rng, id, &KeystoreCommand::Survey),
            };
            effects.send.push(message);
        }
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
        let has_answered = |id: &ProcessId| {
            let unit = self.heard.units.get(id).map(|heard| heard.at);
            let keystore = self.heard.keystores.get(id).map(|heard| heard.at);
            unit.max(keystore).is_some_and(|at| at >= survey.asked_at)
        };
        let is_over = now >= survey.until || survey.awaited.iter().all(has_answered);
        if !is_over {
            return;
        }
        let Some(Survey { goal, asked_at, .. }) = self.survey.take() else { return };
        match goal {
            Goal::Look(id) => {
                let findings = self.findings(asked_at, Purpose::Rotate, None);
                effects.answers.push((id, Answer::Looked(findings)));
            }
            Goal::Draft(id, request) => {
                let answer = self.drafted(now, rng, asked_at, &request);
                effects.answers.push((id, answer));
            }
            Goal::Start(id, start) => self.judge_start(now, rng, asked_at, id, start, effects),
            Goal::Show(id, start, order, findings) => {
                let shown = Shown { id, start, order, findings, asked_at };
                self.judge_shown(now, rng, shown, effects);
            }
            Goal::Recover(record) => self.recovered(now, rng, record, effects),
        }
    }

    /// Only what was heard since the survey began counts: who was heard before is silent now.
    fn look<'a>(
        &'a self,
        asked_at: UnixMillis,
        purpose: Purpose,
        expect_current: Option<Pattern>,
    ) -> Surveyed<'a> {
        let units = self.heard.units.values().filter(|heard| heard.at >= asked_at);
        let keystores = self.heard.keystores.values().filter(|heard| heard.at >= asked_at);
        Surveyed {
            manifest: self.trust.newest(),
            units: units.map(|heard| (&heard.said, heard.at)).collect(),
            keystores: keystores.map(|heard| (&heard.said, heard.at)).collect(),
            purpose,
            expect_current,
        }
    }

    fn findings(
        &self,
        asked_at: UnixMillis,
        purpose: Purpose,
        expect_current: Option<Pattern>,
    ) -> Findings {
        precheck::precheck(&self.look(asked_at, purpose, expect_current))
    }

    fn drafted<R: CryptoRng>(
        &self,
        now: UnixMillis,
        rng: &mut R,
        asked_at: UnixMillis,
        request: &DraftRequest,
    ) -> Answer {
        let findings = self.findings(asked_at, request.purpose, None);
        let surveyed = self.look(asked_at, request.purpose, None);
        let generator = precheck::choose_generator(&surveyed);
        let (true, Some(generator)) = (findings.unmet.is_empty(), generator) else {
            return Answer::Unmet(findings);
        };
        let order = self.draft(now, rng, request, generator, current(&surveyed));
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
        let purpose = purpose_of(&start);
        let mut findings = self.findings(asked_at, purpose, start.expect_current);
        let surveyed = self.look(asked_at, purpose, None);
        let generator = precheck::choose_generator(&surveyed);
        let from = current(&surveyed);
        let order = match (&start.order, generator) {
            (Some(order), _) => Some(order.clone()),
            (None, Some(generator)) => {
                self.order_by_standing(now, rng, start.mode, generator, from)
            }
            (None, None) => None,
        };
        if order.is_none() && self.trust.newest().is_some() && self.standing_order().is_none() {
            findings.unmet.push(no_standing_order());
        }
        match order {
            // All differences at once: the order is shown even if something else is unmet.
            Some(order) => {
                self.survey = Some(Survey::new(Goal::Show(id, start, order, findings)));
                self.send_survey(now, rng, effects);
            }
            None => effects.answers.push((id, Answer::Unmet(findings))),
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
        self.note_refusals(asked_at, &order, &mut findings);
        if !findings.unmet.is_empty() {
            effects.answers.push((id, Answer::Unmet(findings)));
            return;
        }
        let surveyed = self.look(asked_at, purpose_of(&start), None);
        let (from, units) = (current(&surveyed), surveyed.units.len());
        if start.dry_run {
            let plan = self.plan(&order, from, units);
            effects.answers.push((id, Answer::Planned(plan, findings)));
            return;
        }
        let epoch = self.next_epoch(None);
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

    /// Units that would not take the order, each with its words.
    fn note_refusals(&self, asked_at: UnixMillis, order: &SignedOrder, findings: &mut Findings) {
        if let Err(error) = leave::verify(order, &self.trust) {
            findings.unmet.push(Unmet {
                code: "no-leave".to_owned(),
                subject: "order".to_owned(),
                text: error.to_string(),
                mend: "keyhelm auto-mk-rotate".to_owned(),
            });
            return;
        }
        let mut refusals: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
        for heard in self.heard.units.values().filter(|heard| heard.at >= asked_at) {
            let Some(refusal) = &heard.said.facts.would_refuse else { continue };
            let is_listed = matches!(
                refusal.code.as_str(),
                "bound-to-another" | "other-current" | "register-not-empty" | "imprint-mode"
            );
            if is_listed && !findings.unmet.is_empty() {
                continue;
            }
            let name = self.trust.member(heard.said.unit).map(|member| member.name.clone());
            let entry = refusals.entry(refusal.text.clone()).or_default();
            entry.0.clone_from(&refusal.code);
            entry.1.extend(name);
        }
        for (text, (code, names)) in refusals {
            let mend = "keyhelm auto-mk-rotate --sign".to_owned();
            findings.unmet.push(Unmet { code, subject: names.join(", "), text, mend });
        }
    }

    fn plan(&self, order: &SignedOrder, from: Option<Pattern>, units: usize) -> PlanView {
        let generator = order.unverified().map(|order| order.generator).ok();
        let name = generator.and_then(|id| self.trust.member(id)).map(|member| member.name.clone());
        let rows = self.heard.keystores.values().filter_map(|heard| heard.said.row.as_ref());
        PlanView {
            generator: generator.unwrap_or(self.id),
            generator_name: name.unwrap_or_default(),
            from,
            key_versions: rows.map(|row| row.version_count).sum(),
            units,
        }
    }

    fn next_epoch(&self, record: Option<protocol::Epoch>) -> protocol::Epoch {
        let units = self.heard.units.values().map(|heard| &heard.said);
        let keystores = self.heard.keystores.values().map(|heard| &heard.said);
        numbers::next_epoch(self.trust.serial(), record, units, keystores)
    }

    /// Goes on with the record; without one, with the rotation that units say they are in.
    fn recovered<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        record: Option<Record>,
        effects: &mut Effects,
    ) {
        let Some(mut record) = record.or_else(|| self.rebuilt(now)) else { return };
        record.epoch = self.next_epoch(Some(record.epoch));
        if let Err(error) = self.start_rotation(now, rng, record, effects) {
            let text = format!("the saved rotation cannot be gone on with: {error}");
            let phase = protocol::audit::Phase::Survey;
            effects.events.push(crate::rotation::Event { phase, text });
        }
    }

    /// A record out of reports: forward if any unit has promoted, else the rotation is ended.
    fn rebuilt(&self, now: UnixMillis) -> Option<Record> {
        let open = |report: &&UnitReport| {
            let rotation = report.rotation.as_ref();
            rotation
                .is_some_and(|found| matches!(found.standing, Standing::Bound | Standing::Promoted))
        };
        let reports = || self.heard.units.values().map(|heard| &heard.said);
        let newest = reports().filter(open).max_by_key(|report| report.last_number())?;
        let found = newest.rotation.as_ref()?;
        let is_forward = reports()
            .filter_map(|report| report.in_order(&found.order))
            .any(|found| matches!(found.standing, Standing::Promoted | Standing::Cleared));
        let actor = "coordinator (rebuilt from reports)".to_owned();
        let mut record =
            Record::new(found.signed_order.clone(), protocol::Epoch::default(), actor, now);
        record.verdict = match is_forward {
            true => Verdict::Decided,
            false => Verdict::Aborted {
                because: "the coordinator's record of it was lost before its decision".to_owned(),
            },
        };
        Some(record)
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

/// The pattern that a unit of the manifest holds as current.
fn current(surveyed: &Surveyed<'_>) -> Option<Pattern> {
    surveyed.units.iter().find_map(|(report, _)| report.registers.current)
}

fn no_standing_order() -> Unmet {
    Unmet {
        code: "no-standing-order".to_owned(),
        subject: "instance".to_owned(),
        text: "no standing order lets the coordinator rotate by itself".to_owned(),
        mend: "keyhelm auto-mk-rotate --sign".to_owned(),
    }
}
