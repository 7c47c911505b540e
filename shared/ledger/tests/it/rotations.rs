//! Records and documents: what was saved is read, and the rules that nobody may break hold in the
//! database itself, whatever a program asks of it.

use ledger::RecordsError;
use machines::rotation::record::Verdict;
use protocol::manifest::SignedManifest;
use protocol::order::SignedStandingOrder;

use crate::setup::{NOW, TestStore, audit_log, instance, on_each_store, record, rotation};

on_each_store!(
    records_are_saved_and_listed,
    the_unfinished_one_is_found_by_its_state,
    a_verdict_is_never_taken_back,
    administrators_turn_a_verdict_by_a_newer_manifest,
    a_record_of_before_is_read,
    decided_and_aborted_exclude_each_other_in_the_database,
    one_rotation_of_an_instance_is_open,
    documents_are_kept_for_each_instance,
    all_is_there_after_opening_again,
    what_cannot_be_read_is_named,
);

fn aborted() -> Verdict {
    Verdict::Aborted { because: "a unit was silent".to_owned() }
}

async fn records_are_saved_and_listed(store: TestStore) {
    let records = store.open().await;
    let (one, two) = (instance(1), instance(2));
    assert_eq!(records.list(one, 10).await.unwrap(), []);
    assert_eq!(records.unfinished(one).await.unwrap(), None);
    let mut saved = Vec::new();
    for number in 1..=3 {
        let mut ended = record(one, number);
        ended.finished_at = Some(NOW.plus_ms(u64::from(number)));
        records.save(one, &ended).await.unwrap();
        saved.insert(0, ended);
    }
    let of_other = record(two, 4);
    records.save(two, &of_other).await.unwrap();
    assert_eq!(records.list(one, 10).await.unwrap(), saved);
    assert_eq!(records.list(one, 2).await.unwrap(), saved[..2]);
    assert_eq!(records.unfinished(one).await.unwrap(), None);
    assert_eq!(records.unfinished(two).await.unwrap(), Some(of_other.clone()));
    assert_eq!(records.rotation(rotation(4)).await.unwrap(), Some(of_other));
    assert_eq!(records.rotation(rotation(9)).await.unwrap(), None);

    let mut changed = saved[0].clone();
    changed.keys = (3_000, 3_000);
    records.save(one, &changed).await.unwrap();
    assert_eq!(records.list(one, 1).await.unwrap(), [changed], "a save replaces the record");
}

/// Ids of rotations begin with the time of the coordinator that made them, and its clock may lie.
async fn the_unfinished_one_is_found_by_its_state(store: TestStore) {
    let records = store.open().await;
    let one = instance(1);
    let mut ended = record(one, 9);
    ended.finished_at = Some(NOW);
    records.save(one, &ended).await.unwrap();
    let running = record(one, 2);
    records.save(one, &running).await.unwrap();
    assert_eq!(records.unfinished(one).await.unwrap(), Some(running));
}

async fn a_verdict_is_never_taken_back(store: TestStore) {
    let records = store.open().await;
    for (number, verdict, others) in [
        (1, Verdict::Decided, [Verdict::Open, aborted()]),
        (2, aborted(), [Verdict::Open, Verdict::Decided]),
    ] {
        let id = instance(number);
        let open = record(id, number);
        records.save(id, &open).await.unwrap();
        let mut final_one = open.clone();
        final_one.verdict = verdict.clone();
        records.save(id, &final_one).await.unwrap();
        for other in others {
            let mut changed = final_one.clone();
            changed.verdict = other.clone();
            let refused = records.save(id, &changed).await;
            assert_eq!(refused, Err(RecordsError::VerdictStands), "{verdict:?} to {other:?}");
            assert_eq!(records.unfinished(id).await.unwrap(), Some(final_one.clone()));
        }
        final_one.finished_at = Some(NOW);
        records.save(id, &final_one).await.unwrap();
    }
}

/// An amendment that removes one side of a mixed end may turn what the record had come to: to the
/// other verdict, under a newer manifest, while the rotation runs; nothing else.
async fn administrators_turn_a_verdict_by_a_newer_manifest(store: TestStore) {
    let records = store.open().await;
    for (number, verdict, other) in
        [(1, Verdict::Decided, aborted()), (2, aborted(), Verdict::Decided)]
    {
        let id = instance(number);
        let with = |verdict: &Verdict, under: Option<u64>| {
            let mut record = record(id, number);
            (record.verdict, record.verdict_under) = (verdict.clone(), under);
            record
        };
        let reached = with(&verdict, Some(2));
        records.save(id, &reached).await.unwrap();
        for (refused, why) in [
            (with(&other, Some(2)), "under the same manifest"),
            (with(&other, Some(1)), "under an older one"),
            (with(&other, None), "under none"),
            (with(&Verdict::Open, Some(3)), "to no verdict"),
        ] {
            let found = records.save(id, &refused).await;
            assert_eq!(found, Err(RecordsError::VerdictStands), "{verdict:?}: {why}");
            assert_eq!(records.unfinished(id).await.unwrap(), Some(reached.clone()));
        }
        // A rotation that is opened once more reaches the same verdict under another manifest; the
        // highest counts.
        records.save(id, &with(&verdict, Some(1))).await.unwrap();
        let found = records.save(id, &with(&other, Some(2))).await;
        assert_eq!(found, Err(RecordsError::VerdictStands), "{verdict:?}: it was reached under 2");
        let mut turned = with(&other, Some(3));
        turned.finished_at = Some(NOW);
        records.save(id, &turned).await.unwrap();
        assert_eq!(records.rotation(rotation(number)).await.unwrap(), Some(turned.clone()));
        records.save(id, &with(&verdict, Some(4))).await.unwrap();
        let found = records.rotation(rotation(number)).await.unwrap();
        assert_eq!(found, Some(turned), "after its end it is not written");
        records.save(id, &with(&other, Some(4))).await.unwrap();
    }
}

