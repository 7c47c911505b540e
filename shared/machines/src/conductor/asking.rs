//! Requests, one after the other: what is answered at once, and what needs a survey first.

use protocol::{RotationId, UnixMillis};
use rand::CryptoRng;

use super::survey::Survey;
use super::{Answer, Ask, AskId, Conductor, Effects, refused, unmet};
use crate::rotation::precheck::Findings;
use crate::rotation::{Input as RotationInput, Refused};

impl Conductor {
    pub(super) fn next_asks<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        effects: &mut Effects,
    ) {
        while self.survey.is_none() {
            let Some((id, ask)) = self.waiting.pop_front() else { break };
            self.begin(now, rng, id, ask, effects);
        }
    }

    fn begin<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        id: AskId,
        ask: Ask,
        effects: &mut Effects,
    ) {
        match ask {
            Ask::Look => self.survey = Some(Survey::to_look(id)),
            Ask::Draft(request) => self.survey = Some(Survey::to_draft(id, request)),
            Ask::Start(start) => {
                if let Some(findings) = self.runs_otherwise(&start) {
                    self.checked.remove(&id);
                    effects.answers.push((id, Answer::Unmet(findings)));
                    return;
                }
                if start.verify_all && self.is_verified_in_part() {
                    let mut findings = Findings::default();
                    unmet::verified_in_part(&mut findings);
                    effects.answers.push((id, Answer::Unmet(findings)));
                    return;
                }
                if let Some(joined) = self.joined(id) {
                    self.checked.remove(&id);
                    effects.answers.push(self.unmet_hold(id).unwrap_or(joined));
                    return;
                }
                self.survey = Some(Survey::to_start(id, *start));
            }
            Ask::Abort { rotation, because } => {
                self.abort(now, rng, id, rotation, because, effects);
                return;
            }
            // The units take none meanwhile: what drives them would be judged by another manifest
            // than theirs.
            Ask::Manifest(signed, _)
                if self.is_rotating()
                    && !self.is_recovering()
                    && !self.amends_running(&signed)
                    && !self.trust.chain().contains(&signed) =>
            {
                let text = "a rotation is running: hand the manifest in again after its end";
                effects.answers.push((id, refused("rotation-running", text.to_owned())));
                return;
            }
            Ask::Manifest(signed, standing)
                if !self.is_rotating() && self.may_be_bound(&signed).is_some() =>
            {
                self.survey = Some(Survey::to_admit(id, signed, standing));
            }
            Ask::Manifest(signed, standing) => {
                let answer = self.admit_manifest(now, rng, &signed, standing, effects);
                effects.answers.push((id, answer));
                return;
            }
            Ask::HoldEnd(statement) => {
                let answer = self.end_hold(now, rng, statement, effects);
                effects.answers.push((id, answer));
                return;
            }
            Ask::Standing(signed) => {
                let answer = self.take_standing(signed, effects);
                effects.answers.push((id, answer));
                return;
            }
        }
        self.send_survey(now, rng, effects);
    }

    fn abort<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        id: AskId,
        which: Option<RotationId>,
        because: String,
        effects: &mut Effects,
    ) {
        let running = self.rotation.as_mut().filter(|found| {
            !found.is_ended() && which.is_none_or(|which| which == found.reference().rotation)
        });
        let Some(rotation) = running else {
            let text = "no such rotation is running".to_owned();
            effects.answers.push((id, refused("not-running", text)));
            return;
        };
        let name = rotation.reference().rotation;
        let found = rotation.handle(now, RotationInput::Abort { because });
        let answer = match &found.abort_refused {
            Some(Refused::Decided(text)) => refused("decided", (*text).to_owned()),
            Some(Refused::KeystoreSilent(text)) => refused("keystore-silent", (*text).to_owned()),
            None => Answer::Aborting(name),
        };
        self.merge(now, rng, found, effects);
        effects.answers.push((id, answer));
    }
}
