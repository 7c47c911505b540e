//! Holds: nothing else starts meanwhile, and the administrators may end them early.

use protocol::UnixMillis;
use protocol::audit::Phase;
use protocol::order::{Hold, HoldEnd, SignedHoldEnd};
use rand::CryptoRng;

use super::{Answer, AskId, Conductor, Effects, refused};
use crate::hold_end;
use crate::rotation::precheck::Findings;
use crate::rotation::{Input as RotationInput, Rotation};

impl Conductor {
    /// While the old master key is kept, a rotation is neither running nor over: whoever wants
    /// another one waits, or ends the hold.
    pub(super) fn unmet_hold(&self, id: AskId) -> Option<(AskId, Answer)> {
        let rotation = self.rotation.as_ref()?;
        if rotation.record().phase() != Phase::HoldBeforeClear {
            return None;
        }
        let name = rotation.reference().rotation;
        let until = rotation.holds_until().map_or_else(String::new, |until| {
            format!(" until {}", crate::explain::words::moment(until))
        });
        let text =
            format!("rotation {name} is done but for its hold: the old master key is kept{until}");
        let mut findings = Findings::default();
        findings.unmet("old-key-held", "instance", text, format!("keyhelm hold-end {name}"));
        Some((id, Answer::Unmet(findings)))
    }

    pub(super) fn end_hold<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        statement: SignedHoldEnd,
        effects: &mut Effects,
    ) -> Answer {
        let was_taken = |rotation: &Rotation| rotation.record().hold_ends.contains(&statement);
        if self.rotation.as_ref().is_some_and(was_taken) {
            return Answer::Taken;
        }
        let held = match self.judge_hold_end(&statement) {
            Ok(statement) => statement.hold,
            Err(text) => return refused("not-taken", text),
        };
        if let Err(text) = self.must_be_held(held) {
            return refused("not-holding", text);
        }
        self.turn(now, rng, RotationInput::HoldEnd(statement), effects);
        Answer::Taken
    }

    fn judge_hold_end(&self, signed: &SignedHoldEnd) -> Result<HoldEnd, String> {
        let manifest = self.trust.newest().ok_or("there is no manifest")?;
        let running = self.rotation.as_ref().filter(|rotation| !rotation.is_ended());
        hold_end::verify(signed, manifest, running.map(Rotation::reference))
            .map_err(|refusal| refusal.to_string())
    }

    /// A hold is ended while it lasts, never before it begins: whoever signs sees what it ends.
    fn must_be_held(&self, hold: Hold) -> Result<(), String> {
        let phase = self.rotation.as_ref().map(|rotation| rotation.record().phase());
        let expected = match hold {
            Hold::AfterCommit => Phase::HoldAfterCommit,
            Hold::BeforeClear => Phase::HoldBeforeClear,
        };
        match phase {
            Some(phase) if phase != expected => {
                Err(format!("the rotation is not in its hold {}: it is at {phase}", hold.name()))
            }
            _ => Ok(()),
        }
    }
}
