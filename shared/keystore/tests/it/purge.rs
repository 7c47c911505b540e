//! Delete and purge, outside a rotation and in the middle of one.

use keystore::{KeyState, KeystoreError, Scanned};
use protocol::{KeyId, UnixMillis};

use super::fixture::{Fixture, rotation};
use super::on_both_stores;

on_both_stores!(
    a_deleted_keys_blob_is_carried_through_rotations,
    a_purge_outside_a_rotation_removes_the_key_from_every_generation,
    a_purge_in_a_rotation_is_a_tombstone_until_it_has_flipped,
    a_purge_in_a_rotation_is_applied_by_an_abort,
    a_purge_after_an_abort_removes_at_once,
    a_page_in_flight_brings_no_purged_key_back,
    a_deleted_key_can_be_purged,
    two_purges_at_once_end_a_key_once,
);

async fn purge(fixture: &Fixture, key: KeyId) -> Result<(), KeystoreError> {
    fixture.store.purge(fixture.instance, key).await
}

async fn assert_gone(fixture: &Fixture, key: KeyId) {
    let found = fixture.store.key(fixture.instance, key).await;
    assert!(matches!(found, Err(KeystoreError::NoKey(_))), "{found:?}");
    let again = purge(fixture, key).await;
    assert!(matches!(again, Err(KeystoreError::NoKey(_))), "{again:?}");
    let deleted = fixture.store.delete(fixture.instance, key, UnixMillis(1)).await;
    assert!(matches!(deleted, Err(KeystoreError::NoKey(_))), "{deleted:?}");
    let nil = protocol::page::ChunkRange::WHOLE.after;
    let scanned = fixture.store.scan(fixture.instance, Scanned::All, nil, 1000).await.unwrap();
    assert!(scanned.iter().all(|row| row.key != key));
}

async fn a_deleted_keys_blob_is_carried_through_rotations(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let metas = fixture.create_many(5).await;
    fixture.store.delete(fixture.instance, metas[2].key, UnixMillis(7)).await.unwrap();
    fixture.rotate(&rotation(2)).await;
    // And in the middle of the next.
    fixture.open(&rotation(3)).await.unwrap();
    fixture.store.delete(fixture.instance, metas[3].key, UnixMillis(8)).await.unwrap();
    fixture.fill().await;
    fixture.complete(&rotation(3)).await.unwrap();
    fixture.flip(&rotation(3)).await.unwrap();
    fixture.mark_flipped(&rotation(3)).await.unwrap();
    fixture.assert_all_open(5).await;
    for key in [metas[2].key, metas[3].key] {
        let meta = fixture.store.key(fixture.instance, key).await.unwrap();
        assert_eq!(meta.state, KeyState::Destroyed);
    }
}

async fn a_purge_outside_a_rotation_removes_the_key_from_every_generation(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let metas = fixture.create_many(5).await;
    purge(&fixture, metas[0].key).await.unwrap();
    assert_gone(&fixture, metas[0].key).await;
    assert_eq!(fixture.blobs_in(1, metas[0].key).await, 0);
    assert_eq!(fixture.row().await.version_count, 4);

    let next = rotation(2);
    fixture.build(&next).await;
    fixture.flip(&next).await.unwrap();
    fixture.mark_flipped(&next).await.unwrap();
    assert_eq!(fixture.blobs_in(1, metas[1].key).await, 1);
    purge(&fixture, metas[1].key).await.unwrap();
    assert_gone(&fixture, metas[1].key).await;
    assert_eq!(fixture.blobs_in(1, metas[1].key).await, 0);
    assert_eq!(fixture.blobs_in(2, metas[1].key).await, 0);
    fixture.assert_all_open(3).await;
}

