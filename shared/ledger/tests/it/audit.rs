//! The audit log: whoever changes, removes or reorders an entry past the program is found out, and
//! the first entry that is not as it was written is named.

use std::collections::BTreeSet;

use ledger::{AuditQuery, Records, RecordsError};
use protocol::api::AuditView;
use serde_json::json;

use crate::setup::{NOW, TestStore, audit_log, instance, on_each_store, rotation};

on_each_store!(
    entries_are_chained_and_verified,
    entries_are_read_as_few_as_are_wanted,
    a_changed_entry_is_named,
    a_removed_entry_is_named,
    entries_in_another_order_are_named,
    an_entry_added_by_hand_is_named,
    the_chain_never_forks,
    text_of_requests_is_taken_as_it_comes,
);

async fn append(records: &Records, number: u8, times: u64) -> Vec<AuditView> {
    let mut entries = Vec::new();
    for index in 0..times {
        let (actor, action) = (format!("actor {index}"), "rotation.commit".to_owned());
        let details = json!({ "text": "x", "number": index, "nested": { "b": 1, "a": [null] } });
        let at = NOW.plus_ms(index);
        entries.push(records.audit(instance(number), at, actor, action, details).await.unwrap());
    }
    entries
}

async fn entries_are_chained_and_verified(store: TestStore) {
    let records = store.open().await;
    assert_eq!(audit_log(&records, instance(1), 0).await.unwrap(), []);
    let written = append(&records, 1, 4).await;
    let of_other = append(&records, 2, 1).await;
    assert_eq!(written.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(written.iter().map(|entry| entry.hash).collect::<BTreeSet<_>>().len(), 4);
    assert_eq!(audit_log(&records, instance(1), 0).await.unwrap(), written);
    assert_eq!(audit_log(&records, instance(1), 2).await.unwrap(), written[2..]);
    assert_eq!(audit_log(&records, instance(1), 4).await.unwrap(), []);
    assert_eq!(audit_log(&records, instance(2), 0).await.unwrap(), of_other);
}

async fn entries_are_read_as_few_as_are_wanted(store: TestStore) {
    let (records, all) = (store.open().await, AuditQuery::default());
    let mut written = append(&records, 1, 4).await;
    for (number, text) in [(1, "a"), (2, "b"), (1, "c")] {
        let details = json!({ "rotation": rotation(number), "text": text });
        let action = "rotation.event".to_owned();
        let entry = records.audit(instance(1), NOW, "ann".to_owned(), action, details).await;
        written.push(entry.unwrap());
    }
    // It speaks of the rotation, and is not of it.
    let details = json!({ "text": rotation(1) });
    let entry = records.audit(instance(1), NOW, "bob".to_owned(), "note".to_owned(), details).await;
    written.push(entry.unwrap());

    let read = async |query| records.audit_entries(instance(1), query).await;
    assert_eq!(read(all).await.unwrap(), written);
    let page = AuditQuery { after: 1, limit: Some(3), ..all };
    assert_eq!(read(page).await.unwrap(), written[1..4]);
    assert_eq!(read(AuditQuery { limit: Some(0), ..all }).await.unwrap(), []);
    let of_one = AuditQuery { rotation: Some(rotation(1)), ..all };
    assert_eq!(read(of_one).await.unwrap(), [written[4].clone(), written[6].clone()]);
    let first = AuditQuery { limit: Some(1), after: 5, ..of_one };
    assert_eq!(read(first).await.unwrap(), written[6..7]);

    // All of the log is verified, what is not wanted too.
    for seq in [1, 8] {
        let change = format!("UPDATE coordinator_audit SET at = at + 1 WHERE seq = {seq}");
        store.sql(&change).await.unwrap();
        assert_eq!(read(page).await, Err(RecordsError::AuditBroken(seq)));
        store.sql(&change.replace("at + 1", "at - 1")).await.unwrap();
    }
}

/// Writes three entries, changes the log past the program, and says what reading it comes to.
async fn after(store: &TestStore, change: &str) -> RecordsError {
    let records = store.open().await;
    append(&records, 1, 3).await;
    store.sql(change).await.unwrap();
    let broken = audit_log(&records, instance(1), 0).await.unwrap_err();
    let partly = audit_log(&records, instance(1), 3).await.unwrap_err();
    assert_eq!(broken, partly, "verified from its beginning, whatever is asked for");
    store.sql("DELETE FROM coordinator_audit; DELETE FROM coordinator_audit_heads;").await.unwrap();
    broken
}

async fn a_changed_entry_is_named(store: TestStore) {
    for column in ["actor = 'mallory'", "action = 'nothing'", "details = '{}'", "at = at + 1"] {
        let change = format!("UPDATE coordinator_audit SET {column} WHERE seq = 2");
        assert_eq!(after(&store, &change).await, RecordsError::AuditBroken(2), "{column}");
    }
    let zeros = format!("'{}'", "00".repeat(32));
    for hash in [store.either("x'00'", r"'\x00'"), store.either("zeroblob(32)", "decode(")] {
        let hash = match hash {
            "decode(" => format!("decode({zeros}, 'hex')"),
            hash => hash.to_owned(),
        };
        let change = format!("UPDATE coordinator_audit SET hash = {hash} WHERE seq = 3");
        assert_eq!(after(&store, &change).await, RecordsError::AuditBroken(3), "{hash}");
    }
}

async fn a_removed_entry_is_named(store: TestStore) {
    for seq in 1..=3 {
        let change = format!("DELETE FROM coordinator_audit WHERE seq = {seq}");
        assert_eq!(after(&store, &change).await, RecordsError::AuditBroken(seq));
    }
    let all = after(&store, "DELETE FROM coordinator_audit").await;
    assert_eq!(all, RecordsError::AuditBroken(1));
}

async fn entries_in_another_order_are_named(store: TestStore) {
    let swap = "UPDATE coordinator_audit SET seq = 99 WHERE seq = 2;
        UPDATE coordinator_audit SET seq = 2 WHERE seq = 3;
        UPDATE coordinator_audit SET seq = 3 WHERE seq = 99;";
    assert_eq!(after(&store, swap).await, RecordsError::AuditBroken(2));
    let shift = "DELETE FROM coordinator_audit WHERE seq = 2;
        UPDATE coordinator_audit SET seq = 2 WHERE seq = 3;";
    assert_eq!(after(&store, shift).await, RecordsError::AuditBroken(2));
}

async fn an_entry_added_by_hand_is_named(store: TestStore) {
    let change = "INSERT INTO coordinator_audit SELECT instance, 4, at, actor, action, details,
        hash FROM coordinator_audit WHERE seq = 3";
    assert_eq!(after(&store, change).await, RecordsError::AuditBroken(4));
    let head = "UPDATE coordinator_audit_heads SET seq = 2";
    assert_eq!(after(&store, head).await, RecordsError::AuditBroken(3));
}

/// Two handles are two processes to the database: each append waits for the one before it.
async fn the_chain_never_forks(store: TestStore) {
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let records = store.open().await;
        tasks.push(tokio::spawn(async move { append(&records, 1, 15).await }));
    }
    let mut numbers = BTreeSet::new();
    for task in tasks {
        numbers.extend(task.await.unwrap().iter().map(|entry| entry.seq));
    }
    assert_eq!(numbers, (1..=60).collect());
    assert_eq!(audit_log(&store.open().await, instance(1), 0).await.unwrap().len(), 60);
}

/// A request on the queue is unsigned: no text in it may keep the log from being written.
async fn text_of_requests_is_taken_as_it_comes(store: TestStore) {
    let records = store.open().await;
    let actor = format!("queue request \0'; DROP TABLE x; -- {}", "\u{1f511}".repeat(9_000));
    let details = json!({ "text": "nul \0 and \u{7f}", "key\0": "\u{202e}" });
    let written = records
        .audit(instance(1), NOW, actor, "rotation.start".to_owned(), details.clone())
        .await
        .unwrap();
    assert_eq!(written.details, details);
    assert!(written.actor.starts_with("queue request \u{fffd}'; DROP"));
    assert_eq!(audit_log(&records, instance(1), 0).await.unwrap(), [written]);
}
