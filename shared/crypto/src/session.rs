//! Sessions between a gateway process and an operational unit: HPKE base mode to a key that the
//! unit holds in memory only, then one ChaCha20-Poly1305 key a direction. A message's counter is
//! its nonce, so no counter may be used twice.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rand::CryptoRng;
use zeroize::{Zeroize, Zeroizing};

use crate::domain;
use crate::hpke_suite::{self, HpkeRefused};
use crate::secret::Secret;

/// A unit's key for sessions: made at its start, never saved.
#[derive(Debug)]
pub struct SessionKey(Secret);

impl SessionKey {
    /// Makes one.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self(Secret::generate(rng))
    }

    /// Its public half.
    pub fn public(&self) -> [u8; 32] {
        hpke_suite::public_key(&self.0)
    }

    /// The unit's side of a session.
    pub fn accept(&self, enc: &[u8; 32], info: &[u8]) -> Result<SessionKeys, HpkeRefused> {
        let context = hpke_suite::receiver(&self.0, enc, &full_info(info))?;
        SessionKeys::exported(|label, out| context.export(label, out).map_err(|_| HpkeRefused))
    }
}

/// The gateway's side of a session: the encapsulated key and the keys.
pub fn open_session<R: CryptoRng>(
    unit_key: &[u8; 32],
    info: &[u8],
    rng: &mut R,
) -> Result<([u8; 32], SessionKeys), HpkeRefused> {
    let (enc, context) = hpke_suite::sender(unit_key, &full_info(info), rng)?;
    let keys =
        SessionKeys::exported(|label, out| context.export(label, out).map_err(|_| HpkeRefused))?;
    Ok((enc, keys))
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Gateway to unit.
    Request,
    /// Unit to gateway.
    Answer,
}

/// One key a direction.
#[derive(Debug)]
pub struct SessionKeys {
    request: Secret,
    answer: Secret,
}

impl SessionKeys {
    fn exported(
        mut export: impl FnMut(&[u8], &mut [u8]) -> Result<(), HpkeRefused>,
    ) -> Result<Self, HpkeRefused> {
        let mut one = |label: &[u8]| {
            let mut bytes = [0; 32];
            export(label, &mut bytes)?;
            let secret = Secret::copied_from(&bytes);
            bytes.zeroize();
            Ok(secret)
        };
        Ok(Self { request: one(domain::SESSION_REQUEST)?, answer: one(domain::SESSION_ANSWER)? })
    }

    /// Seals a message under its counter.
    pub fn seal(&self, way: Direction, counter: u64, text: &[u8]) -> Result<Vec<u8>, HpkeRefused> {
        let mut out = Vec::with_capacity(text.len() + 16);
        out.extend_from_slice(text);
        self.cipher(way)?
            .seal_in_place_append_tag(nonce(counter), Aad::empty(), &mut out)
            .map_err(|_| HpkeRefused)?;
        Ok(out)
    }

    /// Opens a message under its counter.
    pub fn open(
        &self,
        way: Direction,
        counter: u64,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, HpkeRefused> {
        let mut text = Zeroizing::new(sealed.to_vec());
        let length = self
            .cipher(way)?
            .open_in_place(nonce(counter), Aad::empty(), &mut text)
            .map_err(|_| HpkeRefused)?
            .len();
        text.truncate(length);
        Ok(text)
    }

    fn cipher(&self, way: Direction) -> Result<LessSafeKey, HpkeRefused> {
        let key = match way {
            Direction::Request => &self.request,
            Direction::Answer => &self.answer,
        };
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, key.expose());
        unbound.map(LessSafeKey::new).map_err(|_| HpkeRefused)
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn full_info(info: &[u8]) -> Vec<u8> {
    [domain::SESSION_INFO, info].concat()
}

/// Counters seen of one session: repeats within the window, and everything before it, are dropped.
#[derive(Clone, Debug, Default)]
pub struct ReplayWindow {
    highest: u64,
    seen: [u64; Self::WORDS],
}

impl ReplayWindow {
    const WORDS: usize = 16;
    /// How far behind the highest counter a message may arrive.
    pub const WIDTH: u64 = 64 * Self::WORDS as u64;

    /// Whether the counter is new; it is not, the next time.
    pub fn accept(&mut self, counter: u64) -> bool {
        if counter == 0 || counter <= self.highest.saturating_sub(Self::WIDTH) {
            return false;
        }
        if counter > self.highest {
            let skipped = counter.saturating_sub(self.highest).min(Self::WIDTH);
            for step in 1..=skipped {
                self.set(counter - skipped + step, false);
            }
            self.highest = counter;
        } else if self.is_set(counter) {
            return false;
        }
        self.set(counter, true);
        true
    }

    const fn place(counter: u64) -> (usize, u64) {
        let bit = counter % Self::WIDTH;
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    const fn is_set(&self, counter: u64) -> bool {
        let (word, mask) = Self::place(counter);
        self.seen[word] & mask != 0
    }

    const fn set(&mut self, counter: u64, to: bool) {
        let (word, mask) = Self::place(counter);
        if to {
            self.seen[word] |= mask;
        } else {
            self.seen[word] &= !mask;
        }
    }
}
