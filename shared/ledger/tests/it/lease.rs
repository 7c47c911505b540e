//! The lease: one coordinator writes, and one that has lost it changes nothing, whatever it still
//! believes.

use std::time::Duration;

use ledger::{Acquired, Records, RecordsError};
use machines::rotation::record::Verdict;
use serde_json::json;

use crate::setup::{
    NOW, TestStore, audit_log, instance, on_each_store, process, record, rotation, until,
};

on_each_store!(
    a_second_holder_waits_for_the_end,
    a_fenced_writer_changes_nothing,
    renewing_extends_the_lease,
    a_lease_that_is_over_is_its_holders_until_it_is_taken,
    a_process_that_starts_again_takes_its_own_lease,
    a_released_lease_is_taken_at_once,
    without_a_lease_nothing_is_written_beside_a_holder,
    one_of_many_takes_it,
    a_number_that_comes_back_after_a_restore_is_not_the_same_lease,
    a_lease_lasts_no_longer_than_the_longest,
);

const LONG_MS: u64 = 60_000;

async fn acquire(records: &Records, who: u8) -> u64 {
    match records.acquire(process(who), LONG_MS).await.unwrap() {
        Acquired::Ours(number) => number,
        theirs @ Acquired::Theirs { .. } => panic!("{theirs:?}"),
    }
}

/// Real time, with a lease so short that its end can be waited for.
async fn a_second_holder_waits_for_the_end(store: TestStore) {
    let (first, second) = (store.open().await, store.open().await);
    assert_eq!(first.acquire(process(1), 700).await.unwrap(), Acquired::Ours(1));
    let began = std::time::Instant::now();
    match second.acquire(process(2), LONG_MS).await.unwrap() {
        Acquired::Theirs { holder, remaining_ms } => {
            assert_eq!(holder, process(1));
            assert!((1..=700).contains(&remaining_ms), "{remaining_ms}");
        }
        Acquired::Ours(number) => panic!("took lease {number} of somebody else"),
    }
    let number = until("the second holder takes it", || async {
        match second.acquire(process(2), LONG_MS).await.unwrap() {
            Acquired::Ours(number) => Some(number),
            Acquired::Theirs { .. } => None,
        }
    })
    .await;
    assert_eq!(number, 2);
    assert!(began.elapsed() > Duration::from_millis(500), "not before the first one's end");
}

async fn a_fenced_writer_changes_nothing(store: TestStore) {
    let (old, new) = (store.open().await, store.open().await);
    let id = instance(1);
    assert_eq!(acquire(&old, 1).await, 1);
    let saved = record(id, 1);
    old.save(id, &saved).await.unwrap();
    old.save_documents(id, "prod".to_owned(), Vec::new(), None).await.unwrap();
    store.let_lease_expire().await;
    assert_eq!(acquire(&new, 2).await, 2);

    let fenced = RecordsError::Fenced { ours: Some(1), newest: 2, holder: Some(process(2)) };
    let mut decided = saved.clone();
    decided.verdict = Verdict::Decided;
    // A clone is the same handle: the people's side of a coordinator has one.
    for handle in [&old, &old.clone()] {
        assert_eq!(handle.save(id, &decided).await, Err(fenced.clone()));
        let documents = handle.save_documents(id, "other".to_owned(), Vec::new(), None).await;
        assert_eq!(documents, Err(fenced.clone()));
        let entry = handle.audit(id, NOW, "old".to_owned(), "x".to_owned(), json!({})).await;
        assert_eq!(entry, Err(fenced.clone()));
        let remembered = handle.remember("r".to_owned(), NOW, "taken".to_owned()).await;
        assert_eq!(remembered, Err(fenced.clone()));
        assert_eq!(handle.renew().await, Err(fenced.clone()));
        // Giving up what it has not takes nothing from the one that has it.
        handle.release().await.unwrap();
    }
    let text = fenced.to_string();
    assert!(text.contains("lease 1 is over") && text.contains("holds lease 2"), "{text}");

    assert_eq!(new.rotation(rotation(1)).await.unwrap(), Some(saved));
    assert_eq!(new.instances().await.unwrap(), [(id, "prod".to_owned())]);
    assert_eq!(audit_log(&new, id, 0).await.unwrap(), []);
    assert_eq!(new.answered("r".to_owned()).await.unwrap(), None);
    new.save(id, &decided).await.unwrap();

    // Taken anew, it writes again, and then the other one is the old one.
    store.let_lease_expire().await;
    assert_eq!(acquire(&old, 1).await, 3);
    decided.finished_at = Some(NOW);
    old.save(id, &decided).await.unwrap();
    let refused = new.save(id, &decided).await;
    let fenced = RecordsError::Fenced { ours: Some(2), newest: 3, holder: Some(process(1)) };
    assert_eq!(refused, Err(fenced));
}

