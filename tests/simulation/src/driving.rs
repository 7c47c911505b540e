//! The shell around the coordinator's machine: what it wants saved, sent, answered and told, and the
//! crashes in between.

use machines::conductor::{Answer, Effects};
use machines::rotation::Lacking;
use machines::rotation::record::Verdict;
use protocol::Role;
use protocol::audit::Phase;
use rand::RngExt;

use crate::coordinator::{ReceiptFault, answer_note};
use crate::world::{Event, World};

impl World {
    /// The coordinator's shell: save, send, answer, tell.
    pub(crate) fn coordinate(&mut self, effects: Effects) {
        let is_saved = effects.save || effects.save_documents || effects.closed.is_some();
        if self.rng.random_bool(self.faults.crash) {
            let has_saved = is_saved && self.rng.random_bool(0.5);
            if has_saved {
                self.coordinator.save(effects.closed.as_ref());
                self.note_members();
                self.count(&effects);
            }
            self.count_fault("crash", Role::Coordinator);
            // Whoever sees a transaction fail ends at once: what became of it, the next start finds out.
            if is_saved {
                let fault = if has_saved { "lost-commit" } else { "aborted-commit" };
                self.count_fault(fault, Role::Coordinator);
            }
            self.coordinator_ends(has_saved || !is_saved);
            let pause = self.rng.random_range(50..5_000);
            self.after(pause, Event::StartCoordinator);
            return;
        }
        if is_saved {
            self.coordinator.save(effects.closed.as_ref());
            self.note_members();
        }
        self.count(&effects);
        for message in effects.send {
            self.publish(message.to, message.bytes);
        }
        for (_, answer) in effects.answers {
            self.note("coordinator", &answer_note(&answer));
            self.note_foreign(&answer);
            self.note_manifest(&answer);
            if let Answer::Drafted(_, bytes, _) = answer {
                self.drafted = Some(bytes);
            }
        }
        if effects.is_fenced
            && let Some(effects) = self.coordinator.lease_renewed(self.now, &mut self.rng)
        {
            self.note("coordinator", "is fenced and takes the lease anew");
            self.coordinate(effects);
            return;
        }
        self.schedule_tick();
    }

    /// Whoever the newest manifest that was saved does not name serves nothing from now on.
    fn note_members(&mut self) {
        let trust = self.coordinator.trust();
        if trust.serial() <= self.named_by {
            return;
        }
        self.named_by = trust.serial();
        for unit in &mut self.units {
            let is_removed = trust.member(unit.id).is_none();
            if unit.is_removed != is_removed {
                unit.is_removed = is_removed;
                self.touched.units = true;
                self.outcome.removed += u32::from(is_removed);
            }
        }
    }

    /// Faults count for the rotation in which they come about.
    fn note_begun(&mut self) {
        let order = self.coordinator.record().and_then(|record| record.order().ok());
        if let Some((_, reference)) = order.filter(|(_, it)| it.rotation != self.begun.0) {
            self.begun = (reference.rotation, self.outcome.faults);
        }
    }

    fn count(&mut self, effects: &Effects) {
        if effects.save {
            self.note_begun();
        }
        for event in &effects.events {
            let text = format!("{}: {}", event.phase, event.text);
            self.note("coordinator", &text);
            let is_aborted = self
                .coordinator
                .record()
                .is_some_and(|record| matches!(record.verdict, Verdict::Aborted { .. }));
            let running = self.coordinator.record().and_then(|record| record.order().ok());
            let recovers = running.is_some_and(|(order, _)| order.purpose.recovery().is_some());
            match event.phase {
                Phase::Done if recovers => self.outcome.recovered += 1,
                Phase::Done => {
                    self.outcome.rotations_done += 1;
                    let had_fault = self.outcome.faults > self.begun.1;
                    self.outcome.rotations_through_faults += u32::from(had_fault);
                    self.outcome.quarantined += u32::from(self.store.carries());
                }
                Phase::HoldAfterCommit | Phase::HoldBeforeClear => self.outcome.holds += 1,
                Phase::Aborted if is_aborted => self.outcome.rotations_aborted += 1,
                _ => {}
            }
        }
    }

    fn schedule_tick(&mut self) {
        let Some(due) = self.coordinator.next_tick() else { return };
        let due = due.max(self.now.plus_ms(1));
        if self.next_tick.is_none_or(|next| due < next) {
            self.next_tick = Some(due);
            self.at(due, Event::TickCoordinator);
        }
    }

    /// What is wrong with the receipt that was just to be made. There is none of a rotation after which
    /// a unit lost its master key, or its state, or has gone on before its end was seen: by a rogue's order, or
    /// as the record had been an old one; nor of one that was found again after a manifest that does not merely
    /// amend it.
    pub(crate) fn receipt_fault(&mut self) -> Option<String> {
        match self.coordinator.receipt_fault.take()? {
            ReceiptFault::Lacking(Lacking::OlderManifest { .. }) => None,
            ReceiptFault::Lacking(Lacking::Unit(_))
                if self.outcome.replaced > 0 || self.rogue_orders > 0.0 || self.has_forgotten =>
            {
                None
            }
            ReceiptFault::Lacking(lacking) => Some(lacking.to_string()),
            ReceiptFault::Wrong(text) => Some(text),
        }
    }
}
