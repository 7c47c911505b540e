//! Why the keystore row does not change, or a write is refused.

use protocol::{Epoch, OrderNumber, Pattern, RotationId};

/// Why the keystore row does not change, or a write is refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateRefusal {
    /// A later coordinator has spoken.
    #[error("epoch {given} is fenced by epoch {highest}")]
    StaleEpoch {
        /// In the command.
        given: Epoch,
        /// Seen before.
        highest: Epoch,
    },
    /// A later order has been taken.
    #[error("order {given} is spent: the keystore has taken order {taken}")]
    OrderSpent {
        /// In the command.
        given: OrderNumber,
        /// Taken before.
        taken: OrderNumber,
    },
    /// The same number under another digest.
    #[error("order {0} has been taken with other content")]
    OtherDigest(OrderNumber),
    /// Another rotation has not ended here.
    #[error("rotation {0} has not ended in this keystore")]
    OtherRotation(RotationId),
    /// The keystore is not under the pattern that the order goes from.
    #[error("the keystore is under {}, not under the pattern that the order names", shown(.0))]
    OtherPattern(Option<Pattern>),
    /// Initialisation of a keystore that has keys.
    #[error("the keystore has {0} key versions: it cannot be initialised again")]
    NotEmpty(u64),
    /// The rotation has not opened a generation here, or has aborted it.
    #[error("the rotation is not open in this keystore")]
    NotOpen,
    /// The new generation is not complete.
    #[error("the new generation is not complete: {0}")]
    NotComplete(String),
    /// The flip has been done: an active generation is never dropped.
    #[error("the rotation has flipped this keystore: it only goes forward")]
    Flipped,
    /// The flip has not been read back.
    #[error("the flip has not been read back")]
    NotReadBack,
    /// A rotation is running and the mode is strict.
    #[error("master key rotation {0} is running: try again when it has ended")]
    GateClosed(RotationId),
    /// The generations have changed since the blobs were made.
    #[error("the generations have changed: have the blobs made again")]
    GenerationsChanged,
    /// Before `auto-init`.
    #[error("the keystore is not initialised: run auto-init")]
    NotInitialised,
}

fn shown(pattern: &Option<Pattern>) -> String {
    pattern.map_or_else(|| "no pattern".to_owned(), |pattern| format!("pattern {pattern}"))
}