async fn renewing_extends_the_lease(store: TestStore) {
    let (first, second) = (store.open().await, store.open().await);
    let none = RecordsError::Fenced { ours: None, newest: 0, holder: None };
    assert_eq!(first.renew().await, Err(none), "there is nothing to renew yet");
    acquire(&first, 1).await;
    let nearly_over = store.either(
        "CAST(unixepoch('subsec') * 1000 AS INTEGER) + 5000",
        "clock_timestamp() + INTERVAL '5 seconds'",
    );
    let change = format!("UPDATE coordinator_lease SET expires_at = {nearly_over}");
    store.sql(&change).await.unwrap();
    assert!(remaining(&second).await <= 5_000);
    first.renew().await.unwrap();
    let left = remaining(&second).await;
    assert!((50_000..=LONG_MS).contains(&left), "{left}");
    first.save(instance(1), &record(instance(1), 1)).await.unwrap();
}

/// For how long the first process holds the lease, as another one is told.
async fn remaining(other: &Records) -> u64 {
    match other.acquire(process(2), LONG_MS).await.unwrap() {
        Acquired::Theirs { holder, remaining_ms } if holder == process(1) => remaining_ms,
        got => panic!("{got:?}"),
    }
}

async fn a_lease_that_is_over_is_its_holders_until_it_is_taken(store: TestStore) {
    let (first, second) = (store.open().await, store.open().await);
    acquire(&first, 1).await;
    store.let_lease_expire().await;
    first.save(instance(1), &record(instance(1), 1)).await.unwrap();
    first.renew().await.unwrap();
    assert!(remaining(&second).await > 0);
}

async fn a_process_that_starts_again_takes_its_own_lease(store: TestStore) {
    let killed = store.open().await;
    assert_eq!(acquire(&killed, 1).await, 1);
    let started_again = store.open().await;
    assert_eq!(acquire(&started_again, 1).await, 2);
    let refused = killed.save(instance(1), &record(instance(1), 1)).await;
    let fenced = RecordsError::Fenced { ours: Some(1), newest: 2, holder: Some(process(1)) };
    assert_eq!(refused, Err(fenced));
    started_again.save(instance(1), &record(instance(1), 1)).await.unwrap();
}

async fn a_released_lease_is_taken_at_once(store: TestStore) {
    let (first, second) = (store.open().await, store.open().await);
    first.release().await.unwrap();
    acquire(&first, 1).await;
    first.release().await.unwrap();
    let refused = first.save(instance(1), &record(instance(1), 1)).await;
    let fenced = RecordsError::Fenced { ours: Some(1), newest: 1, holder: None };
    assert_eq!(refused, Err(fenced), "what comes late after the release is refused");
    assert_eq!(acquire(&second, 2).await, 2);
    assert_eq!(first.list(instance(1), 9).await.unwrap(), []);
}

