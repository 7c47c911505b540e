//! What a coordinator asks of crypto units and of the keystore's reencryptor.

use bincode::{Decode, Encode};

use crate::certificate::Certificate;
use crate::ids::{CheckId, InstanceId, OrderNumber, Pattern, ProcessId, RotationId, Signature};
use crate::manifest::SignedManifest;
use crate::order::{OrderRef, SignedHoldEnd, SignedOrder};

/// A command to a crypto unit. Each one is answered with a `UnitReport`, taken or refused.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// Asks how things stand and saves nothing; where an order is shown, whether it would be taken.
    Survey {
        /// The order, if one is shown.
        order: Option<SignedOrder>,
    },
    /// Gives the order: a unit that takes it is bound to the rotation.
    Inspect {
        /// The order.
        order: SignedOrder,
    },
    /// Does one step of the rotation that the unit is bound to.
    Step {
        /// Which order.
        order: OrderRef,
        /// Which step.
        step: Step,
    },
    /// Ends the rotation for the unit, before its promote.
    Abort {
        /// The order that is aborted, so that a unit that never saw it can remember it as ended.
        order: SignedOrder,
    },
    /// Ends a hold of the rotation that the unit is bound to before its time.
    EndHold {
        /// What the administrators have signed.
        statement: SignedHoldEnd,
    },
    /// Shows a unit its own report with a higher state counter than it has: its state has been set
    /// back. From then on it serves nothing until it has come as far again.
    Remind {
        /// Envelope of that report, as the unit signed it.
        report: Vec<u8>,
    },
    /// Hands over manifests, one after the other, each signed by a quorum of the one before.
    TakeManifest {
        /// The chain from the unit's serial plus 1.
        chain: Vec<SignedManifest>,
    },
}

/// One step of a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Step {
    /// Makes the master key, once, and seals it to these offers; asked again (or of any other
    /// recovery unit that holds it) it seals the same one.
    Generate {
        /// Offers of the other units.
        offers: Vec<SignedOffer>,
    },
    /// Puts a sealed master key into the new register.
    Install {
        /// The sealed key.
        transfer: SignedTransfer,
    },
    /// Full Uncommitted becomes Full Committed.
    Commit {
        /// The pattern that the new register must hold.
        pattern: Pattern,
    },
    /// New becomes current, current becomes retiring.
    Promote {
        /// Every unit committed.
        certificate: Certificate,
    },
    /// Wipes retiring and ends the rotation for the unit.
    Clear {
        /// The keystore flipped and read back.
        certificate: Certificate,
    },
}

impl Step {
    /// Stable word for logs, metrics and spans.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Generate { .. } => "generate",
            Self::Install { .. } => "install",
            Self::Commit { .. } => "commit",
            Self::Promote { .. } => "promote",
            Self::Clear { .. } => "clear",
        }
    }
}

impl Command {
    /// Stable word for logs, metrics and spans.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Survey { .. } => "survey",
            Self::Inspect { .. } => "inspect",
            Self::Step { step, .. } => step.name(),
            Self::Abort { .. } => "abort",
            Self::EndHold { .. } => "end-hold",
            Self::Remind { .. } => "remind",
            Self::TakeManifest { .. } => "take-manifest",
        }
    }
}

/// A unit's transport key for one rotation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Offer {
    /// The instance.
    pub instance: InstanceId,
    /// Serial of the manifest under which it was made.
    pub manifest_serial: u64,
    /// The rotation.
    pub rotation: RotationId,
    /// Number of its order.
    pub number: OrderNumber,
    /// The unit.
    pub unit: ProcessId,
    /// X25519 public key.
    pub transport_key: [u8; 32],
}

/// An offer with its unit's signature over its encoded bytes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedOffer {
    /// `codec::encode` of an [`Offer`].
    pub bytes: Vec<u8>,
    /// The unit's signature.
    pub signature: Signature,
}

/// A master key sealed by one unit to another (HPKE base mode, RFC 9180).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Transfer {
    /// The instance.
    pub instance: InstanceId,
    /// Serial of the manifest under which the order was given.
    pub manifest_serial: u64,
    /// The rotation.
    pub rotation: RotationId,
    /// Number of its order.
    pub number: OrderNumber,
    /// Who sealed.
    pub source: ProcessId,
    /// Who can open.
    pub recipient: ProcessId,
    /// Pattern of the current master key; none at initialisation.
    pub from: Option<Pattern>,
    /// Pattern of the sealed one.
    pub to: Pattern,
    /// HPKE's encapsulated key.
    pub enc: [u8; 32],
    /// The sealed master key.
    pub ciphertext: Vec<u8>,
}

/// A transfer with its source's signature over its encoded bytes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedTransfer {
    /// `codec::encode` of a [`Transfer`].
    pub bytes: Vec<u8>,
    /// The source's signature.
    pub signature: Signature,
}

/// What a generate answers besides its report: one transfer for each offer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Transfers {
    /// Which order.
    pub order: OrderRef,
    /// The sealed keys.
    pub transfers: Vec<SignedTransfer>,
}

/// A command to a keystore's reencryptor. Each one is answered with a `KeystoreReport`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum KeystoreCommand {
    /// Asks how the row stands.
    Survey,
    /// Opens the generation, fills it, proves it complete; goes on where it was.
    Reencrypt {
        /// The order, whose leave the reencryptor checks itself.
        order: SignedOrder,
        /// Pattern of the new generation.
        to: Pattern,
        /// Whether every page is opened by another unit before the answer *complete*.
        verify_all: bool,
        /// Every crypto unit committed to that pattern, or further.
        certificate: Certificate,
    },
    /// Makes the new generation the active one and reads it back.
    Flip {
        /// Which order.
        order: OrderRef,
        /// Every crypto unit promoted.
        certificate: Certificate,
    },
    /// Signs *flipped* anew after a fresh look at the row, naming what units drew at the holds' ends.
    Restate {
        /// Which order.
        order: OrderRef,
        /// Units and the nonces of the ends of their holds.
        hold_ends: Vec<(ProcessId, u64)>,
    },
    /// Drops the table of the retired generation.
    Drop {
        /// Which order.
        order: OrderRef,
        /// Every crypto unit cleared.
        certificate: Certificate,
    },
    /// Ends the rotation for the keystore, before its flip: gate open, generation dropped.
    Abort {
        /// The order that is aborted.
        order: SignedOrder,
        /// Reports of the units: that one has taken the order.
        certificate: Certificate,
    },
    /// Hands over manifests, as to a unit.
    TakeManifest {
        /// The chain.
        chain: Vec<SignedManifest>,
    },
    /// Has every key of the active generation opened by operational units. Asked again under the
    /// same id, it says how far the check has come. Nothing is saved.
    CheckKeys {
        /// Which check.
        check: CheckId,
    },
}

impl KeystoreCommand {
    /// Stable word for logs, metrics and spans.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Survey => "survey",
            Self::Reencrypt { .. } => "reencrypt",
            Self::Flip { .. } => "flip",
            Self::Restate { .. } => "restate",
            Self::Drop { .. } => "drop",
            Self::Abort { .. } => "abort",
            Self::TakeManifest { .. } => "take-manifest",
            Self::CheckKeys { .. } => "check-keys",
        }
    }
}
