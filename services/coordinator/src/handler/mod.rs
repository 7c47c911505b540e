//! The coordinator's handler: messages and requests go to the conductor of their instance; what it
//! answers is saved, published and told.

mod asked;
mod journal;
mod measure;
mod messages;
mod process;
mod progress;
mod receipts;
mod recovering;
mod surveys;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bus::Outgoing;
use bus::driver::{Outcome, Settled};
use crypto::identity::Identity;
use crypto::random::ProcessRng;
use ledger::{Folder, Records};
use machines::conductor::{Answer, Ask, AskId, Conductor, Effects, Input};
use machines::rotation::Event;
use machines::rotation::record::Record;
use protocol::api::{RotationEvent, RotationView};
use protocol::audit::Phase;
use protocol::receipt::RotationReceipt;
use protocol::{InstanceId, UnixMillis, topology};
use service::Status;
use tokio::sync::broadcast;

pub(crate) use self::asked::started;
use self::asked::{Asked, Waiter};
pub(crate) use self::journal::read_back;
use self::journal::{Entry, Journal};
use self::progress::Told;
use self::receipts::Before;
use self::surveys::Survey;
use crate::handle::Asker;
use crate::{CoordinatorConfig, publish, request, views};

struct Instance {
    name: String,
    conductor: Conductor,
    journal: Journal,
    survey: Option<Survey>,
    told: Told,
    before: Before,
}

impl Instance {
    fn new(name: String, conductor: Conductor, journal: Journal) -> Self {
        let (told, before) = (Told::default(), Before::default());
        Self { name, conductor, journal, survey: None, told, before }
    }
}

/// What must be durable before anything is published or answered.
#[derive(Default)]
struct Unsaved {
    /// Records of earlier rotations that have ended: there is one without an end at a time.
    closed: Vec<(InstanceId, Record)>,
    records: BTreeSet<InstanceId>,
    /// Each with the record of its rotation.
    receipts: BTreeMap<InstanceId, RotationReceipt>,
    documents: BTreeSet<InstanceId>,
    entries: Vec<Entry>,
    answers: Vec<(String, String)>,
}

impl Unsaved {
    fn is_empty(&self) -> bool {
        self.closed.is_empty()
            && self.records.is_empty()
            && self.documents.is_empty()
            && self.entries.is_empty()
            && self.answers.is_empty()
    }
}

pub(crate) struct Coordinator {
    _folder: Folder,
    identity: Arc<Identity>,
    records: Records,
    config: CoordinatorConfig,
    events: broadcast::Sender<RotationEvent>,
    rng: ProcessRng,
    instances: BTreeMap<InstanceId, Instance>,
    asked: BTreeMap<AskId, Asked>,
    last_ask: AskId,
    unsaved: Unsaved,
    status: Status,
    /// When everybody is asked next how they stand, for the metrics; none if never.
    survey_at: Option<UnixMillis>,
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        for instance in self.instances.values() {
            progress::let_go(&instance.name);
        }
    }
}

impl Coordinator {
    pub(crate) fn new(
        folder: Folder,
        identity: Arc<Identity>,
        records: Records,
        config: CoordinatorConfig,
        events: broadcast::Sender<RotationEvent>,
        status: Status,
        rng: ProcessRng,
    ) -> Self {
        let survey_at = (!config.survey_every.is_zero()).then(service::now);
        Self {
            survey_at,
            status,
            _folder: folder,
            identity,
            records,
            config,
            events,
            rng,
            instances: BTreeMap::new(),
            asked: BTreeMap::new(),
            last_ask: 0,
            unsaved: Unsaved::default(),
        }
    }

    /// Takes what a conductor wants done: everything is queued until it is saved.
    fn apply(&mut self, id: InstanceId, effects: Effects, outcome: &mut Outcome) {
        if let Some(record) = effects.closed {
            self.tell_closed(id, &record, outcome);
            self.unsaved.closed.push((id, record));
        }
        if effects.save {
            self.unsaved.records.insert(id);
            self.make_receipt(id);
        }
        if effects.save_documents {
            self.unsaved.documents.insert(id);
        }
        let Some(instance) = self.instances.get(&id) else { return };
        let trust = instance.conductor.trust();
        #[cfg(feature = "testing")]
        let is_held = instance
            .conductor
            .rotation()
            .is_some_and(|rotation| crate::testing::is_held(rotation.to_view().phase));
        let place = instance
            .conductor
            .rotation()
            .map(|rotation| progress::current(rotation.record(), rotation.reference().rotation));
        for message in effects.send {
            #[cfg(feature = "testing")]
            if is_held && message.name != "survey" {
                continue;
            }
            let Some(role) = instance.conductor.role_of(message.to) else { continue };
            let address = topology::process_address(role, trust.instance(), message.to);
            let place = place.filter(|_| message.name != "survey");
            outcome.publish.push(Outgoing::to(address, message.bytes).traced(place));
        }
        for (ask, answer) in effects.answers {
            self.answer(id, ask, answer, outcome);
        }
        for event in effects.events {
            self.tell(id, event, outcome);
        }
        self.tell_progress(id, outcome);
        outcome.is_changed |= !self.unsaved.is_empty();
        outcome.dead = outcome.dead.or(effects.dead);
        if effects.is_fenced
            && let Some(instance) = self.instances.get_mut(&id)
        {
            // Where another coordinator has taken the lease, the save of this new epoch is refused,
            // nothing of it is sent, and the process waits for its turn (`boot`).
            let renewed = instance.conductor.survey_anew(service::now(), &mut self.rng);
            self.apply(id, renewed, outcome);
        }
    }

