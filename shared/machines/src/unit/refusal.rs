//! Why a crypto unit does not do what it is asked. Nothing has changed then.

use protocol::report::Refusal;
use protocol::{Epoch, OrderNumber, Pattern, ProcessId, Role};

use crate::certificate::CertificateRefusal;
use crate::hold_end::HoldEndRefusal;
use crate::leave::LeaveRefusal;
use crate::trust::ManifestRefusal;

/// One refusal of a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitRefusal {
    /// The sender is no coordinator of the manifest.
    #[error("only a coordinator of the manifest may command")]
    NotACoordinator,
    /// No manifest yet.
    #[error("the unit is in imprint mode: run auto-init")]
    Imprint,
    /// The manifest no longer names the unit.
    #[error("the unit has been removed from the manifest")]
    Removed,
    /// A later coordinator has spoken.
    #[error("epoch {given} is fenced by epoch {highest}")]
    StaleEpoch {
        /// In the command.
        given: Epoch,
        /// Seen before.
        highest: Epoch,
    },
    /// Nobody could outrank it by the next manifest.
    #[error("epoch {given} is of a manifest that the unit has not taken: its newest is {newest}")]
    EpochAhead {
        /// In the command.
        given: Epoch,
        /// Serial of the newest manifest.
        newest: u64,
    },
    /// Another rotation holds the unit.
    #[error("the unit is bound to order {bound}: that rotation must end first")]
    BoundToAnother {
        /// Its number.
        bound: OrderNumber,
    },
    /// The order is spent.
    #[error("order {given} is spent: the unit has taken order {taken}")]
    OrderSpent {
        /// In the command.
        given: OrderNumber,
        /// Taken before.
        taken: OrderNumber,
    },
    /// The same number under another digest.
    #[error("order {0} has been taken with other content")]
    OtherDigest(OrderNumber),
    /// Not bound to the order that the step names.
    #[error("the unit has not taken this order")]
    NotBound,
    /// The rotation has been aborted here.
    #[error("the rotation has been aborted here")]
    Aborted,
    /// The rotation has been promoted here.
    #[error("the rotation has been promoted here: it only goes forward")]
    Promoted,
    /// The rotation is over.
    #[error("the rotation is over here")]
    Cleared,
    /// Signatures, standing order, time.
    #[error(transparent)]
    Leave(#[from] LeaveRefusal),
    /// A manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestRefusal),
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateRefusal),
    /// The current register does not hold what the order goes from.
    #[error("the current register does not hold the pattern that the order names")]
    OtherCurrent,
    /// A register that must be Empty is not.
    #[error("the {0} register is not Empty")]
    NotEmpty(&'static str),
    /// The order's generator is no recovery unit.
    #[error("the unit that the order names to make the master key is no recovery unit")]
    GeneratorIsNoRecoveryUnit,
    /// The order lets somebody join who cannot.
    #[error("{0} cannot join: it is no crypto unit of the manifest")]
    JoinsNoUnit(ProcessId),
    /// The order leaves nobody who holds the old master key.
    #[error(
        "only a rotation has units that join, and it needs an operational unit that does not join"
    )]
    NobodyToJoin,
    /// The order names another generator.
    #[error("only {0} may make the master key in this order")]
    NotTheGenerator(ProcessId),
    /// The role does not allow it.
    #[error("{role} units never {verb} a master key")]
    NotAllowed {
        /// The unit's role.
        role: Role,
        /// What was asked.
        verb: &'static str,
    },
    /// An offer does not hold.
    #[error("the offer of {unit} is refused: {reason}")]
    Offer {
        /// Whose.
        unit: ProcessId,
        /// Why.
        reason: &'static str,
    },
    /// A transfer does not hold.
    #[error("the transfer is refused: {0}")]
    Transfer(&'static str),
    /// A copy with another pattern: somebody drew another key.
    #[error("the new register holds {held}, the copy has {given}: never overwritten")]
    OtherCopy {
        /// In the register.
        held: Pattern,
        /// In the transfer.
        given: Pattern,
    },
    /// Commit names another pattern.
    #[error("the new register does not hold the pattern named")]
    OtherPattern,
    /// A step before its time.
    #[error("the new register is not {0}")]
    NewIsNot(&'static str),
    /// An order's hold is not over.
    #[error("the hold {hold} ends in {wait_s} s: nothing is to be done until then")]
    Holding {
        /// Which.
        hold: &'static str,
        /// Seconds left by the unit's clock.
        wait_s: u64,
    },
    /// What shall remind the unit of its state does not.
    #[error("the reminder is refused: {0}")]
    Reminder(&'static str),
    /// The state was set back to before the new master key.
    #[error("the unit had a new master key before its state was set back: it makes no other one")]
    HadDrawn,
    /// An order to recover that this unit cannot take, or a step that it does not have.
    #[error("the order to recover is refused: {0}")]
    NotForRecovery(&'static str),
}

impl From<HoldEndRefusal> for UnitRefusal {
    fn from(refusal: HoldEndRefusal) -> Self {
        match refusal {
            HoldEndRefusal::Malformed(text) => Self::Leave(LeaveRefusal::Malformed(text)),
            HoldEndRefusal::OtherInstance => Self::Leave(LeaveRefusal::OtherInstance),
            HoldEndRefusal::OtherRotation => Self::NotBound,
            HoldEndRefusal::NotSigned(text) => Self::Leave(LeaveRefusal::NotSigned(text)),
        }
    }
}

impl UnitRefusal {
    /// Stable word.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotACoordinator => "not-a-coordinator",
            Self::Imprint => "imprint-mode",
            Self::Removed => "removed",
            Self::StaleEpoch { .. } => "stale-epoch",
            Self::EpochAhead { .. } => "epoch-ahead",
            Self::BoundToAnother { .. } => "bound-to-another",
            Self::OrderSpent { .. } => "order-spent",
            Self::OtherDigest(_) => "other-digest",
            Self::NotBound => "not-bound",
            Self::Aborted => "aborted",
            Self::Promoted => "promoted",
            Self::Cleared => "cleared",
            Self::Leave(refusal) => refusal.code(),
            Self::Manifest(_) => "manifest-refused",
            Self::Certificate(_) => "certificate-refused",
            Self::OtherCurrent => "other-current",
            Self::NotEmpty(_) => "register-not-empty",
            Self::GeneratorIsNoRecoveryUnit => "generator-is-no-recovery-unit",
            Self::JoinsNoUnit(_) => "joins-no-unit",
            Self::NobodyToJoin => "nobody-to-join",
            Self::NotTheGenerator(_) => "not-the-generator",
            Self::NotAllowed { .. } => "not-allowed",
            Self::Offer { .. } => "offer-refused",
            Self::Transfer(_) => "transfer-refused",
            Self::OtherCopy { .. } => "other-copy",
            Self::OtherPattern => "other-pattern",
            Self::NewIsNot(_) => "new-register",
            Self::Holding { .. } => "holding",
            Self::Reminder(_) => "reminder-refused",
            Self::HadDrawn => "had-drawn",
            Self::NotForRecovery(_) => "not-for-recovery",
        }
    }

    /// As reports carry it.
    pub fn to_report(&self) -> Refusal {
        Refusal { code: self.code().to_owned(), text: self.to_string() }
    }
}
