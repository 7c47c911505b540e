//! The receipt of a rotation: one signed document that proves to whoever has the manifests that it
//! happened, and to which keys.
//!
//! It is JSON. The coordinator's signature and the receipt's hash cover the document in its one
//! canonical form (RFC 8785), so that it may be laid out anew and still holds; what units and
//! reencryptors have signed is in it exactly as it was received.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit::Phase;
use crate::ids::{
    Digest, InstanceId, KeystoreId, Pattern, ProcessId, RotationId, Signature, UnixMillis,
};
use crate::manifest::{SignedManifest, hex_signature};
use crate::order::{Purpose, SignedOrder};

/// What the document says that it is.
pub const TYPE: &str = "keyhelm.rotation-receipt";
/// The version of its format that this program writes.
pub const VERSION: u32 = 1;
/// What a file of manifests says that it is.
pub const MANIFESTS_TYPE: &str = "keyhelm.manifests";
/// Longest receipt, in bytes: 64 members with their reports are a tenth of it.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Why bytes are no receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Longer than any receipt.
    #[error("it has more than {MAX_BYTES} bytes")]
    TooLong,
    /// No JSON, or a field of another kind.
    #[error("it cannot be read: {0}")]
    Malformed(String),
    /// Another document.
    #[error("it is no rotation receipt: its type is not {TYPE}")]
    OtherType,
    /// Of a newer program.
    #[error("its version {0} is newer than this program: verify it with a newer one")]
    Newer(u64),
    /// A field that no receipt has, or a value in another form than it is written in.
    #[error("it holds more than a receipt, or a value in another form than the coordinator writes")]
    NotExact,
}

/// A rotation's receipt. `GET /v1/rotations/{id}/receipt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationReceipt {
    /// [`TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// [`VERSION`].
    pub version: u32,
    /// The instance.
    pub instance: InstanceId,
    /// Its name, as in the manifest.
    pub instance_name: String,
    /// The rotation.
    pub rotation: RotationId,
    /// What it was for.
    pub purpose: Purpose,
    /// The order as it was given, with the leave it was given by.
    pub order: SignedOrder,
    /// SHA-256 of the order's bytes under its domain: every report names it.
    pub order_digest: Digest,
    /// The manifest under which it ran.
    pub manifest: ManifestName,
    /// Pattern before; none at initialisation.
    pub from: Option<Pattern>,
    /// Pattern after.
    pub to: Pattern,
    /// When each phase began, in order.
    pub phases: Vec<(Phase, UnixMillis)>,
    /// When it ended.
    pub finished_at: UnixMillis,
    /// Milliseconds for which key creation was refused, as the coordinator saw it.
    pub gate_closed_ms: Option<u64>,
    /// Key versions that were re-encrypted, over all keystores.
    pub key_versions: u64,
    /// Every crypto unit of the manifest, in its order.
    pub units: Vec<UnitProof>,
    /// Every keystore of the manifest, in its order.
    pub keystores: Vec<KeystoreProof>,
    /// The end of the audit log when the end of the rotation was saved.
    pub audit: AuditHead,
    /// Hash of the former receipt of this instance; none for the first.
    pub previous: Option<Digest>,
    /// What the rotation means for backups, in a sentence.
    pub note: String,
    /// Who signs.
    pub coordinator: ProcessId,
    /// Its signature over [`RotationReceipt::signed_bytes`].
    #[serde(with = "hex_signature")]
    pub signature: Signature,
}

/// Names one manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestName {
    /// Its serial.
    pub serial: u64,
    /// SHA-256 of its bytes under its domain.
    pub digest: Digest,
}

/// A crypto unit's own word that it holds the new master key only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitProof {
    /// The unit.
    pub unit: ProcessId,
    /// Its name, as in the manifest.
    pub name: String,
    /// Envelope of its *cleared* report, as received.
    #[serde(with = "hex::serde")]
    pub report: Vec<u8>,
}

/// A reencryptor's own word that a keystore was flipped and read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeystoreProof {
    /// The keystore.
    pub keystore: KeystoreId,
    /// How many key versions its set had.
    pub key_versions: u64,
    /// How many of them no unit opened: carried in quarantine, and in no leaf of the tree.
    pub quarantined_count: u64,
    /// Merkle root over them, as they were read back: the one in the report.
    pub key_root: Digest,
    /// Envelope of its *flipped* report, as received.
    #[serde(with = "hex::serde")]
    pub report: Vec<u8>,
}

/// The end of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditHead {
    /// Number of its last entry; 0 for an empty log.
    pub seq: u64,
    /// That entry's hash, which covers all before it.
    pub hash: Digest,
}

/// What an administrator keeps to verify receipts by: `keyhelm manifest --out`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// [`MANIFESTS_TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// [`VERSION`].
    pub version: u32,
    /// Every manifest, oldest first, as signed.
    pub chain: Vec<SignedManifest>,
}

impl RotationReceipt {
    /// Reads a receipt, strictly: whatever is in the document is in the result. Says nothing about
    /// its signatures.
    pub fn read(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.len() > MAX_BYTES {
            return Err(ReceiptError::TooLong);
        }
        let malformed = |error: serde_json::Error| ReceiptError::Malformed(error.to_string());
        let value: Value = serde_json::from_slice(bytes).map_err(malformed)?;
        if value.get("type").and_then(Value::as_str) != Some(TYPE) {
            return Err(ReceiptError::OtherType);
        }
        match value.get("version").and_then(Value::as_u64) {
            Some(newer) if newer > u64::from(VERSION) => return Err(ReceiptError::Newer(newer)),
            Some(1) => {}
            _ => return Err(ReceiptError::Malformed("version: it is none".to_owned())),
        }
        // Out of the bytes once more: a value forgets fields that are there twice.
        let receipt: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        match receipt.value() == value {
            true => Ok(receipt),
            false => Err(ReceiptError::NotExact),
        }
    }

    /// What the coordinator signs: the canonical form of everything but `signature`.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut value = self.value();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("signature");
        }
        canonical(&value)
    }

    /// The canonical form of the whole document, which its hash is of.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        canonical(&self.value())
    }

    /// The document as it is served and saved: a field a line.
    pub fn to_text(&self) -> String {
        // Strings, integers and lists of them always have a form as JSON.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    fn value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// The sentence about backups: what was cleared opens them, and nothing else does.
pub fn note(from: Option<Pattern>) -> String {
    match from {
        Some(from) => format!(
            "Database backups from before the flip hold keys under the pattern {from}: they need \
             that master key, which every crypto unit has cleared."
        ),
        None => "This was the first master key: no backup from before it holds a key.".to_owned(),
    }
}

/// The one canonical form of JSON (RFC 8785): no blank, fields in ascending order of their names.
/// Receipts have strings, integers, lists, objects, `null`, and names in ASCII, nothing else.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut text = String::new();
    write(value, &mut text);
    text.into_bytes()
}

fn write(value: &Value, out: &mut String) {
    let each = |out: &mut String, index: usize| {
        if index > 0 {
            out.push(',');
        }
    };
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                each(out, index);
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (index, (name, value)) in fields.into_iter().enumerate() {
                each(out, index);
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
        // Its escapes are those of RFC 8785.
        plain => out.push_str(&plain.to_string()),
    }
}
