//! The instance manifest: who belongs to an instance, and whose signatures rule it.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError};
use crate::ids::{
    Digest, InstanceId, KeystoreId, ProcessId, PublicKey, Role, RotationId, Signature, Ski,
    UnixMillis,
};

/// Most administrators of an instance, as in IBM's tool.
pub const MAX_ADMINISTRATORS: usize = 8;
/// Most members of an instance.
pub const MAX_MEMBERS: usize = 64;
/// Longest name of an administrator, as in IBM's tool.
pub const MAX_ADMINISTRATOR_NAME: usize = 30;

/// One process that belongs to the instance.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Member {
    /// Its id, which follows from its identity key.
    pub id: ProcessId,
    /// Its name, for people.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Its identity key.
    pub identity: PublicKey,
    /// Where it stands, for people (`[region].[zone]`).
    pub location: String,
}

/// One administrator.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Administrator {
    /// Name, at most [`MAX_ADMINISTRATOR_NAME`] characters.
    pub name: String,
    /// Signature key.
    pub key: PublicKey,
}

/// What an amendment adds to a manifest: it is taken while units are bound.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Amendment {
    /// The rotation during which it is taken.
    pub rotation: RotationId,
    /// Envelope of the report of a remaining unit that holds the master keys still needed.
    pub holder_report: Vec<u8>,
}

/// Members, keystores, administrators and thresholds of an instance, by serial.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Manifest {
    /// The instance.
    pub instance: InstanceId,
    /// Its name, for people.
    pub name: String,
    /// From 1; each one is the former plus 1.
    pub serial: u64,
    /// Digest of the former manifest's bytes; none for the first.
    pub previous: Option<Digest>,
    /// Every process.
    pub members: Vec<Member>,
    /// Every keystore whose flip a clear must wait for.
    pub keystores: Vec<KeystoreId>,
    /// Every administrator.
    pub administrators: Vec<Administrator>,
    /// Signatures that an order, a standing order or an addition needs.
    pub signature_threshold: u32,
    /// Signatures that the removal of an administrator or a unit needs.
    pub revocation_threshold: u32,
    /// When it was drafted.
    pub created_at: UnixMillis,
    /// Set only in an amendment.
    pub amendment: Option<Amendment>,
}

impl Manifest {
    /// The member with this id.
    pub fn member(&self, id: ProcessId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// Whether it names this process in this role.
    pub fn names(&self, id: ProcessId, role: Role) -> bool {
        self.member(id).is_some_and(|member| member.role == role)
    }

    /// Members that hold the master key, in the manifest's order.
    pub fn crypto_units(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.role.is_crypto_unit())
    }

    /// Members of one role.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.role == role)
    }
}

/// One administrator's signature.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct AdminSignature {
    /// Whose.
    pub ski: Ski,
    /// The signature.
    #[serde(with = "hex_signature")]
    pub signature: Signature,
}

/// A manifest with the administrators' signatures over its encoded bytes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct SignedManifest {
    /// `codec::encode` of a [`Manifest`].
    #[serde(with = "hex::serde")]
    pub bytes: Vec<u8>,
    /// Signatures by administrators of the manifest before (of this one, if it is the first).
    pub signatures: Vec<AdminSignature>,
}

impl SignedManifest {
    /// The manifest inside; says nothing about its signatures.
    pub fn unverified(&self) -> Result<Manifest, DecodeError> {
        codec::decode(&self.bytes)
    }
}

/// Signatures as hex in JSON.
pub mod hex_signature {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::ids::Signature;

    /// Writes 128 hex digits.
    pub fn serialize<S: Serializer>(signature: &Signature, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(signature.0))
    }

    /// Reads 128 hex digits.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Signature, D::Error> {
        let mut bytes = [0; 64];
        let text = String::deserialize(from)?;
        hex::decode_to_slice(&text, &mut bytes).map_err(D::Error::custom)?;
        Ok(Signature(bytes))
    }
}
