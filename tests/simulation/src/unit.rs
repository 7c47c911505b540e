//! A crypto unit's process: the shipped machine, its saved bytes, its clock, its crashes.

use std::collections::{BTreeSet, VecDeque};

use crypto::blob::{BlobBinding, WrapKeys, seal_blob};
use crypto::domain;
use crypto::identity::Identity;
use crypto::secret::Secret;
use machines::envelope;
use machines::unit::keyring::Keyring;
use machines::unit::state::UnitState;
use machines::unit::{Message, Unit, UnitConfig, page};
use protocol::codec;
use protocol::envelope::{Envelope, Kind};
use protocol::page::{CheckPage, ChunkReceipt, PageAnswer, RewrapPage};
use protocol::{Digest, InstanceId, Pattern, ProcessId, Role, UnixMillis};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::second_look::lie;
use crate::set_back::Before;

/// Most snapshots that are kept of a unit's volume.
const SNAPSHOTS: usize = 24;

/// A unit's process.
pub struct UnitNode {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its id.
    pub id: ProcessId,
    /// Milliseconds that its clock is ahead, or behind.
    pub clock_skew_ms: i64,
    /// The newest manifest does not name it any more.
    pub is_removed: bool,
    /// How likely it answers a page wrongly.
    pub wrong_page: f64,
    /// How likely it damages a blob and signs for it.
    pub lies: f64,
    /// When it was set back, or gone.
    pub set_back_at: UnixMillis,
    /// It will never start again.
    pub is_gone: bool,
    /// Orders in which it was set back: what it forgot of them nobody can know.
    pub forgotten: BTreeSet<Digest>,
    seed: [u8; 32],
    pub(crate) saved: Vec<u8>,
    /// What it had saved when it was set back, until it is as far again.
    pub(crate) before: Option<Before>,
    /// What it had saved before, as a snapshot of its volume may have it.
    pub(crate) snapshots: VecDeque<Vec<u8>>,
    /// What `saved` says, read once a save: the checkers look at it after every event.
    pub(crate) read: UnitState,
    unit: Option<Unit>,
    keyring: Keyring,
}

/// How likely a page is answered otherwise than by an honest unit.
#[derive(Clone, Copy)]
struct Odds {
    wrong_page: f64,
    lies: f64,
}

/// What handling a message came to, before anything is saved.
pub struct Handled {
    /// The state has changed.
    pub is_changed: bool,
    /// To be published after the save.
    pub messages: Vec<Message>,
    /// For the trace.
    pub note: String,
    /// The answer is not what an honest unit would have said: the fault.
    pub wrong: Option<&'static str>,
}

impl UnitNode {
    /// A new unit in imprint mode.
    pub fn new(name: &str, role: Role, seed: [u8; 32], instance: InstanceId) -> Self {
        let identity = Identity::from_seed(Secret::copied_from(&seed));
        let id = crypto::identity::process_id(&identity.public_key());
        let mut node = Self {
            name: name.to_owned(),
            role,
            id,
            clock_skew_ms: 0,
            is_removed: false,
            wrong_page: 0.0,
            lies: 0.0,
            set_back_at: UnixMillis(0),
            is_gone: false,
            forgotten: BTreeSet::new(),
            before: None,
            snapshots: VecDeque::new(),
            seed,
            saved: UnitState::imprint(instance).to_bytes().to_vec(),
            read: UnitState::imprint(instance),
            unit: None,
            keyring: Keyring::default(),
        };
        node.start();
        node
    }

    /// Gives it its first manifest, saved.
    pub fn imprint(&mut self, trust: &machines::trust::Trust) {
        self.read.trust = trust.clone();
        self.saved = self.read.to_bytes().to_vec();
        self.start();
    }

