//! Goal: a unit re-wraps pages of the order that it has taken and of no other, and the reencryptor
//! believes an answer only for the very rows that it has asked for. Method: a genuine page, answer
//! and receipt, with one thing changed.

use crypto::blob;
use crypto::domain;
use crypto::identity::Identity;
use machines::rewrap::{PageFault, judge_answer};
use machines::unit::keyring::Keyring;
use machines::unit::page::{binding, rewrap};
use protocol::codec;
use protocol::order::Purpose;
use protocol::page::{ChunkRange, ChunkReceipt, PageAnswer, RewrapPage, SignedReceipt, WrappedRow};
use protocol::{Blobs, Digest, GenerationId, InstanceId, KeyId, Pattern, RowRef, Rows, VersionId};

use crate::world::{
    OP_1, OP_2, REC_1, Run, World, coordinator, id_of, identity, stranger, unit_id,
};

/// Of an AES root key.
const ATTRIBUTES: u8 = 0x11;
/// Between header and tag of a blob.
const IN_BLOB: usize = 60;

/// What is changed, and with which words that is refused.
type Change<T> = (&'static str, fn(&mut T), &'static str);
type RowChange = fn(&mut [WrappedRow]);

/// All units are committed, and a page of three rows is to be re-wrapped.
struct Stage {
    world: World,
    run: Run,
    page: RewrapPage,
}

impl Stage {
    fn new() -> Self {
        let mut world = World::initialised();
        let run = world.committed(Purpose::Rotate, 2);
        let from = run.order.from.unwrap();
        let keyring = world.units[OP_1].keyring(&Keyring::default());
        let rows: Vec<_> = (1..4_u8)
            .map(|number| {
                let (version, key) = ([number; 16], [number + 10; 16]);
                let (version, key) = (VersionId::from_bytes(version), KeyId::from_bytes(key));
                let mut row = WrappedRow { version, key, attributes: ATTRIBUTES, blob: Vec::new() };
                let bound = binding(world.instance, row.as_ref());
                let keys = keyring.keys(from).unwrap();
                row.blob = blob::seal_blob(keys, &bound, &[number; 32], &mut world.rng).unwrap();
                row
            })
            .collect();
        let page = RewrapPage {
            order_digest: run.reference.digest,
            number: run.reference.number,
            generation: GenerationId::from_bytes([5; 16]),
            range: ChunkRange { after: VersionId::from_bytes([0; 16]), upto: rows[2].version },
            from,
            to: run.to,
            rows: rows.into(),
        };
        Self { world, run, page }
    }

    /// What the first operational unit answers.
    fn answer(&mut self, page: &RewrapPage) -> PageAnswer {
        let keyring = self.world.units[OP_1].keyring(&Keyring::default());
        rewrap(&keyring, &identity(OP_1 as u8), page, &mut self.world.rng)
    }

    /// Its new blobs and its receipt, read.
    fn done(&mut self) -> (Vec<Vec<u8>>, ChunkReceipt) {
        let page = self.page.clone();
        let PageAnswer::Rewrapped { blobs, receipt } = self.answer(&page) else {
            panic!("it re-wraps a genuine page")
        };
        let blobs = blobs.iter().map(<[u8]>::to_vec).collect();
        (blobs, codec::decode(&receipt.bytes).unwrap())
    }

    /// What the reencryptor makes of blobs and a receipt.
    fn judge(
        &self,
        page: &RewrapPage,
        blobs: &[Vec<u8>],
        receipt: SignedReceipt,
    ) -> Result<Rows, PageFault> {
        let answer = PageAnswer::Rewrapped { blobs: Blobs::from(blobs.to_vec()), receipt };
        let trust = &self.world.units[OP_2].state().trust;
        judge_answer(page, answer, trust).map(|done| done.rows)
    }

    /// The page's rows with these blobs.
    fn rows_with(&self, blobs: &[Vec<u8>]) -> Rows {
        self.page.rows.iter().zip(blobs).map(|(row, blob)| RowRef { blob, ..row }).collect()
    }
}

fn signed(by: &Identity, receipt: &ChunkReceipt) -> SignedReceipt {
    let bytes = codec::encode(receipt);
    SignedReceipt { signature: by.sign(domain::RECEIPT, &bytes), bytes }
}

fn by_unit(receipt: &ChunkReceipt) -> SignedReceipt {
    signed(&identity(OP_1 as u8), receipt)
}

#[test]
fn a_page_is_of_the_order_that_the_unit_has_taken_and_its_rows_are_in_their_place() {
    let mut stage = Stage::new();
    let (order, patterns) = ("bound to another order", "other patterns");
    let place = "not in order, or not in the page's range";
    let changes: [Change<RewrapPage>; 10] = [
        ("digest", |it| it.order_digest = Digest([9; 32]), order),
        ("number", |it| it.number.number += 1, order),
        ("serial", |it| it.number.manifest_serial += 1, order),
        ("from", |it| it.from = Pattern([9; 32]), patterns),
        ("to", |it| it.to = it.from, patterns),
        ("a row before it", |it| it.range.after = VersionId::from_bytes([1; 16]), place),
        ("a row behind it", |it| it.range.upto = VersionId::from_bytes([2; 16]), place),
        ("no row in it", |it| it.range.upto = it.range.after, place),
        ("swapped", |it| change_rows(it, |rows| rows.swap(0, 1)), place),
        ("twice", |it| change_rows(it, |rows| rows[1] = rows[0].clone()), place),
    ];
    for (what, change, why) in changes {
        let mut page = stage.page.clone();
        change(&mut page);
        let PageAnswer::Refused(reason) = stage.answer(&page) else {
            panic!("{what}: it is taken")
        };
        assert!(reason.contains(why), "{what}: {reason}");
    }
    let (blobs, receipt) = stage.done();
    assert_eq!((receipt.rotation, receipt.count), (stage.run.reference.rotation, 3));
    let found = stage.judge(&stage.page, &blobs, by_unit(&receipt));
    assert_eq!(found, Ok(stage.rows_with(&blobs)));
}

