//! Who ends a hold, who does not, and the reports that an amendment of the manifest carries.

use crypto::domain;
use protocol::api::{ManifestView, RotationView, UnitEnvelope};
use protocol::audit::Phase;
use protocol::codec;
use protocol::envelope::{Envelope, Kind};
use protocol::order::{Hold, HoldEnd, SignedHoldEnd};
use protocol::report::{Standing, UnitReport};
use protocol::{InstanceId, RotationId};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{LONG_S, held, hold_end, place, states, whole, with_board};
use crate::api::{Api, json, problem};
use crate::cluster::UNITS;
use crate::founding::{Administrator1, path};

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_ends_the_hold_that_lasts_and_nobody_else_does() {
    let (cluster, board) = with_board().await;
    let api = &cluster.api;
    let rotation = board.start(api, [0, LONG_S]).await;
    let mut events = api.follow(rotation, None).await;
    held(&mut events, Phase::HoldBeforeClear).await;
    let before = whole(api, rotation).await;
    let audited: Vec<Value> = api.read(&path("audit")).await;
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
        (signed(HoldEnd { instance: InstanceId::named("test"), ..good }), "not-taken"),
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
    assert_eq!(api.read::<Vec<Value>>(&path("audit")).await, audited);

    let view: RotationView = json(api.post(&place, &end).await, StatusCode::ACCEPTED).await;
    assert_eq!(view.rotation, rotation);
    let last = events.until(Phase::Done).await;
    assert_eq!((last.rotation.hold_until, last.rotation.units_done), (None, UNITS.len()));
    let units = states(api).await;
    let is_clear = |unit: &protocol::api::UnitView| {
        unit.state.as_ref().is_some_and(|state| state.registers.retiring.is_none())
    };
    assert!(units.units.iter().all(is_clear), "{units:?}");
    let audited: Vec<Value> = api.read(&path("audit")).await;
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
