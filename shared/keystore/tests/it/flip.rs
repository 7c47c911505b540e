//! Completing, flipping, giving up and dropping a generation.

use keystore::KeystoreError;
use machines::gate::GateRefusal;
use protocol::Pattern;
use protocol::keystore::{GenerationState, KeystoreStanding};

use super::fixture::{Fixture, ROOT, rotation};
use super::on_both_stores;

on_both_stores!(
    complete_refuses_a_gap,
    complete_refuses_a_set_that_is_not_whole,
    a_flip_before_complete_is_refused,
    a_flip_without_a_younger_versions_blob_is_refused,
    a_flip_checks_the_chunks_again,
    every_step_is_the_same_when_repeated,
    an_abort_drops_the_table_and_opens_the_gate,
    an_abort_after_the_flip_is_refused,
    a_late_open_after_an_abort_is_refused,
    an_abort_of_what_never_opened_is_remembered,
    after_an_abort_the_rotation_opens_another_generation,
    retired_tables_are_dropped_only_after_the_read_back,
);

fn refusal<T: std::fmt::Debug>(result: Result<T, KeystoreError>) -> GateRefusal {
    match result {
        Err(KeystoreError::Gate(refusal)) => refusal,
        other => panic!("not refused by the gate: {other:?}"),
    }
}

fn assert_not_complete<T: std::fmt::Debug>(result: Result<T, KeystoreError>, why: &str) {
    match refusal(result) {
        GateRefusal::NotComplete(reason) => assert!(reason.contains(why), "{reason}"),
        other => panic!("refused for another reason: {other}"),
    }
}

async fn complete_refuses_a_gap(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(7).await;
    let next = rotation(2);
    fixture.open(&next).await.unwrap();
    assert_not_complete(fixture.complete(&next).await, "the chunks end at");
    let mut pages = fixture.pages().await;
    let middle = pages.remove(1);
    fixture.write(2, pages).await.unwrap();
    assert_not_complete(fixture.complete(&next).await, "gap");
    assert_eq!(fixture.row().await.open.unwrap().state, GenerationState::Building);
    fixture.write(2, vec![middle]).await.unwrap();
    let row = fixture.complete(&next).await.unwrap();
    assert_eq!(row.open.unwrap().state, GenerationState::Complete);
}

async fn complete_refuses_a_set_that_is_not_whole(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(7).await;
    let next = rotation(2);
    fixture.open(&next).await.unwrap();
    let mut pages = fixture.pages().await;
    pages[1].rows.pop();
    pages[1].written.count -= 1;
    fixture.write(2, pages).await.unwrap();
    assert_not_complete(fixture.complete(&next).await, "hold 6 versions, the set has 7");
}

async fn a_flip_before_complete_is_refused(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(4).await;
    let next = rotation(2);
    assert_eq!(refusal(fixture.flip(&next).await), GateRefusal::NotOpen);
    assert_eq!(refusal(fixture.complete(&next).await), GateRefusal::NotOpen);
    fixture.open(&next).await.unwrap();
    assert_not_complete(fixture.flip(&next).await, "chunks are being written");
    fixture.fill().await;
    assert_not_complete(fixture.flip(&next).await, "chunks are being written");
    assert_eq!(fixture.row().await.active.unwrap().pattern, Pattern([1; 32]));
    assert_eq!(refusal(fixture.mark_flipped(&next).await), GateRefusal::NotOpen);
    fixture.complete(&next).await.unwrap();
    assert_eq!(refusal(fixture.mark_flipped(&next).await), GateRefusal::NotOpen);
    fixture.flip(&next).await.unwrap();
}

async fn a_flip_without_a_younger_versions_blob_is_refused(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(4).await;
    let next = rotation(2).online();
    fixture.build(&next).await;
    let young = fixture.create("young").await.unwrap();
    let sql = format!(
        "DELETE FROM {} WHERE version = {}",
        fixture.table(2),
        fixture.literal(young.version.uuid())
    );
    assert_eq!(fixture.execute(&sql).await, 1);
    assert_not_complete(fixture.flip(&next).await, "1 versions created since opening");
    let row = fixture.row().await;
    assert_eq!(row.active.unwrap().pattern, Pattern([1; 32]));
    assert_eq!(row.open.unwrap().state, GenerationState::Complete);
}

async fn a_flip_checks_the_chunks_again(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(7).await;
    let next = rotation(2);
    fixture.build(&next).await;
    let sql = format!("UPDATE chunks SET done = 2 WHERE instance = {} AND done = 1", fixture.me());
    assert_eq!(fixture.execute(&sql).await, 1);
    assert_not_complete(fixture.flip(&next).await, "hold 8 versions, the set has 7");
    assert_eq!(fixture.row().await.active.unwrap().pattern, Pattern([1; 32]));
}

