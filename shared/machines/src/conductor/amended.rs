//! Manifests that amend the running rotation.

use protocol::manifest::{Member, SignedManifest};
use protocol::order::SignedStandingOrder;
use protocol::report::UnitReport;
use protocol::{ProcessId, UnixMillis};
use rand::CryptoRng;

use super::{Answer, Conductor, Effects, refused};
use crate::amendment;
use crate::leave::{self, LeaveRefusal};
use crate::rotation::Input as RotationInput;
use crate::rotation::precheck::units;
use crate::rotation::record::Record;
use crate::trust::ManifestRefusal;

impl Conductor {
    /// Whether a manifest is an amendment of the rotation that runs.
    pub(super) fn amends_running(&self, signed: &SignedManifest) -> bool {
        let running = self.rotation.as_ref().map(|rotation| rotation.reference().rotation);
        running.is_some_and(|running| amendment::amends(signed, running))
    }

    /// Why a manifest would shut a unit out that stays: it is in a rotation of which this coordinator
    /// has lost the record, or may be, as it has answered nothing since the start.
    pub(super) fn may_be_bound(&self, signed: &SignedManifest) -> Option<String> {
        let next = signed.unverified().ok().filter(|_| !self.trust.chain().contains(signed))?;
        let mut stays =
            self.trust.newest()?.crypto_units().filter(|it| next.member(it.id).is_some());
        stays.find_map(|unit| self.is_elsewhere(unit))
    }

    fn answer_of(&self, unit: ProcessId) -> Option<&UnitReport> {
        let heard = self.heard.units.get(&unit).filter(|_| self.heard.answered.contains(&unit));
        heard.map(|heard| &heard.said)
    }

    fn is_elsewhere(&self, unit: &Member) -> Option<String> {
        let name = &unit.name;
        let Some(said) = self.answer_of(unit.id) else {
            return Some(format!("{name} may be in a rotation: start it, or remove it too"));
        };
        // A new manifest ends an order to recover.
        let found = units::in_rotation(said).filter(|it| units::recovery(it).is_none())?;
        let id = found.order.rotation;
        let all = || self.heard.units.values().map(|heard| &heard.said);
        let keystores = self.heard.keystores.values().map(|heard| &heard.said);
        if units::is_left_behind(found, all(), keystores) {
            return Some(format!(
                "{name} is in rotation {id}, which others have left: remove it too"
            ));
        }
        let is_past = all().any(|other| other.last_number() > found.order.number);
        Some(match is_past && said.set_back_from.is_some() {
            true => format!(
                "{name} was set back into rotation {id}, which others have left: put its newest \
                 volume back, or remove it too"
            ),
            false => format!("{name} is in rotation {id}, which comes first: hand it in again"),
        })
    }

    pub(super) fn admit_manifest<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        signed: &SignedManifest,
        standing: Option<SignedStandingOrder>,
        effects: &mut Effects,
    ) -> Answer {
        if let Some(standing) = &standing
            && let Err(error) = judge_under(standing, signed)
        {
            return refused("not-taken", error.to_string());
        }
        let is_sound = self.judge_amendment(signed);
        let taken = is_sound.and_then(|()| self.take_manifest(now, rng, signed, effects));
        self.amended(now, rng, effects);
        match (taken, standing) {
            (Err(error), _) => refused("not-taken", error.to_string()),
            (Ok(()), Some(standing)) => self.take_standing(standing, effects),
            (Ok(()), None) => Answer::Taken,
        }
    }

    /// Judges an amendment of the running rotation as the units will, with all that they have said:
    /// one that they would refuse once it is taken here would keep the rotation from its end.
    pub(super) fn judge_amendment(&self, signed: &SignedManifest) -> Result<(), ManifestRefusal> {
        let running = self.rotation.as_ref().filter(|it| !it.is_ended() && it.recovery().is_none());
        let (Some(rotation), Ok(new)) = (running, signed.unverified()) else { return Ok(()) };
        let binding = rotation.binding(self.id, &new);
        let mut trust = self.trust.clone();
        amendment::take(&mut trust, std::slice::from_ref(signed), &binding).map(|_| ())
    }

    /// Manifests since that of the record's order, as far as they are amendments, up to the last of its rotation:
    /// no certificate with another one in it is taken by a unit that is bound.
    pub(super) fn since_order(&self, record: &Record) -> Vec<SignedManifest> {
        let Ok((_, order)) = record.order() else { return Vec::new() };
        let serial = usize::try_from(order.number.manifest_serial).unwrap_or(usize::MAX);
        let since = self.trust.chain().iter().skip(serial);
        let amendments = since.take_while(|it| amendment::are_amendments(std::slice::from_ref(it)));
        let mut amendments: Vec<_> = amendments.cloned().collect();
        // What amends another one counts with the next that amends this one.
        let last = amendments.iter().rposition(|signed| amendment::amends(signed, order.rotation));
        amendments.truncate(last.map_or(0, |last| last + 1));
        amendments
    }

    /// Tells the running rotation of a manifest that amends it.
    pub(super) fn amended<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        effects: &mut Effects,
    ) {
        let running = self.rotation.as_ref().filter(|rotation| !rotation.is_ended());
        let since = running.map(|rotation| self.since_order(rotation.record()));
        let (Some(since), Some(newest)) = (since, self.trust.newest()) else { return };
        if running.is_some_and(|rotation| rotation.manifest_serial() == newest.serial) {
            return;
        }
        let input = RotationInput::Amended(Box::new(newest.clone()), since);
        self.turn(now, rng, input, effects);
    }
}

/// Judges a standing order by a manifest that is not taken yet.
fn judge_under(
    standing: &SignedStandingOrder,
    signed: &SignedManifest,
) -> Result<(), LeaveRefusal> {
    let manifest =
        signed.unverified().map_err(|error| LeaveRefusal::Malformed(error.to_string()))?;
    leave::judge_standing(standing, &manifest).map(|_| ())
}
