//! Reports: the one answer of a crypto unit, and that of a keystore's reencryptor.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::command::SignedOffer;
use crate::ids::{
    Digest, Epoch, InstanceId, MessageId, OrderNumber, Pattern, ProcessId, Role, UnixMillis,
};
use crate::keystore::KeystoreRow;
use crate::manifest::{Administrator, Member};
use crate::order::{OrderRef, SignedOrder};

/// How a unit stands in the rotation of the highest order that it has taken.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Taken and not ended.
    Bound,
    /// Ended before its promote.
    Aborted,
    /// New is current, the old one is kept as retiring.
    Promoted,
    /// The old one is wiped; the rotation is ended.
    Cleared,
}

/// The new register, when it is not Empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct NewRegister {
    /// Pattern of the key in it.
    pub pattern: Pattern,
    /// Full Committed rather than Full Uncommitted.
    pub is_committed: bool,
}

/// Patterns of a unit's registers; an absent one is Empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Registers {
    /// Valid.
    pub current: Option<Pattern>,
    /// Full Uncommitted or Full Committed.
    pub new: Option<NewRegister>,
    /// Retiring.
    pub retiring: Option<Pattern>,
}

impl Registers {
    /// Whether any of them holds the master key of this pattern.
    pub fn hold(&self, pattern: Pattern) -> bool {
        self.patterns().any(|held| held == pattern)
    }

    /// Patterns of those that are not Empty.
    pub fn patterns(&self) -> impl Iterator<Item = Pattern> {
        [self.current, self.new.map(|new| new.pattern), self.retiring].into_iter().flatten()
    }

    /// IBM's word for the state of the new register.
    pub const fn new_status(&self) -> &'static str {
        match self.new {
            None => "Empty",
            Some(NewRegister { is_committed: false, .. }) => "Full Uncommitted",
            Some(NewRegister { is_committed: true, .. }) => "Full Committed",
        }
    }

    /// IBM's word for the state of the current register.
    pub const fn current_status(&self) -> &'static str {
        if self.current.is_some() { "Valid" } else { "Empty" }
    }

    /// Our word for the state of the retiring register.
    pub const fn retiring_status(&self) -> &'static str {
        if self.retiring.is_some() { "Retiring" } else { "Empty" }
    }
}

/// A unit's last rotation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct UnitRotation {
    /// Which order.
    pub order: OrderRef,
    /// How it stands.
    pub standing: Standing,
    /// The order itself, so that a lost record can be rebuilt from reports.
    pub signed_order: SignedOrder,
    /// The unit's transport key for it; absent where it has ended.
    pub offer: Option<SignedOffer>,
    /// End of the hold after commit, by the unit's clock; absent before its commit, after its
    /// promote, and where the order has no such hold.
    pub promote_not_before: Option<UnixMillis>,
    /// End of the hold before clear, by the unit's clock; absent before its first sight of
    /// *flipped*, and where the order has no such hold.
    pub clear_not_before: Option<UnixMillis>,
    /// Drawn by the unit at the end of the hold before clear, once it is over.
    pub hold_end_nonce: Option<u64>,
}

/// Why a unit or reencryptor did not do what was asked. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Refusal {
    /// Stable word.
    pub code: String,
    /// A sentence that a person can act on.
    pub text: String,
}

/// Which command a report answers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Answering {
    /// Message id of the command.
    pub message: MessageId,
    /// Absent if the command was taken, or had been before.
    pub refusal: Option<Refusal>,
}

/// What precheck compares and people look at.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct UnitFacts {
    /// No manifest yet: the unit takes the first one that is shown to it (IBM's imprint mode).
    pub is_imprint: bool,
    /// The unit's clock.
    pub clock: UnixMillis,
    /// Signature threshold; 0 in imprint mode.
    pub signature_threshold: u32,
    /// Revocation threshold; 0 in imprint mode.
    pub revocation_threshold: u32,
    /// Administrators.
    pub administrators: Vec<Administrator>,
    /// The storage key lies on the unit's own volume.
    pub is_storage_key_local: bool,
    /// Version of the protocol that it speaks.
    pub protocol_version: u32,
    /// Last promote, that of initialisation not counted.
    pub last_promoted_at: Option<UnixMillis>,
    /// To a survey that shows an order: why it would not be taken.
    pub would_refuse: Option<Refusal>,
}

