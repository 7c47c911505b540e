//! The gate: what may be written while a generation is open, and who may open one.

use keystore::KeystoreError;
use machines::gate::{AbortRequest, GateRefusal};
use protocol::Pattern;
use protocol::keystore::{GenerationState, KeystoreStanding};

use super::fixture::{Fixture, rotation};
use super::on_both_stores;

on_both_stores!(
    a_strict_gate_refuses_creates_from_opening_to_flip,
    an_online_gate_wants_a_blob_for_each_generation,
    a_write_with_the_generations_of_before_is_refused,
    opening_again_changes_nothing,
    initialising_is_refused_where_versions_exist,
    an_order_from_another_pattern_is_refused,
    another_rotation_waits_until_this_one_has_ended,
    the_abort_of_a_later_order_ends_what_was_opened_anew,
    a_stale_epoch_is_refused,
    instances_do_not_touch_each_other,
);

fn refusal<T: std::fmt::Debug>(result: Result<T, KeystoreError>) -> GateRefusal {
    match result {
        Err(KeystoreError::Gate(refusal)) => refusal,
        other => panic!("not refused by the gate: {other:?}"),
    }
}

async fn a_strict_gate_refuses_creates_from_opening_to_flip(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let kept = fixture.create("kept").await.unwrap();
    let next = rotation(2);
    let before = fixture.targets().await;
    let closed = GateRefusal::GateClosed(next.order.rotation);
    let create = async || {
        let mut keys = Vec::new();
        for targets in [&before, &fixture.targets().await] {
            keys.push(fixture.new_key("refused", targets));
        }
        for key in keys {
            let refused = fixture.store.create(fixture.instance, vec![key]).await;
            assert_eq!(refusal(refused), closed);
        }
    };
    assert!(fixture.open(&next).await.unwrap().is_gate_closed());
    create().await;
    fixture.fill().await;
    create().await;
    fixture.complete(&next).await.unwrap();
    create().await;
    // Reading goes on, out of the generation of before.
    let found = fixture.store.blob(fixture.instance, kept.key, kept.version).await.unwrap();
    assert_eq!(found.pattern, Pattern([1; 32]));

    assert!(!fixture.flip(&next).await.unwrap().is_gate_closed());
    fixture.create("served").await.unwrap();
    let found = fixture.store.blob(fixture.instance, kept.key, kept.version).await.unwrap();
    assert_eq!(found.pattern, Pattern([2; 32]));
    fixture.assert_all_open(2).await;
}

async fn an_online_gate_wants_a_blob_for_each_generation(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create("old").await.unwrap();
    let next = rotation(2).online();
    fixture.open(&next).await.unwrap();
    let targets = fixture.targets().await;
    assert_eq!(targets.len(), 2);
    for supplied in [&targets[..1], &targets[1..], &[]] {
        let key = fixture.new_key("half", supplied);
        let refused = fixture.store.create(fixture.instance, vec![key]).await;
        assert_eq!(refusal(refused), GateRefusal::GenerationsChanged);
    }
    // Each blob under its own generation's pattern.
    let mut crossed = fixture.new_key("crossed", &targets);
    let [first, second] = &mut crossed.blobs[..] else { panic!("two blobs") };
    std::mem::swap(&mut first.blob, &mut second.blob);
    let refused = fixture.store.create(fixture.instance, vec![crossed]).await;
    assert!(matches!(refused, Err(KeystoreError::PatternCheck)), "{refused:?}");

    let young = fixture.create("young").await.unwrap();
    assert_eq!(fixture.blobs_in(1, young.key).await, 1);
    assert_eq!(fixture.blobs_in(2, young.key).await, 1);
    // It is in no chunk.
    fixture.fill().await;
    fixture.complete(&next).await.unwrap();
    fixture.create("younger").await.unwrap();
    fixture.flip(&next).await.unwrap();
    fixture.assert_all_open(3).await;
}

async fn a_write_with_the_generations_of_before_is_refused(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let next = rotation(2).online();
    let write = async |targets: &[protocol::keystore::Generation]| {
        let key = fixture.new_key("late", targets);
        fixture.store.create(fixture.instance, vec![key]).await
    };
    let before = fixture.targets().await;
    fixture.open(&next).await.unwrap();
    let during = fixture.targets().await;
    assert_eq!(refusal(write(&before).await), GateRefusal::GenerationsChanged);
    fixture.fill().await;
    fixture.complete(&next).await.unwrap();
    fixture.flip(&next).await.unwrap();
    assert_eq!(refusal(write(&before).await), GateRefusal::GenerationsChanged);
    assert_eq!(refusal(write(&during).await), GateRefusal::GenerationsChanged);
    assert_eq!(fixture.row().await.version_count, 0);
    write(&fixture.targets().await).await.unwrap();
}

async fn opening_again_changes_nothing(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(7).await;
    let next = rotation(2);
    let opened = fixture.open(&next).await.unwrap();
    let open = opened.open.clone().unwrap();
    assert_eq!((open.number, open.set_count, open.state), (2, 7, GenerationState::Building));
    let chunks = fixture.store.chunks(fixture.instance, 2).await.unwrap();
    // Asked by a coordinator of a later epoch, and with another random id.
    let again = super::fixture::Rotation { generation: rotation(2).generation, ..next.at(25) };
    let row = fixture.open(&again).await.unwrap();
    assert_eq!(row.open, opened.open);
    assert_eq!(row.epoch, super::fixture::epoch(25));
    assert_eq!(fixture.store.chunks(fixture.instance, 2).await.unwrap(), chunks);
    let mut other = next.at(25);
    other.order.digest = protocol::Digest([77; 32]);
    assert_eq!(refusal(fixture.open(&other).await), GateRefusal::OtherDigest(next.order.number));
}

