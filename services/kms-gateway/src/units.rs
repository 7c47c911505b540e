//! Asking operational units: one session with each, a counter a message, another unit when one is
//! silent.

mod awaited;
mod sessions;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use bus::{Bus, Outgoing};
use crypto::identity::{self, Identity};
use crypto::random::process_rng;
use machines::envelope::{self, Outgoing as Sealing};
use machines::trust::Trust;
use protocol::codec;
use protocol::envelope::{Kind, Recipient};
use protocol::session::{
    KeyAnswer, KeyRequest, SealedAnswer, SessionAsk, SessionInfo, SessionOffer,
};
use protocol::{Epoch, MessageId, ProcessId, Role, SessionId, topology};

use self::awaited::Awaited;
use self::sessions::{Session, Sessions};

/// How long a unit has to answer before another one is asked.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long all units together have, and the broker: whoever asked can try again.
const ASK_TIMEOUT: Duration = Duration::from_secs(15);

/// What a unit sent.
pub(crate) enum Reply {
    Offer(SessionOffer),
    Answer(SealedAnswer),
}

/// Why no unit answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnitsError {
    #[error("the gateway has no manifest with an operational unit: run auto-init")]
    NoUnits,
    #[error("no operational unit answers")]
    Silent,
    #[error("too many requests are waiting for units")]
    Busy,
}

pub(crate) struct Units {
    bus: Bus,
    identity: Arc<Identity>,
    id: ProcessId,
    trust: Arc<RwLock<Trust>>,
    awaited: Awaited,
    sessions: Sessions,
    next: Mutex<usize>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        // Every change under these locks is whole.
        Err(poisoned) => poisoned.into_inner(),
    }
}

impl Units {
    pub(crate) fn new(bus: Bus, identity: Arc<Identity>, trust: Arc<RwLock<Trust>>) -> Self {
        let id = identity::process_id(&identity.public_key());
        Self {
            bus,
            identity,
            id,
            trust,
            awaited: Awaited::default(),
            sessions: Sessions::default(),
            next: Mutex::default(),
        }
    }

    /// What the gateway believes about its instance.
    pub(crate) fn trust(&self) -> Trust {
        match self.trust.read() {
            Ok(trust) => trust.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    /// Hands a unit's answer to whoever awaits it; only from the unit that was asked.
    pub(crate) fn reply(&self, answered: Option<MessageId>, from: ProcessId, reply: Reply) {
        self.awaited.answer(answered, from, reply);
    }

    /// Asks units one after the other until one answers.
    pub(crate) async fn ask(&self, request: &KeyRequest) -> Result<KeyAnswer, UnitsError> {
        let asked = tokio::time::timeout(ASK_TIMEOUT, self.ask_in_turn(request)).await;
        asked.unwrap_or(Err(UnitsError::Silent))
    }

    async fn ask_in_turn(&self, request: &KeyRequest) -> Result<KeyAnswer, UnitsError> {
        let text = crypto::wiped(codec::encode(request));
        let units = self.in_turn();
        if units.is_empty() {
            return Err(UnitsError::NoUnits);
        }
        for unit in units {
            if let Some(answer) = self.ask_one(unit, &text).await? {
                return Ok(answer);
            }
            tracing::warn!(%unit, "a unit did not answer; another one is asked");
        }
        Err(UnitsError::Silent)
    }

    /// Operational units, beginning with another one each time.
    fn in_turn(&self) -> Vec<ProcessId> {
        let trust = self.trust();
        let mut units: Vec<_> = trust
            .newest()
            .into_iter()
            .flat_map(|manifest| manifest.of_role(Role::OperationalUnit))
            .map(|member| member.id)
            .collect();
        if !units.is_empty() {
            let mut next = locked(&self.next);
            *next = next.wrapping_add(1);
            let first = *next % units.len();
            units.rotate_left(first);
        }
        units
    }

    /// None if the unit is silent.
    async fn ask_one(&self, unit: ProcessId, text: &[u8]) -> Result<Option<KeyAnswer>, UnitsError> {
        let mut offer = None;
        // A unit that has started anew says so once, and offers its new key.
        for _ in 0..3 {
            let offered = offer.take();
            let opened = self.sessions.of(unit, || self.open(unit, offered)).await?;
            let Some(session) = opened else { return Ok(None) };
            let Some(sealed) = session.seal(text) else { return Ok(None) };
            let body = codec::encode(&sealed);
            match self.exchange(unit, Kind::SealedRequest, &body).await? {
                Some(Reply::Answer(SealedAnswer::Sealed { session: of, counter, ciphertext }))
                    if of == sealed.session && counter == sealed.counter =>
                {
                    return Ok(session.opened(counter, &ciphertext));
                }
                Some(Reply::Answer(SealedAnswer::UnknownSession(fresh))) => {
                    self.sessions.forget(unit, &session);
                    offer = Some(fresh);
                }
                Some(_) => self.sessions.forget(unit, &session),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Opens a session to the key that the unit has offered, or is asked for; none if it is silent.
    async fn open(
        &self,
        unit: ProcessId,
        offer: Option<SessionOffer>,
    ) -> Result<Option<Session>, UnitsError> {
        let offer = match offer {
            Some(offer) => offer,
            None => {
                let body = codec::encode(&SessionAsk {});
                match self.exchange(unit, Kind::SessionAsk, &body).await? {
                    Some(Reply::Offer(offer)) if offer.unit == unit => offer,
                    _ => return Ok(None),
                }
            }
        };
        let session = SessionId::from_uuid(crypto::random::uuid_v4(&mut process_rng()));
        let instance = self.trust().instance();
        let info = SessionInfo { instance, session, gateway: self.id, unit };
        Ok(Session::open(&offer, &info))
    }

    /// Sends a message and waits for what answers it; none if nothing does in time.
    async fn exchange(
        &self,
        unit: ProcessId,
        kind: Kind,
        body: &[u8],
    ) -> Result<Option<Reply>, UnitsError> {
        let (id, sealed) = self.seal(Recipient::Process(unit), kind, body);
        let waiting = self.awaited.begin(id, unit)?;
        let address =
            topology::process_address(Role::OperationalUnit, self.trust().instance(), unit);
        if let Err(error) = self.bus.publish(&Outgoing::to(address, sealed)).await {
            tracing::warn!(%error, %unit, "a request did not reach its unit");
            return Ok(None);
        }
        Ok(tokio::time::timeout(ANSWER_TIMEOUT, waiting.answer()).await.ok().flatten())
    }

    pub(crate) fn seal(
        &self,
        recipient: Recipient,
        kind: Kind,
        body: &[u8],
    ) -> (MessageId, Vec<u8>) {
        let trust = self.trust();
        let mut rng = process_rng();
        let id = MessageId::from_uuid(crypto::random::uuid_v7(service::now(), &mut rng));
        let sealing = Sealing {
            id,
            in_answer_to: None,
            instance: trust.instance(),
            recipient,
            manifest_serial: trust.serial(),
            rotation: None,
            epoch: Epoch::default(),
            kind,
        };
        (id, envelope::seal(&self.identity, &sealing, body))
    }
}