/// The program before this one knew nothing of the last field.
async fn a_record_of_before_is_read(store: TestStore) {
    let records = store.open().await;
    let saved = record(instance(1), 1);
    records.save(instance(1), &saved).await.unwrap();
    let shorter = store.either(
        "UPDATE coordinator_rotations SET record = substr(record, 1, length(record) - 1)",
        "UPDATE coordinator_rotations SET record = substring(record FROM 1 FOR length(record) - 1)",
    );
    store.sql(shorter).await.unwrap();
    assert_eq!(records.unfinished(instance(1)).await.unwrap(), Some(saved));
}

async fn decided_and_aborted_exclude_each_other_in_the_database(store: TestStore) {
    let records = store.open().await;
    let mut decided = record(instance(1), 1);
    decided.verdict = Verdict::Decided;
    records.save(instance(1), &decided).await.unwrap();
    let is = store.either("1", "TRUE");
    let refused = store.sql(&format!("UPDATE coordinator_rotations SET is_aborted = {is}")).await;
    let text = refused.unwrap_err();
    assert!(text.to_lowercase().contains("check constraint"), "{text}");
    let not = store.either("0", "FALSE");
    let refused = store.sql(&format!("UPDATE coordinator_rotations SET is_decided = {not}")).await;
    assert_eq!(refused.unwrap_err(), "a verdict is never taken back");
}

async fn one_rotation_of_an_instance_is_open(store: TestStore) {
    let records = store.open().await;
    let (one, two) = (instance(1), instance(2));
    let mut first = record(one, 1);
    records.save(one, &first).await.unwrap();
    records.save(two, &record(two, 2)).await.unwrap();
    let second = record(one, 3);
    assert_eq!(records.save(one, &second).await, Err(RecordsError::AnotherOpen));
    assert_eq!(records.list(one, 10).await.unwrap(), [first.clone()]);
    first.finished_at = Some(NOW);
    records.save(one, &first).await.unwrap();
    records.save(one, &second).await.unwrap();
    assert_eq!(records.unfinished(one).await.unwrap(), Some(second));
}

fn chain(length: u8) -> Vec<SignedManifest> {
    (0..length).map(|n| SignedManifest { bytes: vec![n; 40], signatures: Vec::new() }).collect()
}

async fn documents_are_kept_for_each_instance(store: TestStore) {
    let records = store.open().await;
    let (one, two) = (instance(1), instance(2));
    assert_eq!(records.manifests(one).await.unwrap(), []);
    assert_eq!(records.standing(one).await.unwrap(), None);
    let standing = SignedStandingOrder { bytes: vec![7; 9], signatures: Vec::new() };
    let (name, other_name) = ("prod".to_owned(), "dev\0".to_owned());
    records.save_documents(one, name.clone(), chain(1), Some(standing.clone())).await.unwrap();
    records.save_documents(one, name.clone(), chain(2), None).await.unwrap();
    records.save_documents(two, other_name, chain(3), None).await.unwrap();
    assert_eq!(records.manifests(one).await.unwrap(), chain(2));
    assert_eq!(records.standing(one).await.unwrap(), Some(standing), "it stays");
    assert_eq!(records.manifests(two).await.unwrap(), chain(3));
    assert_eq!(records.standing(two).await.unwrap(), None);
    let known = vec![(two, "dev\u{fffd}".to_owned()), (one, name)];
    assert_eq!(records.instances().await.unwrap(), known);
}

async fn all_is_there_after_opening_again(store: TestStore) {
    let one = instance(1);
    let saved = record(one, 1);
    let records = store.open().await;
    records.save(one, &saved).await.unwrap();
    records.save_documents(one, "prod".to_owned(), chain(2), None).await.unwrap();
    records.remember("r-1".to_owned(), NOW, "taken".to_owned()).await.unwrap();
    let entry = records
        .audit(one, NOW, "ann".to_owned(), "rotation.start".to_owned(), serde_json::json!({}))
        .await
        .unwrap();
    drop(records);

    let records = store.open().await;
    assert_eq!(records.unfinished(one).await.unwrap(), Some(saved));
    assert_eq!(records.manifests(one).await.unwrap(), chain(2));
    assert_eq!(records.answered("r-1".to_owned()).await.unwrap(), Some("taken".to_owned()));
    assert_eq!(audit_log(&records, one, 0).await.unwrap(), [entry]);
}

async fn what_cannot_be_read_is_named(store: TestStore) {
    let records = store.open().await;
    records.save(instance(1), &record(instance(1), 1)).await.unwrap();
    let torn = store.either("x'0102'", r"'\x0102'");
    store.sql(&format!("UPDATE coordinator_rotations SET record = {torn}")).await.unwrap();
    let refused = records.unfinished(instance(1)).await.unwrap_err();
    assert!(matches!(refused, RecordsError::Malformed { what: "record", .. }), "{refused}");
}
