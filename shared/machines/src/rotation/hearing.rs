//! What units and keystores say is taken in: the latest of each, what they refuse, and who has spoken.

use std::collections::BTreeMap;

use protocol::codec;
use protocol::command::{Transfer, Transfers};
use protocol::report::{KeystoreReport, Refusal, UnitReport};
use protocol::{Epoch, ProcessId, UnixMillis};

use super::asking::Asked;
use super::desired::Held;
use super::set_back::is_earlier;
use super::{Effects, Rotation};

/// How often a sealed copy that does not open is made anew before the rotation is ended.
const MAX_RESEALS: u32 = 5;

impl Rotation {
    pub(super) fn take_unit(
        &mut self,
        now: UnixMillis,
        report: UnitReport,
        envelope: Vec<u8>,
        effects: &mut Effects,
    ) {
        let unit = report.unit;
        if !self.manifest.crypto_units().any(|member| member.id == unit) {
            return;
        }
        if self.is_fenced_by(report.epoch) {
            effects.fenced_by = effects.fenced_by.max(Some(report.epoch));
            return;
        }
        self.note_heard(unit, now);
        let refusal = report.answering.as_ref().and_then(|answer| answer.refusal.clone());
        let is_older = self.units.get(&unit).is_some_and(|held| is_earlier(&report, &held.report));
        if !is_older {
            self.units.insert(unit, Held { report, envelope, heard_at: now });
        }
        self.note_refusal(now, unit, refusal, effects);
    }

    pub(super) fn take_keystore(
        &mut self,
        now: UnixMillis,
        report: KeystoreReport,
        envelope: Vec<u8>,
        effects: &mut Effects,
    ) {
        let id = report.reencryptor;
        if !self.manifest.of_role(protocol::Role::Reencryptor).any(|member| member.id == id) {
            return;
        }
        if report.row.as_ref().is_some_and(|row| self.is_fenced_by(row.epoch)) {
            effects.fenced_by = report.row.as_ref().map(|row| row.epoch);
            return;
        }
        self.note_heard(id, now);
        self.note_keys(&report);
        self.note_gate(now, &report);
        self.note_flipped(&report, &envelope);
        let refusal = report.answering.as_ref().and_then(|answer| answer.refusal.clone());
        let is_older = self.keystores.get(&id).is_some_and(|held| held.report.clock > report.clock);
        if !is_older {
            self.keystores.insert(id, Held { report, envelope, heard_at: now });
        }
        self.note_refusal(now, id, refusal, effects);
    }

    /// Notes that a keystore says how it stands now. Where its database cannot be read, it says nothing of
    /// that, and nothing back either of what was heard before.
    pub fn note_surveyed(&mut self, report: &KeystoreReport) {
        self.surveyed.extend(report.row.as_ref().map(|row| row.keystore));
    }

    pub(super) fn take_transfers(&mut self, transfers: Transfers) {
        if transfers.order != self.reference {
            return;
        }
        for signed in transfers.transfers {
            if let Ok(transfer) = codec::decode::<Transfer>(&signed.bytes) {
                self.transfers.insert(transfer.recipient, signed);
            }
        }
    }

    fn note_keys(&mut self, report: &KeystoreReport) {
        let Some(row) = &report.row else { return };
        let is_ours = |generation: &&protocol::keystore::Generation| {
            Some(generation.pattern) == self.record.to
        };
        if let Some(generation) = row.open.as_ref().or(row.active.as_ref()).filter(is_ours) {
            self.record.keys = (generation.set_count, generation.done_count);
            self.record.keys_quarantined = generation.quarantined_count;
        }
    }

    /// For how long keys could not be created, as the coordinator saw it.
    fn note_gate(&mut self, now: UnixMillis, report: &KeystoreReport) {
        let Some(row) = &report.row else { return };
        match (&mut self.record.gate_closed, row.is_gate_closed()) {
            (none @ None, true) => *none = Some((now, None)),
            (Some((_, until @ None)), false) => *until = Some(now),
            _ => {}
        }
    }

    /// Before the decision a refusal ends the rotation, with its words; after it, it is shown and
    /// asked again.
    fn note_refusal(
        &mut self,
        now: UnixMillis,
        who: ProcessId,
        refusal: Option<Refusal>,
        effects: &mut Effects,
    ) {
        // It stands until the command is done: an answer to a survey says nothing of it.
        let Some(refusal) = refusal else { return };
        let may_abort = self.may_abort();
        let Some(asked) = self.asked.get_mut(&who) else { return };
        asked.refusal = Some(refusal.clone());
        match refusal.code.as_str() {
            "stale-epoch" | "epoch-ahead" | "busy" | "not-bound" | "holding" | "not-flipped" => {}
            // The next manifest can name this coordinator, and the rotation goes on.
            "not-a-coordinator" => {}
            "transfer-refused" if self.reseals < MAX_RESEALS => {
                self.transfers.remove(&who);
                self.reseals += 1;
            }
            // It must be reminded first: what it refuses until then says nothing.
            _ if self.is_unaware(who) => {}
            _ if may_abort => {
                let name = self.name_of(who);
                let because =
                    format!("{name} refused {}: {}", asked_name(&self.asked, who), refusal.text);
                self.ask_abort(now, because, effects);
            }
            _ => {}
        }
    }

    fn note_heard(&mut self, who: ProcessId, now: UnixMillis) {
        self.last_heard.insert(who, now);
        self.unanswered.remove(&who);
    }

    /// A later coordinator has spoken: under a manifest that we have, else nobody believes it.
    pub(super) fn is_fenced_by(&self, epoch: Epoch) -> bool {
        epoch > self.record.epoch && epoch.manifest_serial <= self.manifest.serial
    }
}

fn asked_name(asked: &BTreeMap<ProcessId, Asked>, who: ProcessId) -> &'static str {
    asked.get(&who).map_or("it", |asked| asked.name)
}
