//! What a coordinator does when it starts: every instance is loaded, and whatever was running is gone on
//! with.

use bus::driver::Outcome;
use ledger::AuditQuery;
use machines::conductor::Conductor;
use machines::rotation::record::Record;
use machines::trust::Trust;
use protocol::InstanceId;

use super::journal::{self, Entry, Journal};
use super::progress::{self, Told};
use super::receipts::Before;
use super::{Coordinator, Instance, read_back};
use crate::views;

impl Coordinator {
    /// Loads every instance, and goes on with whatever was running.
    pub(crate) async fn recover(&mut self) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        for (id, name) in self.records.instances().await? {
            let trust = Trust::from_saved(id, self.records.manifests(id).await?)?;
            let standing = self.records.standing(id).await?;
            let newest = self.records.list(id, 1).await?.into_iter().next();
            // Where they cannot be read, a metric is absent; nothing else asks for so many.
            let records = self.records.list(id, progress::LOOKED_BACK).await.unwrap_or_default();
            progress::known(&name, &records);
            // An older one that was taken up again: no other can be begun before it has an end.
            let open = self.records.unfinished(id).await?;
            let last = open.as_ref().or(newest.as_ref());
            let journal = self.recover_journal(id, &trust, last).await;
            let ended = last.filter(|record| record.finished_at.is_some());
            let told = ended
                .and_then(|record| Some(Told::all_of(record.order().ok()?.1.rotation, record)));
            let times = self.config.times;
            let mut conductor = Conductor::new(self.identity.clone(), trust, standing, times);
            let saved = open.into_iter().chain(newest);
            let effects = conductor.recover(service::now(), &mut self.rng, saved);
            let mut instance = Instance::new(name, conductor, journal);
            instance.told = told.unwrap_or_default();
            instance.before = Before::load(&self.records, id).await?;
            self.instances.insert(id, instance);
            // Also queues what the journal lacked.
            self.apply(id, effects, &mut outcome);
        }
        self.tell_readiness();
        Ok(outcome)
    }

    /// A coordinator can drive rotations as soon as an instance has a manifest.
    pub(crate) fn tell_readiness(&self) {
        let serials = self.instances.values().map(|it| it.conductor.trust().serial());
        self.status.ready_with(serials.max().unwrap_or_default());
    }

    /// The events of the rotation that runs, or ran last; what a crash kept out of the audit log is told
    /// now. A log that cannot be read keeps no rotation from ending.
    async fn recover_journal(
        &mut self,
        id: InstanceId,
        trust: &Trust,
        last: Option<&Record>,
    ) -> Journal {
        let Some(record) = last else { return Journal::default() };
        let view = views::recorded(record, trust);
        let wanted = AuditQuery { rotation: Some(view.rotation), ..AuditQuery::default() };
        let events = match self.records.audit_entries(id, wanted).await {
            Ok(entries) => read_back(&entries, &view),
            Err(error) => {
                tracing::error!(instance = %id, %error, "the audit log cannot be read");
                return Journal::default();
            }
        };
        let missing = journal::missing(&view, &events);
        let mut journal = Journal::resume(view.rotation, events);
        for mut event in missing {
            event.seq = journal.next_seq(view.rotation);
            self.unsaved.entries.push(Entry::of_event(id, record.actor.clone(), event));
        }
        journal
    }
}
