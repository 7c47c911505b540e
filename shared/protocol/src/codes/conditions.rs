//! What a precheck finds.

use super::{Entry, SERVES, UNCHANGED, act};

pub(super) const ENTRIES: &[Entry] = &[
    act(
        "silent",
        "A crypto unit of the manifest does not answer.",
        UNCHANGED,
        "start the crypto unit that is named",
    ),
    act(
        "keystore-silent",
        "No reencryptor answers for a key storage of the manifest.",
        UNCHANGED,
        "start the keystore-reencryptor that is named",
    ),
    act(
        "imprint-mode",
        "A process has no manifest: it is in imprint mode.",
        UNCHANGED,
        "keyhelm auto-init",
    ),
    act(
        "manifest-differs",
        "A process has another manifest than the newest.",
        UNCHANGED,
        "keyhelm cryptounit-enroll NAME",
    ),
    act(
        "protocol-version",
        "A process speaks another version of the protocol.",
        UNCHANGED,
        "upgrade the process that speaks the older one",
    ),
    act(
        "clock-skew",
        "The clock of a crypto unit is far off.",
        UNCHANGED,
        "set the clock of the crypto unit that is named",
    ),
    act(
        "local-storage-key",
        "A crypto unit keeps its storage key on its own volume.",
        SERVES,
        "give the crypto unit a storage_key_file from elsewhere",
    ),
    act(
        "fewer-keys",
        "There are fewer key versions than the last rotation counted.",
        UNCHANGED,
        "keyhelm keys list",
    ),
    act(
        "new-not-empty",
        "The new master key register of a crypto unit is not Empty.",
        UNCHANGED,
        "keyhelm cryptounit-retire NAME",
    ),
    act(
        "retiring-not-empty",
        "The retiring master key register of a crypto unit is not Empty.",
        UNCHANGED,
        "keyhelm cryptounit-retire NAME",
    ),
    act(
        "number-leaps",
        "A crypto unit has taken an order that no other one can follow under this manifest.",
        UNCHANGED,
        "sign a manifest without whoever gave that order",
    ),
    act("bound", "A crypto unit is bound to a rotation.", UNCHANGED, "keyhelm explain"),
    act(
        "keystore-open",
        "The key storage is being re-encrypted by a rotation.",
        UNCHANGED,
        "keyhelm explain",
    ),
    act(
        "current-not-empty",
        "A crypto unit that should be empty holds a master key already.",
        UNCHANGED,
        "keyhelm auto-mk-rotate",
    ),
    act(
        "keystore-not-empty",
        "The key storage holds keys, and a first master key is to be made.",
        UNCHANGED,
        "keyhelm auto-mk-rotate",
    ),
    act(
        "unexpected-pattern",
        "The current master key is not the one that the caller expects.",
        UNCHANGED,
        "keyhelm auto-mk-rotate --expect-current-pattern PATTERN",
    ),
    act(
        "key-unopened",
        "A key version does not open under the current master key, or its wrapped key is missing.",
        UNCHANGED,
        "keyhelm auto-mk-rotate --quarantine KEY",
    ),
    act(
        "key-check-failed",
        "The check of all keys has not come to its end.",
        UNCHANGED,
        "keyhelm auto-mk-rotate --check-keys",
    ),
    act(
        "verified-in-part",
        "The rotation that runs was started without --verify all.",
        UNCHANGED,
        "keyhelm auto-mk-rotate",
    ),
    act(
        "plan-moved",
        "Something that the plan depends on is not as it was: the plan is another one now.",
        UNCHANGED,
        "keyhelm auto-mk-rotate --dry-run",
    ),
    act(
        "source-unfit",
        "The crypto unit that shall give its master key cannot.",
        UNCHANGED,
        "keyhelm auto-mk-recover --unit NAME",
    ),
    act(
        "target-unfit",
        "Whoever shall recover is no crypto unit that can.",
        UNCHANGED,
        "keyhelm cryptounits",
    ),
    act(
        "recovery-running",
        "A crypto unit is being given its master key back: one thing at a time.",
        SERVES,
        "keyhelm rotations ROTATION --follow",
    ),
    act(
        "old-key-held",
        "The last rotation is done but for its hold: the old master key is kept for a time.",
        SERVES,
        "keyhelm hold-end ROTATION",
    ),
    act(
        "no-leave",
        "The order is not given by the administrators' leave.",
        UNCHANGED,
        "keyhelm auto-mk-rotate --sign",
    ),
    act(
        "taken-up",
        "A rotation that nobody drove was found and is brought to its end first.",
        SERVES,
        "keyhelm auto-mk-rotate --yes",
    ),
];
