//! The two holds of an order: seen from everywhere while they last, ended early by the administrators
//! alone, kept over a restart of the coordinator, and no hindrance to clients or to an abort.

use std::time::Duration;

use crypto::domain;
use crypto::identity::Identity;
use crypto::random::process_rng;
use protocol::api::{
    Explanation, ManifestView, RotationView, StartRotation, Started, UnitEnvelope, UnitsView,
};
use protocol::audit::Phase;
use protocol::codec;
use protocol::envelope::{Envelope, Kind};
use protocol::manifest::{AdminSignature, Administrator, SignedManifest};
use protocol::order::{Authority, Hold, HoldEnd, Purpose, SignedHoldEnd, SignedOrder};
use protocol::report::{Standing, UnitReport};
use protocol::{RotationId, UnixMillis};
use reqwest::StatusCode;
use serde_json::json;

use crate::api::{Api, Events, json, problem};
use crate::cluster::{Cluster, UNITS};
use crate::explaining::{says, until};
use crate::founding::{Administrator1, drafted, founded, path};

/// Longer than any test.
const LONG_S: u32 = 3_600;
/// Over before long.
const SHORT_S: u32 = 1;

/// Two administrators, both of whom must sign.
struct Board([Administrator1; 2]);

impl Board {
    fn sign(&self, domain: &'static str, bytes: &[u8]) -> Vec<AdminSignature> {
        self.0.iter().flat_map(|one| one.sign(domain, bytes)).collect()
    }

    async fn start(&self, api: &Api, holds: [u32; 2]) -> RotationId {
        let draft = drafted(api, Purpose::Rotate, holds).await;
        let bytes = hex::decode(&draft.bytes_hex).unwrap();
        let authority = Authority::Quorum(self.sign(domain::ORDER, &bytes));
        let order = Some(SignedOrder { bytes, authority });
        let body = StartRotation { order, ..StartRotation::default() };
        let response = api.post(&path("rotations"), &body).await;
        let started: Started = json(response, StatusCode::CREATED).await;
        started.rotation.unwrap().rotation
    }

    fn ends(&self, view: &RotationView, hold: Hold) -> SignedHoldEnd {
        let bytes = codec::encode(&hold_end(view, hold));
        SignedHoldEnd { signatures: self.sign(domain::HOLD_END, &bytes), bytes }
    }
}

fn hold_end(view: &RotationView, hold: Hold) -> HoldEnd {
    let RotationView { instance, rotation, number, .. } = *view;
    HoldEnd { instance, rotation, number, hold }
}

fn place(rotation: RotationId, of: &str) -> String {
    format!("/v1/rotations/{rotation}{of}")
}

/// A founded cluster whose second manifest has two administrators and wants both to sign.
async fn with_board() -> (Cluster, Board) {
    let (cluster, first) = founded().await;
    let view: ManifestView = cluster.api.read(&path("manifest")).await;
    let second = Identity::generate(&mut process_rng());
    let mut next = view.manifest;
    next.serial += 1;
    next.previous = Some(view.digest);
    next.administrators.push(Administrator { name: "two".to_owned(), key: second.public_key() });
    next.signature_threshold = 2;
    let bytes = codec::encode(&next);
    let signed = SignedManifest { signatures: first.sign(domain::MANIFEST, &bytes), bytes };
    let response = cluster.api.post(&path("manifests"), &signed).await;
    json::<ManifestView>(response, StatusCode::CREATED).await;
    (cluster, Board([first, Administrator1(second)]))
}

/// Reads events until one tells how long the hold lasts.
async fn held(events: &mut Events, phase: Phase) -> UnixMillis {
    loop {
        let event = events.until(phase).await;
        if let Some(until) = event.rotation.hold_until.filter(|_| event.text.contains("until")) {
            return until;
        }
    }
}

async fn states(api: &Api) -> UnitsView {
    let mut view: UnitsView = api.read(&path("units")).await;
    for unit in &mut view.units {
        let state = unit.state.as_mut().unwrap();
        (state.clock_ahead_ms, state.reported_at) = (0, UnixMillis(0));
    }
    view
}

