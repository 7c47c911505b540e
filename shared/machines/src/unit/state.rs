//! Everything of a crypto unit that outlives a crash, and its bytes.

use bincode::{Decode, Encode};
use crypto::master_key::MasterKey;
use crypto::transfer::TransportKey;
use protocol::codec::{self, DecodeError};
use protocol::command::SignedOffer;
use protocol::manifest::SignedManifest;
use protocol::order::{Order, OrderRef, SignedOrder};
use protocol::report::{NewRegister, Registers, Standing};
use protocol::{Epoch, InstanceId, OrderNumber, UnixMillis};
use zeroize::Zeroizing;

use super::hold::Holds;
use super::set_back::Reminder;
use crate::certificate::Counters;
use crate::leave::{self, History};
use crate::trust::{ManifestRefusal, Trust};

/// The new register, when it is not Empty.
#[derive(Debug)]
pub struct NewKey {
    /// The key.
    pub key: MasterKey,
    /// Full Committed.
    pub is_committed: bool,
}

/// The rotation of the highest order that the unit has taken.
#[derive(Debug)]
pub struct TakenRotation {
    /// The order as it was given.
    pub signed_order: SignedOrder,
    /// The order, read.
    pub order: Order,
    /// Its name.
    pub reference: OrderRef,
    /// How it stands.
    pub standing: Standing,
    /// How its holds stand.
    pub holds: Holds,
    /// Transport key and offer, from taking the order until its end.
    pub transport: Option<(TransportKey, SignedOffer)>,
}

impl TakenRotation {
    /// One that the unit remembers as ended before its promote.
    pub fn aborted(signed_order: SignedOrder, order: Order, reference: OrderRef) -> Self {
        let (standing, holds, transport) = (Standing::Aborted, Holds::default(), None);
        Self { signed_order, order, reference, standing, holds, transport }
    }
}

/// A crypto unit's durable state.
#[derive(Debug)]
pub struct UnitState {
    /// Manifests taken.
    pub trust: Trust,
    /// Register *current*.
    pub current: Option<MasterKey>,
    /// Register *new*.
    pub new: Option<NewKey>,
    /// Register *retiring*.
    pub retiring: Option<MasterKey>,
    /// Rises by one with every save.
    pub counter: u64,
    /// Highest epoch seen.
    pub epoch: Epoch,
    /// The last order taken.
    pub rotation: Option<TakenRotation>,
    /// What standing orders limit.
    pub history: History,
    /// The highest state counters of other units, out of certificates.
    pub counters: Counters,
    /// A report of its own that the state lags behind: it has been set back.
    pub reminder: Option<Reminder>,
}

