//! The keystore row and its generations, as reports show them.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::ids::{
    Digest, Epoch, GenerationId, InstanceId, KeystoreId, OrderNumber, Pattern, RotationId,
};
use crate::order::OrderRef;

/// What clients may do while a generation is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateMode {
    /// As the source document: no key is created, imported, rotated or restored, and none is used.
    Strict,
    /// Everything is served; a write supplies a blob for each generation that is open.
    Online,
}

/// Where a generation stands. It only goes forward.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum GenerationState {
    /// Chunks are being written.
    Building,
    /// The chunks tile the key space and sum to the set's count.
    Complete,
    /// The one that is read.
    Active,
    /// Was active until a flip; its table is dropped after the clear.
    Retired,
    /// Its table is gone.
    Dropped,
    /// Given up before its flip; its table is gone.
    Aborted,
}

impl GenerationState {
    /// The stable word, as stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Complete => "complete",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Dropped => "dropped",
            Self::Aborted => "aborted",
        }
    }

    /// The state behind a stable word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Building, Self::Complete, Self::Active, Self::Retired, Self::Dropped, Self::Aborted]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

/// One generation: all wrapped keys of a keystore under one pattern, in one table.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Generation {
    /// Number, never used again by the same database.
    pub number: u32,
    /// Random id: a restored database may use a number again, never this.
    pub id: GenerationId,
    /// The pattern that every blob in it carries.
    pub pattern: Pattern,
    /// Where it stands.
    pub state: GenerationState,
    /// How many key versions the set had when the generation was opened.
    pub set_count: u64,
    /// How many of them have been written.
    pub done_count: u64,
    /// How many of these no unit opened: carried in quarantine, as the order says.
    #[serde(default)]
    pub quarantined_count: u64,
}

/// How the rotation of the highest order number that the keystore took stands in it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum KeystoreStanding {
    /// A generation is open: the gate is closed.
    Open,
    /// The new generation is complete; the gate is still closed.
    Complete,
    /// The active row has moved and the gate is open; not read back yet.
    Switched,
    /// Read back and saved; tombstones are applied.
    Flipped,
    /// The retired generation's table is dropped.
    Dropped,
    /// Ended for the keystore before its flip.
    Aborted,
}

impl KeystoreStanding {
    /// The stable word, as stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Complete => "complete",
            Self::Switched => "switched",
            Self::Flipped => "flipped",
            Self::Dropped => "dropped",
            Self::Aborted => "aborted",
        }
    }

    /// Whether it has come as far as this; what was aborted has come nowhere.
    pub fn has_reached(self, needed: Self) -> bool {
        self >= needed && self != Self::Aborted
    }

    /// Whether the rotation has ended in the keystore, one way or the other.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Dropped | Self::Aborted)
    }

    /// The standing behind a stable word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Open, Self::Complete, Self::Switched, Self::Flipped, Self::Dropped, Self::Aborted]
            .into_iter()
            .find(|standing| standing.name() == name)
    }
}

/// The rotation that a keystore row last took.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct KeystoreRotation {
    /// Its id.
    pub rotation: RotationId,
    /// Number of its order.
    pub number: OrderNumber,
    /// Digest of its order.
    pub order_digest: Digest,
    /// How it stands here.
    pub standing: KeystoreStanding,
    /// Pattern of the generation that was active before; none at initialisation.
    pub from: Option<Pattern>,
    /// Pattern of its generation.
    pub to: Pattern,
    /// Merkle root over the keys of its set, as they were read back; from *flipped* on.
    #[serde(default)]
    pub key_root: Option<Digest>,
}

impl KeystoreRotation {
    /// Its order.
    pub const fn order(&self) -> OrderRef {
        OrderRef { rotation: self.rotation, number: self.number, digest: self.order_digest }
    }

    /// Whether this is its order.
    pub fn is_of(&self, order: &OrderRef) -> bool {
        self.rotation == order.rotation && self.order_digest == order.digest
    }
}

/// One keystore's row: everything that gates, fences and locates its generations.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct KeystoreRow {
    /// The instance it belongs to.
    pub instance: InstanceId,
    /// The keystore's id.
    pub keystore: KeystoreId,
    /// What is refused while a generation is open.
    pub mode: GateMode,
    /// The generation that is read; none before initialisation.
    pub active: Option<Generation>,
    /// The generation that is being built, if a rotation has opened one.
    pub open: Option<Generation>,
    /// Generations whose tables still exist and are not read any more.
    pub retired: Vec<Generation>,
    /// Number of the next generation.
    pub next_number: u32,
    /// The rotation last taken.
    pub rotation: Option<KeystoreRotation>,
    /// The highest epoch seen.
    pub epoch: Epoch,
    /// How many key versions exist (deleted ones included, purged ones not): in an answer to a survey now,
    /// else as of the last opening.
    pub version_count: u64,
}

impl KeystoreRow {
    /// Whether keys can be neither made nor changed: a generation is open, in strict mode.
    pub const fn is_gate_closed(&self) -> bool {
        self.open.is_some() && matches!(self.mode, GateMode::Strict)
    }
}