/// The one answer of a crypto unit to every command.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct UnitReport {
    /// The instance.
    pub instance: InstanceId,
    /// The unit.
    pub unit: ProcessId,
    /// Its role.
    pub role: Role,
    /// Serial of the newest manifest that it has taken; 0 in imprint mode.
    pub manifest_serial: u64,
    /// Rises by one with every save.
    pub state_counter: u64,
    /// Its registers.
    pub registers: Registers,
    /// Its last rotation.
    pub rotation: Option<UnitRotation>,
    /// The highest epoch that it has seen.
    pub epoch: Epoch,
    /// A state counter that the unit has signed before its state was set back: it serves nothing
    /// and counts in no certificate until it has come as far again.
    pub set_back_from: Option<u64>,
    /// The command that it answers; absent in a report given unasked.
    pub answering: Option<Answering>,
    /// For precheck and people.
    pub facts: UnitFacts,
}

impl UnitReport {
    /// Number of the last order that the unit took.
    pub fn last_number(&self) -> OrderNumber {
        self.rotation.as_ref().map(|rotation| rotation.order.number).unwrap_or_default()
    }

    /// Whether both are of the same saved state. Two with the same state counter are, unless the state was
    /// set back between them and has been saved as often again.
    pub fn is_of_same_state(&self, other: &Self) -> bool {
        self.state_counter == other.state_counter
            && self.manifest_serial == other.manifest_serial
            && self.registers == other.registers
            && self.rotation == other.rotation
            && self.epoch == other.epoch
            && self.set_back_from == other.set_back_from
    }

    /// Whether the unit can never take this order: it has taken a later one, or another one of the same
    /// number, as a rogue coordinator may give under a standing order.
    pub fn has_spent(&self, order: &OrderRef) -> bool {
        self.rotation
            .as_ref()
            .is_some_and(|taken| taken.order != *order && taken.order.number >= order.number)
    }

    /// The unit's rotation, if it is the one of this order.
    pub fn in_order(&self, order: &OrderRef) -> Option<&UnitRotation> {
        self.rotation.as_ref().filter(|rotation| rotation.order == *order)
    }
}

/// The one answer of a keystore's reencryptor to every command.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KeystoreReport {
    /// The reencryptor.
    pub reencryptor: ProcessId,
    /// Serial of the newest manifest that it has taken.
    pub manifest_serial: u64,
    /// The row; absent where the keystore does not exist yet.
    pub row: Option<KeystoreRow>,
    /// Chained digest of all receipts of the rotation's generation, once it is complete.
    pub receipts_digest: Option<Digest>,
    /// Units and the nonces of their holds' ends, named by a second *flipped*.
    pub hold_ends: Vec<(ProcessId, u64)>,
    /// Versions that no unit opens, named (at most a page of them).
    pub unopened: Vec<crate::page::UnopenedRow>,
    /// The command that it answers; absent in a report of progress.
    pub answering: Option<Answering>,
    /// Its clock.
    pub clock: UnixMillis,
    /// How far a check of all keys has come, in answers to it.
    pub check: Option<crate::page::KeyCheck>,
}

/// What a process says of itself when it starts, signed with the key that is in it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Announcement {
    /// As it would stand in a manifest.
    pub member: Member,
    /// The instance that its configuration names.
    pub instance_name: String,
    /// The keystore it serves, where it is a reencryptor.
    pub keystore: Option<crate::ids::KeystoreId>,
    /// Serial of the newest manifest that it has taken; 0 for none.
    pub manifest_serial: u64,
    /// Version of the protocol that it speaks.
    pub protocol_version: u32,
}
