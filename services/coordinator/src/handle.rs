//! How the rest of the process speaks with the coordinator.

use machines::conductor::{Answer, Ask, Conductor};
use machines::rotation::precheck::Findings;
use protocol::api::RotationEvent;
use protocol::manifest::Member;
use protocol::{InstanceId, RotationId, UnixMillis};
use tokio::sync::{broadcast, mpsc, oneshot};

/// Looks at an instance's conductor; none if the instance is not known.
pub type Look = Box<dyn FnOnce(Option<&Conductor>) + Send>;

/// Looks at all instances, in the order of their names.
pub type LookAll = Box<dyn FnOnce(&[Known<'_>]) + Send>;

/// An instance that the coordinator knows.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its id.
    pub id: InstanceId,
    /// Its name.
    pub name: &'a str,
    /// Its conductor.
    pub conductor: &'a Conductor,
}

/// What a survey for a person came to.
#[derive(Clone, Debug)]
pub struct Looked {
    /// What keeps a rotation from starting, and what is worth knowing.
    pub findings: Findings,
    /// Whoever has not been heard since is silent.
    pub since: UnixMillis,
}

/// Who asks for something that changes things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Stands in the audit log.
    pub actor: String,
    /// Under this name an answer that started or joined a rotation is remembered.
    pub remember_as: Option<String>,
}

/// A request from inside the process.
pub enum LocalAsk {
    /// For an instance's conductor.
    Conduct(InstanceId, Asker, Box<Ask>, oneshot::Sender<Answer>),
    /// Surveys an instance; those who ask while one is under way share the next. Dropped without an
    /// answer if the instance is not known.
    Survey(InstanceId, oneshot::Sender<Looked>),
    /// Looks at an instance's conductor.
    See(InstanceId, Look),
    /// Looks at all instances.
    SeeAll(LookAll),
    /// The events of a rotation so far, if it is the one that its instance was last in.
    Told(RotationId, oneshot::Sender<Option<Vec<RotationEvent>>>),
}

/// The coordinator's process has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator has stopped: start it and run the command again")]
pub struct Stopped;

/// A coordinator that runs in this process.
#[derive(Clone, Debug)]
pub struct Handle {
    asks: mpsc::Sender<LocalAsk>,
    events: broadcast::Sender<RotationEvent>,
    member: Member,
}

impl Handle {
    pub(crate) const fn new(
        asks: mpsc::Sender<LocalAsk>,
        events: broadcast::Sender<RotationEvent>,
        member: Member,
    ) -> Self {
        Self { asks, events, member }
    }

    /// Asks an instance's conductor, in the name of this process.
    pub async fn ask(&self, instance: InstanceId, ask: Ask) -> Result<Answer, Stopped> {
        let actor = match &ask {
            Ask::Start(start) => start.actor.clone(),
            _ => self.member.name.clone(),
        };
        self.ask_as(Asker { actor, remember_as: None }, instance, ask).await
    }

    /// Asks an instance's conductor. What it comes to happens even if nobody waits for the answer.
    pub async fn ask_as(
        &self,
        asker: Asker,
        instance: InstanceId,
        ask: Ask,
    ) -> Result<Answer, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.send(LocalAsk::Conduct(instance, asker, Box::new(ask), answer)).await?;
        answered.await.map_err(|_| Stopped)
    }

    /// Asks everybody how they stand; none if the instance is not known.
    pub async fn survey(&self, instance: InstanceId) -> Result<Option<Looked>, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.send(LocalAsk::Survey(instance, answer)).await?;
        match answered.await {
            Ok(looked) => Ok(Some(looked)),
            Err(_) if self.is_stopped() => Err(Stopped),
            Err(_) => Ok(None),
        }
    }

    /// Looks at an instance's conductor.
    pub async fn see<T: Send + 'static>(
        &self,
        instance: InstanceId,
        look: impl FnOnce(Option<&Conductor>) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        // Whoever asked may have gone; then nobody needs the answer.
        let look = move |found: Option<&Conductor>| _ = answer.send(look(found));
        self.send(LocalAsk::See(instance, Box::new(look))).await?;
        answered.await.map_err(|_| Stopped)
    }

    /// Looks at all instances, in the order of their names.
    pub async fn see_all<T: Send + 'static>(
        &self,
        look: impl FnOnce(&[Known<'_>]) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        let look = move |all: &[Known<'_>]| _ = answer.send(look(all));
        self.send(LocalAsk::SeeAll(Box::new(look))).await?;
        answered.await.map_err(|_| Stopped)
    }

    /// The events of a rotation so far, if it is the one that its instance was last in.
    pub async fn told(&self, rotation: RotationId) -> Result<Option<Vec<RotationEvent>>, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.send(LocalAsk::Told(rotation, answer)).await?;
        answered.await.map_err(|_| Stopped)
    }

    /// Events of all rotations from now on.
    pub fn events(&self) -> broadcast::Receiver<RotationEvent> {
        self.events.subscribe()
    }

    /// The coordinator as it would stand in a manifest.
    pub const fn member(&self) -> &Member {
        &self.member
    }

    /// Whether the coordinator has stopped.
    pub fn is_stopped(&self) -> bool {
        self.asks.is_closed()
    }

    /// Waits until the coordinator has stopped.
    pub async fn stopped(&self) {
        self.asks.closed().await;
    }

    async fn send(&self, ask: LocalAsk) -> Result<(), Stopped> {
        self.asks.send(ask).await.map_err(|_| Stopped)
    }
}