fn change_rows(page: &mut RewrapPage, change: RowChange) {
    let mut rows = page.rows.to_vec();
    change(&mut rows);
    page.rows = rows.into();
}

#[test]
fn an_answer_is_believed_only_for_the_rows_that_were_asked() {
    let mut stage = Stage::new();
    let (blobs, receipt) = stage.done();
    let changes: [(&str, RowChange); 5] = [
        ("blob", |rows| rows[1].blob[IN_BLOB] ^= 1),
        ("attributes", |rows| rows[1].attributes ^= 0x40),
        ("key", |rows| rows[1].key = KeyId::from_bytes([9; 16])),
        ("version", |rows| rows[2].version = VersionId::from_bytes([9; 16])),
        ("order", |rows| rows.swap(0, 1)),
    ];
    for (what, change) in changes {
        let mut page = stage.page.clone();
        change_rows(&mut page, change);
        let found = stage.judge(&page, &blobs, by_unit(&receipt));
        assert_eq!(found, Err(PageFault::Mismatch("old digest")), "{what}");
    }
}

#[test]
fn new_blobs_are_those_that_the_unit_has_signed() {
    let mut stage = Stage::new();
    let (blobs, receipt) = stage.done();
    let (digest, count) = ("new digest", "count");
    let changes: [Change<Vec<Vec<u8>>>; 6] = [
        ("a bit", |blobs| blobs[1][IN_BLOB] ^= 1, digest),
        ("the end", |blobs| blobs[2].truncate(IN_BLOB), digest),
        ("their order", |blobs| blobs.swap(0, 1), digest),
        ("one for another", |blobs| blobs[0] = blobs[1].clone(), digest),
        ("one less", |blobs| blobs.truncate(2), count),
        ("one more", |blobs| blobs.push(Vec::new()), count),
    ];
    for (what, change, fault) in changes {
        let mut blobs = blobs.clone();
        change(&mut blobs);
        let found = stage.judge(&stage.page, &blobs, by_unit(&receipt));
        assert_eq!(found, Err(PageFault::Mismatch(fault)), "{what}");
    }
}

#[test]
fn a_receipt_is_for_the_page_that_was_asked_in_every_field() {
    let mut stage = Stage::new();
    let (blobs, receipt) = stage.done();
    let bound = "order, generation, range or patterns";
    let changes: [Change<ChunkReceipt>; 12] = [
        ("instance", |it| it.instance = InstanceId::from_bytes([9; 16]), bound),
        ("order digest", |it| it.order_digest = Digest([9; 32]), bound),
        ("generation", |it| it.generation = GenerationId::from_bytes([9; 16]), bound),
        ("range: after", |it| it.range.after = VersionId::from_bytes([1; 16]), bound),
        ("range: upto", |it| it.range.upto = ChunkRange::WHOLE.upto, bound),
        ("from", |it| it.from = Some(it.to), bound),
        ("no from", |it| it.from = None, bound),
        ("to", |it| it.to = Pattern([9; 32]), bound),
        ("one more", |it| it.count += 1, "count"),
        ("one less", |it| it.count -= 1, "count"),
        ("old digest", |it| it.old_digest = it.new_digest, "old digest"),
        ("new digest", |it| it.new_digest = it.old_digest, "new digest"),
    ];
    for (what, change, fault) in changes {
        let mut receipt = receipt.clone();
        change(&mut receipt);
        let found = stage.judge(&stage.page, &blobs, by_unit(&receipt));
        assert_eq!(found, Err(PageFault::Mismatch(fault)), "{what}");
    }
}

#[test]
fn a_receipt_is_signed_by_the_operational_unit_that_it_names() {
    let mut stage = Stage::new();
    let (blobs, receipt) = stage.done();
    let named = |unit| ChunkReceipt { unit, ..receipt.clone() };
    let backup = identity(REC_1 as u8);
    let mut changed = by_unit(&receipt);
    changed.bytes = codec::encode(&ChunkReceipt { count: 2, ..receipt.clone() });
    let mut unread = by_unit(&receipt);
    unread.bytes.pop();
    for (what, receipt) in [
        ("a recovery unit", signed(&backup, &named(unit_id(REC_1)))),
        ("a coordinator", signed(&coordinator(), &named(id_of(&coordinator())))),
        ("a stranger", signed(&stranger(), &named(id_of(&stranger())))),
        ("a recovery unit for it", signed(&backup, &receipt)),
        ("another unit for it", signed(&identity(OP_2 as u8), &receipt)),
        ("it for another unit", by_unit(&named(unit_id(OP_2)))),
        ("it before a change", changed),
        ("what is no receipt", unread),
    ] {
        let found = stage.judge(&stage.page, &blobs, receipt);
        assert_eq!(found, Err(PageFault::NotSigned), "{what}");
    }
    let other = signed(&identity(OP_2 as u8), &named(unit_id(OP_2)));
    let found = stage.judge(&stage.page, &blobs, other);
    assert_eq!(found, Ok(stage.rows_with(&blobs)), "any of them may");
}
