//! JSON of the coordinator's HTTP interface (`/v1`), shared by the coordinator and its clients.

use serde::{Deserialize, Serialize};

use crate::audit::Phase;
use crate::ids::{
    CheckId, Digest, Epoch, InstanceId, KeyId, KeystoreId, OrderNumber, Pattern, ProcessId,
    RotationId, UnixMillis,
};
use crate::keystore::{GateMode, KeystoreRow};
use crate::manifest::{AdminSignature, Administrator, Manifest, Member, SignedManifest};
use crate::order::{Order, Purpose, SignedOrder, SignedStandingOrder, StandingOrder};
use crate::page::KeyCheck;
use crate::report::{Refusal, Registers, Standing};

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

/// `POST /v1/instances/{i}/order-drafts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderDraftRequest {
    /// What for.
    pub purpose: Purpose,
    /// Crypto units that join: members whose current master key register is Empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joining: Vec<ProcessId>,
    /// Keys whose versions that no unit opens are carried in quarantine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<KeyId>,
    /// What clients may do meanwhile.
    pub mode: GateMode,
    /// No promote earlier after commit.
    #[serde(default)]
    pub hold_after_commit_s: u32,
    /// No clear earlier after the flip.
    #[serde(default)]
    pub hold_before_clear_s: u32,
    /// For how long units may take it.
    pub valid_for_s: u32,
}

/// The exact bytes to sign, under `crypto::domain::ORDER`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderDraft {
    /// The order, to be read.
    pub order: Order,
    /// Its bytes in hex, to be signed.
    pub bytes_hex: String,
    /// Its digest.
    pub digest: Digest,
}

/// `POST /v1/instances/{i}/rotations`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRotation {
    /// A signed order; under a standing order the coordinator writes one itself.
    #[serde(default)]
    pub order: Option<SignedOrder>,
    /// What clients may do meanwhile; strict if absent. Not beside `order`, which names its own.
    #[serde(default)]
    pub mode: Option<GateMode>,
    /// Refuses if the current pattern is another one.
    #[serde(default)]
    pub expect_current_pattern: Option<Pattern>,
    /// Precheck only: nothing starts, nothing is saved.
    #[serde(default)]
    pub dry_run: bool,
    /// Every page is opened by another unit before the decision.
    #[serde(default)]
    pub verify_all: bool,
    /// Every key is opened in the units before anything starts; one that does not open is named.
    #[serde(default)]
    pub check_keys: bool,
    /// Starts only if this is still the plan that a dry run with `check_keys` gave.
    #[serde(default)]
    pub plan: Option<Digest>,
    /// Repeats of this id answer as the first.
    #[serde(default)]
    pub request_id: Option<String>,
}

/// What a start answers: 201 new, 200 joined or dry run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Whether a rotation was running already and this request joined it.
    pub joined: bool,
    /// The rotation; absent in a dry run.
    pub rotation: Option<RotationView>,
    /// What is worth knowing.
    pub warnings: Vec<Unmet>,
    /// In a dry run: what would happen.
    pub plan: Option<PlanView>,
}

/// What a rotation would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    /// The recovery unit that would make the master key.
    pub generator: ProcessId,
    /// Its name.
    pub generator_name: String,
    /// The pattern that would go.
    pub from: Option<Pattern>,
    /// Key versions that would be re-encrypted.
    pub key_versions: u64,
    /// Crypto units that would take part.
    pub units: usize,
    /// What the check of all keys came to, where one was asked for.
    #[serde(default)]
    pub checked: Option<CheckedPlan>,
}

/// What a rotation would do, once every key has been opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedPlan {
    /// Digest over everything that the rotation depends on: manifest, units' patterns, keystores with
    /// all their keys and versions, and what the order asks for.
    pub hash: Digest,
    /// Versions that were opened.
    pub opened_count: u64,
    /// Versions that would be carried in quarantine.
    pub quarantined_count: u64,
    /// How long opening them all took.
    pub check_ms: u64,
    /// About how long re-encrypting them will take.
    pub estimate_ms: u64,
}