async fn every_step_is_the_same_when_repeated(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(5).await;
    let next = rotation(2);
    fixture.build(&next).await;
    assert_eq!(fixture.complete(&next).await.unwrap(), fixture.complete(&next).await.unwrap());
    let flipped = fixture.flip(&next).await.unwrap();
    assert_eq!(flipped.retired.len(), 1);
    assert_eq!(fixture.flip(&next).await.unwrap(), flipped);
    fixture.create("between").await.unwrap();
    assert_eq!(fixture.open(&next).await.unwrap().active, flipped.active);
    fixture.complete(&next).await.unwrap();
    let marked = fixture.mark_flipped(&next).await.unwrap();
    let taken = marked.rotation.as_ref().unwrap();
    assert_eq!((taken.standing, taken.key_root), (KeystoreStanding::Flipped, Some(ROOT)));
    assert_eq!(fixture.row().await.rotation, marked.rotation, "it is saved");
    assert_eq!(fixture.flip(&next).await.unwrap(), marked);
    assert_eq!(fixture.mark_flipped(&next).await.unwrap(), marked);
    let dropped = fixture.drop_retired(&next).await.unwrap();
    assert_eq!(fixture.mark_flipped(&next).await.unwrap(), dropped);
    assert_eq!(fixture.drop_retired(&next).await.unwrap(), dropped);
    fixture.assert_all_open(6).await;
}

async fn an_abort_drops_the_table_and_opens_the_gate(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(5).await;
    for n in [2, 3] {
        let next = rotation(n).from(1);
        match n {
            2 => drop(fixture.open(&next).await.unwrap()),
            _ => fixture.build(&next).await,
        }
        assert!(fixture.has_table(n.into()).await);
        let row = fixture.abort(&next).await.unwrap();
        assert!(!row.is_gate_closed());
        assert!(!fixture.has_table(n.into()).await);
        let chunks = fixture.store.chunks(fixture.instance, n.into()).await.unwrap();
        assert!(chunks.iter().all(|chunk| chunk.done.is_none()), "{chunks:?}");
        assert_eq!(fixture.abort(&next).await.unwrap(), row);
        fixture.create("served").await.unwrap();
        assert_eq!(refusal(fixture.flip(&next).await), GateRefusal::NotOpen);
        assert_eq!(refusal(fixture.complete(&next).await), GateRefusal::NotOpen);
    }
    fixture.assert_all_open(7).await;
}

async fn an_abort_after_the_flip_is_refused(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(5).await;
    let next = rotation(2);
    fixture.build(&next).await;
    fixture.flip(&next).await.unwrap();
    assert_eq!(refusal(fixture.abort(&next.at(99)).await), GateRefusal::Flipped);
    fixture.assert_all_open(5).await;
    fixture.mark_flipped(&next).await.unwrap();
    assert_eq!(refusal(fixture.abort(&next.at(99)).await), GateRefusal::Flipped);
    fixture.drop_retired(&next).await.unwrap();
    assert_eq!(refusal(fixture.abort(&next.at(99)).await), GateRefusal::Flipped);
    fixture.assert_all_open(5).await;
    assert!(fixture.has_table(2).await);
}

async fn a_late_open_after_an_abort_is_refused(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let next = rotation(2);
    fixture.open(&next).await.unwrap();
    fixture.abort(&next.at(21)).await.unwrap();
    // An abort begins with an inspect round at a new epoch: the open of before carries an old one.
    let fenced = GateRefusal::StaleEpoch { given: next.epoch, highest: super::fixture::epoch(21) };
    assert_eq!(refusal(fixture.open(&next).await), fenced);
    assert!(!fixture.row().await.is_gate_closed());
}

async fn an_abort_of_what_never_opened_is_remembered(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let (next, after) = (rotation(2), rotation(3).from(1));
    let row = fixture.abort(&after).await.unwrap();
    assert_eq!(row.rotation.as_ref().unwrap().standing, KeystoreStanding::Aborted);
    let spent = GateRefusal::OrderSpent { given: next.order.number, taken: after.order.number };
    assert_eq!(refusal(fixture.open(&next.at(99)).await), spent);
    let fenced = GateRefusal::StaleEpoch { given: super::fixture::epoch(29), highest: after.epoch };
    assert_eq!(refusal(fixture.open(&after.at(29)).await), fenced);
}

async fn after_an_abort_the_rotation_opens_another_generation(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(4).await;
    let next = rotation(2);
    let first = fixture.open(&next).await.unwrap().open.unwrap();
    fixture.abort(&next).await.unwrap();
    let again = super::fixture::Rotation { generation: rotation(2).generation, ..next };
    let second = fixture.open(&again).await.unwrap().open.unwrap();
    assert_eq!((first.number, second.number), (2, 3));
    assert_ne!(first.id, second.id);
    fixture.fill().await;
    fixture.complete(&again).await.unwrap();
    fixture.flip(&again).await.unwrap();
    fixture.assert_all_open(4).await;
}

async fn retired_tables_are_dropped_only_after_the_read_back(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(4).await;
    let next = rotation(2);
    fixture.build(&next).await;
    assert_eq!(refusal(fixture.drop_retired(&next).await), GateRefusal::NotOpen);
    fixture.flip(&next).await.unwrap();
    assert_eq!(refusal(fixture.drop_retired(&next).await), GateRefusal::NotReadBack);
    assert!(fixture.has_table(1).await);
    fixture.mark_flipped(&next).await.unwrap();
    let row = fixture.drop_retired(&next).await.unwrap();
    assert!(row.retired.is_empty());
    assert!(!fixture.has_table(1).await);
    assert!(fixture.has_table(2).await);
    fixture.rotate(&rotation(3)).await;
    assert!(!fixture.has_table(2).await);
    fixture.assert_all_open(4).await;
}
