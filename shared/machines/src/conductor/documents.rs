//! What administrators have signed for the instance: manifests and the standing order.

use std::collections::BTreeSet;

use protocol::manifest::{Manifest, SignedManifest};
use protocol::order::SignedStandingOrder;
use protocol::{ProcessId, Role, UnixMillis};
use rand::CryptoRng;

use super::{Answer, Conductor, Effects, refused};
use crate::leave;
use crate::trust::{self, ManifestRefusal};

impl Conductor {
    pub(super) fn take_manifest<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        signed: &SignedManifest,
        effects: &mut Effects,
    ) -> Result<(), ManifestRefusal> {
        let ids = |found: Option<&Manifest>| -> BTreeSet<ProcessId> {
            let members = found.map(|manifest| manifest.members.as_slice()).unwrap_or_default();
            members.iter().map(|member| member.id).collect()
        };
        let before = ids(self.trust.newest());
        if let Ok(manifest) = signed.unverified()
            && manifest.serial > self.trust.serial()
        {
            trust::served(&manifest)?;
        }
        let is_new = self.trust.take(
            std::slice::from_ref(signed),
            Some((self.id, Role::Coordinator)),
            &[],
        )?;
        effects.save_documents |= is_new;
        if is_new {
            self.end_recovery_by_manifest(now, rng, effects);
        }
        let named = ids(self.trust.newest());
        self.heard.keep_reports_of(&named);
        // One that is known already is sent again to whoever lacks it.
        let everybody = &before | &named;
        for who in everybody.into_iter().filter(|who| *who != self.id) {
            self.heard.expect(who);
            self.catch_up(now, rng, who, effects);
        }
        Ok(())
    }

    pub(super) fn take_standing(
        &mut self,
        signed: SignedStandingOrder,
        effects: &mut Effects,
    ) -> Answer {
        if let Err(error) = leave::verify_standing(&signed, &self.trust) {
            return refused("not-taken", error.to_string());
        }
        self.standing = Some(signed);
        effects.save_documents = true;
        Answer::Taken
    }
}
