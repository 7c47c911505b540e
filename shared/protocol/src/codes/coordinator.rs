//! Problem documents of the coordinator, and its answers to requests on the queue.

use super::{Entry, GOES_ON, UNCHANGED, act, wait};

pub(super) const ENTRIES: &[Entry] = &[
    act("unauthenticated", "The token is not believed.", UNCHANGED, "keyhelm token issue"),
    act(
        "role-lacking",
        "The token has none of the roles that may do this.",
        UNCHANGED,
        "keyhelm token issue --role ROLE",
    ),
    act(
        "instance-not-covered",
        "The token is not for this instance.",
        UNCHANGED,
        "keyhelm token issue --instances INSTANCE",
    ),
    act(
        "unknown-instance",
        "The coordinator does not know the instance: none of its processes has announced itself.",
        UNCHANGED,
        "start crypto units whose configuration names the instance",
    ),
    act("unknown-rotation", "There is no such rotation.", UNCHANGED, "keyhelm rotations"),
    act(
        "no-key-check",
        "No key check was asked for since the coordinator's start.",
        UNCHANGED,
        "keyhelm auto-mk-rotate --dry-run",
    ),
    act(
        "no-receipt",
        "The rotation has no receipt: it was aborted, or a report was missing when it ended.",
        UNCHANGED,
        "keyhelm rotations ROTATION",
    ),
    act(
        "receipt-not-yet",
        "The rotation is running: its receipt is made when it has ended well.",
        GOES_ON,
        "keyhelm rotations ROTATION --follow",
    ),
    act(
        "content-type",
        "The body is not sent as JSON.",
        UNCHANGED,
        "send it with the header content-type: application/json",
    ),
    act("not-taken", "What administrators signed was not taken.", UNCHANGED, "keyhelm manifest"),
    act(
        "other-rotation",
        "Another rotation is running than the one asked for.",
        "Nothing has changed; the rotation that is running goes on.",
        "keyhelm rotations",
    ),
    act("not-running", "No such rotation is running.", UNCHANGED, "keyhelm rotations"),
    act("not-holding", "The rotation is not in that hold.", UNCHANGED, "keyhelm rotations"),
    act(
        "decided",
        "The rotation is decided: it only goes forward.",
        "No key is lost: every crypto unit holds the new master key, and the rotation goes on to its end.",
        "keyhelm rotations",
    ),
    wait(
        "starting",
        "The coordinator has just started and asks everybody how they stand.",
        GOES_ON,
    ),
    act(
        "no-answer",
        "The coordinator did not come to an answer in time; what was asked may still happen.",
        "No key is lost: asking again is always right.",
        "keyhelm explain",
    ),
    act("unknown-path", "There is nothing at that path.", UNCHANGED, "keyhelm --version"),
    act("unknown-method", "That path does not know the method.", UNCHANGED, "keyhelm --version"),
    act(
        "unexpected",
        "The coordinator gave an answer that does not belong to the question.",
        GOES_ON,
        "keyhelm explain",
    ),
    act(
        "stopped",
        "The coordinator has stopped.",
        GOES_ON,
        "start the coordinator, and run the same command again",
    ),
    act(
        "audit-broken",
        "The audit log was changed after it was written.",
        GOES_ON,
        "bring the coordinator's database back from a backup",
    ),
    act(
        "store-malformed",
        "The coordinator's database holds something that cannot be read.",
        GOES_ON,
        "bring the coordinator's database back from a backup",
    ),
    act(
        "store-unavailable",
        "The coordinator's database does not answer.",
        GOES_ON,
        "start the coordinator's database",
    ),
];