/// `GET /v1/instances/{i}/key-check`: the check that runs, else the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCheckView {
    /// Which check.
    pub check: CheckId,
    /// When it began.
    pub started_at: UnixMillis,
    /// Whether it has ended.
    pub is_ended: bool,
    /// How far it has come in each keystore.
    pub keystores: Vec<KeyCheck>,
}

/// One rotation. `GET /v1/rotations/{id}`, and the list of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationView {
    /// Its id.
    pub rotation: RotationId,
    /// The instance.
    pub instance: InstanceId,
    /// Number of its order.
    pub number: OrderNumber,
    /// What for.
    pub purpose: Purpose,
    /// Where it stands.
    pub phase: Phase,
    /// Whether it only goes forward now.
    pub is_decided: bool,
    /// Pattern before.
    pub from: Option<Pattern>,
    /// Pattern after, once it is known.
    pub to: Option<Pattern>,
    /// When it was asked for.
    pub started_at: UnixMillis,
    /// When it ended.
    pub finished_at: Option<UnixMillis>,
    /// When each phase began, in order.
    pub phases: Vec<(Phase, UnixMillis)>,
    /// Key versions written to the new generation, and how many there are.
    pub keys_done: u64,
    /// How many there are.
    pub keys_total: u64,
    /// How many of them no unit opened: carried in quarantine, as the order says.
    #[serde(default)]
    pub keys_quarantined: u64,
    /// Crypto units that have done the phase, and how many there are.
    pub units_done: usize,
    /// How many there are.
    pub units_total: usize,
    /// Milliseconds for which key creation was refused.
    pub gate_closed_ms: Option<u64>,
    /// Units and keystores that have not answered what was asked, with the last refusal.
    pub waiting_for: Vec<Waiting>,
    /// Why it was aborted.
    pub aborted_because: Option<String>,
    /// Trace id of the rotation (W3C), in hex.
    pub trace_id: Option<String>,
    /// Hash of its receipt, once it has ended well. `GET /v1/rotations/{id}/receipt` has the receipt.
    pub receipt: Option<Digest>,
    /// Whether every page is opened by another unit before it is written, rather than a sample.
    #[serde(default)]
    pub verify_all: bool,
    /// How long a hold of its order lasts, by the coordinator's clock, where one does.
    #[serde(default)]
    pub hold_until: Option<UnixMillis>,
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

/// Somebody whose answer is awaited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Who.
    pub process: ProcessId,
    /// Its name.
    pub name: String,
    /// For what.
    pub command: String,
    /// Since when.
    pub since: UnixMillis,
    /// What it last refused with, if it answered at all.
    pub refusal: Option<Refusal>,
}

/// What is going on, what is safe, and the one next command. `GET /v1/instances/{i}/explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Stable word of the situation, a heading of the runbook.
    pub code: String,
    /// What is so, in a sentence: that of the code.
    pub headline: String,
    /// Who, what, since when and until when.
    pub details: Vec<String>,
    /// What is safe.
    pub safe: String,
    /// The one next command, or a sentence where no command can mend it; none where waiting is right.
    pub next_command: Option<String>,
    /// Whether somebody must do it, rather than may.
    pub needs_person: bool,
}

/// One condition that is not met (or, as a warning, worth knowing), with its mend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unmet {
    /// Stable word.
    pub code: String,
    /// The unit, keystore or thing it is about, by name.
    pub subject: String,
    /// What is so, in a sentence.
    pub text: String,
    /// What mends it: a command, or a sentence where no command can.
    pub mend: String,
}

/// An event of a rotation: on the exchange `keyhelm.events` and by SSE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationEvent {
    /// Rises by one in each rotation, from 1; the SSE id.
    pub seq: u64,
    /// When.
    pub at: UnixMillis,
    /// The rotation as it stands.
    pub rotation: RotationView,
    /// What happened, in a sentence.
    pub text: String,
}

/// RFC 9457 problem document (`application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `https://keyhelm.dev/problems/<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status's phrase.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable word.
    pub code: String,
    /// What happened, to which unit or key.
    pub detail: String,
    /// What is safe now.
    pub safe: String,
    /// The one next command.
    pub next_command: Option<String>,
    /// Every unmet condition of a precheck.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmet: Vec<Unmet>,
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