async fn a_purge_in_a_rotation_is_a_tombstone_until_it_has_flipped(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let metas = fixture.create_many(7).await;
    let next = rotation(2);
    fixture.open(&next).await.unwrap();
    purge(&fixture, metas[0].key).await.unwrap();
    assert_gone(&fixture, metas[0].key).await;
    assert_eq!(fixture.blobs_in(1, metas[0].key).await, 1);
    assert_eq!(fixture.names().await.len(), 6);
    fixture.fill().await;
    // The set, its count and its digests stand still.
    let row = fixture.complete(&next).await.unwrap();
    assert_eq!(row.open.unwrap().set_count, 7);
    purge(&fixture, metas[1].key).await.unwrap();
    fixture.flip(&next).await.unwrap();
    purge(&fixture, metas[2].key).await.unwrap();
    let whole = protocol::page::ChunkRange::WHOLE;
    let read_back = fixture.rows(2, whole, 2).await;
    assert_eq!(read_back.len(), 7);

    fixture.mark_flipped(&next).await.unwrap();
    for meta in &metas[..3] {
        assert_gone(&fixture, meta.key).await;
        assert_eq!(fixture.blobs_in(1, meta.key).await, 0);
        assert_eq!(fixture.blobs_in(2, meta.key).await, 0);
    }
    fixture.assert_all_open(4).await;
    assert_eq!(fixture.row().await.version_count, 4);
    fixture.drop_retired(&next).await.unwrap();
    fixture.rotate(&rotation(3)).await;
    fixture.assert_all_open(4).await;
}

async fn a_purge_in_a_rotation_is_applied_by_an_abort(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let metas = fixture.create_many(4).await;
    let next = rotation(2);
    fixture.build(&next).await;
    purge(&fixture, metas[0].key).await.unwrap();
    assert_eq!(fixture.blobs_in(1, metas[0].key).await, 1);
    fixture.abort(&next).await.unwrap();
    assert_gone(&fixture, metas[0].key).await;
    assert_eq!(fixture.blobs_in(1, metas[0].key).await, 0);
    assert_eq!(fixture.row().await.version_count, 3);
    fixture.assert_all_open(3).await;
}

async fn a_purge_after_an_abort_removes_at_once(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let metas = fixture.create_many(4).await;
    let next = rotation(2);
    fixture.open(&next).await.unwrap();
    fixture.abort(&next).await.unwrap();
    purge(&fixture, metas[0].key).await.unwrap();
    assert_eq!(fixture.blobs_in(1, metas[0].key).await, 0);
    assert_gone(&fixture, metas[0].key).await;
    fixture.assert_all_open(3).await;
}

async fn a_page_in_flight_brings_no_purged_key_back(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let metas = fixture.create_many(4).await;
    let next = rotation(2);
    fixture.open(&next).await.unwrap();
    // The unit has the page when the key is purged, and answers afterwards.
    let in_flight = fixture.pages().await;
    purge(&fixture, metas[0].key).await.unwrap();
    fixture.write(2, in_flight.clone()).await.unwrap();
    fixture.complete(&next).await.unwrap();
    fixture.flip(&next).await.unwrap();
    fixture.mark_flipped(&next).await.unwrap();
    assert_eq!(fixture.blobs_in(2, metas[0].key).await, 0);
    // Neither does one that comes when it is all over, nor one of a rotation that was given up.
    fixture.write(2, in_flight).await.unwrap_err();
    fixture.drop_retired(&next).await.unwrap();
    fixture.open(&rotation(3)).await.unwrap();
    let in_flight = fixture.pages().await;
    purge(&fixture, metas[1].key).await.unwrap();
    fixture.abort(&rotation(3)).await.unwrap();
    fixture.write(3, in_flight).await.unwrap_err();
    fixture.rotate(&rotation(4).from(2)).await;
    for meta in &metas[..2] {
        assert_gone(&fixture, meta.key).await;
    }
    assert_eq!(fixture.blobs_in(4, metas[1].key).await, 0);
    fixture.assert_all_open(2).await;
}

async fn a_deleted_key_can_be_purged(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let metas = fixture.create_many(2).await;
    fixture.store.delete(fixture.instance, metas[0].key, UnixMillis(7)).await.unwrap();
    purge(&fixture, metas[0].key).await.unwrap();
    assert_gone(&fixture, metas[0].key).await;
    fixture.assert_all_open(1).await;
}

async fn two_purges_at_once_end_a_key_once(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let metas = fixture.create_many(20).await;
    // Half of them removed at once, half by tombstone.
    for (index, meta) in metas.iter().enumerate() {
        if index == 10 {
            fixture.open(&rotation(2)).await.unwrap();
        }
        let purges = (0..4).map(|_| {
            let (store, instance, key) = (fixture.store.clone(), fixture.instance, meta.key);
            tokio::spawn(async move { store.purge(instance, key).await })
        });
        let mut ended = 0;
        for purge in purges.collect::<Vec<_>>() {
            match purge.await.unwrap() {
                Ok(()) => ended += 1,
                Err(error) => assert!(matches!(error, KeystoreError::NoKey(_)), "{error}"),
            }
        }
        assert_eq!(ended, 1);
    }
}
