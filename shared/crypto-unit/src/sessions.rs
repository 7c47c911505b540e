//! Sessions with gateways: a key that lives in memory only, a window against repeats, a bound on
//! how many are open.
//!
//! A session is begun once. Its keys follow from the unit's key and the bytes of a request alone, so
//! one that was let go and begun again would do the requests again, and seal the answers under the
//! same nonces. Ids of sessions that were let go are therefore kept for as long as the key.

use std::collections::{BTreeMap, BTreeSet};

use crypto::random::{ProcessRng, process_rng};
use crypto::session::{Direction, ReplayWindow, SessionKey, SessionKeys};
use machines::unit::keyring::Keyring;
use machines::unit::keys;
use protocol::codec;
use protocol::envelope::{Header, Kind};
use protocol::session::{
    KeyAnswer, KeyRefusal, KeyRequest, SealedAnswer, SealedRequest, SessionAsk, SessionInfo,
    SessionOffer,
};
use protocol::{ProcessId, SessionId, UnixMillis};

/// How long a unit opens sessions to one key.
const RENEW_MS: u64 = 60 * 60 * 1000;
/// Most sessions that are open at once; the oldest goes first.
const MAX_SESSIONS: usize = 256;
/// Most sessions that are let go under one key, 16 bytes each: then another key is made.
const MAX_LET_GO: usize = 16_384;

struct Session {
    keys: SessionKeys,
    window: ReplayWindow,
    gateway: ProcessId,
    used_at: UnixMillis,
}

/// The unit's side of all sessions.
pub(crate) struct Sessions {
    key: SessionKey,
    until: UnixMillis,
    open: BTreeMap<SessionId, Session>,
    /// Begun under this key and let go: never begun again.
    let_go: BTreeSet<SessionId>,
}

impl Sessions {
    /// Its key is drawn from a source that nothing else is drawn from, and that goes with the stack.
    pub(crate) fn new(now: UnixMillis) -> Self {
        let key = SessionKey::generate(&mut process_rng());
        Self { key, until: now.plus_ms(RENEW_MS), open: BTreeMap::new(), let_go: BTreeSet::new() }
    }

