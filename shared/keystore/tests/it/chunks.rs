//! Chunks: what is re-encrypted, each once, and only into the generation that is being built.

use keystore::KeystoreError;
use machines::gate::{self, GateRefusal};
use protocol::keystore::Generation;
use protocol::page::ChunkRange;
use protocol::{GenerationId, Pattern};

use super::fixture::{Fixture, Page, blob, rotation, written};
use super::on_both_stores;

on_both_stores!(
    chunks_tile_the_key_space_and_hold_the_set_once,
    an_empty_keystore_is_one_chunk,
    a_chunk_is_written_once,
    a_chunk_that_overlaps_another_is_refused,
    what_is_left_is_between_what_is_written,
    two_reencryptors_write_the_same_chunks_at_once,
    a_chunk_under_another_pattern_is_refused_whole,
    a_version_is_written_once,
    a_generation_is_known_by_its_id_not_by_its_number,
    nothing_is_written_but_into_the_generation_being_built,
    a_restart_goes_on_where_it_was,
);

async fn chunks_tile_the_key_space_and_hold_the_set_once(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    let metas = fixture.create_many(10).await;
    let row = fixture.open(&rotation(2)).await.unwrap();
    assert_eq!(row.open.unwrap().set_count, 10);
    let chunks = fixture.store.chunks(fixture.instance, 2).await.unwrap();
    let lacking: Vec<_> = chunks.iter().map(|chunk| (chunk.range, &chunk.done)).collect();
    assert_eq!(lacking, [(ChunkRange::WHOLE, &None)]);
    let counted: Vec<_> =
        fixture.pages().await.iter().map(|page| (page.range, page.written.count)).collect();
    gate::tiles(&counted, 10).unwrap();
    assert_eq!(counted.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [3, 3, 3, 1]);

    let whole = ChunkRange::WHOLE;
    let rows = fixture.rows(1, whole, 2).await;
    let mut versions: Vec<_> = metas.iter().map(|meta| meta.version).collect();
    versions.sort();
    assert_eq!(rows.iter().map(|row| row.version).collect::<Vec<_>>(), versions);
    for row in &rows {
        let meta = metas.iter().find(|meta| meta.version == row.version).unwrap();
        assert_eq!((row.key, row.attributes), (meta.key, meta.attributes));
        assert_eq!(row.blob, blob(Pattern([1; 32]), row.version));
    }
}

async fn an_empty_keystore_is_one_chunk(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    for n in [2, 3] {
        fixture.open(&rotation(n)).await.unwrap();
        let chunks = fixture.store.chunks(fixture.instance, n.into()).await.unwrap();
        assert_eq!(chunks.iter().map(|chunk| chunk.range).collect::<Vec<_>>(), [ChunkRange::WHOLE]);
        fixture.fill().await;
        fixture.complete(&rotation(n)).await.unwrap();
        fixture.flip(&rotation(n)).await.unwrap();
        fixture.mark_flipped(&rotation(n)).await.unwrap();
    }
}

async fn a_chunk_is_written_once(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(7).await;
    fixture.open(&rotation(2)).await.unwrap();
    let pages = fixture.pages().await;
    fixture.write(2, pages[..1].to_vec()).await.unwrap();
    assert_eq!(fixture.row().await.open.unwrap().done_count, 3);
    assert_eq!(fixture.store.chunk_count(fixture.instance, 2).await.unwrap(), 1);
    let before = fixture.store.chunks(fixture.instance, 2).await.unwrap();
    assert_eq!(before[0].done, Some(pages[0].written.clone()));

    // Written again, from another unit's answer, and together with one that is new.
    let mut again = pages[..2].to_vec();
    again[0].written.receipt = vec![8; 100];
    again[0].rows[0].blob[60] ^= 1;
    fixture.write(2, again).await.unwrap();
    let after = fixture.store.chunks(fixture.instance, 2).await.unwrap();
    assert_eq!(after[0], before[0]);
    assert_eq!(after[1].done, Some(pages[1].written.clone()));
    let rows = fixture.rows(2, pages[0].range, 2).await;
    assert_eq!(rows, pages[0].rows);
    assert_eq!(fixture.row().await.open.unwrap().done_count, 6);
}

