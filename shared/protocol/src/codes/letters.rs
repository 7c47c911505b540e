//! Why messages go to the dead-letter queue, as the metrics count them too.

use super::{DROPPED, Entry, UNCHANGED, act, wait};

pub(super) const ENTRIES: &[Entry] = &[
    wait("empty", "A message has no bytes.", DROPPED),
    act(
        "wrong-version",
        "A message is of a version that this program does not read.",
        DROPPED,
        "upgrade the program that is older",
    ),
    act("oversized", "It is longer than is taken.", DROPPED, "send less at once"),
    wait("trailing-bytes", "A message has bytes behind its end.", DROPPED),
    act(
        "malformed",
        "It cannot be understood.",
        UNCHANGED,
        "correct what the sentence names, and send it again",
    ),
    act(
        "other-instance",
        "A message is of another instance.",
        DROPPED,
        "correct the instance in the configuration of its sender",
    ),
    wait("other-recipient", "A message is for somebody else.", DROPPED),
    act(
        "unknown-sender",
        "The manifest does not name the sender of a message.",
        DROPPED,
        "keyhelm manifest",
    ),
    act(
        "wrong-signature",
        "The signature of a message is not that of its sender.",
        DROPPED,
        "keyhelm manifest",
    ),
    wait("unexpected-kind", "A message is of a kind that is not for this queue.", DROPPED),
    act(
        "speaks-for-another",
        "A process speaks in the name of another.",
        DROPPED,
        "keyhelm manifest",
    ),
    act(
        "not-a-unit",
        "A report of a crypto unit comes from another kind of process.",
        DROPPED,
        "keyhelm manifest",
    ),
    act(
        "not-a-reencryptor",
        "A message of a reencryptor comes from another kind of process.",
        DROPPED,
        "keyhelm manifest",
    ),
    act(
        "not-a-recovery-unit",
        "A sealed master key comes from another kind of process than a recovery unit.",
        DROPPED,
        "keyhelm manifest",
    ),
    act(
        "not-an-operational-unit",
        "Re-encrypted keys come from another kind of process than an operational unit.",
        DROPPED,
        "keyhelm manifest",
    ),
    act(
        "not-a-gateway",
        "A request for a key comes from another kind of process than a gateway.",
        DROPPED,
        "keyhelm manifest",
    ),
    act(
        "too-many-instances",
        "The coordinator serves as many instances as it can.",
        UNCHANGED,
        "serve the new instance by another coordinator",
    ),
    act(
        "worker-failed",
        "A crypto unit failed at a page of keys.",
        DROPPED,
        "see the log of the crypto unit",
    ),
    wait("session-ciphertext", "A sealed request does not open.", DROPPED),
    wait("session-answer", "An answer could not be sealed.", DROPPED),
    wait("session-key", "A sealed request is for a session that cannot be opened.", DROPPED),
    act(
        "session-of-another",
        "A sealed request is of another gateway's session.",
        DROPPED,
        "keyhelm manifest",
    ),
    wait("replayed", "A sealed request came twice.", DROPPED),
    act(
        "unroutable",
        "No queue takes a message.",
        DROPPED,
        "start the process that the queue belongs to",
    ),
    wait("refused", "The broker refused a message.", DROPPED),
    act("broker-away", "The broker is away.", DROPPED, "start the broker"),
];
