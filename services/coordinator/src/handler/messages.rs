//! Messages: signed ones of members, and requests from the queue.

use bus::Received;
use bus::driver::Outcome;
use machines::conductor::{Ask, Conductor, Input};
use machines::trust::Trust;
use protocol::InstanceId;
use protocol::api::Started;
use protocol::codec;
use protocol::envelope::{Envelope, Kind};
use protocol::report::Announcement;

use super::asked::Waiter;
use super::journal::Journal;
use super::{Coordinator, Instance, progress};
use crate::handle::Asker;
use crate::request;

/// Most instances that one coordinator serves; announcements of more are refused.
const MAX_INSTANCES: usize = 256;

impl Coordinator {
    /// An instance that nobody has spoken of before begins with an announcement: whether this one
    /// begins it. The error is the reason for the dead-letter queue.
    fn meet(&mut self, id: InstanceId, name: String) -> Result<bool, &'static str> {
        if InstanceId::named(&name) != id {
            return Err("unknown-instance");
        }
        if self.instances.contains_key(&id) {
            return Ok(false);
        }
        if self.instances.len() >= MAX_INSTANCES {
            return Err("too-many-instances");
        }
        let (trust, times) = (Trust::imprint(id), self.config.times);
        let conductor = Conductor::new(self.identity.clone(), trust, None, times);
        self.instances.insert(id, Instance::new(name, conductor, Journal::default()));
        Ok(true)
    }

    pub(crate) fn signed_message(&mut self, received: &Received) -> Outcome {
        let mut outcome = Outcome::default();
        let envelope = match Envelope::parse(&received.body) {
            Ok(envelope) => envelope,
            Err(error) => return Outcome { dead: Some(error.reason()), ..outcome },
        };
        let (id, kind) = (envelope.header.instance, envelope.header.kind);
        let announced = (kind == Kind::Announcement)
            .then(|| codec::decode::<Announcement>(envelope.body).ok())
            .flatten();
        let is_met = match announced.map(|said| self.meet(id, said.instance_name)).transpose() {
            Ok(is_met) => is_met.unwrap_or(false),
            Err(reason) => return Outcome { dead: Some(reason), ..outcome },
        };
        if !self.instances.contains_key(&id) {
            return Outcome { dead: Some("unknown-instance"), ..outcome };
        }
        self.conduct(id, Input::Message(received.body.to_vec()), &mut outcome);
        if is_met && outcome.dead.is_some() {
            // Nobody has signed for it.
            self.instances.remove(&id);
        } else if is_met && let Some(instance) = self.instances.get(&id) {
            progress::known(&instance.name, &[]);
        }
        outcome
    }

    pub(crate) async fn requested(&mut self, received: &Received) -> Outcome {
        let parsed = match request::parse(received, service::now()) {
            Ok(parsed) => parsed,
            Err(refusal) => {
                let publish = request::refusal(received, &refusal).into_iter().collect();
                return Outcome { publish, dead: Some(refusal.code), ..Outcome::default() };
            }
        };
        for name in &parsed.requester.names {
            if let Some(before) = self.answered(name).await {
                let publish = request::repeat(&parsed.requester, before).into_iter().collect();
                return Outcome { publish, ..Outcome::default() };
            }
        }
        let id = InstanceId::named(&parsed.instance);
        let mut outcome = Outcome::default();
        if !self.instances.contains_key(&id) {
            let refusal = request::unknown_instance(&parsed.instance);
            outcome.publish.extend(request::refusal(received, &refusal));
            outcome.dead = Some(refusal.code);
            return outcome;
        }
        let asker = Asker {
            actor: parsed.start.actor.clone(),
            remember_as: parsed.requester.names.first().cloned(),
        };
        let ask = Ask::Start(parsed.start);
        let ask = self.put(id, Waiter::Queue(parsed.requester), asker, ask, &mut outcome);
        // A survey comes first, which nothing remembers: only the queue does.
        outcome.defer = Some(ask);
        outcome
    }

    /// What the request was answered before. A store that cannot say leads to joining or, after the
    /// end of the first, to another rotation: never to harm.
    async fn answered(&self, name: &str) -> Option<Started> {
        match self.records.answered(name.to_owned()).await {
            Ok(text) => serde_json::from_str(&text?).ok(),
            Err(error) => {
                tracing::error!(%error, "answers given before cannot be read");
                None
            }
        }
    }
}
