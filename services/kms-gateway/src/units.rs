//! Asking operational units: one session with each, a counter a message, another unit when one is
//! silent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use bus::{Bus, Outgoing};
use crypto::identity::{self, Identity};
use crypto::random::process_rng;
use crypto::session::{self, Direction, SessionKeys};
use machines::envelope::{self, Outgoing as Sealing};
use machines::trust::Trust;
use protocol::codec;
use protocol::envelope::{Kind, Recipient};
use protocol::session::{
    KeyAnswer, KeyRequest, SealedAnswer, SealedRequest, SessionAsk, SessionInfo, SessionOffer,
};
use protocol::{Epoch, MessageId, ProcessId, Role, SessionId, topology};
use tokio::sync::oneshot;

/// How long a unit has to answer before another one is asked.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Most answers awaited at once.
const MAX_AWAITED: usize = 4_096;

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

struct Session {
    id: SessionId,
    unit_key: [u8; 32],
    enc: [u8; 32],
    keys: SessionKeys,
    counter: u64,
}

type Awaited = HashMap<MessageId, (ProcessId, oneshot::Sender<Reply>)>;

pub(crate) struct Units {
    bus: Bus,
    identity: Arc<Identity>,
    id: ProcessId,
    trust: Arc<RwLock<Trust>>,
    awaited: Mutex<Awaited>,
    sessions: Mutex<HashMap<ProcessId, Session>>,
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
            awaited: Mutex::default(),
            sessions: Mutex::default(),
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
        let Some(id) = answered else { return };
        let mut awaited = locked(&self.awaited);
        if awaited.get(&id).is_some_and(|(unit, _)| *unit == from)
            && let Some((_, waiter)) = awaited.remove(&id)
        {
            // Whoever waited may have given up.
            let _ = waiter.send(reply);
        }
    }

    /// Asks units one after the other until one answers.
    pub(crate) async fn ask(&self, request: &KeyRequest) -> Result<KeyAnswer, UnitsError> {
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
            let Some((sealed, session, counter)) = self.sealed(unit, text, offer.take()).await?
            else {
                return Ok(None);
            };
            let body = codec::encode(&sealed);
            match self.exchange(unit, Kind::SealedRequest, &body).await? {
                Some(Reply::Answer(SealedAnswer::Sealed {
                    session: of,
                    counter: to,
                    ciphertext,
                })) if of == session && to == counter => {
                    return Ok(self.opened(unit, counter, &ciphertext));
                }
                Some(Reply::Answer(SealedAnswer::UnknownSession(fresh))) => {
                    locked(&self.sessions).remove(&unit);
                    offer = Some(fresh);
                }
                Some(_) => {
                    locked(&self.sessions).remove(&unit);
                }
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Seals a request under the session with the unit, which is opened where there is none.
    async fn sealed(
        &self,
        unit: ProcessId,
        text: &[u8],
        offer: Option<SessionOffer>,
    ) -> Result<Option<(SealedRequest, SessionId, u64)>, UnitsError> {
        let has_session = locked(&self.sessions).contains_key(&unit);
        if !has_session {
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
            let Some(session) = self.open(unit, &offer) else { return Ok(None) };
            locked(&self.sessions).insert(unit, session);
        }
        let mut sessions = locked(&self.sessions);
        let Some(session) = sessions.get_mut(&unit) else { return Ok(None) };
        session.counter += 1;
        let counter = session.counter;
        let Ok(ciphertext) = session.keys.seal(Direction::Request, counter, text) else {
            return Ok(None);
        };
        let request = SealedRequest {
            session: session.id,
            session_key: session.unit_key,
            enc: session.enc,
            counter,
            ciphertext,
        };
        Ok(Some((request, session.id, counter)))
    }

    fn open(&self, unit: ProcessId, offer: &SessionOffer) -> Option<Session> {
        let mut rng = process_rng();
        let id = SessionId::from_uuid(crypto::random::uuid_v4(&mut rng));
        let instance = self.trust().instance();
        let info = SessionInfo { instance, session: id, gateway: self.id, unit };
        let opened =
            session::open_session(&offer.session_key, &codec::encode(&info), &mut rng).ok()?;
        let (enc, keys) = opened;
        Some(Session { id, unit_key: offer.session_key, enc, keys, counter: 0 })
    }

    fn opened(&self, unit: ProcessId, counter: u64, ciphertext: &[u8]) -> Option<KeyAnswer> {
        let sessions = locked(&self.sessions);
        let session = sessions.get(&unit)?;
        let text = session.keys.open(Direction::Answer, counter, ciphertext).ok()?;
        codec::decode(&text).ok()
    }

    /// Sends a message and waits for what answers it; none if nothing does in time.
    async fn exchange(
        &self,
        unit: ProcessId,
        kind: Kind,
        body: &[u8],
    ) -> Result<Option<Reply>, UnitsError> {
        let (id, sealed) = self.seal(Recipient::Process(unit), kind, body);
        let (waiter, answered) = oneshot::channel();
        {
            let mut awaited = locked(&self.awaited);
            if awaited.len() >= MAX_AWAITED {
                return Err(UnitsError::Busy);
            }
            awaited.insert(id, (unit, waiter));
        }
        let address =
            topology::process_address(Role::OperationalUnit, self.trust().instance(), unit);
        let reply = match self.bus.publish(&Outgoing::to(address, sealed)).await {
            Ok(()) => tokio::time::timeout(ANSWER_TIMEOUT, answered).await.ok(),
            Err(error) => {
                tracing::warn!(%error, %unit, "a request did not reach its unit");
                None
            }
        };
        locked(&self.awaited).remove(&id);
        Ok(reply.and_then(Result::ok))
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