async fn without_a_lease_nothing_is_written_beside_a_holder(store: TestStore) {
    let (holder, tool) = (store.open().await, store.open().await);
    let id = instance(1);
    tool.save(id, &record(id, 1)).await.unwrap();
    acquire(&holder, 1).await;
    let mut ended = record(id, 1);
    ended.finished_at = Some(NOW);
    let fenced = RecordsError::Fenced { ours: None, newest: 1, holder: Some(process(1)) };
    assert_eq!(tool.save(id, &ended).await, Err(fenced));
    assert_eq!(tool.unfinished(id).await.unwrap(), Some(record(id, 1)), "reading is free");
    store.let_lease_expire().await;
    tool.save(id, &ended).await.unwrap();
}

async fn one_of_many_takes_it(store: TestStore) {
    let mut tasks = Vec::new();
    for who in 1..=6 {
        let records = store.open().await;
        tasks.push(tokio::spawn(
            async move { records.acquire(process(who), LONG_MS).await.unwrap() },
        ));
    }
    let mut taken = Vec::new();
    for task in tasks {
        taken.push(task.await.unwrap());
    }
    let ours = taken.iter().filter(|got| matches!(got, Acquired::Ours(1))).count();
    let theirs = taken.iter().filter(|got| matches!(got, Acquired::Theirs { .. })).count();
    assert_eq!((ours, theirs), (1, 5), "{taken:?}");
}

async fn a_number_that_comes_back_after_a_restore_is_not_the_same_lease(store: TestStore) {
    let (first, second) = (store.open().await, store.open().await);
    assert_eq!(acquire(&first, 1).await, 1);
    store.sql("UPDATE coordinator_lease SET number = 0, holder = NULL").await.unwrap();
    assert_eq!(acquire(&second, 2).await, 1);
    let refused = first.save(instance(1), &record(instance(1), 1)).await;
    let fenced = RecordsError::Fenced { ours: Some(1), newest: 1, holder: Some(process(2)) };
    assert_eq!(refused, Err(fenced));
}

async fn a_lease_lasts_no_longer_than_the_longest(store: TestStore) {
    let (first, second) = (store.open().await, store.open().await);
    assert_eq!(first.acquire(process(1), u64::MAX).await.unwrap(), Acquired::Ours(1));
    assert!(remaining(&second).await <= ledger::records::MAX_LEASE_MS);
}

/// A write that has passed the check is finished before anybody else has the lease: whoever takes
/// it reads all that the one before has saved. A lock that the test holds stops the write midway.
#[tokio::test]
async fn the_lease_is_not_given_away_in_the_midst_of_a_write() {
    let Some(store) = TestStore::postgres().await else { return };
    let TestStore::Postgres { url, schema } = store.clone() else { unreachable!() };
    let waiting = format!(
        "SELECT COUNT(*) FROM pg_stat_activity
         WHERE wait_event_type = 'Lock' AND application_name = '{schema}'"
    );
    let (first, second) = (store.open().await, store.open().await);
    acquire(&first, 1).await;
    let id = instance(1);
    let mut saved = record(id, 1);
    first.save(id, &saved).await.unwrap();
    store.let_lease_expire().await;

    let (test, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    test.batch_execute("BEGIN; SELECT 1 FROM coordinator_rotations FOR UPDATE").await.unwrap();
    saved.verdict = Verdict::Decided;
    let to_save = saved.clone();
    let save = tokio::spawn(async move { first.save(id, &to_save).await });
    let is = async |count| (store.count(&waiting).await == count).then_some(());
    until("the write waits", || is(1)).await;
    let taker = second.clone();
    let take = tokio::spawn(async move { taker.acquire(process(2), LONG_MS).await });
    until("whoever takes the lease waits too", || async {
        assert!(!take.is_finished(), "taken in the midst of a write");
        is(2).await
    })
    .await;
    test.batch_execute("ROLLBACK").await.unwrap();
    save.await.unwrap().unwrap();
    assert_eq!(take.await.unwrap().unwrap(), Acquired::Ours(2));
    assert_eq!(second.unfinished(id).await.unwrap(), Some(saved));
    store.remove().await;
}
