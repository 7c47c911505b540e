//! Every domain string. Two things that are hashed, derived or signed never share one.

/// Envelopes on the bus.
pub const ENVELOPE: &str = "keyhelm envelope v1";
/// Digest of an envelope's body.
pub const BODY: &str = "keyhelm envelope body v1";
/// Instance manifests, signed by administrators.
pub const MANIFEST: &str = "keyhelm manifest v1";
/// Rotation orders.
pub const ORDER: &str = "keyhelm order v1";
/// Standing orders.
pub const STANDING_ORDER: &str = "keyhelm standing order v1";
/// Statements that end a hold before its time.
pub const HOLD_END: &str = "keyhelm hold end v1";
/// Offers of a transport key.
pub const OFFER: &str = "keyhelm offer v1";
/// Offers of a transport key, made for an order to recover.
pub const RECOVER_OFFER: &str = "keyhelm recover offer v1";
/// Sealed master keys between units.
pub const TRANSFER: &str = "keyhelm transfer v1";
/// Sealed master keys between units, under an order to recover.
pub const RECOVER_TRANSFER: &str = "keyhelm recover transfer v1";
/// Receipts of re-wrapped chunks.
pub const RECEIPT: &str = "keyhelm chunk receipt v1";
/// Digest over the rows of a chunk.
pub const CHUNK: &str = "keyhelm chunk rows v1";
/// Chained digest over all receipts.
pub const RECEIPT_CHAIN: &str = "keyhelm receipt chain v1";
/// Receipts of whole rotations, signed by a coordinator.
pub const ROTATION_RECEIPT: &str = "keyhelm rotation receipt v1";
/// Plans of rotations.
pub const PLAN: &str = "keyhelm plan v1";
/// Entries of the audit log.
pub const AUDIT: &str = "keyhelm audit v1";
/// Process ids out of identity keys.
pub const PROCESS_ID: &str = "keyhelm process id v1";
/// Fingerprints of identity keys, as people compare them.
pub const FINGERPRINT: &str = "keyhelm fingerprint v1";

/// Verification pattern out of a master key.
pub(crate) const PATTERN: &[u8] = b"keyhelm pattern v1";
/// Wrapping key of suite 1 out of a master key.
pub(crate) const WRAP_SUITE_1: &[u8] = b"keyhelm wrap suite 1 v1";
/// Data key out of a root key.
pub(crate) const DATA_KEY: &[u8] = b"keyhelm data key v1";
/// AAD of a blob.
pub(crate) const BLOB: &[u8] = b"keyhelm blob v1";
/// AAD of a ciphertext made by wrap.
pub(crate) const DATA: &[u8] = b"keyhelm data v1";
/// HPKE `info` of a transfer.
pub(crate) const TRANSFER_INFO: &[u8] = b"keyhelm transfer info v1";
/// HPKE `info` of a transfer under an order to recover.
pub(crate) const RECOVER_INFO: &[u8] = b"keyhelm recover info v1";
/// HPKE `info` of a session.
pub(crate) const SESSION_INFO: &[u8] = b"keyhelm session info v1";
/// Exporter context of a session's key from gateway to unit.
pub(crate) const SESSION_REQUEST: &[u8] = b"keyhelm session request v1";
/// Exporter context of a session's key from unit to gateway.
pub(crate) const SESSION_ANSWER: &[u8] = b"keyhelm session answer v1";
/// AAD of a sealed state file, before the caller's.
pub(crate) const STATE: &[u8] = b"keyhelm state v1";
/// AAD of a signature-key file.
pub(crate) const SIGKEY: &[u8] = b"keyhelm signature key v1";
