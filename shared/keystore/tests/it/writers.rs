//! Many writers beside rotations: no key is lost, whatever the order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keystore::{KeystoreError, Scanned};
use machines::gate::GateRefusal;
use protocol::keystore::GateMode;

use super::fixture::{Fixture, rotation};
use super::on_both_stores;

on_both_stores!(
    no_key_is_lost_under_writers_online,
    no_key_is_lost_under_writers_strict,
    a_reader_always_finds_a_blob_under_the_pattern_that_it_is_told,
);

async fn no_key_is_lost_under_writers_online(fixture: Fixture) {
    rotations_under_writers(fixture, GateMode::Online).await;
}

async fn no_key_is_lost_under_writers_strict(fixture: Fixture) {
    rotations_under_writers(fixture, GateMode::Strict).await;
}

async fn rotations_under_writers(fixture: Fixture, mode: GateMode) {
    let fixture = Arc::new(fixture.initialised().await);
    let is_over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..6).map(|_| tokio::spawn(write_until(fixture.clone(), is_over.clone()))).collect();
    for n in 2..=4 {
        let next = super::fixture::Rotation { mode, ..rotation(n) };
        let before = fixture.row().await.version_count;
        // At least one key is written between rotations.
        super::fixture::until("a key is written", async || {
            fixture.row().await.version_count > before
        })
        .await;
        fixture.rotate(&next).await;
    }
    is_over.store(true, Ordering::Relaxed);
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    assert!(written > 0);
    fixture.assert_all_open(written).await;
}

/// Creates keys as a gateway does, again when the generations have changed meanwhile.
async fn write_until(fixture: Arc<Fixture>, is_over: Arc<AtomicBool>) -> usize {
    let mut written = 0;
    while !is_over.load(Ordering::Relaxed) {
        match fixture.create("concurrent").await {
            Ok(_) => written += 1,
            Err(KeystoreError::Gate(
                GateRefusal::GateClosed(_) | GateRefusal::GenerationsChanged,
            )) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
    written
}

async fn a_reader_always_finds_a_blob_under_the_pattern_that_it_is_told(fixture: Fixture) {
    let fixture = Arc::new(fixture.initialised().await);
    let metas = fixture.create_many(20).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = {
        let (fixture, is_over) = (fixture.clone(), is_over.clone());
        tokio::spawn(async move {
            let mut patterns = std::collections::BTreeSet::new();
            while !is_over.load(Ordering::Relaxed) {
                for meta in &metas {
                    let found = fixture.store.blob(fixture.instance, meta.key, meta.version).await;
                    let found = found.unwrap();
                    assert_eq!(found.blob, super::fixture::blob(found.pattern, meta.version));
                    patterns.insert(found.pattern);
                }
                let nil = protocol::page::ChunkRange::WHOLE.after;
                let rows =
                    fixture.store.scan(fixture.instance, Scanned::All, nil, 100).await.unwrap();
                assert!(rows.len() == 20 && rows.iter().all(|row| row.blob.is_some()));
            }
            patterns.len()
        })
    };
    for n in 2..=6 {
        fixture.rotate(&rotation(n)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    assert!(reader.await.unwrap() > 0);
}
