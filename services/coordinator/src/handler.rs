//! The coordinator's handler: messages and requests go to the conductor of their instance; what it
//! answers is saved, published and told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bus::driver::{Handler, Outcome, SaveError};
use bus::{Outgoing, Received};
use crypto::identity::Identity;
use crypto::random::ProcessRng;
use ledger::{Folder, Records};
use machines::conductor::{Answer, Ask, AskId, Conductor, Effects, Input};
use machines::trust::Trust;
use protocol::api::RotationEvent;
use protocol::codec;
use protocol::envelope::{Envelope, Kind};
use protocol::report::Announcement;
use protocol::{InstanceId, UnixMillis, topology};
use tokio::sync::{broadcast, oneshot};

use crate::publish;
use crate::request::{self, Requester};
use crate::{CoordinatorConfig, LocalAsk};

/// Most instances that one coordinator serves; announcements of more are refused.
const MAX_INSTANCES: usize = 256;

/// Who waits for an answer.
enum Waiter {
    Local(oneshot::Sender<Answer>),
    Queue(Requester),
}

struct Instance {
    name: String,
    conductor: Conductor,
    next_event: u64,
}

pub(crate) struct Coordinator {
    _folder: Folder,
    identity: Arc<Identity>,
    records: Records,
    config: CoordinatorConfig,
    events: broadcast::Sender<RotationEvent>,
    rng: ProcessRng,
    instances: BTreeMap<InstanceId, Instance>,
    waiters: BTreeMap<AskId, Waiter>,
    next_ask: AskId,
    unsaved: BTreeSet<InstanceId>,
    unsaved_documents: BTreeSet<InstanceId>,
    unsaved_events: Vec<(InstanceId, RotationEvent)>,
}

impl Coordinator {
    pub(crate) const fn new(
        folder: Folder,
        identity: Arc<Identity>,
        records: Records,
        config: CoordinatorConfig,
        events: broadcast::Sender<RotationEvent>,
        rng: ProcessRng,
    ) -> Self {
        Self {
            _folder: folder,
            identity,
            records,
            config,
            events,
            rng,
            instances: BTreeMap::new(),
            waiters: BTreeMap::new(),
            next_ask: 1,
            unsaved: BTreeSet::new(),
            unsaved_documents: BTreeSet::new(),
            unsaved_events: Vec::new(),
        }
    }

