//! Rotation orders and standing orders: what administrators sign.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError};
use crate::ids::{
    Digest, InstanceId, KeyId, OrderNumber, Pattern, ProcessId, RotationId, Signature, UnixMillis,
};
use crate::keystore::GateMode;
use crate::manifest::{AdminSignature, hex_signature};

/// What an order is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// The first master key (`auto-init`): current registers are Empty, so is the keystore.
    Initialise,
    /// `auto-mk-rotate`.
    Rotate,
    /// `auto-mk-recover`: fills the Empty current register of `target` out of `source`.
    Recover {
        /// Whose register is filled.
        target: ProcessId,
        /// Who holds the key.
        source: ProcessId,
    },
}

/// Between whom an order to recover is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Whose register is filled.
    pub target: ProcessId,
    /// The recovery unit that holds the key.
    pub source: ProcessId,
}

impl Recovery {
    /// Whether a unit is one of the two that take the order.
    pub fn involves(&self, unit: ProcessId) -> bool {
        unit == self.target || unit == self.source
    }
}

impl Purpose {
    /// Whether a crypto unit takes part: all do, but in an order to recover.
    pub fn involves(&self, unit: ProcessId) -> bool {
        self.recovery().is_none_or(|recovery| recovery.involves(unit))
    }

    /// Between whom it is, if it is to recover; none for what all units take part in.
    pub const fn recovery(&self) -> Option<Recovery> {
        match self {
            Self::Recover { target, source } => Some(Recovery { target: *target, source: *source }),
            Self::Initialise | Self::Rotate => None,
        }
    }
}

/// One rotation order: everything about the rotation that a coordinator must not choose.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Order {
    /// The instance.
    pub instance: InstanceId,
    /// The rotation's id (version 7).
    pub rotation: RotationId,
    /// Its order number, with the serial of the manifest under which it was drafted.
    pub number: OrderNumber,
    /// What it is for.
    pub purpose: Purpose,
    /// Pattern that every current register must hold; none at initialisation. In an order to recover,
    /// that of the master key which is copied.
    pub from: Option<Pattern>,
    /// The recovery unit that makes the master key; every other one refuses. In an order to recover,
    /// its source, which makes none.
    pub generator: ProcessId,
    /// Units that join: their current register is Empty and they are promoted from it.
    pub joining: Vec<ProcessId>,
    /// Keys whose versions are carried as they are where no unit opens them (quarantine); a version
    /// that opens is re-wrapped like any other.
    pub quarantined: Vec<KeyId>,
    /// What clients may do while the generation is open.
    pub mode: GateMode,
    /// No promote earlier than this many seconds after the unit's commit.
    pub hold_after_commit_s: u32,
    /// No clear earlier than this many seconds after the unit's first sight of *flipped*.
    pub hold_before_clear_s: u32,
    /// When it was drafted.
    pub issued_at: UnixMillis,
    /// Judged once, when a unit takes the order.
    pub expires_at: UnixMillis,
}

/// Names an order in every command and report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct OrderRef {
    /// The rotation's id.
    pub rotation: RotationId,
    /// The order's number.
    pub number: OrderNumber,
    /// SHA-256 of the order's bytes under its domain.
    pub digest: Digest,
}

/// Leave, signed once by the administrators, for coordinators to order rotations themselves.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct StandingOrder {
    /// The instance.
    pub instance: InstanceId,
    /// The manifest it was given under; any new manifest ends it.
    pub manifest_serial: u64,
    /// At most one rotation in this many seconds since the last promote; 0 for no limit.
    pub not_more_often_than_s: u32,
    /// Least seconds between two tries.
    pub pause_between_tries_s: u32,
    /// The hold that every order under it has.
    pub hold_after_commit_s: u32,
    /// The other hold that every order under it has.
    pub hold_before_clear_s: u32,
    /// When it ends.
    pub until: UnixMillis,
}

/// A standing order with the administrators' signatures over its encoded bytes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct SignedStandingOrder {
    /// `codec::encode` of a [`StandingOrder`].
    #[serde(with = "hex::serde")]
    pub bytes: Vec<u8>,
    /// At least the signature threshold of them.
    pub signatures: Vec<AdminSignature>,
}

impl SignedStandingOrder {
    /// The standing order inside; says nothing about its signatures.
    pub fn unverified(&self) -> Result<StandingOrder, DecodeError> {
        codec::decode(&self.bytes)
    }
}

/// By whose leave an order is given.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authority {
    /// Signed by the administrators themselves.
    Quorum(Vec<AdminSignature>),
    /// Under a standing order, by a coordinator of the manifest.
    Standing {
        /// What the administrators signed.
        standing: SignedStandingOrder,
        /// The coordinator.
        coordinator: ProcessId,
        /// Its signature over the order's bytes.
        #[serde(with = "hex_signature")]
        signature: Signature,
    },
}

/// An order and the leave it is given by.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct SignedOrder {
    /// `codec::encode` of an [`Order`].
    #[serde(with = "hex::serde")]
    pub bytes: Vec<u8>,
    /// By whose leave.
    pub authority: Authority,
}

impl SignedOrder {
    /// The order inside; says nothing about its signatures.
    pub fn unverified(&self) -> Result<Order, DecodeError> {
        codec::decode(&self.bytes)
    }
}

/// One of the two waits that an order can impose on every unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// Between commit and re-encryption: holders of blobs outside the keystore re-wrap theirs.
    AfterCommit,
    /// Between flip and clear: old database backups can still be brought back.
    BeforeClear,
}

impl Hold {
    /// Stable word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AfterCommit => "after-commit",
            Self::BeforeClear => "before-clear",
        }
    }
}

/// A statement of the administrators that ends a hold before its time.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct HoldEnd {
    /// The instance.
    pub instance: InstanceId,
    /// The rotation whose hold ends.
    pub rotation: RotationId,
    /// Number of its order.
    pub number: OrderNumber,
    /// Which of its holds.
    pub hold: Hold,
}

impl HoldEnd {
    /// Whether it is about the rotation of this order.
    pub fn is_for(&self, order: &OrderRef) -> bool {
        self.rotation == order.rotation && self.number == order.number
    }
}

/// A [`HoldEnd`] with the administrators' signatures over its encoded bytes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct SignedHoldEnd {
    /// `codec::encode` of a [`HoldEnd`].
    #[serde(with = "hex::serde")]
    pub bytes: Vec<u8>,
    /// At least the signature threshold of them.
    pub signatures: Vec<AdminSignature>,
}

impl SignedHoldEnd {
    /// The statement inside; says nothing about its signatures.
    pub fn unverified(&self) -> Result<HoldEnd, DecodeError> {
        codec::decode(&self.bytes)
    }
}