    /// Starts the process from what it saved.
    pub fn start(&mut self) {
        let state = self.read_saved();
        let config = UnitConfig {
            name: self.name.clone(),
            location: "[sim]".to_owned(),
            role: self.role,
            instance_name: "sim".to_owned(),
            pinned_administrators: Vec::new(),
            is_storage_key_local: false,
            protocol_version: protocol::topology::PROTOCOL_VERSION,
        };
        let identity = Identity::from_seed(Secret::copied_from(&self.seed));
        let unit = Unit::new(config, identity, state);
        self.keyring = unit.keyring(&Keyring::default());
        self.unit = Some(unit);
    }

    /// Ends the process: what was not saved is gone.
    pub fn crash(&mut self) {
        self.unit = None;
        self.keyring = Keyring::default();
    }

    /// Whether it runs.
    pub const fn is_up(&self) -> bool {
        self.unit.is_some()
    }

    /// Its public key, for the manifest.
    pub fn identity(&self) -> Identity {
        Identity::from_seed(Secret::copied_from(&self.seed))
    }

    /// What it has saved, read.
    pub const fn saved_state(&self) -> &UnitState {
        &self.read
    }

    pub(crate) fn read_saved(&self) -> UnitState {
        match UnitState::from_bytes(&self.saved) {
            Ok(state) => state,
            Err(error) => panic!("saved state of {} cannot be read: {error}", self.name),
        }
    }

    /// Whether it holds no master key, or joins and has not cleared yet: it serves nothing then.
    pub fn is_lacking(&self) -> bool {
        let state = self.saved_state();
        let taken = state.rotation.as_ref().filter(|_| state.is_in_rotation());
        let joins = taken.is_some_and(|taken| taken.order.joining.contains(&self.id));
        state.current.is_none() || joins
    }

    /// Its master key is gone (a replaced device), and it knows.
    pub fn lose_master_key(&mut self) {
        let mut state = self.read_saved();
        state.current = None;
        state.counter += 1;
        self.saved = state.to_bytes().to_vec();
        self.read = state;
        if self.is_up() {
            self.start();
        }
    }

    /// Saves the state as it stands.
    pub fn save(&mut self) {
        if let Some(unit) = &self.unit {
            let saved = unit.state().to_bytes().to_vec();
            self.snapshots.push_back(std::mem::replace(&mut self.saved, saved));
            if self.snapshots.len() > SNAPSHOTS {
                self.snapshots.pop_front();
            }
            self.keyring = unit.keyring(&self.keyring);
            self.read = self.read_saved();
            self.note_progress();
        }
    }

    /// Whether it counts: it serves keys with its registers.
    pub fn counts(&self) -> bool {
        !self.is_removed && !self.is_set_back() && !self.is_lacking()
    }

    /// Its report, signed, as an administrator takes it for an amendment.
    pub fn report_envelope(&self, now: UnixMillis, rng: &mut ChaCha8Rng) -> Option<Vec<u8>> {
        let unit = self.unit.as_ref()?;
        let body = codec::encode(&unit.report(now, None));
        Some(unit.broadcast(now, rng, Kind::UnitReport, &body))
    }

    /// Handles a message; nothing is saved yet.
    pub fn handle(&mut self, now: UnixMillis, rng: &mut ChaCha8Rng, bytes: &[u8]) -> Handled {
        let now = UnixMillis(now.0.saturating_add_signed(self.clock_skew_ms));
        let odds = Odds { wrong_page: self.wrong_page, lies: self.lies };
        let wrong = None;
        let nothing =
            |note: String| Handled { is_changed: false, messages: Vec::new(), note, wrong };
        let Some(unit) = &mut self.unit else { return nothing("is down".to_owned()) };
        let kind = Envelope::parse(bytes).map(|envelope| envelope.header.kind);
        if kind == Ok(Kind::RewrapPage) {
            return match page_answer(unit, &self.keyring, now, rng, bytes, odds) {
                Some((message, wrong)) => Handled {
                    wrong,
                    messages: vec![message],
                    ..nothing(wrong.unwrap_or("page").to_owned())
                },
                None => nothing("page refused".to_owned()),
            };
        }
        if kind == Ok(Kind::CheckPage) {
            let messages = look(unit, &self.keyring, now, rng, bytes).into_iter().collect();
            return Handled { messages, ..nothing("second look".to_owned()) };
        }
        let outcome = unit.handle(now, rng, bytes);
        let note = match (&outcome.noted, outcome.dead) {
            (Some((name, None)), _) => (*name).to_owned(),
            (Some((name, Some(refusal))), _) => {
                format!("{name} refused: {}: {refusal}", refusal.code())
            }
            (None, dead) => format!("dead: {}", dead.unwrap_or("?")),
        };
        Handled { is_changed: outcome.is_changed, messages: outcome.messages, note, wrong }
    }

