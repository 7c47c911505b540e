//! Identifiers: newtypes whose `Display` is their stable text.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Text that is not the identifier it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a {what}")]
pub struct ParseIdError {
    /// What was expected, for a person.
    pub what: &'static str,
    /// The text that was given.
    pub text: String,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Wraps a UUID.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(*uuid.as_bytes())
            }

            /// The UUID inside.
            pub const fn uuid(self) -> Uuid {
                Uuid::from_bytes(self.0)
            }

            /// The sixteen bytes of the UUID.
            pub const fn bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// From sixteen bytes, as they are.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.uuid().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.uuid().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let refused = || ParseIdError { what: $what, text: text.to_owned() };
                Uuid::parse_str(text).map(Self::from_uuid).map_err(|_| refused())
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Uuid::deserialize(from).map(Self::from_uuid)
            }
        }
    };
}

uuid_id!(
    /// One service instance: a set of crypto units, its keystores, its administrators.
    InstanceId, "instance id");
uuid_id!(
    /// One process that signs: the first sixteen bytes of SHA-256 over a domain and its identity
    /// key, as a version 8 UUID, so that an id cannot be claimed without the key.
    ProcessId, "process id");
uuid_id!(
    /// One rotation (version 7).
    RotationId, "rotation id");
uuid_id!(
    /// One message (version 7).
    MessageId, "message id");
uuid_id!(
    /// One check of all keys of an instance (version 7).
    CheckId, "key check id");
uuid_id!(
    /// One keystore of an instance.
    KeystoreId, "keystore id");
uuid_id!(
    /// One key of a keystore.
    KeyId, "key id");
uuid_id!(
    /// One version of a key; it has exactly one blob per generation.
    VersionId, "key version id");
uuid_id!(
    /// The random id of a generation: its number may come back after a restore, this does not.
    GenerationId, "generation id");
uuid_id!(
    /// One session between a gateway process and a crypto unit.
    SessionId, "session id");

macro_rules! bytes32 {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        pub struct $name(pub [u8; 32]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes)
                    .map_err(|_| ParseIdError { what: $what, text: text.to_owned() })?;
                Ok(Self(bytes))
            }
        }

        impl $name {
            /// The first eight hex digits, for a person's eye only.
            pub fn short(&self) -> String {
                hex::encode(&self.0[..4])
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

bytes32!(
    /// Verification pattern of a master key: 32 bytes, one-way, domain-separated.
    Pattern, "verification pattern");
bytes32!(
    /// SHA-256 of something, domain-separated by whoever computes it.
    Digest, "SHA-256 digest");
bytes32!(
    /// An Ed25519 public key.
    PublicKey, "Ed25519 public key");
bytes32!(
    /// Subject key identifier: SHA-256 of an administrator's public key.
    Ski, "subject key identifier");

impl InstanceId {
    /// The id that an instance has by its name alone (a version 5 UUID), so that units can be told
    /// the name. Text that is a UUID already is taken as it is.
    pub fn named(name: &str) -> Self {
        const NAMESPACE: Uuid = Uuid::from_bytes(*b"keyhelm instance");
        let derived = || Uuid::new_v5(&NAMESPACE, name.as_bytes());
        Self::from_uuid(Uuid::parse_str(name).unwrap_or_else(|_| derived()))
    }
}

impl Ski {
    /// As IBM's tool shows it: thirty hex digits and `...`.
    pub fn shown(&self) -> String {
        format!("{}...", &self.to_string()[..30])
    }
}

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Milliseconds since 1970-01-01 UTC.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The moment `ms` milliseconds later.
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; 0 if it is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A number that only means something together with the manifest under which it was given:
/// compared as the pair, so that a new manifest outranks every number of the old one.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    Serialize,
    Deserialize,
)]
pub struct Ranked {
    /// Serial of the manifest.
    pub manifest_serial: u64,
    /// The number itself, from 1.
    pub number: u64,
}

impl fmt::Display for Ranked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.manifest_serial, self.number)
    }
}

/// Fencing number of a coordinator: a higher one silences every lower one.
pub type Epoch = Ranked;
/// Number of a rotation order: the highest last one of all units plus 1.
pub type OrderNumber = Ranked;

/// What a process is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Makes random master keys and exports them, sealed; the only backup.
    RecoveryUnit,
    /// Serves key operations and re-wraps pages; never exports.
    OperationalUnit,
    /// Streams wrapped keys into a new generation; owns the keystore row.
    Reencryptor,
    /// Drives rotations.
    Coordinator,
    /// The HTTP door for keys.
    Gateway,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::RecoveryUnit,
        Self::OperationalUnit,
        Self::Reencryptor,
        Self::Coordinator,
        Self::Gateway,
    ];

    /// Whether the process holds the master key.
    pub const fn is_crypto_unit(self) -> bool {
        matches!(self, Self::RecoveryUnit | Self::OperationalUnit)
    }

    /// Stable text, as in queue names and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RecoveryUnit => "recovery-unit",
            Self::OperationalUnit => "operational-unit",
            Self::Reencryptor => "keystore-reencryptor",
            Self::Coordinator => "coordinator",
            Self::Gateway => "kms-gateway",
        }
    }

    /// IBM's word in the TYPE column.
    pub const fn unit_type(self) -> &'static str {
        match self {
            Self::RecoveryUnit => "RECOVERY",
            Self::OperationalUnit => "OPERATIONAL",
            _ => "-",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