/// Everything of a rotation that a refused request must leave as it is. The end of its hold is shown
/// by the coordinator's clock, which differs by how long a report was under way.
async fn whole(api: &Api, rotation: RotationId) -> (UnitsView, RotationView) {
    let view: RotationView = api.read(&place(rotation, "")).await;
    let hold_until = view.hold_until.map(|_| UnixMillis(0));
    (states(api).await, RotationView { hold_until, ..view })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_before_clear_keeps_the_old_key_and_is_shown_everywhere() {
    let (cluster, board) = with_board().await;
    let api = &cluster.api;
    let rotation = board.start(api, [0, LONG_S]).await;
    let mut events = api.follow(rotation, None).await;
    let told = held(&mut events, Phase::HoldBeforeClear).await;
    let left_ms = told.since(service::now());
    assert!((u64::from(LONG_S) * 1000).abs_diff(left_ms) < 60_000, "{left_ms} ms are left");
    let view: RotationView = api.read(&place(rotation, "")).await;
    assert_eq!((view.phase, view.hold_until), (Phase::HoldBeforeClear, Some(told)));
    assert!(view.is_decided && view.receipt.is_none() && view.finished_at.is_none(), "{view:?}");
    let list: Vec<RotationView> = api.read(&path("rotations")).await;
    assert_eq!((list[0].rotation, list[0].phase), (rotation, Phase::HoldBeforeClear));
    // The new master key is in use, the old one is kept.
    let before = whole(api, rotation).await;
    let units = &before.0;
    for unit in &units.units {
        let state = unit.state.as_ref().unwrap();
        let registers = (state.registers.current, state.registers.retiring);
        assert_eq!(registers, (view.to, view.from), "{}", unit.member.name);
        assert_eq!(state.rotation, Some((rotation, Standing::Promoted)));
    }
    let keystore = &units.keystores[0];
    assert_eq!(keystore.active.as_ref().map(|active| active.pattern), view.to);
    assert!(!keystore.is_gate_closed());
    let found = until(api, "rotation-holding").await;
    assert!(!found.needs_person && says(&found, "the old one is kept until"), "{found:#?}");
    assert!(says(&found, &format!("keyhelm hold-end {rotation}")), "{found:#?}");
    // It is no rotation to join, and no other can start.
    for body in [StartRotation::default(), StartRotation { dry_run: true, ..Default::default() }] {
        let response = api.post(&path("rotations"), &body).await;
        let refused = problem(response, StatusCode::CONFLICT, "precheck-unmet").await;
        let next = format!("keyhelm hold-end {rotation}");
        assert_eq!((refused.unmet.len(), refused.next_command.as_deref()), (1, Some(&*next)));
        let unmet = &refused.unmet[0];
        assert_eq!((unmet.code.as_str(), &unmet.mend), ("old-key-held", &next));
        assert!(unmet.text.contains(&rotation.to_string()), "{}", unmet.text);
    }
    let body = json!({ "because": "too late" });
    let response = api.post(&place(rotation, "/abort"), &body).await;
    problem(response, StatusCode::CONFLICT, "decided").await;
    assert_eq!(whole(api, rotation).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_ends_the_hold_that_lasts_and_nobody_else_does() {
    let (cluster, board) = with_board().await;
    let api = &cluster.api;
    let rotation = board.start(api, [0, LONG_S]).await;
    let mut events = api.follow(rotation, None).await;
    held(&mut events, Phase::HoldBeforeClear).await;
    let before = whole(api, rotation).await;
    let audited: Vec<serde_json::Value> = api.read(&path("audit")).await;
    let end = board.ends(&before.1, Hold::BeforeClear);
    let signed = |statement: HoldEnd| {
        let bytes = codec::encode(&statement);
        SignedHoldEnd { signatures: board.sign(domain::HOLD_END, &bytes), bytes }
    };
    let (good, place) = (hold_end(&before.1, Hold::BeforeClear), place(rotation, "/hold-end"));
    let few = SignedHoldEnd { signatures: end.signatures[..1].to_vec(), ..end.clone() };
    let twice = SignedHoldEnd { signatures: vec![few.signatures[0].clone(); 2], ..end.clone() };
    let foreign = SignedHoldEnd {
        signatures: [
            few.signatures.clone(),
            Administrator1::new().sign(domain::HOLD_END, &end.bytes),
        ]
        .concat(),
        ..end.clone()
    };
    let as_order =
        SignedHoldEnd { signatures: board.sign(domain::ORDER, &end.bytes), ..end.clone() };
    let mut number = good.number;
    number.number += 1;
    for (given, code) in [
        (few, "not-taken"),
        (twice, "not-taken"),
        (foreign, "not-taken"),
        (as_order, "not-taken"),
        (signed(HoldEnd { number, ..good.clone() }), "not-taken"),
        (signed(HoldEnd { instance: protocol::InstanceId::named("test"), ..good }), "not-taken"),
        (board.ends(&before.1, Hold::AfterCommit), "not-holding"),
    ] {
        let refused = problem(api.post(&place, &given).await, StatusCode::CONFLICT, code).await;
        assert_eq!(refused.safe, "Nothing has changed.", "{refused:?}");
    }
    let other = RotationView { rotation: RotationId::from_bytes([7; 16]), ..before.1.clone() };
    for given in [
        json!(board.ends(&other, Hold::BeforeClear)),
        json!({ "bytes": "00", "signatures": end.signatures }),
        json!({ "bytes": hex::encode([&end.bytes[..], &[0]].concat()), "signatures": [] }),
    ] {
        problem(api.post(&place, &given).await, StatusCode::BAD_REQUEST, "malformed").await;
    }
    let nowhere = self::place(other.rotation, "/hold-end");
    let response = api.post(&nowhere, &board.ends(&other, Hold::BeforeClear)).await;
    problem(response, StatusCode::NOT_FOUND, "unknown-rotation").await;
    assert_eq!(whole(api, rotation).await, before);
    assert_eq!(api.read::<Vec<serde_json::Value>>(&path("audit")).await, audited);

    let view: RotationView = json(api.post(&place, &end).await, StatusCode::ACCEPTED).await;
    assert_eq!(view.rotation, rotation);
    let last = events.until(Phase::Done).await;
    assert_eq!((last.rotation.hold_until, last.rotation.units_done), (None, UNITS.len()));
    let units = states(api).await;
    let is_clear = |unit: &protocol::api::UnitView| {
        unit.state.as_ref().is_some_and(|state| state.registers.retiring.is_none())
    };
    assert!(units.units.iter().all(is_clear), "{units:?}");
    let audited: Vec<serde_json::Value> = api.read(&path("audit")).await;
    let ended: Vec<_> = audited.iter().filter(|entry| entry["action"] == "hold.end").collect();
    assert_eq!(ended.len(), 1);
    assert_eq!(
        (&ended[0]["actor"], &ended[0]["details"]["hold"]),
        (&json!("alice"), &json!("before-clear"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_hold_end_is_answered_as_the_first_whatever_came_in_between() {
    let (mut cluster, board) = with_board().await;
    // The rotation cannot end until this unit is back: the repeat comes while it is under way.
    let rotation = board.start(&cluster.api, [0, LONG_S]).await;
    let mut events = cluster.api.follow(rotation, None).await;
    held(&mut events, Phase::HoldBeforeClear).await;
    cluster.stop_unit("op-1").await;
    let view: RotationView = cluster.api.read(&place(rotation, "")).await;
    let end = board.ends(&view, Hold::BeforeClear);
    let again = async |api: &Api| -> RotationView {
        json(api.post(&place(rotation, "/hold-end"), &end).await, StatusCode::ACCEPTED).await
    };
    again(&cluster.api).await;
    assert_eq!(again(&cluster.api).await.finished_at, None);
    cluster.start_unit("op-1");
    events.until(Phase::Done).await;
    assert_eq!(again(&cluster.api).await.phase, Phase::Done);
    let next = board.start(&cluster.api, [0, 0]).await;
    cluster.api.follow(next, None).await.until(Phase::Done).await;
    assert_eq!(again(&cluster.api).await.phase, Phase::Done);
    cluster.stop_coordinator().await;
    cluster.start_coordinator().await;
    assert_eq!(again(&cluster.api).await.phase, Phase::Done);
    // Another statement about it, though signed by all, finds nothing to end.
    let late = board.ends(&view, Hold::AfterCommit);
    let response = cluster.api.post(&place(rotation, "/hold-end"), &late).await;
    problem(response, StatusCode::CONFLICT, "not-taken").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_after_commit_leaves_the_gate_open_and_an_abort_in_it_is_clean() {
    let (cluster, board) = with_board().await;
    let api = &cluster.api;
    let before = states(api).await;
    let rotation = board.start(api, [LONG_S, 0]).await;
    let mut events = api.follow(rotation, None).await;
    let told = held(&mut events, Phase::HoldAfterCommit).await;
    let view: RotationView = api.read(&place(rotation, "")).await;
    assert_eq!((view.phase, view.hold_until), (Phase::HoldAfterCommit, Some(told)));
    assert!(!view.is_decided && view.waiting_for.is_empty(), "{view:?}");
    let units = states(api).await;
    assert_eq!(units.keystores, before.keystores, "the key storage knows nothing of it yet");
    for unit in &units.units {
        let registers = unit.state.as_ref().unwrap().registers;
        assert_eq!((registers.current, registers.new_status()), (view.from, "Full Committed"));
    }
    let found = until(api, "rotation-holding").await;
    assert!(!found.needs_person && says(&found, "Keys are served"), "{found:#?}");
    // It runs: whoever asks for a rotation joins this one.
    let response = api.post(&path("rotations"), &StartRotation::default()).await;
    let joined: Started = json(response, StatusCode::OK).await;
    assert!(joined.joined && joined.rotation.unwrap().rotation == rotation);
    let early = board.ends(&view, Hold::BeforeClear);
    let response = api.post(&place(rotation, "/hold-end"), &early).await;
    let refused = problem(response, StatusCode::CONFLICT, "not-holding").await;
    assert_eq!(refused.next_command, Some(format!("keyhelm rotations {rotation}")));

    let body = json!({ "because": "blobs elsewhere are not ready" });
    let response = api.post(&place(rotation, "/abort"), &body).await;
    json::<RotationView>(response, StatusCode::ACCEPTED).await;
    let last = events.until(Phase::Aborted).await;
    assert_eq!(last.rotation.aborted_because.as_deref(), Some("blobs elsewhere are not ready"));
    assert_eq!(last.rotation.hold_until, None);
    let after = states(api).await;
    for (before, after) in before.units.iter().zip(&after.units) {
        let (before, after) = (before.state.as_ref().unwrap(), after.state.as_ref().unwrap());
        assert_eq!(before.registers, after.registers);
        assert_eq!(after.rotation, Some((rotation, Standing::Aborted)));
    }
    let active = |view: &UnitsView| view.keystores[0].active.clone();
    assert_eq!(active(&after), active(&before));
    assert!(!after.keystores[0].is_gate_closed());
    let next = board.start(api, [0, 0]).await;
    api.follow(next, None).await.until(Phase::Done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_holds_end_by_themselves_and_not_before_their_time() {
    let (cluster, board) = with_board().await;
    let rotation = board.start(&cluster.api, [SHORT_S, SHORT_S]).await;
    let last = cluster.api.events(rotation, None).await.pop().unwrap().rotation;
    assert_eq!(last.phase, Phase::Done);
    let began = |phase| last.phases.iter().find(|(found, _)| *found == phase).unwrap().1;
    for (hold, next) in
        [(Phase::HoldAfterCommit, Phase::Reencrypt), (Phase::HoldBeforeClear, Phase::Clear)]
    {
        let lasted_ms = began(next).since(began(hold));
        assert!(lasted_ms + 50 >= u64::from(SHORT_S) * 1000, "{hold}: {lasted_ms} ms");
    }
    // The key was refused for none of that time.
    assert!(last.gate_closed_ms.unwrap() < u64::from(SHORT_S) * 1000, "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_restarted_in_a_hold_keeps_it_and_goes_on() {
    for (hold, phase, holds) in [
        (Hold::AfterCommit, Phase::HoldAfterCommit, [LONG_S, 0]),
        (Hold::BeforeClear, Phase::HoldBeforeClear, [0, LONG_S]),
    ] {
        let (mut cluster, board) = with_board().await;
        let rotation = board.start(&cluster.api, holds).await;
        let told = held(&mut cluster.api.follow(rotation, None).await, phase).await;
        cluster.stop_coordinator().await;
        cluster.start_coordinator().await;
        let found: Explanation = until(&cluster.api, "rotation-holding").await;
        assert!(says(&found, &rotation.to_string()), "{found:#?}");
        let view: RotationView = cluster.api.read(&place(rotation, "")).await;
        assert_eq!(view.phase, phase);
        // Units count it: it is the same hold.
        let now = view.hold_until.unwrap();
        assert!(now.since(told).max(told.since(now)) < 5_000, "{told:?} and {now:?}");
        let end = board.ends(&view, hold);
        let response = cluster.api.post(&place(rotation, "/hold-end"), &end).await;
        json::<RotationView>(response, StatusCode::ACCEPTED).await;
        let last = cluster.api.events(rotation, None).await.pop().unwrap();
        assert_eq!(last.rotation.phase, Phase::Done);
        assert!(last.rotation.receipt.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_ends_while_no_coordinator_runs_is_over_when_one_does() {
    let (mut cluster, board) = with_board().await;
    let rotation = board.start(&cluster.api, [0, SHORT_S]).await;
    let told = held(&mut cluster.api.follow(rotation, None).await, Phase::HoldBeforeClear).await;
    cluster.stop_coordinator().await;
    // Time itself is waited for, nobody's answer.
    let left = Duration::from_millis(told.since(service::now()));
    tokio::time::sleep(left).await;
    cluster.start_coordinator().await;
    let last = cluster.api.events(rotation, None).await.pop().unwrap();
    assert_eq!(last.rotation.phase, Phase::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_the_units_own_envelopes_of_this_rotation() {
    let (cluster, board) = with_board().await;
    let rotation = board.start(&cluster.api, [0, LONG_S]).await;
    let mut events = cluster.api.follow(rotation, None).await;
    held(&mut events, Phase::HoldBeforeClear).await;
    let reports: Vec<UnitEnvelope> = cluster.api.read(&place(rotation, "/reports")).await;
    let view: ManifestView = cluster.api.read(&path("manifest")).await;
    let units: Vec<_> = view.manifest.crypto_units().collect();
    assert_eq!(reports.len(), units.len());
    for unit in units {
        let held = reports.iter().find(|held| held.unit == unit.id).unwrap();
        assert_eq!(held.standing, Some(Standing::Promoted), "{}", unit.name);
        let envelope = Envelope::parse(&held.envelope).unwrap();
        let header = &envelope.header;
        assert_eq!((header.sender, header.kind), (unit.id, Kind::UnitReport));
        let report: UnitReport = codec::decode(envelope.body).unwrap();
        assert_eq!(report.rotation.unwrap().order.rotation, rotation);
    }
    let view: RotationView = cluster.api.read(&place(rotation, "")).await;
    let end = board.ends(&view, Hold::BeforeClear);
    cluster.api.post(&place(rotation, "/hold-end"), &end).await;
    events.until(Phase::Done).await;
    let last: Vec<UnitEnvelope> = cluster.api.read(&place(rotation, "/reports")).await;
    assert!(last.iter().all(|held| held.standing == Some(Standing::Cleared)), "{last:?}");
    // Only those of the newest rotation are kept.
    let next = board.start(&cluster.api, [0, 0]).await;
    cluster.api.follow(next, None).await.until(Phase::Done).await;
    let response = cluster.api.get(&place(rotation, "/reports")).await;
    let gone = problem(response, StatusCode::CONFLICT, "not-running").await;
    assert!(gone.detail.contains("are not kept"), "{}", gone.detail);
    let nobody = RotationId::from_bytes([7; 16]);
    let response = cluster.api.get(&place(nobody, "/reports")).await;
    problem(response, StatusCode::NOT_FOUND, "unknown-rotation").await;
}
