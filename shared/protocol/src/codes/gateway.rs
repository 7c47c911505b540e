//! Reason codes of the gateway.

use super::{Entry, UNTOUCHED, act, wait};

pub(super) const ENTRIES: &[Entry] = &[
    act(
        "BAD_BODY_ERR",
        "The body of the request cannot be read.",
        UNTOUCHED,
        "correct the body, and send it again",
    ),
    act("NO_BODY_ERR", "The request has no body.", UNTOUCHED, "send the body"),
    act(
        "INVALID_FIELD_ERR",
        "A field has a value that it cannot have.",
        UNTOUCHED,
        "correct the field that is named",
    ),
    act(
        "INVALID_QUERY_PARAM_ERR",
        "A query parameter has a value that it cannot have.",
        UNTOUCHED,
        "correct the parameter that is named",
    ),
    act(
        "COLLECTION_TOTAL_MISMATCH_ERR",
        "The collection does not have as many resources as it says.",
        UNTOUCHED,
        "correct collectionTotal",
    ),
    act(
        "UNAUTHORIZED_ERR",
        "The token is not believed, or does not allow it.",
        UNTOUCHED,
        "keyhelm token issue",
    ),
    act(
        "INSTANCE_NOT_FOUND_ERR",
        "The gateway does not know the instance.",
        UNTOUCHED,
        "correct the header bluemix-instance",
    ),
    act("NOT_FOUND_ERR", "There is no such path or action.", UNTOUCHED, "correct the path"),
    act(
        "METHOD_NOT_ALLOWED_ERR",
        "The path does not know the method.",
        UNTOUCHED,
        "correct the method",
    ),
    act(
        "NOT_IMPLEMENTED_ERR",
        "This service does not have that part of Key Protect.",
        UNTOUCHED,
        "do without it",
    ),
    act("KEY_NOT_FOUND_ERR", "There is no such key.", UNTOUCHED, "keyhelm keys list"),
    act("KEY_DELETED_ERR", "The key is deleted.", UNTOUCHED, "delete what still refers to the key"),
    act(
        "KEY_ALREADY_EXISTS_ERR",
        "A key with this id exists already.",
        UNTOUCHED,
        "keyhelm keys list",
    ),
    act(
        "KEY_ACTION_INVALID_STATE_ERR",
        "The state of the key does not allow it.",
        UNTOUCHED,
        "keyhelm keys show KEY",
    ),
    act("KEY_ROOT_REQ_ERR", "Only a root key can do that.", UNTOUCHED, "use a root key"),
    act(
        "UNPROCESSABLE_CIPHERTEXT_ERR",
        "The ciphertext was not made by this key with these additional data.",
        UNTOUCHED,
        "use the key and the additional data that it was wrapped with",
    ),
    wait("REQ_TOO_EARLY_ERR", "It is too early for that.", UNTOUCHED),
    wait(
        "MASTER_KEY_ROTATION_IN_PROGRESS_ERR",
        "The master key is being rotated: keys are not created or used for a moment.",
        UNTOUCHED,
    ),
    act(
        "NOT_INITIALISED_ERR",
        "The instance has no master key yet.",
        UNTOUCHED,
        "keyhelm auto-init",
    ),
    wait(
        "KEYSTORE_UNAVAILABLE_ERR",
        "The key storage cannot be reached, or changed meanwhile.",
        UNTOUCHED,
    ),
    act(
        "KEY_WRITE_UNCLEAR_ERR",
        "The key storage did not say whether it has written.",
        "Keys that were there are untouched; the new ones are all there, or none of them.",
        "keyhelm keys show KEY",
    ),
    act(
        "UNITS_UNAVAILABLE_ERR",
        "No crypto unit could serve the request.",
        UNTOUCHED,
        "keyhelm explain",
    ),
    wait("TOO_BUSY_ERR", "Too many requests are being served.", UNTOUCHED),
    act(
        "KEY_IN_QUARANTINE_ERR",
        "No crypto unit opened the key when the master key was rotated: it is kept, and cannot be used.",
        UNTOUCHED,
        "keyhelm keys check",
    ),
    act("KEY_DOES_NOT_OPEN_ERR", "The wrapped key does not open.", UNTOUCHED, "keyhelm keys check"),
    act(
        "INTERNAL_ERR",
        "The gateway failed to serve the request.",
        UNTOUCHED,
        "see the log of the gateway by the correlation id",
    ),
];