    /// Spans and metrics of what has been reached since the last time.
    fn tell_progress(&mut self, id: InstanceId, outcome: &mut Outcome) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let Some(rotation) = instance.conductor.rotation() else { return };
        let is_over = rotation.record().finished_at.is_some();
        let news = instance.told.news(&instance.name, rotation);
        if news.is_some() && is_over && self.survey_at.is_some() {
            // The gauges shall not wait for their turn.
            self.survey_at = Some(service::now());
        }
        outcome.after_save.extend(news);
    }

    fn answer(&mut self, id: InstanceId, ask: AskId, answer: Answer, outcome: &mut Outcome) {
        let Some(asked) = self.asked.remove(&ask) else { return };
        let answer = asked.judge(answer);
        self.unsaved.entries.extend(asked.entry(id, service::now(), &answer));
        self.unsaved.answers.extend(asked.remembered(&answer));
        match asked.waiter {
            Waiter::Local(waiter) => {
                // Whoever asked may have gone; the rotation goes on all the same.
                outcome.after_save.push(Box::new(move || _ = waiter.send(answer)));
            }
            Waiter::Queue(requester) => {
                outcome.publish.extend(request::answer(&requester, &answer));
                let refused = self.refused(id, &asked.asker, &answer);
                outcome.settle.push(Settled { number: ask, refused });
            }
            Waiter::Survey => self.surveyed(id, answer, outcome),
        }
    }

    /// Why a request from the queue comes to nothing, if it does: nobody need wait for its answer,
    /// so the log says it, and the dead queue keeps it under this reason.
    fn refused(&self, id: InstanceId, asker: &Asker, answer: &Answer) -> Option<String> {
        let (code, text) = asked::refusal(answer)?;
        let instance = self.instances.get(&id).map(|instance| instance.name.as_str());
        tracing::warn!(instance, actor = asker.actor, code, text, "a request comes to nothing");
        Some(code.to_owned())
    }

    fn tell(&mut self, id: InstanceId, event: Event, outcome: &mut Outcome) {
        let Some(instance) = self.instances.get(&id) else { return };
        let Some(found) = instance.conductor.rotation() else {
            tracing::error!(instance = %instance.name, event.text);
            return;
        };
        let (mut rotation, actor) = (found.to_view(), found.record().actor.clone());
        rotation.phase = event.phase;
        // Only the end is told with its receipt.
        rotation.receipt = rotation.receipt.filter(|_| event.phase == Phase::Done);
        tracing::info!(instance = %instance.name, phase = %event.phase, "{}", event.text);
        self.queue_event(id, rotation, actor, event.text, outcome);
    }

    /// The end of an earlier rotation, which the coordinator had not heard of.
    fn tell_closed(&mut self, id: InstanceId, record: &Record, outcome: &mut Outcome) {
        let Some(instance) = self.instances.get(&id) else { return };
        let rotation = views::recorded(record, instance.conductor.trust());
        let is_rotating = instance.conductor.is_rotating();
        outcome.after_save.push(progress::closed(
            &instance.name,
            rotation.rotation,
            record,
            is_rotating,
        ));
        let text = machines::rotation::phase_text(rotation.phase, rotation.purpose).to_owned();
        self.queue_event(id, rotation, record.actor.clone(), text, outcome);
    }

    /// Told and written once everything is saved.
    fn queue_event(
        &mut self,
        id: InstanceId,
        rotation: RotationView,
        actor: String,
        text: String,
        outcome: &mut Outcome,
    ) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let seq = instance.journal.next_seq(rotation.rotation);
        let told = RotationEvent { seq, at: service::now(), rotation, text };
        outcome.publish.push(publish::event(id, &told));
        self.unsaved.entries.push(Entry::of_event(id, actor, told));
    }

    fn conduct(&mut self, id: InstanceId, input: Input, outcome: &mut Outcome) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let effects = instance.conductor.handle(service::now(), &mut self.rng, input);
        self.apply(id, effects, outcome);
    }

    fn put(
        &mut self,
        id: InstanceId,
        waiter: Waiter,
        asker: Asker,
        ask: Ask,
        outcome: &mut Outcome,
    ) -> AskId {
        self.last_ask += 1;
        let number = self.last_ask;
        self.asked.insert(number, Asked::new(waiter, asker, &ask));
        self.conduct(id, Input::Ask(number, ask), outcome);
        number
    }
}
