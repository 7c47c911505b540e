//! Sessions with gateways: a key that lives in memory only, a window against repeats, a bound on
//! how many are open.

use std::collections::BTreeMap;

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
}

impl Sessions {
    /// Its key is drawn from a source that nothing else is drawn from, and that goes with the stack.
    pub(crate) fn new(now: UnixMillis) -> Self {
        let key = SessionKey::generate(&mut process_rng());
        Self { key, until: now.plus_ms(RENEW_MS), open: BTreeMap::new() }
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
        if request.session_key != self.key.public() {
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
            if self.open.len() >= MAX_SESSIONS {
                let oldest = self.open.iter().min_by_key(|(_, session)| session.used_at);
                if let Some(id) = oldest.map(|(id, _)| *id) {
                    self.open.remove(&id);
                }
            }
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
}