    /// Makes blobs for a new key, as a unit answers a gateway; none if it lacks a pattern.
    pub fn make_blobs(
        &self,
        binding: &BlobBinding,
        key: &[u8],
        patterns: &[Pattern],
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<Vec<u8>>> {
        if self.keyring.not_serving.is_some() {
            return None;
        }
        patterns
            .iter()
            .map(|pattern| {
                let keys: &WrapKeys = self.keyring.keys(*pattern)?;
                seal_blob(keys, binding, key, rng).ok()
            })
            .collect()
    }
}

fn page_answer(
    unit: &Unit,
    keyring: &Keyring,
    now: UnixMillis,
    rng: &mut ChaCha8Rng,
    bytes: &[u8],
    odds: Odds,
) -> Option<(Message, Option<&'static str>)> {
    let opened = envelope::open(bytes, unit.reader(), &unit.state().trust).ok()?;
    if opened.sender_role != Some(Role::Reencryptor) {
        return None;
    }
    let asked: RewrapPage = codec::decode(opened.body).ok()?;
    let mut answer = page::rewrap(keyring, unit.identity(), &asked, rng);
    let identity = unit.identity();
    let wrong = if rng.random_bool(odds.lies) && lie(&asked, &mut answer, identity, rng) {
        Some("lie")
    } else if rng.random_bool(odds.wrong_page) && spoil(&mut answer, identity, rng) {
        Some("wrong-page")
    } else {
        None
    };
    let body = codec::encode(&answer);
    Some((unit.message(now, rng, Some(&opened.header), Kind::PageAnswer, &body), wrong))
}

/// Opens what another unit has re-wrapped.
fn look(
    unit: &Unit,
    keyring: &Keyring,
    now: UnixMillis,
    rng: &mut ChaCha8Rng,
    bytes: &[u8],
) -> Option<Message> {
    let opened = envelope::open(bytes, unit.reader(), &unit.state().trust).ok()?;
    if opened.sender_role != Some(Role::Reencryptor) {
        return None;
    }
    let asked: CheckPage = codec::decode(opened.body).ok()?;
    let body = codec::encode(&page::check(keyring, &asked));
    Some(unit.message(now, rng, Some(&opened.header), Kind::CheckAnswer, &body))
}

/// One blob in many is damaged after it was signed for, or the digests that are signed are others.
/// Whether there was anything to spoil.
fn spoil(answer: &mut PageAnswer, identity: &Identity, rng: &mut ChaCha8Rng) -> bool {
    let PageAnswer::Rewrapped { blobs, receipt } = answer else { return false };
    if blobs.is_empty() {
        return false;
    }
    if rng.random_bool(0.5) {
        let at = rng.random_range(0..blobs.len());
        let mut single: Vec<_> = blobs.iter().map(<[u8]>::to_vec).collect();
        if let Some(byte) = single[at].last_mut() {
            *byte ^= 1;
        }
        *blobs = single.into();
        return true;
    }
    let Ok(mut signed) = codec::decode::<ChunkReceipt>(&receipt.bytes) else { return false };
    match rng.random_bool(0.5) {
        true => signed.old_digest.0[0] ^= 1,
        false => signed.new_digest.0[0] ^= 1,
    }
    receipt.bytes = codec::encode(&signed);
    receipt.signature = identity.sign(domain::RECEIPT, &receipt.bytes);
    true
}
