//! The handler as the driver loop sees it: what comes in, when to wake up, what to save.

use std::time::Duration;

use bus::Received;
use bus::driver::{Handler, Outcome, SaveError};
use ledger::Batch;
use machines::conductor::Input;
use protocol::api::RotationEvent;
use protocol::{RotationId, UnixMillis, topology};

use super::asked::Waiter;
use super::{Coordinator, Entry, Instance};
use crate::handle::{Known, LocalAsk};
use crate::request;

impl Coordinator {
    /// All in one transaction: the audit log never says what has not been decided, and what has been
    /// decided is in it.
    async fn save_all(&mut self) -> Result<(), ledger::RecordsError> {
        let unsaved = std::mem::take(&mut self.unsaved);
        let mut batch = Batch::default();
        for id in &unsaved.documents {
            let Some(instance) = self.instances.get(id) else { continue };
            let conductor = &instance.conductor;
            let (chain, standing) = (conductor.trust().chain(), conductor.standing());
            batch.documents(*id, instance.name.clone(), chain, standing);
        }
        for (id, record) in &unsaved.closed {
            batch.record(*id, record, None)?;
        }
        for id in unsaved.records {
            let rotation = self.instances.get(&id).and_then(|it| it.conductor.rotation());
            if let Some(rotation) = rotation {
                let (name, record) = (rotation.reference().rotation, rotation.record());
                let receipt = unsaved.receipts.get(&id).filter(|made| made.rotation == name);
                batch.record(id, record, receipt)?;
            }
        }
        for (name, answer) in unsaved.answers {
            batch.answer(name, service::now(), answer);
        }
        let mut events = Vec::with_capacity(unsaved.entries.len());
        for Entry { instance, at, actor, action, details, event } in unsaved.entries {
            batch.entry(instance, at, actor, action, &details);
            events.push((instance, event));
        }
        let saved = self.records.save_all(batch).await?;
        for (id, receipt) in &unsaved.receipts {
            // One of a record that was not written is none: the next does not follow it.
            if let Some(instance) = self.instances.get_mut(id)
                && saved.receipts.contains(&receipt.rotation)
            {
                instance.before.note_receipt(receipt);
            }
        }
        if !unsaved.documents.is_empty() {
            self.tell_readiness();
        }
        for ((id, event), entry) in events.into_iter().zip(saved.entries) {
            let Some(instance) = self.instances.get_mut(&id) else { continue };
            instance.before.note(&entry);
            let Some(event) = event else { continue };
            instance.journal.keep(event.clone());
            // Nobody listening is no error.
            let _ = self.events.send(event);
        }
        Ok(())
    }

    fn told(&self, rotation: RotationId) -> Option<Vec<RotationEvent>> {
        self.instances.values().find_map(|instance| instance.journal.told(rotation))
    }

    fn all(&self) -> Vec<Known<'_>> {
        let mut all = Vec::with_capacity(self.instances.len());
        for (id, Instance { name, conductor, .. }) in &self.instances {
            all.push(Known { id: *id, name, conductor });
        }
        all.sort_by_key(|known| (known.name, known.id));
        all
    }

    fn next_due(&self) -> Option<UnixMillis> {
        let conductors = self.instances.values().filter_map(|it| it.conductor.next_tick());
        conductors.chain(self.survey_at).min()
    }

    /// Asks everybody how they stand, so that the metrics of a quiet cluster stay true.
    fn survey_if_due(&mut self, now: UnixMillis, outcome: &mut Outcome) {
        if self.survey_at.is_none_or(|at| at > now) {
            return;
        }
        self.survey_at = Some(now.plus_ms(self.config.survey_every.as_millis() as u64));
        let has_manifest =
            |(_, instance): &(&_, &Instance)| instance.conductor.trust().newest().is_some();
        let ids: Vec<_> = self.instances.iter().filter(has_manifest).map(|(id, _)| *id).collect();
        for id in ids {
            self.survey(id, Vec::new(), outcome);
        }
    }
}

#[async_trait::async_trait]
impl Handler for Coordinator {
    type Ask = LocalAsk;

    async fn handle(&mut self, received: &Received) -> Outcome {
        match received.queue.as_ref() {
            topology::REQUEST_QUEUE => self.requested(received).await,
            _ => self.signed_message(received),
        }
    }

    async fn ask(&mut self, ask: LocalAsk) -> Outcome {
        let mut outcome = Outcome::default();
        match ask {
            LocalAsk::Conduct(id, asker, ask, waiter) => {
                if !self.instances.contains_key(&id) {
                    // Dropping the waiter would say that the coordinator has stopped.
                    let _ = waiter.send(request::unknown_instance_answer());
                    return outcome;
                }
                self.put(id, Waiter::Local(waiter), asker, *ask, &mut outcome);
            }
            LocalAsk::Survey(id, waiter) => self.survey(id, vec![waiter], &mut outcome),
            LocalAsk::See(id, look) => {
                look(self.instances.get(&id).map(|instance| &instance.conductor));
            }
            LocalAsk::SeeAll(look) => look(&self.all()),
            LocalAsk::Told(rotation, waiter) => _ = waiter.send(self.told(rotation)),
        }
        outcome
    }

    async fn tick(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        let now = service::now();
        let due: Vec<_> = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.conductor.next_tick().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.conduct(id, Input::Tick, &mut outcome);
        }
        self.survey_if_due(now, &mut outcome);
        outcome
    }

    fn next_tick(&self) -> Option<Duration> {
        let due = self.next_due()?;
        Some(Duration::from_millis(due.since(service::now()).max(1)))
    }

    async fn save(&mut self) -> Result<(), SaveError> {
        self.save_all().await.map_err(|error| SaveError(error.to_string()))
    }
}
