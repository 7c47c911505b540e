//! What crypto units and reencryptors refuse.

use super::{ENDS, Entry, SERVES, UNCHANGED, act, wait};

pub(super) const ENTRIES: &[Entry] = &[
    act(
        "not-a-coordinator",
        "The command does not come from a coordinator of the manifest.",
        ENDS,
        "keyhelm manifest",
    ),
    act(
        "removed",
        "The crypto unit has been removed from the manifest.",
        ENDS,
        "keyhelm cryptounit-enroll NAME",
    ),
    wait(
        "stale-epoch",
        "A later coordinator has taken over: this command is of an earlier one.",
        ENDS,
    ),
    wait(
        "epoch-ahead",
        "The command is of a manifest that was not taken here yet, or of none at all.",
        ENDS,
    ),
    act(
        "bound-to-another",
        "The crypto unit is bound to another rotation, which must end first.",
        ENDS,
        "keyhelm explain",
    ),
    act(
        "order-spent",
        "The order is spent: a later one has been taken.",
        ENDS,
        "keyhelm auto-mk-rotate",
    ),
    act(
        "other-digest",
        "An order of the same number has been taken with other content.",
        ENDS,
        "keyhelm auto-mk-rotate",
    ),
    wait("not-bound", "The crypto unit has not taken this order.", ENDS),
    wait(
        "promoted",
        "The rotation has been promoted in this crypto unit: it only goes forward.",
        SERVES,
    ),
    wait("cleared", "The rotation is over in this crypto unit.", SERVES),
    act(
        "other-manifest",
        "The order was drafted under another manifest than the newest.",
        ENDS,
        "keyhelm auto-mk-rotate",
    ),
    act("order-expired", "The order has expired.", ENDS, "keyhelm auto-mk-rotate"),
    act(
        "order-not-yet-issued",
        "The order is dated in the future.",
        ENDS,
        "set the clock of the crypto unit that is named",
    ),
    act("manifest-refused", "A manifest was not taken.", ENDS, "keyhelm manifest"),
    act("certificate-refused", "The reports do not justify the step yet.", ENDS, "keyhelm explain"),
    act(
        "other-current",
        "The current register does not hold the master key that the order starts from.",
        ENDS,
        "keyhelm cryptounit-compare",
    ),
    act(
        "register-not-empty",
        "A register that must be Empty for a new order is not.",
        ENDS,
        "keyhelm cryptounit-compare",
    ),
    act(
        "generator-is-no-recovery-unit",
        "The crypto unit that shall make the master key is no recovery unit.",
        ENDS,
        "keyhelm auto-mk-rotate",
    ),
    wait(
        "not-the-generator",
        "Only the recovery unit that the order names makes its master key.",
        ENDS,
    ),
    act(
        "joins-no-unit",
        "Somebody shall join who is no crypto unit of the manifest.",
        ENDS,
        "keyhelm cryptounits",
    ),
    act(
        "nobody-to-join",
        "No operational crypto unit would be left that holds the old master key.",
        ENDS,
        "keyhelm cryptounits",
    ),
    act(
        "not-allowed",
        "The role of the crypto unit does not allow it.",
        ENDS,
        "keyhelm cryptounit-compare",
    ),
    act(
        "offer-refused",
        "A transport key that was offered does not hold.",
        ENDS,
        "keyhelm auto-mk-rotate",
    ),
    wait(
        "transfer-refused",
        "A sealed master key does not open or is not for this crypto unit.",
        ENDS,
    ),
    act(
        "other-copy",
        "A copy holds another master key than the one installed: it is never overwritten.",
        ENDS,
        "keyhelm auto-mk-rotate",
    ),
    act(
        "other-pattern",
        "The new register does not hold the pattern that the step names.",
        ENDS,
        "keyhelm explain",
    ),
    wait(
        "new-register",
        "A step came before its time: the new register is not ready for it.",
        ENDS,
    ),
    wait("holding", "A hold of the order is not over yet.", SERVES),
    wait(
        "reminder-refused",
        "What a crypto unit was shown as its own newer report is none.",
        SERVES,
    ),
    wait(
        "had-drawn",
        "A crypto unit had a new master key before its state was set back, and makes no other one.",
        ENDS,
    ),
    act(
        "not-for-recovery",
        "An order to recover does not fit who is shown it.",
        ENDS,
        "keyhelm auto-mk-recover",
    ),
    wait(
        "not-flipped",
        "The key storage is not under the new master key when it is looked at again.",
        "No key is lost: it is re-encrypted and switched once more before any old master key is wiped.",
    ),
    act("keystore-refused", "The key storage does not take the step now.", ENDS, "keyhelm explain"),
    act(
        "unopened",
        "Key versions do not open with the master key that they should be under.",
        "Nothing has been switched: the key storage is as it was, and no key has been changed.",
        "keyhelm keys check",
    ),
    act(
        "cross-check",
        "A second crypto unit does not find in re-wrapped keys what the first one says is there.",
        "Nothing has been switched: the key storage is as it was, and no key has been changed.",
        "keyhelm cryptounit-compare",
    ),
    act(
        "read-back",
        "The new key storage reads back other than the crypto units signed.",
        "The old master key is kept until what is read is what was signed: nothing is cleared before.",
        "keyhelm keys check",
    ),
    wait("busy", "It is busy and takes no more now.", UNCHANGED),
];
