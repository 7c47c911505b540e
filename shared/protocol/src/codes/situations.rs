//! What `keyhelm explain` answers.

use super::{Entry, UNCHANGED, act, wait};

pub(super) const ENTRIES: &[Entry] = &[
    act(
        "nobody-announced",
        "No crypto unit of the instance has announced itself.",
        UNCHANGED,
        "start the crypto units whose configuration names this instance",
    ),
    act(
        "not-initialised",
        "The instance has no manifest: its crypto units are in imprint mode.",
        UNCHANGED,
        "keyhelm auto-init",
    ),
    act(
        "coordinator-unknown",
        "The manifest does not name this coordinator: crypto units obey another one.",
        "Nothing is lost: keys are served, and whatever was running waits as it was.",
        "keyhelm cryptounit-enroll NAME --replace",
    ),
    act(
        "no-master-key",
        "The instance has a manifest and no master key yet.",
        UNCHANGED,
        "keyhelm auto-init",
    ),
    act(
        "mixed-end",
        "Some crypto units have aborted a rotation that others have promoted or that is decided.",
        "No key is lost: whoever is to stay holds the master key that the key storage is under.",
        "keyhelm cryptounit-retire NAME",
    ),
    act(
        "rolled-back",
        "A crypto unit has come back with an older state than it had before.",
        "No key is lost: the other crypto units hold the master key, and an older state counts in no certificate.",
        "keyhelm cryptounit-retire NAME",
    ),
    wait(
        "rotation-running",
        "A rotation of the master key is running.",
        "No key is lost, whatever happens: run the same command again at any time, it joins.",
    ),
    act(
        "waiting-before-decision",
        "A rotation waits for somebody who is silent, and ends by itself if the silence lasts.",
        "Nothing has changed yet: if the rotation ends, every key is under the same master key as before.",
        "start whoever is named as silent",
    ),
    act(
        "waiting-after-decision",
        "A rotation is decided and waits for somebody who is silent, as long as it takes.",
        "Nothing is lost: every crypto unit holds the new master key, and the rotation ends when the one that is silent comes back.",
        "start whoever is named as silent",
    ),
    wait(
        "rotation-holding",
        "A rotation holds, as its order says.",
        "No key is lost: every crypto unit holds the old and the new master key while it holds.",
    ),
    act(
        "rotation-aborting",
        "A rotation is being ended before its decision.",
        "Nothing has changed: every key is under the same master key as before, and the key storage serves.",
        "start whoever is named as silent",
    ),
    act(
        "rotation-undriven",
        "Crypto units or the key storage are in a rotation that no coordinator drives.",
        "No key is lost: the next coordinator that hears them brings the rotation to its end.",
        "keyhelm auto-mk-rotate --yes",
    ),
    act(
        "order-ended",
        "Crypto units are still bound to an order whose rotation has ended.",
        "No key is lost: the rotation ended as its record says, and the units only have not heard of it.",
        "keyhelm auto-mk-rotate --yes",
    ),
    act(
        "keystore-differs",
        "The key storage is under a master key that no crypto unit holds.",
        "Nothing is written to that key storage, and what is in it stays as it is.",
        "restore the keystore that belongs to these units",
    ),
    act(
        "current-empty",
        "A crypto unit has no master key while others have one.",
        "No key is lost: the others hold the master key; the empty one serves no key.",
        "keyhelm auto-mk-recover --unit NAME",
    ),
    act(
        "current-differs",
        "The crypto units hold different master keys.",
        "No key is lost as long as the units stay that hold the master key of the key storage.",
        "keyhelm cryptounit-retire NAME",
    ),
    act(
        "precheck-unmet",
        "Conditions of a rotation are not met.",
        UNCHANGED,
        "keyhelm cryptounit-compare",
    ),
    act(
        "aborted",
        "The last rotation was ended before its decision.",
        "Nothing has changed: every key is under the same master key as before.",
        "keyhelm auto-mk-rotate",
    ),
    act(
        "no-standing-order",
        "No standing order lets the coordinator rotate by itself.",
        "Nothing has changed, and every key stays readable.",
        "keyhelm auto-mk-rotate --sign",
    ),
    wait("all-well", "All is well.", "Every crypto unit holds the master key of the key storage."),
];