/// Bytes that are no state of this unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The public part cannot be read.
    #[error("state cannot be read: {0}")]
    Malformed(#[from] DecodeError),
    /// A secret is cut short, or there are bytes left over.
    #[error("state is cut short or too long")]
    Length,
    /// A manifest inside is not one.
    #[error("state has a manifest that cannot be read: {0}")]
    Manifest(#[from] ManifestRefusal),
    /// The order inside is not one.
    #[error("state has an order that cannot be read: {0}")]
    Order(#[from] leave::LeaveRefusal),
    /// The report of its own that it was reminded of is not one: whoever lost it would serve again.
    #[error("state has a reminder that cannot be read")]
    Reminder,
}

/// The part of the state that is no secret.
#[derive(Encode, Decode)]
struct PublicPart {
    instance: InstanceId,
    manifests: Vec<SignedManifest>,
    counter: u64,
    epoch: Epoch,
    rotation: Option<PublicRotation>,
    last_promoted_at: Option<UnixMillis>,
    last_tried_at: Option<UnixMillis>,
    new_is_committed: bool,
    counters: Counters,
    reminder: Option<Vec<u8>>,
    /// Which of current, new, retiring, transport key follow, 32 bytes each.
    present: [bool; SECRETS],
}

#[derive(Encode, Decode)]
struct PublicRotation {
    signed_order: SignedOrder,
    standing: Standing,
    holds: Holds,
    offer: Option<SignedOffer>,
}

const SECRETS: usize = 4;

impl UnitState {
    /// A new unit's: imprint mode, all registers Empty.
    pub const fn imprint(instance: InstanceId) -> Self {
        Self {
            trust: Trust::imprint(instance),
            current: None,
            new: None,
            retiring: None,
            counter: 0,
            epoch: Epoch { manifest_serial: 0, number: 0 },
            rotation: None,
            history: History { last_promoted_at: None, last_tried_at: None },
            counters: Counters::new(),
            reminder: None,
        }
    }

    /// What reports show of the registers.
    pub fn registers(&self) -> Registers {
        Registers {
            current: self.current.as_ref().map(MasterKey::pattern),
            new: self.new.as_ref().map(|new| NewRegister {
                pattern: new.key.pattern(),
                is_committed: new.is_committed,
            }),
            retiring: self.retiring.as_ref().map(MasterKey::pattern),
        }
    }

    /// Number of the last order taken.
    pub fn last_number(&self) -> OrderNumber {
        self.rotation.as_ref().map(|taken| taken.reference.number).unwrap_or_default()
    }

    /// Whether a rotation has been taken that has neither been aborted nor cleared.
    pub fn is_in_rotation(&self) -> bool {
        self.rotation
            .as_ref()
            .is_some_and(|taken| matches!(taken.standing, Standing::Bound | Standing::Promoted))
    }

    /// The bytes to be sealed and saved: the public part, its length first, then the secrets. The
    /// buffer has its full size from the start, so that no copy is left behind by growing.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let transport = self.rotation.as_ref().and_then(|taken| taken.transport.as_ref());
        let secrets: [Option<&[u8; 32]>; SECRETS] = [
            self.current.as_ref().map(MasterKey::danger_state_bytes),
            self.new.as_ref().map(|new| new.key.danger_state_bytes()),
            self.retiring.as_ref().map(MasterKey::danger_state_bytes),
            transport.map(|(key, _)| key.danger_state_bytes()),
        ];
        let public = codec::encode(&PublicPart {
            instance: self.trust.instance(),
            manifests: self.trust.chain().to_vec(),
            counter: self.counter,
            epoch: self.epoch,
            rotation: self.rotation.as_ref().map(|taken| PublicRotation {
                signed_order: taken.signed_order.clone(),
                standing: taken.standing,
                holds: taken.holds.clone(),
                offer: taken.transport.as_ref().map(|(_, offer)| offer.clone()),
            }),
            last_promoted_at: self.history.last_promoted_at,
            last_tried_at: self.history.last_tried_at,
            new_is_committed: self.new.as_ref().is_some_and(|new| new.is_committed),
            counters: self.counters.clone(),
            reminder: self.reminder.as_ref().map(|reminder| reminder.envelope.clone()),
            present: secrets.map(|secret| secret.is_some()),
        });
        let mut bytes = Zeroizing::new(Vec::with_capacity(4 + public.len() + 32 * SECRETS));
        bytes.extend_from_slice(&(public.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&public);
        for secret in secrets.into_iter().flatten() {
            bytes.extend_from_slice(secret);
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or(StateError::Length)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (public, mut secrets) = rest.split_at_checked(length).ok_or(StateError::Length)?;
        let public: PublicPart = codec::decode(public)?;
        let mut found: [Option<&[u8; 32]>; SECRETS] = [None; SECRETS];
        for (slot, is_present) in found.iter_mut().zip(public.present) {
            if is_present {
                let (secret, rest) = secrets.split_first_chunk().ok_or(StateError::Length)?;
                (*slot, secrets) = (Some(secret), rest);
            }
        }
        if !secrets.is_empty() {
            return Err(StateError::Length);
        }
        let [current, new, retiring, transport] = found;
        let is_committed = public.new_is_committed;
        Ok(Self {
            trust: Trust::from_saved(public.instance, public.manifests)?,
            current: current.map(MasterKey::danger_from_state_bytes),
            new: new
                .map(MasterKey::danger_from_state_bytes)
                .map(|key| NewKey { key, is_committed }),
            retiring: retiring.map(MasterKey::danger_from_state_bytes),
            counter: public.counter,
            epoch: public.epoch,
            rotation: public.rotation.map(|saved| saved.restore(transport)).transpose()?,
            history: History {
                last_promoted_at: public.last_promoted_at,
                last_tried_at: public.last_tried_at,
            },
            counters: public.counters,
            reminder: public
                .reminder
                .map(|envelope| Reminder::from_saved(envelope).ok_or(StateError::Reminder))
                .transpose()?,
        })
    }
}

impl PublicRotation {
    fn restore(self, transport: Option<&[u8; 32]>) -> Result<TakenRotation, StateError> {
        let (order, reference) = leave::read(&self.signed_order)?;
        let transport = transport.map(TransportKey::danger_from_state_bytes).zip(self.offer);
        Ok(TakenRotation {
            signed_order: self.signed_order,
            order,
            reference,
            standing: self.standing,
            holds: self.holds,
            transport,
        })
    }
}
