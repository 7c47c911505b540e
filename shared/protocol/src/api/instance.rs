//! An instance, its members, what they reported, and its audit log.

use serde::{Deserialize, Serialize};

use super::Unmet;
use crate::ids::{
    Digest, Epoch, InstanceId, KeystoreId, OrderNumber, ProcessId, RotationId, UnixMillis,
};
use crate::keystore::KeystoreRow;
use crate::manifest::{AdminSignature, Administrator, Manifest, Member, SignedManifest};
use crate::order::{SignedStandingOrder, StandingOrder};
use crate::report::{Registers, Standing};

/// `GET /v1/instances`: one line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Its id.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// Serial of its manifest; 0 before `auto-init`.
    pub manifest_serial: u64,
    /// Crypto units that have announced themselves or stand in the manifest.
    pub unit_count: usize,
    /// Whether a rotation is running.
    pub open_rotation: Option<RotationId>,
    /// Whether coordinators may order rotations themselves, and until when.
    pub standing_order_until: Option<UnixMillis>,
}

/// One crypto unit as it last reported. `GET /v1/instances/{i}/units`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitView {
    /// IBM's CRYPTO UNIT NUM, from 1; numbers run on over instances.
    pub number: u32,
    /// As in the manifest, or as announced.
    pub member: Member,
    /// Absent if the unit is silent.
    pub state: Option<UnitStateView>,
}

/// What a unit reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitStateView {
    /// Its registers.
    pub registers: Registers,
    /// Rises with every save.
    pub state_counter: u64,
    /// IBM's imprint mode.
    pub is_imprint: bool,
    /// Serial of its newest manifest.
    pub manifest_serial: u64,
    /// 0 in imprint mode.
    pub signature_threshold: u32,
    /// 0 in imprint mode.
    pub revocation_threshold: u32,
    /// Its administrators.
    pub administrators: Vec<Administrator>,
    /// Number of the last order that it took.
    pub last_number: OrderNumber,
    /// How it stands in that order's rotation.
    pub rotation: Option<(RotationId, Standing)>,
    /// Highest epoch seen.
    pub epoch: Epoch,
    /// Its storage key lies on its own volume.
    pub is_storage_key_local: bool,
    /// Milliseconds that its clock is ahead of the coordinator's.
    pub clock_ahead_ms: i64,
    /// When the report came.
    pub reported_at: UnixMillis,
}

/// Units and keystores of an instance. `GET /v1/instances/{i}/units` and `/compare`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitsView {
    /// The instance.
    pub instance: InstanceId,
    /// Its name.
    pub name: String,
    /// Its crypto units.
    pub units: Vec<UnitView>,
    /// Its keystores, as their reencryptors last reported.
    pub keystores: Vec<KeystoreRow>,
    /// `/compare` only: everything that keeps a rotation from starting.
    pub unmet: Vec<Unmet>,
    /// `/compare` only: what is worth knowing and keeps nothing from starting.
    pub warnings: Vec<Unmet>,
}

/// `GET /v1/instances/{i}/members`: who has announced itself, for `auto-init` and enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnouncedMember {
    /// As it would stand in a manifest.
    pub member: Member,
    /// SHA-256 of its identity key, to be compared with what its log says.
    pub fingerprint: Digest,
    /// The keystore it serves, if it is a reencryptor.
    pub keystore: Option<KeystoreId>,
    /// Serial of its newest manifest.
    pub manifest_serial: u64,
    /// When it last announced itself.
    pub announced_at: UnixMillis,
}

/// `GET /v1/instances/{i}/manifest`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestView {
    /// The newest manifest.
    pub manifest: Manifest,
    /// SHA-256 of its bytes under its domain: the next one names it.
    pub digest: Digest,
    /// All of them, oldest first, as signed.
    pub chain: Vec<SignedManifest>,
    /// The standing order, if there is one that this manifest has not ended.
    pub standing_order: Option<StandingOrder>,
}

/// `POST /v1/instances/{i}/manifests`: a [`SignedManifest`]'s fields, written out so that an error names
/// the one that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRequest {
    /// As in [`SignedManifest`].
    #[serde(with = "hex::serde")]
    pub bytes: Vec<u8>,
    /// As in [`SignedManifest`].
    pub signatures: Vec<AdminSignature>,
    /// A standing order under it: both are taken, or none. Without one the standing order ends.
    #[serde(default)]
    pub standing_order: Option<SignedStandingOrder>,
}

impl ManifestRequest {
    /// The manifest, as signed.
    pub fn manifest(&self) -> SignedManifest {
        SignedManifest { bytes: self.bytes.clone(), signatures: self.signatures.clone() }
    }
}

impl From<SignedManifest> for ManifestRequest {
    fn from(SignedManifest { bytes, signatures }: SignedManifest) -> Self {
        Self { bytes, signatures, standing_order: None }
    }
}

/// A crypto unit's last signed report, as an amendment of the manifest carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitEnvelope {
    /// The unit.
    pub unit: ProcessId,
    /// How it stands in the rotation; absent where it has not taken its order.
    pub standing: Option<Standing>,
    /// The envelope, byte for byte.
    #[serde(with = "hex::serde")]
    pub envelope: Vec<u8>,
}

/// One entry of the hash-chained audit log. `GET /v1/instances/{i}/audit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditView {
    /// From 1.
    pub seq: u64,
    /// When.
    pub at: UnixMillis,
    /// Who asked, or which process did.
    pub actor: String,
    /// What.
    pub action: String,
    /// More of it.
    pub details: serde_json::Value,
    /// SHA-256 over the former hash and this entry.
    pub hash: Digest,
}
