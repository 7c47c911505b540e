//! Receipts: saved with the end of their rotation or not at all, kept for ever, and each instance's
//! last one known.

use ledger::{Records, RecordsError};
use machines::receipt::receipt_hash;
use machines::rotation::record::{Record, Verdict};
use protocol::audit::Phase;
use protocol::receipt::{AuditHead, ManifestName, RotationReceipt, TYPE, VERSION};
use protocol::{Digest, InstanceId, Pattern, ProcessId, Signature};

use crate::setup::{NOW, TestStore, instance, on_each_store, process, record, rotation};

on_each_store!(
    a_receipt_is_saved_with_the_end_of_its_rotation,
    what_is_refused_leaves_no_receipt,
    what_is_not_written_leaves_no_receipt,
    the_end_of_the_audit_log_is_known,
);

fn ended(id: InstanceId, number: u8) -> Record {
    let mut ended = record(id, number);
    ended.finished_at = Some(NOW);
    ended
}

/// One that nobody would believe: the store does not judge.
fn receipt(of: &Record, previous: Option<Digest>) -> RotationReceipt {
    let (order, reference) = of.order().unwrap();
    RotationReceipt {
        kind: TYPE.to_owned(),
        version: VERSION,
        instance: order.instance,
        instance_name: "prod".to_owned(),
        rotation: order.rotation,
        purpose: order.purpose,
        order: of.signed_order.clone(),
        order_digest: reference.digest,
        manifest: ManifestName { serial: 1, digest: Digest([1; 32]) },
        from: order.from,
        to: Pattern([2; 32]),
        phases: vec![(Phase::Done, NOW)],
        finished_at: NOW,
        gate_closed_ms: None,
        key_versions: 0,
        units: Vec::new(),
        keystores: Vec::new(),
        audit: AuditHead { seq: 0, hash: Digest([0; 32]) },
        previous,
        note: "a sentence".to_owned(),
        coordinator: ProcessId::from_bytes([3; 16]),
        signature: Signature([4; 64]),
    }
}

async fn read(records: &Records, number: u8) -> Option<RotationReceipt> {
    let text = records.receipt(rotation(number)).await.unwrap()?;
    Some(RotationReceipt::read(text.as_bytes()).unwrap())
}

async fn a_receipt_is_saved_with_the_end_of_its_rotation(store: TestStore) {
    let records = store.open().await;
    let (one, two) = (instance(1), instance(2));
    assert_eq!(records.last_receipt(one).await.unwrap(), None);
    assert_eq!(read(&records, 9).await, None);
    // Ids begin with the time of a clock that may lie: the order is that of the saves.
    let mut last = None;
    for number in [9, 2] {
        let record = ended(one, number);
        let receipt = receipt(&record, last);
        records.save_with_receipt(one, &record, &receipt).await.unwrap();
        last = Some(receipt_hash(&receipt));
        assert_eq!(records.last_receipt(one).await.unwrap(), last);
        assert_eq!(read(&records, number).await, Some(receipt.clone()));
        assert_eq!(records.rotation(rotation(number)).await.unwrap(), Some(record.clone()));

        let mut another = receipt.clone();
        another.note = "another sentence".to_owned();
        records.save_with_receipt(one, &record, &another).await.unwrap();
        assert_eq!(read(&records, number).await, Some(receipt), "it keeps the first");
        assert_eq!(records.last_receipt(one).await.unwrap(), last);
    }
    let without = ended(two, 5);
    records.save(two, &without).await.unwrap();
    assert_eq!(read(&records, 5).await, None);
    assert_eq!(records.last_receipt(two).await.unwrap(), None);
    drop(records);
    let records = store.open().await;
    assert_eq!(records.last_receipt(one).await.unwrap(), last);
    assert!(read(&records, 9).await.is_some() && read(&records, 2).await.is_some());
}

async fn what_is_refused_leaves_no_receipt(store: TestStore) {
    let records = store.open().await;
    let one = instance(1);
    records.save(one, &record(one, 1)).await.unwrap();
    // Another rotation is open: this record is refused, and its receipt with it.
    let second = record(one, 2);
    let refused = records.save_with_receipt(one, &second, &receipt(&second, None)).await;
    assert_eq!(refused, Err(RecordsError::AnotherOpen));
    assert_eq!(read(&records, 2).await, None);
    let other = store.open().await;
    other.acquire(process(1), 60_000).await.unwrap();
    let first = ended(one, 1);
    let refused = records.save_with_receipt(one, &first, &receipt(&first, None)).await;
    assert!(matches!(refused, Err(RecordsError::Fenced { .. })), "{refused:?}");
    assert_eq!(read(&records, 1).await, None);
    assert_eq!(records.last_receipt(one).await.unwrap(), None);
    other.save_with_receipt(one, &first, &receipt(&first, None)).await.unwrap();
    assert!(read(&records, 1).await.is_some());
}

/// What has ended stays as it ended, and gets no receipt of another end.
async fn what_is_not_written_leaves_no_receipt(store: TestStore) {
    let records = store.open().await;
    let one = instance(1);
    let well = Record { verdict: Verdict::Decided, ..ended(one, 1) };
    let because = "asked".to_owned();
    let aborted = Record { verdict: Verdict::Aborted { because }, ..well.clone() };
    records.save(one, &aborted).await.unwrap();
    records.save_with_receipt(one, &well, &receipt(&well, None)).await.unwrap();
    assert_eq!(records.rotation(rotation(1)).await.unwrap(), Some(aborted));
    assert_eq!((read(&records, 1).await, records.last_receipt(one).await.unwrap()), (None, None));
}

async fn the_end_of_the_audit_log_is_known(store: TestStore) {
    let records = store.open().await;
    let one = instance(1);
    let empty = AuditHead { seq: 0, hash: Digest([0; 32]) };
    assert_eq!(records.audit_head(one).await.unwrap(), empty);
    for seq in 1..=2 {
        let details = serde_json::json!({});
        let entry =
            records.audit(one, NOW, "ann".to_owned(), "a".to_owned(), details).await.unwrap();
        let head = records.audit_head(one).await.unwrap();
        assert_eq!((head.seq, head.hash), (seq, entry.hash));
    }
    assert_eq!(records.audit_head(instance(2)).await.unwrap(), empty);
}
