//! Versions that no unit opens are carried beside the generation that goes without them.

use keystore::{KeyMeta, KeystoreError, Scanned};
use protocol::keystore::KeystoreRow;
use protocol::page::ChunkRange;

use super::fixture::{Fixture, Page, Rotation, rotation};
use super::on_both_stores;

on_both_stores!(
    a_version_in_quarantine_is_kept_counted_and_cannot_be_used,
    a_set_that_lacks_a_version_and_does_not_say_so_is_not_complete,
    an_abort_lets_it_go,
    the_next_rotation_goes_without_it,
    a_purge_removes_it,
);

const REASON: &str = "the blob does not open";

/// The pages of the generation that is open, this key's version in quarantine.
async fn pages_without(fixture: &Fixture, lost: &KeyMeta) -> Vec<Page> {
    let active = fixture.row().await.active.unwrap().number;
    let old = fixture.rows(active, ChunkRange::WHOLE, u32::MAX).await;
    let old = old.into_iter().find(|row| row.version == lost.version).unwrap();
    let mut pages = fixture.pages().await;
    for page in &mut pages {
        let before = page.rows.len();
        page.rows.retain(|row| row.version != lost.version);
        if page.rows.len() < before {
            page.written.count -= 1;
            page.written.quarantined_count = 1;
            page.quarantined = vec![(old.clone(), REASON.to_owned())];
        }
    }
    pages
}

async fn rotated(fixture: &Fixture, next: &Rotation, lost: &KeyMeta) -> KeystoreRow {
    fixture.open(next).await.unwrap();
    let number = fixture.row().await.open.unwrap().number;
    let pages = pages_without(fixture, lost).await;
    fixture.write(number, pages).await.unwrap();
    let open = fixture.row().await.open.unwrap();
    assert_eq!((open.done_count, open.quarantined_count), (open.set_count, 1));
    fixture.complete(next).await.unwrap();
    fixture.flip(next).await.unwrap();
    fixture.mark_flipped(next).await.unwrap();
    fixture.drop_retired(next).await.unwrap()
}

async fn blob_of(fixture: &Fixture, meta: &KeyMeta) -> Result<(), KeystoreError> {
    fixture.store.blob(fixture.instance, meta.key, meta.version).await.map(|_| ())
}

/// What a scan says of the key's version: whether it has a blob, and why it is in quarantine.
async fn scanned(fixture: &Fixture, meta: &KeyMeta) -> (bool, Option<String>) {
    let nil = ChunkRange::WHOLE.after;
    let rows = fixture.store.scan(fixture.instance, Scanned::All, nil, 100).await.unwrap();
    let row = rows.into_iter().find(|row| row.version == meta.version).unwrap();
    (row.blob.is_some(), row.quarantined)
}

async fn kept(fixture: &Fixture) -> i64 {
    fixture
        .number(&format!("SELECT count(*) FROM quarantined WHERE instance = {}", fixture.me()))
        .await
}

async fn a_version_in_quarantine_is_kept_counted_and_cannot_be_used(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let metas = fixture.create_many(7).await;
    let lost = &metas[3];
    let row = rotated(&fixture, &rotation(2), lost).await;
    let active = row.active.unwrap();
    assert_eq!((active.set_count, active.done_count, active.quarantined_count), (7, 7, 1));
    let refused = blob_of(&fixture, lost).await;
    assert!(matches!(refused, Err(KeystoreError::Quarantined(key)) if key == lost.key));
    assert_eq!(scanned(&fixture, lost).await, (false, Some(REASON.to_owned())));
    assert_eq!(scanned(&fixture, &metas[0]).await, (true, None));
    blob_of(&fixture, &metas[0]).await.unwrap();
    assert_eq!(fixture.store.key(fixture.instance, lost.key).await.unwrap().key, lost.key);
}

async fn a_set_that_lacks_a_version_and_does_not_say_so_is_not_complete(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let metas = fixture.create_many(7).await;
    let next = rotation(2);
    fixture.open(&next).await.unwrap();
    let mut pages = pages_without(&fixture, &metas[3]).await;
    pages.iter_mut().for_each(|page| page.written.quarantined_count = 0);
    fixture.write(2, pages).await.unwrap();
    let refused = fixture.complete(&next).await.unwrap_err();
    assert!(refused.to_string().contains("hold 6 versions, the set has 7"), "{refused}");
}

async fn an_abort_lets_it_go(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let metas = fixture.create_many(4).await;
    let lost = &metas[1];
    let next = rotation(2);
    fixture.open(&next).await.unwrap();
    let pages = pages_without(&fixture, lost).await;
    fixture.write(2, pages).await.unwrap();
    // Until the flip it is where it was.
    assert_eq!((kept(&fixture).await, scanned(&fixture, lost).await), (1, (true, None)));
    blob_of(&fixture, lost).await.unwrap();
    fixture.abort(&next).await.unwrap();
    assert_eq!(kept(&fixture).await, 0);
    fixture.assert_all_open(4).await;
    // The same rotation may carry it again.
    rotated(&fixture, &next, lost).await;
    assert_eq!(kept(&fixture).await, 1);
}

async fn the_next_rotation_goes_without_it(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let metas = fixture.create_many(4).await;
    rotated(&fixture, &rotation(2), &metas[1]).await;
    fixture.rotate(&rotation(3)).await;
    let active = fixture.row().await.active.unwrap();
    assert_eq!((active.set_count, active.quarantined_count), (3, 0));
    assert_eq!(kept(&fixture).await, 1);
    let refused = blob_of(&fixture, &metas[1]).await;
    assert!(matches!(refused, Err(KeystoreError::Quarantined(_))), "{refused:?}");
}

async fn a_purge_removes_it(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let metas = fixture.create_many(4).await;
    rotated(&fixture, &rotation(2), &metas[1]).await;
    fixture.store.purge(fixture.instance, metas[1].key).await.unwrap();
    assert_eq!(kept(&fixture).await, 0);
    let refused = blob_of(&fixture, &metas[1]).await;
    assert!(matches!(refused, Err(KeystoreError::NoKey(_))), "{refused:?}");
    fixture.rotate(&rotation(3)).await;
    fixture.assert_all_open(3).await;
}