async fn initialising_is_refused_where_versions_exist(fixture: Fixture) {
    let key = fixture.new_key("left over", &[]).meta;
    let sql = format!(
        "INSERT INTO key_versions (instance, version, key, created_at, born)
         VALUES ({}, {}, {}, 1, 0)",
        fixture.me(),
        fixture.literal(key.version.uuid()),
        fixture.literal(key.key.uuid())
    );
    assert_eq!(fixture.execute(&sql).await, 1);
    assert_eq!(refusal(fixture.open(&rotation(1)).await), GateRefusal::NotEmpty(1));
    assert!(!fixture.has_table(1).await);
    assert!(fixture.row().await.rotation.is_none());
}

async fn an_order_from_another_pattern_is_refused(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let active = Some(Pattern([1; 32]));
    // As after a rotation that this keystore did not see, and as a second initialisation.
    let refused = fixture.open(&rotation(3)).await;
    assert_eq!(refusal(refused), GateRefusal::OtherPattern(active));
    let mut again = rotation(2);
    again.from = None;
    assert_eq!(refusal(fixture.open(&again).await), GateRefusal::OtherPattern(active));
    assert!(!fixture.has_table(2).await);
}

async fn another_rotation_waits_until_this_one_has_ended(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let (next, after) = (rotation(2), rotation(3));
    fixture.open(&next).await.unwrap();
    let running = GateRefusal::OtherRotation(next.order.rotation);
    assert_eq!(refusal(fixture.open(&after).await), running);
    fixture.fill().await;
    fixture.complete(&next).await.unwrap();
    let flipped = fixture.flip(&next).await.unwrap();
    assert_eq!(refusal(fixture.open(&after).await), running);
    let row = fixture.abort(&after).await.unwrap();
    assert_eq!(row.rotation, flipped.rotation, "what has flipped is not forgotten");
    fixture.mark_flipped(&next).await.unwrap();
    fixture.open(&after).await.unwrap();
    let spent = GateRefusal::OrderSpent { given: next.order.number, taken: after.order.number };
    assert_eq!(refusal(fixture.open(&next.at(99)).await), spent);
}

async fn the_abort_of_a_later_order_ends_what_was_opened_anew(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let metas = fixture.create_many(4).await;
    let (next, after) = (rotation(2), rotation(3));
    fixture.open(&next).await.unwrap();
    fixture.abort(&next).await.unwrap();
    fixture.open(&next).await.unwrap();
    fixture.store.purge(fixture.instance, metas[0].key).await.unwrap();
    let row = fixture.abort(&after).await.unwrap();
    let taken = row.rotation.unwrap();
    assert_eq!((taken.number, taken.standing), (after.order.number, KeystoreStanding::Aborted));
    assert!(row.open.is_none() && !fixture.has_table(3).await);
    fixture.assert_all_open(3).await;
    let spent = GateRefusal::OrderSpent { given: next.order.number, taken: after.order.number };
    assert_eq!(refusal(fixture.open(&next.at(99)).await), spent);
    fixture.create("later").await.unwrap();
    fixture.rotate(&rotation(4).from(1)).await;
    fixture.assert_all_open(4).await;
}

async fn a_stale_epoch_is_refused(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let (next, stale) = (rotation(2).at(50), rotation(2).at(49));
    fixture.open(&next).await.unwrap();
    let fenced = GateRefusal::StaleEpoch { given: stale.epoch, highest: next.epoch };
    assert_eq!(refusal(fixture.open(&stale).await), fenced);
    assert_eq!(refusal(fixture.abort(&stale).await), fenced);
    fixture.fill().await;
    fixture.complete(&next).await.unwrap();
    assert_eq!(refusal(fixture.flip(&stale).await), fenced);
    fixture.flip(&next).await.unwrap();
    fixture.mark_flipped(&next).await.unwrap();
    assert_eq!(refusal(fixture.drop_retired(&stale).await), fenced);
    assert!(fixture.has_table(1).await);
    fixture.drop_retired(&next).await.unwrap();
}

async fn instances_do_not_touch_each_other(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create("mine").await.unwrap();
    // A second instance in the same database, in the middle of a rotation that is given up.
    let other = protocol::InstanceId::from_uuid(uuid::Uuid::new_v4());
    let keystore = protocol::KeystoreId::from_uuid(uuid::Uuid::new_v4());
    fixture.store.ensure(other, keystore).await.unwrap();
    let first = rotation(1);
    fixture.store.open_generation(other, first.request()).await.unwrap();
    fixture.create("mine too").await.unwrap();
    let (order, epoch, from_to) = (first.order, first.epoch, (None, first.to));
    let ended = AbortRequest { order, epoch, from_to, is_taken: true };
    fixture.store.abort(other, ended).await.unwrap();
    fixture.rotate(&rotation(2)).await;
    fixture.assert_all_open(2).await;
    assert!(fixture.store.row(other).await.unwrap().unwrap().active.is_none());
}