async fn a_chunk_that_overlaps_another_is_refused(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(16).await;
    fixture.open(&rotation(2)).await.unwrap();
    let pages = fixture.pages().await;
    assert_eq!(pages.len(), 6);
    fixture.write(2, vec![pages[1].clone(), pages[3].clone()]).await.unwrap();
    let (first, second, whole) = (pages[0].range, pages[1].range, ChunkRange::WHOLE);
    let within = pages[1].rows[0].version;
    for range in [
        whole,
        ChunkRange { upto: second.upto, ..first },
        ChunkRange { upto: within, ..first },
        ChunkRange { upto: within, ..second },
        ChunkRange { upto: pages[2].range.upto, ..second },
        ChunkRange { upto: whole.upto, ..second },
        ChunkRange { after: within, upto: pages[1].rows[1].version },
        ChunkRange { after: within, upto: second.upto },
        ChunkRange { after: within, upto: pages[2].range.upto },
        ChunkRange { after: within, upto: pages[4].range.upto },
        ChunkRange { upto: pages[3].rows[0].version, ..pages[2].range },
        ChunkRange { after: pages[3].rows[0].version, upto: whole.upto },
    ] {
        // Without its rows, so that no primary key stands in for the rule.
        let page = Page { range, written: written(0), rows: Vec::new(), quarantined: Vec::new() };
        let refused = fixture.write(2, vec![page]).await;
        assert!(matches!(refused, Err(KeystoreError::Overlap)), "{range:?}: {refused:?}");
    }
    assert_eq!(fixture.row().await.open.unwrap().done_count, 6);
    let table = fixture.table(2);
    assert_eq!(fixture.number(&format!("SELECT count(*) FROM {table}")).await, 6);
    // What lies between them, and themselves once more, overlaps nothing.
    fixture.write(2, pages[1..5].to_vec()).await.unwrap();
    assert_eq!(fixture.row().await.open.unwrap().done_count, 12);
}

async fn what_is_left_is_between_what_is_written(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(14).await;
    fixture.open(&rotation(2)).await.unwrap();
    let pages = fixture.pages().await;
    assert_eq!(pages.len(), 5);
    fixture.write(2, vec![pages[1].clone(), pages[3].clone()]).await.unwrap();
    let chunks = fixture.store.chunks(fixture.instance, 2).await.unwrap();
    let found: Vec<_> = chunks.iter().map(|chunk| (chunk.range, chunk.done.is_some())).collect();
    let is_written = |index: usize| index == 1 || index == 3;
    let expected: Vec<_> =
        pages.iter().enumerate().map(|(index, page)| (page.range, is_written(index))).collect();
    assert_eq!(found, expected);
    // Cut again, what is left is what it was.
    let left: Vec<_> = fixture.pages().await.iter().map(|page| page.range).collect();
    assert_eq!(left, [pages[0].range, pages[2].range, pages[4].range]);
    fixture.fill().await;
    fixture.complete(&rotation(2)).await.unwrap();
}

async fn two_reencryptors_write_the_same_chunks_at_once(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(60).await;
    let opened = fixture.open(&rotation(2)).await.unwrap();
    let pages = fixture.pages().await;
    let mut writers = Vec::new();
    for writer in 0..4 {
        let (store, instance, mut pages) = (fixture.store.clone(), fixture.instance, pages.clone());
        if writer % 2 == 1 {
            pages.reverse();
        }
        let chunks = pages.into_iter().map(Page::into_chunk).collect();
        let open = opened.open.clone().unwrap();
        writers
            .push(tokio::spawn(async move { store.write_chunks(instance, &open, chunks).await }));
    }
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    fixture.complete(&rotation(2)).await.unwrap();
    fixture.flip(&rotation(2)).await.unwrap();
    fixture.assert_all_open(60).await;
}

