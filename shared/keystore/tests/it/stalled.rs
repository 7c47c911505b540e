//! Whoever stands still in a transaction of PostgreSQL holds up the others for a while, and then no more;
//! and a reader that only takes its time is left alone.

use std::sync::Arc;

use bytes::Bytes;
use keystore::{Cut, KeystoreError};
use protocol::keystore::KeystoreStanding;
use protocol::page::ChunkRange;
use uuid::Uuid;

use super::fixture::{Fixture, SOON, postgres_url, raw, rotation, until};
use super::postgres::{in_time, queue_of, waiting, writer_in_flight};

/// Writes that may wait at once, of the 16 connections of a process.
const WRITERS: i64 = 12;

/// A keystore whose sessions have such a setting.
async fn with_setting(setting: &str) -> Option<Fixture> {
    let url = postgres_url()?;
    let separator = if url.contains('?') { '&' } else { '?' };
    let name = format!("stalled-{}", Uuid::new_v4().simple());
    let options = format!("application_name={name}&options=-c{setting}");
    Some(Fixture::with_url(&format!("{url}{separator}{options}")).await.initialised().await)
}

/// Somebody has the instance's queue alone.
async fn queue_held(fixture: &Fixture) -> tokio_postgres::Client {
    let holder = raw(&fixture.url).await;
    let sql = format!("BEGIN; SELECT pg_advisory_xact_lock({})", queue_of(fixture));
    holder.batch_execute(&sql).await.unwrap();
    holder
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_ends_a_reencryptor_that_stands_still_in_a_copy() {
    let Some(fixture) = with_setting("lock_timeout%3D500").await else { return };
    fixture.create_many(3).await;
    let next = rotation(2).online();
    fixture.open(&next).await.unwrap();
    // The reencryptor's machine is paused: the connection stands, and no more rows come.
    let paused = writer_in_flight(&fixture).await;
    let copy = format!(
        "COPY {} (version, key, attributes, born, blob) FROM STDIN (FORMAT binary)",
        fixture.table(2)
    );
    let rows = paused.copy_in::<_, Bytes>(&copy).await.unwrap();
    let first = tokio::time::timeout(SOON, fixture.abort(&next)).await.expect("in time");
    assert!(matches!(first, Err(KeystoreError::Busy)), "{first:?}");
    assert!(!paused.is_closed(), "one that is at work for a while is left alone");
    // Nobody queues behind the abort for longer.
    tokio::time::timeout(SOON, fixture.create("meanwhile")).await.expect("in time").unwrap();
    until("the abort is done", async || fixture.abort(&next).await.is_ok()).await;
    until("the writer is ended", async || paused.is_closed()).await;
    drop(rows);
    let taken = fixture.row().await.rotation.unwrap();
    assert_eq!(taken.standing, KeystoreStanding::Aborted);
    fixture.assert_all_open(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_waits_in_vain_is_told_that_the_keystore_is_busy() {
    let Some(fixture) = with_setting("lock_timeout%3D200").await else { return };
    let meta = fixture.create("before").await.unwrap();
    let holder = queue_held(&fixture).await;
    let refused = tokio::time::timeout(SOON, fixture.create("late")).await.expect("in time");
    assert!(matches!(refused, Err(KeystoreError::Busy)), "{refused:?}");
    // Whoever holds it alone is left alone by those who want it alone too.
    let refused = tokio::time::timeout(SOON, fixture.open(&rotation(2))).await.expect("in time");
    assert!(matches!(refused, Err(KeystoreError::Busy)), "{refused:?}");
    holder.batch_execute("COMMIT").await.unwrap();
    fixture.create("later").await.unwrap();
    fixture.store.key(fixture.instance, meta.key).await.unwrap();
    fixture.assert_all_open(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_wait_leave_connections_for_readers() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let fixture = Arc::new(fixture.initialised().await);
    let meta = fixture.create("read").await.unwrap();
    let targets = fixture.targets().await;
    let holder = queue_held(&fixture).await;
    let writers: Vec<_> = (0..24)
        .map(|_| {
            let (fixture, targets) = (fixture.clone(), targets.clone());
            tokio::spawn(async move {
                let key = fixture.new_key("waiting", &targets);
                fixture.store.create(fixture.instance, vec![key]).await
            })
        })
        .collect();
    until("writers wait", async || waiting(&fixture).await == WRITERS).await;
    let read = fixture.store.blob(fixture.instance, meta.key, meta.version);
    tokio::time::timeout(SOON, read).await.expect("in time").unwrap();
    assert_eq!(waiting(&fixture).await, WRITERS);
    holder.batch_execute("COMMIT").await.unwrap();
    for writer in writers {
        in_time(writer).await.unwrap();
    }
    fixture.assert_all_open(25).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_may_take_its_time_between_two_pages() {
    let set = "idle_in_transaction_session_timeout%3D200";
    let Some(fixture) = with_setting(set).await else { return };
    fixture.create_many(9).await;
    let (ranges, cut) = (vec![ChunkRange::WHOLE], Cut::Every(1));
    let mut pages = fixture.store.pages(fixture.instance, 1, ranges, 7, cut);
    let mut read = vec![pages.recv().await.unwrap().unwrap()];
    // As the server sees it, all rows are sent and the transaction is idle, for far longer than any other
    // may be.
    let name = fixture.url.split_once("application_name=").unwrap().1.split('&').next().unwrap();
    let idle = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'
         AND state = 'idle in transaction' AND state_change < clock_timestamp() - interval '1 s'"
    );
    until("the reader is idle for long", async || fixture.number(&idle).await == 1).await;
    while let Some(page) = pages.recv().await {
        read.push(page.unwrap());
    }
    assert_eq!(read.iter().map(|(_, rows)| rows.len()).sum::<usize>(), 9);
    // A write that stands still is ended all the same.
    let writer = writer_in_flight(&fixture).await;
    until("the writer is ended", async || writer.is_closed()).await;
}
