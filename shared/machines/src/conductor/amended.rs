//! Manifests that amend the running rotation.

use protocol::UnixMillis;
use protocol::manifest::SignedManifest;
use rand::CryptoRng;

use super::{Conductor, Effects};
use crate::amendment;
use crate::rotation::Input as RotationInput;
use crate::rotation::record::Record;
use crate::trust::ManifestRefusal;

impl Conductor {
    /// Whether a manifest is an amendment of the rotation that runs.
    pub(super) fn amends_running(&self, signed: &SignedManifest) -> bool {
        let running = self.rotation.as_ref().map(|rotation| rotation.reference().rotation);
        let amendment = signed.unverified().ok().and_then(|manifest| manifest.amendment);
        running.is_some() && amendment.map(|amendment| amendment.rotation) == running
    }

    /// Judges an amendment of the running rotation as the units will, with all that they have said:
    /// one that they would refuse once it is taken here would keep the rotation from its end.
    pub(super) fn judge_amendment(&self, signed: &SignedManifest) -> Result<(), ManifestRefusal> {
        let running = self.rotation.as_ref().filter(|found| !found.is_ended());
        let (Some(rotation), Ok(new)) = (running, signed.unverified()) else { return Ok(()) };
        let binding = rotation.binding(self.id, &new);
        let mut trust = self.trust.clone();
        amendment::take(&mut trust, std::slice::from_ref(signed), &binding).map(|_| ())
    }

    /// Manifests since that of the record's order.
    pub(super) fn since_order(&self, record: &Record) -> Vec<SignedManifest> {
        let serial = record.order().map_or(u64::MAX, |(_, order)| order.number.manifest_serial);
        let serial = usize::try_from(serial).unwrap_or(usize::MAX);
        self.trust.chain().iter().skip(serial).cloned().collect()
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
