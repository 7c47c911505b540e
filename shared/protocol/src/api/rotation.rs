//! Rotations: asked for, planned, running, ended.

use serde::{Deserialize, Serialize};

use super::{Unmet, Waiting};
use crate::audit::Phase;
use crate::ids::{
    CheckId, Digest, InstanceId, KeyId, OrderNumber, Pattern, ProcessId, RotationId, UnixMillis,
};
use crate::keystore::GateMode;
use crate::order::{Order, Purpose, SignedOrder};
use crate::page::KeyCheck;

/// `POST /v1/instances/{i}/order-drafts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderDraftRequest {
    /// What for.
    pub purpose: Purpose,
    /// Crypto units that join: members whose current master key register is Empty.
    #[serde(default)]
    pub joining: Vec<ProcessId>,
    /// Keys whose versions that no unit opens are carried in quarantine.
    #[serde(default)]
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