async fn a_chunk_under_another_pattern_is_refused_whole(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(3).await;
    fixture.open(&rotation(2)).await.unwrap();
    let mut pages = fixture.pages().await;
    let version = pages[0].rows[2].version;
    pages[0].rows[2].blob = blob(Pattern([1; 32]), version);
    let refused = fixture.write(2, pages).await;
    assert!(matches!(refused, Err(KeystoreError::PatternCheck)), "{refused:?}");
    let chunks = fixture.store.chunks(fixture.instance, 2).await.unwrap();
    assert!(chunks.iter().all(|chunk| chunk.done.is_none()));
    let table = fixture.table(2);
    assert_eq!(fixture.number(&format!("SELECT count(*) FROM {table}")).await, 0);
    // What was refused can be done rightly.
    fixture.fill().await;
    fixture.complete(&rotation(2)).await.unwrap();
}

async fn a_version_is_written_once(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(6).await;
    fixture.open(&rotation(2)).await.unwrap();
    let mut pages = fixture.pages().await;
    pages[1].rows[0] = pages[0].rows[0].clone();
    let refused = fixture.write(2, pages).await;
    assert!(matches!(refused, Err(KeystoreError::Duplicate)), "{refused:?}");
    assert_eq!(fixture.row().await.open.unwrap().done_count, 0);
}

/// A database that was set back behind an opening gives its number to another generation: who filled the first
/// one would sign receipts that no read-back takes.
async fn a_generation_is_known_by_its_id_not_by_its_number(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(4).await;
    let open = fixture.open(&rotation(2)).await.unwrap().open.unwrap();
    let lost = Generation { id: GenerationId::from_bytes([0xee; 16]), ..open.clone() };
    let pages = fixture.pages().await;
    let is_refused = |refused| match refused {
        Err(KeystoreError::Gate(refusal)) => assert_eq!(refusal, GateRefusal::NotOpen),
        other => panic!("{other:?}"),
    };
    is_refused(fixture.write_into(&lost, pages.clone()).await);
    assert_eq!(fixture.row().await.open, Some(open.clone()));
    assert_eq!(fixture.store.chunk_count(fixture.instance, 2).await.unwrap(), 0);
    fixture.write_into(&open, pages).await.unwrap();
    let order = rotation(2).order;
    is_refused(fixture.store.complete(fixture.instance, order, lost.id).await.map(|_| ()));
    fixture.store.complete(fixture.instance, order, open.id).await.unwrap();
}

async fn nothing_is_written_but_into_the_generation_being_built(fixture: Fixture) {
    let fixture = fixture.initialised().await;
    fixture.create_many(4).await;
    let next = rotation(2);
    fixture.open(&next).await.unwrap();
    let pages = fixture.pages().await;
    let refused = async |number| match fixture.write(number, pages.clone()).await {
        Err(KeystoreError::Gate(refusal)) => assert_eq!(refusal, GateRefusal::NotOpen),
        other => panic!("written into generation {number}: {other:?}"),
    };
    refused(1).await;
    refused(3).await;
    fixture.abort(&next).await.unwrap();
    refused(2).await;

    // The same rotation opens another generation: pages of the first are not for it.
    fixture.open(&next).await.unwrap();
    refused(2).await;
    fixture.fill().await;
    fixture.complete(&next).await.unwrap();
    refused(3).await;
    fixture.flip(&next).await.unwrap();
    refused(3).await;
    fixture.assert_all_open(4).await;
}

async fn a_restart_goes_on_where_it_was(fixture: Fixture) {
    let mut fixture = fixture.initialised().await;
    fixture.create_many(8).await;
    let next = rotation(2);
    fixture.open(&next).await.unwrap();
    let first = fixture.pages().await[..1].to_vec();
    fixture.write(2, first.clone()).await.unwrap();
    fixture.reopen().await;
    assert_eq!(fixture.row().await.open.unwrap().done_count, 3);
    let left = fixture.pages().await;
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|page| page.range != first[0].range));
    fixture.fill().await;
    fixture.reopen().await;
    fixture.complete(&next).await.unwrap();
    fixture.reopen().await;
    fixture.flip(&next).await.unwrap();
    fixture.reopen().await;
    fixture.mark_flipped(&next).await.unwrap();
    fixture.reopen().await;
    fixture.drop_retired(&next).await.unwrap();
    fixture.assert_all_open(8).await;
}
