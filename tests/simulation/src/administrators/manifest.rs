//! The manifests that the administrators sign: without those who must go, with those who come back.

use crypto::domain;
use crypto::identity::{self, Identity};
use machines::conductor::Ask;
use protocol::codec;
use protocol::manifest::{Amendment, Manifest, Member, SignedManifest};
use protocol::{ProcessId, Role};

use super::PATIENCE_MS;
use crate::founding;
use crate::unit::UnitNode;
use crate::world::World;

impl World {
    /// Signs the next manifest without these units, with coordinator and reencryptor as they are now: an amendment where a
    /// rotation runs.
    pub(super) fn remove(&mut self, whom: &[ProcessId]) {
        let text = format!("removes {}", self.names(whom));
        self.change(whom, &[], &text);
    }

    /// Nobody can do without those who must go: who was removed, and still has the keystore's master key, is a
    /// member again in their place.
    pub(super) fn enroll_again(&mut self) -> bool {
        let is_due = self.amended_at.plus_ms(PATIENCE_MS) <= self.now || !self.are_all_named();
        let left = self.left_behind();
        let is_lost = !left.is_empty() && !self.can_go(&left);
        if !is_due || !is_lost || self.coordinator.is_rotating() {
            return false;
        }
        let whom = self.could_return();
        if whom.is_empty() {
            return false;
        }
        let (names, others) = (self.names(&whom), self.names(&left));
        let text = format!("enrolls {names} again, and removes {others}");
        self.change(&left, &whom, &text);
        true
    }

    /// Who was removed, and still has the keystore's master key.
    pub(crate) fn could_return(&self) -> Vec<ProcessId> {
        let active = self.store.row.active.as_ref().map(|active| active.pattern);
        let is_sound = |unit: &&UnitNode| {
            let has_key = unit.saved_state().registers().current == active;
            unit.is_removed && unit.is_up() && !unit.is_set_back() && has_key
        };
        self.units.iter().filter(is_sound).map(|unit| unit.id).collect()
    }

    /// Whether coordinator and reencryptor are those of the newest manifest: either may come back as another.
    pub(super) fn are_all_named(&self) -> bool {
        let trust = self.coordinator.trust();
        self.coordinator.is_named() && trust.names(self.reencryptor.id, Role::Reencryptor)
    }

    fn names(&self, whom: &[ProcessId]) -> String {
        let named = self.units.iter().filter(|unit| whom.contains(&unit.id));
        named.map(|unit| unit.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Signs the next manifest without some units and with others.
    fn change(&mut self, without: &[ProcessId], with: &[ProcessId], text: &str) {
        let trust = self.coordinator.trust();
        let (Some(newest), Some(last)) = (trust.newest().cloned(), trust.chain().last()) else {
            return;
        };
        self.asked_to_remove = without.to_vec();
        let previous = Some(machines::trust::manifest_digest(&last.bytes));
        self.amended_at = self.now;
        let running = self.coordinator.running();
        let holder_report = match running {
            Some(_) => self.holder_report(without),
            None => None,
        };
        let amendment = running.map(|rotation| Amendment {
            rotation,
            holder_report: holder_report.unwrap_or_default(),
        });
        let mut members = newest.members;
        members.retain(|it| !without.contains(&it.id));
        let enrolled = self.units.iter().filter(|unit| with.contains(&unit.id));
        members.extend(enrolled.map(founding::member));
        let coordinators = std::iter::once(self.coordinator.identity());
        let coordinators: Vec<_> = coordinators.chain(self.coordinator.other()).collect();
        are_named(&mut members, Role::Coordinator, &coordinators);
        let reencryptors = std::slice::from_ref(self.reencryptor.identity());
        are_named(&mut members, Role::Reencryptor, reencryptors);
        let manifest =
            Manifest { serial: newest.serial + 1, previous, members, amendment, ..newest };
        let bytes = codec::encode(&manifest);
        let signatures = vec![self.sign(domain::MANIFEST, &bytes)];
        self.note("admin", text);
        self.request(Ask::Manifest(SignedManifest { bytes, signatures }, None));
    }

    /// The report of a recovery unit that stays, of the one that has come furthest in the rotation.
    fn holder_report(&mut self, whom: &[ProcessId]) -> Option<Vec<u8>> {
        let record = self.coordinator.record();
        let order = record.and_then(|record| record.order().ok()).map(|(_, order)| order);
        let far = |unit: &UnitNode| {
            let state = unit.saved_state();
            let is_in_it = state.rotation.as_ref().map(|taken| taken.reference) == order;
            (unit.counts(), is_in_it, state.registers().patterns().count())
        };
        // One that was set back and does not know it may hold what nobody else can export.
        let stays = |unit: &&UnitNode| {
            unit.role == Role::RecoveryUnit
                && !unit.is_removed
                && unit.saved_state().reminder.is_none()
                && unit.is_up()
                && !whom.contains(&unit.id)
        };
        let holder = self.units.iter().filter(stays).max_by_key(|unit| far(unit))?;
        holder.report_envelope(self.now, &mut self.rng)
    }
}

/// Whoever of a role is named and there no more makes room for one that is not named yet.
fn are_named(members: &mut [Member], role: Role, identities: &[Identity]) {
    let keys: Vec<_> = identities.iter().map(Identity::public_key).collect();
    for key in &keys {
        if members.iter().any(|member| member.identity == *key) {
            continue;
        }
        let is_lost =
            |member: &&mut Member| member.role == role && !keys.contains(&member.identity);
        if let Some(member) = members.iter_mut().find(is_lost) {
            (member.id, member.identity) = (identity::process_id(key), *key);
        }
    }
}
