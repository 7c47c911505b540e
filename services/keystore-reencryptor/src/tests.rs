//! What a reencryptor does where another one, or another coordinator, is at work beside it: over a real
//! keystore, and a bus on which a test answers for the units.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Delivery, MemoryBus, QueueSpec};
use crypto::identity::{self, Identity};
use crypto::random::process_rng;
use keystore::{
    KeyMeta, KeyState, Keystore, NewBlob, NewChunk, NewKey, SqliteKeystore, WrittenChunk,
};
use ledger::Folder;
use machines::gate::{AbortRequest, GateRefusal, OpenRequest};
use machines::rewrap::{KeystoreRefusal, chunk_digest};
use machines::trust::Trust;
use protocol::envelope::{Envelope, Header, Kind, Recipient};
use protocol::keystore::{GateMode, KeystoreRow, KeystoreStanding};
use protocol::order::{Order, OrderRef, Purpose};
use protocol::page::{ChunkRange, PageAnswer, UnopenedRow};
use protocol::{
    Digest, Epoch, GenerationId, InstanceId, KeyId, KeystoreId, MessageId, OrderNumber, Pattern,
    ProcessId, Role, RotationId, Rows, UnixMillis, VersionId, topology,
};
use service::Status;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::job::{Asker, Job, JobAnswer, JobEvent};
use crate::{Reencryptor, ReencryptorConfig};

/// How long something has that must happen.
const SOON: Duration = Duration::from_secs(10);
const INSTANCE: InstanceId = InstanceId::from_bytes([1; 16]);

/// A reencryptor whose keystore has been initialised by order 1.
struct Fixture {
    reencryptor: Reencryptor,
    events: mpsc::Receiver<JobEvent>,
    folder: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let store = SqliteKeystore::open(&path.join("keystore.db")).await.unwrap();
        let own = Folder::open(&path.join("own"), None, &mut process_rng()).unwrap();
        let bus = Bus::Memory(MemoryBus::default());
        let pages = QueueSpec::transient(topology::page_address(INSTANCE));
        bus.declare(&[pages]).await.unwrap();
        let identity = Arc::new(Identity::generate(&mut process_rng()));
        let (sender, events) = mpsc::channel(64);
        let reencryptor = Reencryptor {
            config: ReencryptorConfig {
                name: "reencryptor".to_owned(),
                location: "[test]".to_owned(),
                instance_name: "test".to_owned(),
                pinned_administrators: Vec::new(),
                rows_per_page: 100,
                pages_in_flight: 2,
                keys_per_second_max: None,
                cross_check_every: 16,
            },
            id: identity::process_id(&identity.public_key()),
            identity,
            instance: INSTANCE,
            folder: own,
            store: Keystore::from(store),
            bus,
            trust: Arc::new(Trust::imprint(INSTANCE)),
            rng: process_rng(),
            last_clock: UnixMillis(0),
            job: None,
            check: None,
            meanwhile: None,
            receipts: None,
            events: sender,
            status: Status::default(),
        };
        let fixture = Self { reencryptor, events, folder };
        fixture.store().ensure(INSTANCE, KeystoreId::from_bytes([2; 16])).await.unwrap();
        fixture.switch(1).await;
        fixture
    }

    fn store(&self) -> &Keystore {
        &self.reencryptor.store
    }

    async fn row(&self) -> KeystoreRow {
        self.store().saved_row(INSTANCE).await.unwrap().unwrap()
    }

    async fn open(&self, n: u8) -> KeystoreRow {
        let from = self.row().await.active.map(|active| active.pattern);
        let (order, epoch) = (order(n), epoch(n));
        let (to, generation) = (Pattern([n; 32]), GenerationId::from_bytes([n; 16]));
        let request = OpenRequest { order, epoch, from, to, generation, mode: GateMode::Online };
        self.store().open_generation(INSTANCE, request).await.unwrap()
    }

    /// Up to the flip of a keystore without keys, which nobody has read back.
    async fn switch(&self, n: u8) {
        let open = self.open(n).await.open.unwrap();
        let written = WrittenChunk {
            count: 0,
            quarantined_count: 0,
            new_digest: chunk_digest(&Rows::default()),
            receipt: Vec::new(),
        };
        let (range, rows, quarantined) = (ChunkRange::WHOLE, Rows::default(), Vec::new());
        let chunk = NewChunk { range, written, rows, quarantined };
        self.store().write_chunks(INSTANCE, &open, vec![chunk]).await.unwrap();
        self.store().complete(INSTANCE, order(n), open.id).await.unwrap();
        self.store().flip(INSTANCE, order(n), epoch(n)).await.unwrap();
    }

    async fn mark_flipped(&self, n: u8) {
        self.store().mark_flipped(INSTANCE, order(n), Digest([9; 32])).await.unwrap();
    }

    async fn create(&self) {
        let active = self.row().await.active.unwrap();
        let meta = KeyMeta {
            key: KeyId::from_bytes([4; 16]),
            version: VersionId::from_bytes([5; 16]),
            name: "key".to_owned(),
            attributes: 5,
            state: KeyState::Active,
            created_at: UnixMillis(1),
            created_by: "tester".to_owned(),
            deleted_at: None,
        };
        let blob = [&[1, 1][..], &active.pattern.0, &[7; 60]].concat();
        let blobs = vec![NewBlob { generation: active.id, blob }];
        let key = NewKey { meta, blobs };
        self.store().create(INSTANCE, vec![key]).await.unwrap();
    }

    /// Order 2 is open, and a job waits for a unit that has its only page. Whose header it has.
    async fn with_job(&mut self) -> Header {
        self.mark_flipped(1).await;
        self.create().await;
        let row = self.open(2).await;
        let header = header(1, epoch(2));
        let asker = Asker::new(header.clone());
        let setting = self.reencryptor.job_setting(order(2), &order_text(), asker, None, false);
        self.reencryptor.job = Some(Job::start(setting, row));
        header
    }

    fn job(&self) -> Option<&Job> {
        self.reencryptor.job.as_ref().filter(|job| job.is_of(&order(2)))
    }

    /// The id of the page that the job has sent.
    async fn page(&self) -> MessageId {
        let queue = topology::page_address(INSTANCE).queue;
        let mut consumer = self.reencryptor.bus.consume(&queue, 1).await.unwrap();
        let page = tokio::time::timeout(SOON, consumer.receive()).await.unwrap().unwrap();
        let id = Envelope::parse(&Delivery::received(&page).body).unwrap().header.id;
        page.ack().await;
        id
    }
}

