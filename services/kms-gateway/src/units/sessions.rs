//! The session with each unit. A request opens its answer with the session that sealed it, whatever
//! session others have opened meanwhile; and however many need one, one of them opens it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crypto::random::process_rng;
use crypto::session::{self, Direction, SessionKeys};
use protocol::session::{KeyAnswer, SealedRequest, SessionInfo, SessionOffer};
use protocol::{ProcessId, SessionId, codec};

use super::{UnitsError, locked};

pub(super) struct Session {
    id: SessionId,
    unit_key: [u8; 32],
    enc: [u8; 32],
    keys: SessionKeys,
    /// Of the last message: no counter is used twice.
    counter: AtomicU64,
}

impl Session {
    /// The gateway's side of a session to the key that the unit offers.
    pub(super) fn open(offer: &SessionOffer, info: &SessionInfo) -> Option<Self> {
        let opened =
            session::open_session(&offer.session_key, &codec::encode(info), &mut process_rng());
        let (enc, keys) = opened.ok()?;
        let (id, unit_key) = (info.session, offer.session_key);
        Some(Self { id, unit_key, enc, keys, counter: AtomicU64::new(0) })
    }

    /// Seals a request under the next counter.
    pub(super) fn seal(&self, text: &[u8]) -> Option<SealedRequest> {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed) + 1;
        let ciphertext = self.keys.seal(Direction::Request, counter, text).ok()?;
        let (session_key, enc) = (self.unit_key, self.enc);
        Some(SealedRequest { session: self.id, session_key, enc, counter, ciphertext })
    }

    /// Opens the answer to the request with this counter.
    pub(super) fn opened(&self, counter: u64, ciphertext: &[u8]) -> Option<KeyAnswer> {
        let text = self.keys.open(Direction::Answer, counter, ciphertext).ok()?;
        codec::decode(&text).ok()
    }
}

/// What is known of one unit.
#[derive(Default)]
struct Place {
    /// Held by whoever opens a session.
    opening: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    session: Option<Arc<Session>>,
    /// How often the unit did not let a session be opened.
    failures: u64,
}

#[derive(Default)]
pub(super) struct Sessions {
    places: Mutex<HashMap<ProcessId, Arc<Place>>>,
}

impl Sessions {
    /// The session with a unit. Where there is none, `open` opens it, unless another request does so
    /// already: what that comes to, an open session or none, is the answer for all who waited.
    pub(super) async fn of<F: Future<Output = Result<Option<Session>, UnitsError>>>(
        &self,
        unit: ProcessId,
        open: impl FnOnce() -> F,
    ) -> Result<Option<Arc<Session>>, UnitsError> {
        let place = self.place(unit);
        let failures = {
            let known = locked(&place.known);
            if known.session.is_some() {
                return Ok(known.session.clone());
            }
            known.failures
        };
        let _opening = place.opening.lock().await;
        {
            let known = locked(&place.known);
            if known.session.is_some() || known.failures != failures {
                return Ok(known.session.clone());
            }
        }
        let opened = open().await?.map(Arc::new);
        let mut known = locked(&place.known);
        known.failures += u64::from(opened.is_none());
        known.session.clone_from(&opened);
        Ok(opened)
    }

    /// The unit does not know this session any more. One that was opened since stays.
    pub(super) fn forget(&self, unit: ProcessId, session: &Arc<Session>) {
        let place = self.place(unit);
        let mut known = locked(&place.known);
        if known.session.as_ref().is_some_and(|held| Arc::ptr_eq(held, session)) {
            known.session = None;
        }
    }

    fn place(&self, unit: ProcessId) -> Arc<Place> {
        locked(&self.places).entry(unit).or_default().clone()
    }
}