    /// Loads every instance, and goes on with whatever was running.
    pub(crate) async fn recover(&mut self) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        for (id, name) in self.records.instances().await? {
            let trust = Trust::from_saved(id, self.records.manifests(id).await?)?;
            let standing = self.records.standing(id).await?;
            let record = self.records.unfinished(id).await?;
            let times = self.config.times;
            let mut conductor = Conductor::new(self.identity.clone(), trust, standing, times);
            let effects = conductor.recover(service::now(), &mut self.rng, record);
            self.instances.insert(id, Instance { name, conductor, next_event: 1 });
            self.apply(id, effects, &mut outcome);
        }
        Ok(outcome)
    }

    fn apply(&mut self, id: InstanceId, effects: Effects, outcome: &mut Outcome) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        if effects.save {
            self.unsaved.insert(id);
        }
        if effects.save_documents {
            self.unsaved_documents.insert(id);
        }
        let trust = instance.conductor.trust();
        for message in effects.send {
            let queue = topology::process_queue(trust.instance(), message.to);
            outcome.publish.push(Outgoing::to_queue(queue, message.bytes));
        }
        let view = instance.conductor.rotation().map(|rotation| rotation.to_view());
        for (event, rotation) in effects.events.into_iter().zip(std::iter::repeat(view)) {
            let Some(mut rotation) = rotation else { continue };
            rotation.phase = event.phase;
            let told = RotationEvent {
                seq: instance.next_event,
                at: service::now(),
                rotation,
                text: event.text,
            };
            instance.next_event += 1;
            tracing::info!(instance = %instance.name, phase = %event.phase, told.text);
            outcome.publish.push(publish::event(id, &told));
            self.unsaved_events.push((id, told));
        }
        outcome.is_changed |= !self.unsaved.is_empty()
            || !self.unsaved_documents.is_empty()
            || !self.unsaved_events.is_empty();
        outcome.dead = outcome.dead.or(effects.dead);
        for (ask, answer) in effects.answers {
            match self.waiters.remove(&ask) {
                Some(Waiter::Local(waiter)) => {
                    // Whoever asked may have gone; the rotation goes on all the same.
                    outcome.after_save.push(Box::new(move || _ = waiter.send(answer)));
                }
                Some(Waiter::Queue(requester)) => {
                    outcome.publish.extend(request::answer(&requester, &answer));
                }
                None => {}
            }
        }
        if effects.is_fenced
            && let Some(instance) = self.instances.get_mut(&id)
        {
            // One coordinator has the store to itself, so the lease is still its own.
            let renewed = instance.conductor.lease_renewed(service::now(), &mut self.rng);
            self.apply(id, renewed, outcome);
        }
    }

    fn conduct(&mut self, id: InstanceId, input: Input, outcome: &mut Outcome) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let effects = instance.conductor.handle(service::now(), &mut self.rng, input);
        self.apply(id, effects, outcome);
    }

    /// An instance that nobody has spoken of before begins with an announcement.
    fn meet(&mut self, id: InstanceId, name: String) -> bool {
        if self.instances.contains_key(&id) {
            return true;
        }
        if self.instances.len() >= MAX_INSTANCES {
            return false;
        }
        let conductor =
            Conductor::new(self.identity.clone(), Trust::imprint(id), None, self.config.times);
        self.instances.insert(id, Instance { name, conductor, next_event: 1 });
        true
    }

    fn signed_message(&mut self, received: &Received) -> Outcome {
        let mut outcome = Outcome::default();
        let envelope = match Envelope::parse(&received.body) {
            Ok(envelope) => envelope,
            Err(error) => return Outcome { dead: Some(error.reason()), ..outcome },
        };
        let id = envelope.header.instance;
        if envelope.header.kind == Kind::Announcement
            && let Ok(said) = codec::decode::<Announcement>(envelope.body)
            && (InstanceId::named(&said.instance_name) != id || !self.meet(id, said.instance_name))
        {
            return Outcome { dead: Some("unknown-instance"), ..outcome };
        }
        if !self.instances.contains_key(&id) {
            return Outcome { dead: Some("unknown-instance"), ..outcome };
        }
        self.conduct(id, Input::Message(received.body.to_vec()), &mut outcome);
        outcome
    }

    async fn requested(&mut self, received: &Received) -> Outcome {
        let parsed = match request::parse(received) {
            Ok(parsed) => parsed,
            Err(refusal) => {
                let publish = request::refusal(received, &refusal).into_iter().collect();
                return Outcome { publish, dead: Some(refusal.code), ..Outcome::default() };
            }
        };
        if let Ok(Some(answer)) = self.records.answered(parsed.requester.id.clone()).await {
            let publish = request::repeat(&parsed.requester, answer).into_iter().collect();
            return Outcome { publish, ..Outcome::default() };
        }
        let id = InstanceId::named(&parsed.instance);
        let mut outcome = Outcome::default();
        if !self.instances.contains_key(&id) {
            let refusal = request::unknown_instance(&parsed.instance);
            outcome.publish.extend(request::refusal(received, &refusal));
            outcome.dead = Some(refusal.code);
            return outcome;
        }
        let (ask_id, requester) = (self.ask_id(), parsed.requester);
        // Remembered before it is acknowledged: a repeat of it joins, or hears the same.
        let remembered =
            self.records.remember(requester.id.clone(), service::now(), "taken".to_owned()).await;
        if let Err(error) = remembered {
            tracing::error!(%error, "the request could not be remembered");
        }
        self.waiters.insert(ask_id, Waiter::Queue(requester));
        self.conduct(id, Input::Ask(ask_id, Ask::Start(parsed.start)), &mut outcome);
        outcome
    }

    const fn ask_id(&mut self) -> AskId {
        self.next_ask += 1;
        self.next_ask
    }

    async fn save_all(&mut self) -> Result<(), ledger::RecordsError> {
        for id in std::mem::take(&mut self.unsaved_documents) {
            let Some(instance) = self.instances.get(&id) else { continue };
            let chain = instance.conductor.trust().chain().to_vec();
            let standing = instance.conductor.standing().cloned();
            let name = instance.name.clone();
            self.records.save_documents(id, name, chain, standing).await?;
        }
        for id in std::mem::take(&mut self.unsaved) {
            let rotation = self.instances.get(&id).and_then(|it| it.conductor.rotation());
            if let Some(rotation) = rotation {
                self.records.save(id, rotation.record()).await?;
            }
        }
        for (id, event) in std::mem::take(&mut self.unsaved_events) {
            let actor = self.actor(id);
            let details = serde_json::json!({
                "rotation": event.rotation.rotation,
                "number": event.rotation.number,
                "text": event.text,
            });
            let action = format!("rotation.{}", event.rotation.phase);
            self.records.audit(id, event.at, actor, action, details).await?;
            // Nobody listening is no error.
            let _ = self.events.send(event);
        }
        Ok(())
    }

    fn actor(&self, id: InstanceId) -> String {
        let rotation = self.instances.get(&id).and_then(|it| it.conductor.rotation());
        rotation.map_or_else(String::new, |rotation| rotation.record().actor.clone())
    }

    fn next_due(&self) -> Option<UnixMillis> {
        self.instances.values().filter_map(|instance| instance.conductor.next_tick()).min()
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
            LocalAsk::Conduct(id, ask, waiter) => {
                let ask_id = self.ask_id();
                self.waiters.insert(ask_id, Waiter::Local(waiter));
                self.conduct(id, Input::Ask(ask_id, *ask), &mut outcome);
                if !self.instances.contains_key(&id) {
                    // Dropping the waiter would say that the coordinator has stopped.
                    if let Some(Waiter::Local(waiter)) = self.waiters.remove(&ask_id) {
                        let _ = waiter.send(request::unknown_instance_answer());
                    }
                }
            }
            LocalAsk::See(id, look) => {
                look(self.instances.get(&id).map(|instance| &instance.conductor));
            }
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