fn order(n: u8) -> OrderRef {
    OrderRef {
        rotation: RotationId::from_bytes([n; 16]),
        number: OrderNumber { manifest_serial: 1, number: u64::from(n) },
        digest: Digest([n; 32]),
    }
}

fn epoch(n: u8) -> Epoch {
    Epoch { manifest_serial: 1, number: u64::from(n) * 10 }
}

/// What a job reads of its order.
fn order_text() -> Order {
    Order {
        instance: INSTANCE,
        rotation: order(2).rotation,
        number: order(2).number,
        purpose: Purpose::Rotate,
        from: Some(Pattern([1; 32])),
        generator: ProcessId::from_bytes([6; 16]),
        joining: Vec::new(),
        quarantined: Vec::new(),
        mode: GateMode::Online,
        hold_after_commit_s: 0,
        hold_before_clear_s: 0,
        issued_at: UnixMillis(0),
        expires_at: UnixMillis(1),
    }
}

/// Of a command that this coordinator has sent.
fn header(coordinator: u8, epoch: Epoch) -> Header {
    Header {
        id: MessageId::from_bytes([coordinator; 16]),
        in_answer_to: None,
        instance: INSTANCE,
        sender: ProcessId::from_bytes([coordinator; 16]),
        sender_key: Identity::generate(&mut process_rng()).public_key(),
        recipient: Recipient::Role(Role::Reencryptor),
        manifest_serial: 1,
        rotation: Some(order(2).rotation),
        epoch,
        kind: Kind::KeystoreCommand,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_back_that_another_reencryptor_has_ended_refuses_nothing() {
    let fixture = Fixture::new().await;
    let active = fixture.row().await.active.unwrap();
    let read = fixture.reencryptor.read_back(order(1), &active).await.unwrap();
    assert!(read.is_some());
    // What is created from *flipped* on is in no chunk's digest.
    fixture.mark_flipped(1).await;
    fixture.create().await;
    assert_eq!(fixture.reencryptor.read_back(order(1), &active).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_no_unit_has_signed_are_not_read_back() {
    let fixture = Fixture::new().await;
    let active = fixture.row().await.active.unwrap();
    fixture.create().await;
    fixture.reencryptor.read_back(order(1), &active).await.unwrap();
    // As if it had been there before.
    let path = fixture.folder.path().join("keystore.db");
    let table = format!("wrapped_{}_1", INSTANCE.uuid().simple());
    let changed = rusqlite::Connection::open(path)
        .unwrap()
        .execute(&format!("UPDATE {table} SET born = 0"), [])
        .unwrap();
    assert_eq!(changed, 1);
    let refused = fixture.reencryptor.read_back(order(1), &active).await;
    assert!(matches!(refused, Err(KeystoreRefusal::ReadBack(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_that_is_refused_leaves_the_job_at_work() {
    let mut fixture = Fixture::new().await;
    fixture.with_job().await;
    let request = |epoch| AbortRequest {
        order: order(2),
        epoch,
        from_to: (None, Pattern([0; 32])),
        is_taken: true,
    };
    let refused = fixture.reencryptor.abort(request(epoch(1))).await;
    let is_stale = matches!(refused, Err(KeystoreRefusal::Gate(GateRefusal::StaleEpoch { .. })));
    assert!(is_stale && fixture.job().is_some(), "{refused:?}");
    fixture.reencryptor.abort(request(epoch(3))).await.unwrap();
    assert!(fixture.reencryptor.job.is_none());
    let taken = fixture.row().await.rotation.unwrap();
    assert_eq!(taken.standing, KeystoreStanding::Aborted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_end_is_told_to_the_coordinator_that_asked_last() {
    let mut fixture = Fixture::new().await;
    let first = fixture.with_job().await;
    let page = fixture.page().await;
    let job = fixture.job().unwrap();
    let next = header(2, epoch(3));
    job.heed(&next);
    // One that is behind, and one that has no epoch of its own.
    job.heed(&first);
    job.heed(&header(3, epoch(3)));
    assert!(job.is_for(&order(2), epoch(3)));
    let unopened = UnopenedRow {
        version: VersionId::from_bytes([5; 16]),
        key: KeyId::from_bytes([4; 16]),
        reason: "it does not open".to_owned(),
    };
    let answer = JobAnswer::Page(PageAnswer::Unopened(vec![unopened]));
    job.take_answer(page, ProcessId::from_bytes([8; 16]), answer).await;
    let told = tokio::time::timeout(SOON, fixture.events.recv()).await.unwrap().unwrap();
    let JobEvent::Ended(header, refusal) = told else { panic!("not ended: {told:?}") };
    assert!(matches!(refusal, Some(KeystoreRefusal::Unopened { .. })), "{refusal:?}");
    assert_eq!((header.id, header.sender), (next.id, next.sender));
}
