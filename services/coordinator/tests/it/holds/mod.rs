//! The two holds of an order: seen from everywhere while they last, ended early by the administrators
//! alone, kept over a restart of the coordinator, and no hindrance to clients or to an abort.

mod ends;

use std::time::Duration;

use crypto::domain;
use crypto::identity::Identity;
use crypto::random::process_rng;
use protocol::api::{Explanation, ManifestView, RotationView, StartRotation, Started, UnitsView};
use protocol::audit::Phase;
use protocol::codec;
use protocol::manifest::{AdminSignature, Administrator, SignedManifest};
use protocol::order::{Authority, Hold, HoldEnd, Purpose, SignedHoldEnd, SignedOrder};
use protocol::report::Standing;
use protocol::{RotationId, UnixMillis};
use reqwest::StatusCode;
use serde_json::json;

use crate::api::{Api, Events, json, problem};
use crate::cluster::Cluster;
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

/// The end of a hold is shown by the coordinator's clock, and differs by how long a unit's last report
/// was under way.
fn is_same_end(shown: Option<UnixMillis>, told: UnixMillis) -> bool {
    shown.is_some_and(|shown| shown.since(told).max(told.since(shown)) < 5_000)
}

/// Everything of a rotation that a refused request must leave as it is.
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
    assert_eq!(view.phase, Phase::HoldBeforeClear);
    assert!(is_same_end(view.hold_until, told), "{view:?}");
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
async fn a_hold_after_commit_leaves_the_gate_open_and_an_abort_in_it_is_clean() {
    let (cluster, board) = with_board().await;
    let api = &cluster.api;
    let before = states(api).await;
    let rotation = board.start(api, [LONG_S, 0]).await;
    let mut events = api.follow(rotation, None).await;
    let told = held(&mut events, Phase::HoldAfterCommit).await;
    let view: RotationView = api.read(&place(rotation, "")).await;
    assert_eq!(view.phase, Phase::HoldAfterCommit);
    assert!(is_same_end(view.hold_until, told), "{view:?}");
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
        assert!(is_same_end(view.hold_until, told), "{view:?}");
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
async fn whoever_is_away_in_a_hold_is_named_before_it_is_over() {
    for (holds, code) in
        [([LONG_S, 0], "waiting-before-decision"), ([0, LONG_S], "waiting-after-decision")]
    {
        let (mut cluster, board) = with_board().await;
        let rotation = board.start(&cluster.api, holds).await;
        let mut events = cluster.api.follow(rotation, None).await;
        let phase = if holds[0] > 0 { Phase::HoldAfterCommit } else { Phase::HoldBeforeClear };
        held(&mut events, phase).await;
        cluster.stop_unit("op-1").await;
        let found = until(&cluster.api, code).await;
        assert_eq!(found.next_command.as_deref(), Some("start operational-unit op-1"));
        assert!(found.needs_person && says(&found, " until "), "{found:#?}");
        cluster.start_unit("op-1");
        until(&cluster.api, "rotation-holding").await;
    }
}