    /// Answers an ask or a sealed request; the error is the reason for the dead queue.
    #[expect(clippy::too_many_arguments, reason = "each of them is one thing of one message")]
    pub(crate) fn handle(
        &mut self,
        now: UnixMillis,
        rng: &mut ProcessRng,
        unit: ProcessId,
        header: &Header,
        kind: Kind,
        body: &[u8],
        keyring: &Keyring,
    ) -> Result<(Kind, Vec<u8>), &'static str> {
        if now >= self.until {
            *self = Self::new(now);
        }
        if kind == Kind::SessionAsk {
            codec::decode::<SessionAsk>(body).map_err(|error| error.reason())?;
            return Ok((Kind::SessionOffer, codec::encode(&self.offer(unit))));
        }
        let request: SealedRequest = codec::decode(body).map_err(|error| error.reason())?;
        let answer = self.sealed(now, rng, unit, header, request, keyring)?;
        Ok((Kind::SealedAnswer, codec::encode(&answer)))
    }

    fn offer(&self, unit: ProcessId) -> SessionOffer {
        SessionOffer { unit, session_key: self.key.public(), until: self.until }
    }

    fn sealed(
        &mut self,
        now: UnixMillis,
        rng: &mut ProcessRng,
        unit: ProcessId,
        header: &Header,
        request: SealedRequest,
        keyring: &Keyring,
    ) -> Result<SealedAnswer, &'static str> {
        if !self.has_room(&request) {
            *self = Self::new(now);
        }
        let is_let_go = self.let_go.contains(&request.session);
        if request.session_key != self.key.public() || is_let_go {
            return Ok(SealedAnswer::UnknownSession(self.offer(unit)));
        }
        let (session, counter) = (request.session, request.counter);
        let found = self.session(now, unit, header, &request)?;
        let opened = found
            .keys
            .open(Direction::Request, counter, &request.ciphertext)
            .map_err(|_| "session-ciphertext")?;
        if !found.window.accept(counter) {
            crate::count_refused("sealed-request", "replayed");
            return Ok(SealedAnswer::Replayed);
        }
        let answer = match codec::decode::<KeyRequest>(&opened) {
            Ok(request) => keys::answer(keyring, request, rng),
            Err(error) => KeyAnswer::Refused(KeyRefusal::OutOfBounds(error.to_string())),
        };
        let text = crypto::wiped(codec::encode(&answer));
        let ciphertext =
            found.keys.seal(Direction::Answer, counter, &text).map_err(|_| "session-answer")?;
        Ok(SealedAnswer::Sealed { session, counter, ciphertext })
    }

    fn session(
        &mut self,
        now: UnixMillis,
        unit: ProcessId,
        header: &Header,
        request: &SealedRequest,
    ) -> Result<&mut Session, &'static str> {
        let (session, gateway) = (request.session, header.sender);
        if !self.open.contains_key(&session) {
            let info = SessionInfo { instance: header.instance, session, gateway, unit };
            let keys =
                self.key.accept(&request.enc, &codec::encode(&info)).map_err(|_| "session-key")?;
            self.make_room();
            let window = ReplayWindow::default();
            self.open.insert(session, Session { keys, window, gateway, used_at: now });
        }
        let found = self.open.get_mut(&session).ok_or("session-key")?;
        if found.gateway != gateway {
            return Err("session-of-another");
        }
        found.used_at = now;
        Ok(found)
    }

    /// Whether the session of this request is open, or can be begun without forgetting another one.
    fn has_room(&self, request: &SealedRequest) -> bool {
        self.open.contains_key(&request.session)
            || self.open.len() < MAX_SESSIONS
            || self.let_go.len() < MAX_LET_GO
    }

    fn make_room(&mut self) {
        if self.open.len() < MAX_SESSIONS {
            return;
        }
        let oldest = self.open.iter().min_by_key(|(_, session)| session.used_at);
        if let Some(id) = oldest.map(|(id, _)| *id) {
            self.open.remove(&id);
            self.let_go.insert(id);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crypto::identity::{Identity, process_id};
    use crypto::random::{process_rng, uuid_v4};
    use crypto::session::open_session;
    use protocol::envelope::Recipient;
    use protocol::{Epoch, InstanceId, MessageId};

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    /// A unit's sessions, and a gateway's side of them.
    struct World {
        rng: ProcessRng,
        unit: ProcessId,
        header: Header,
        sessions: Sessions,
    }

    impl World {
        fn new() -> Self {
            let mut rng = process_rng();
            let unit = ProcessId::from_bytes([1; 16]);
            let gateway = Identity::generate(&mut rng).public_key();
            let header = Header {
                id: MessageId::from_uuid(uuid_v4(&mut rng)),
                in_answer_to: None,
                instance: InstanceId::named("prod"),
                sender: process_id(&gateway),
                sender_key: gateway,
                recipient: Recipient::Process(unit),
                manifest_serial: 1,
                rotation: None,
                epoch: Epoch::default(),
                kind: Kind::SealedRequest,
            };
            let sessions = Sessions::new(NOW);
            Self { rng, unit, header, sessions }
        }

        /// The first request of another session, as it crosses the broker.
        fn first_request(&mut self) -> SealedRequest {
            let session = SessionId::from_uuid(uuid_v4(&mut self.rng));
            let (unit, gateway) = (self.unit, self.header.sender);
            let info = SessionInfo { instance: self.header.instance, session, gateway, unit };
            let session_key = self.sessions.key.public();
            let info = codec::encode(&info);
            let (enc, keys) = open_session(&session_key, &info, &mut self.rng).unwrap();
            let text = codec::encode(&KeyRequest::Check { rows: Vec::new() });
            let ciphertext = keys.seal(Direction::Request, 1, &text).unwrap();
            SealedRequest { session, session_key, enc, counter: 1, ciphertext }
        }

        fn ask(&mut self, at: UnixMillis, request: &SealedRequest) -> SealedAnswer {
            let body = codec::encode(request);
            let (rng, header) = (&mut self.rng, &self.header);
            let keyring = Keyring::default();
            let (_, answer) = self
                .sessions
                .handle(at, rng, self.unit, header, Kind::SealedRequest, &body, &keyring)
                .unwrap();
            codec::decode(&answer).unwrap()
        }

        /// Opens as many other sessions, a millisecond apart.
        fn crowd(&mut self, count: usize) {
            for later in 1..=count {
                let request = self.first_request();
                let at = NOW.plus_ms(later as u64);
                assert!(matches!(self.ask(at, &request), SealedAnswer::Sealed { .. }));
            }
        }
    }

    #[test]
    fn a_session_that_was_let_go_is_not_begun_again_by_a_repeat() {
        let mut world = World::new();
        let request = world.first_request();
        assert!(matches!(world.ask(NOW, &request), SealedAnswer::Sealed { .. }));
        assert_eq!(world.ask(NOW, &request), SealedAnswer::Replayed);

        world.crowd(MAX_SESSIONS);
        let answer = world.ask(NOW.plus_ms(1_000), &request);
        assert!(matches!(answer, SealedAnswer::UnknownSession(_)), "{answer:?}");
        assert_eq!(world.sessions.open.len(), MAX_SESSIONS);
    }

    #[test]
    fn when_too_many_were_let_go_another_key_is_made() {
        let mut world = World::new();
        let request = world.first_request();
        world.ask(NOW, &request);
        let key = world.sessions.key.public();
        let others = |count: usize| SessionId::from_bytes((count as u128).to_be_bytes());
        world.sessions.let_go.extend((1..MAX_LET_GO).map(others));
        world.crowd(MAX_SESSIONS);

        assert_eq!(world.sessions.key.public(), key);
        let next = world.first_request();
        let answer = world.ask(NOW.plus_ms(1_000), &next);
        let SealedAnswer::UnknownSession(offer) = answer else { panic!("{answer:?}") };
        assert_ne!(offer.session_key, key);
        assert!(world.sessions.open.is_empty() && world.sessions.let_go.is_empty());
        // What was sealed to the key before opens no more.
        let answer = world.ask(NOW.plus_ms(1_001), &request);
        assert!(matches!(answer, SealedAnswer::UnknownSession(_)), "{answer:?}");
        world.crowd(1);
    }
}
