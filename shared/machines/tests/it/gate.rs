//! Goal: the keystore row only goes the way of a rotation, and a refusal leaves it as it was.
//! Method: at every point of that way, everything that could be asked of it.

use machines::gate::{self, AbortRequest, Change, GateRefusal, OpenRequest};
use machines::rewrap;
use protocol::keystore::{GateMode, GenerationState, KeystoreRow, KeystoreStanding};
use protocol::order::OrderRef;
use protocol::page::ChunkRange;
use protocol::{
    Digest, Epoch, GenerationId, InstanceId, KeystoreId, OrderNumber, Pattern, RotationId,
    VersionId,
};

const A: Pattern = Pattern([1; 32]);
const B: Pattern = Pattern([2; 32]);
/// Of the keys that were read back.
const ROOT: Digest = Digest([9; 32]);
const EPOCH: Epoch = Epoch { manifest_serial: 1, number: 5 };
const WHOLE: &[(ChunkRange, u64)] = &[(ChunkRange::WHOLE, 3)];

fn order(number: u64) -> OrderRef {
    OrderRef {
        rotation: RotationId::from_bytes([number as u8; 16]),
        number: OrderNumber { manifest_serial: 1, number },
        digest: Digest([number as u8; 32]),
    }
}

fn generation(number: u64) -> GenerationId {
    GenerationId::from_bytes([number as u8; 16])
}

fn request(number: u64, from: Option<Pattern>, to: Pattern) -> OpenRequest {
    let generation = generation(number);
    OpenRequest { order: order(number), epoch: EPOCH, from, to, generation, mode: GateMode::Strict }
}

/// The end of an order that a unit has taken.
fn end_of(order: OrderRef) -> AbortRequest {
    AbortRequest { order, epoch: EPOCH, from_to: (Some(A), B), is_taken: true }
}

/// A row under pattern A, its initialisation dropped.
fn initialised() -> KeystoreRow {
    let instance = InstanceId::from_bytes([1; 16]);
    let mut row = gate::new_row(instance, KeystoreId::from_bytes([2; 16]));
    gate::open(&mut row, &request(1, None, A), 0).unwrap();
    let none = [(ChunkRange::WHOLE, 0)];
    gate::complete(&mut row, &order(1), generation(1), &none).unwrap();
    gate::flip(&mut row, &order(1), EPOCH, &none, 0).unwrap();
    gate::mark_flipped(&mut row, &order(1), ROOT).unwrap();
    gate::drop_retired(&mut row, &order(1), EPOCH).unwrap();
    row.version_count = 3;
    row
}

/// Rotation 2 at this standing.
fn at(standing: KeystoreStanding) -> KeystoreRow {
    use KeystoreStanding::{Aborted, Complete, Dropped, Flipped, Switched};
    let mut row = initialised();
    gate::open(&mut row, &request(2, Some(A), B), 3).unwrap();
    if standing == Aborted {
        gate::abort(&mut row, &end_of(order(2))).unwrap();
        return row;
    }
    type Step = fn(&mut KeystoreRow);
    let steps: [(KeystoreStanding, Step); 4] = [
        (Complete, |row| _ = gate::complete(row, &order(2), generation(2), WHOLE).unwrap()),
        (Switched, |row| _ = gate::flip(row, &order(2), EPOCH, WHOLE, 0).unwrap()),
        (Flipped, |row| _ = gate::mark_flipped(row, &order(2), ROOT).unwrap()),
        (Dropped, |row| _ = gate::drop_retired(row, &order(2), EPOCH).unwrap()),
    ];
    for (point, step) in steps {
        if standing >= point {
            step(&mut row);
        }
    }
    assert_eq!(row.rotation.as_ref().unwrap().standing, standing);
    row
}

const STANDINGS: [KeystoreStanding; 6] = [
    KeystoreStanding::Open,
    KeystoreStanding::Complete,
    KeystoreStanding::Switched,
    KeystoreStanding::Flipped,
    KeystoreStanding::Dropped,
    KeystoreStanding::Aborted,
];

type Ask = fn(&mut KeystoreRow, &OrderRef) -> Result<Change, GateRefusal>;

fn open_it(row: &mut KeystoreRow, order: &OrderRef) -> Result<Change, GateRefusal> {
    gate::open(row, &OpenRequest { order: *order, ..request(2, Some(A), B) }, 3)
}

fn complete_it(row: &mut KeystoreRow, order: &OrderRef) -> Result<Change, GateRefusal> {
    gate::complete(row, order, generation(2), WHOLE)
}

fn flip_it(row: &mut KeystoreRow, order: &OrderRef) -> Result<Change, GateRefusal> {
    gate::flip(row, order, EPOCH, WHOLE, 0)
}

fn drop_it(row: &mut KeystoreRow, order: &OrderRef) -> Result<Change, GateRefusal> {
    gate::drop_retired(row, order, EPOCH).map(|(change, _)| change)
}

fn mark_flipped(row: &mut KeystoreRow, order: &OrderRef) -> Result<Change, GateRefusal> {
    gate::mark_flipped(row, order, ROOT)
}

fn abort_it(row: &mut KeystoreRow, order: &OrderRef) -> Result<Change, GateRefusal> {
    gate::abort(row, &end_of(*order)).map(|(change, _)| change)
}

/// `n` done now, `b` done before, `-` refused; one letter for each of [`STANDINGS`].
const TABLE: &[(&str, Ask, &str)] = &[
    ("open", open_it, "bbbbbn"),
    ("complete", complete_it, "nbbbb-"),
    ("flip", flip_it, "-nbbb-"),
    ("mark flipped", mark_flipped, "--nbb-"),
    ("drop", drop_it, "---nb-"),
    ("abort", abort_it, "nn---b"),
];

#[test]
fn at_every_standing_only_the_next_step_is_done_and_earlier_ones_were_done_before() {
    for (name, ask, expected) in TABLE {
        for (standing, expected) in STANDINGS.into_iter().zip(expected.chars()) {
            let mut row = at(standing);
            let before = row.clone();
            let found = ask(&mut row, &order(2));
            let shown = match found {
                Ok(Change::Now) => 'n',
                Ok(Change::Before) => 'b',
                Err(_) => '-',
            };
            assert_eq!(shown, expected, "{name} at {}: {found:?}", standing.name());
            assert_eq!(row == before, shown != 'n', "{name} at {}", standing.name());
        }
    }
}

#[test]
fn another_order_a_lower_one_and_a_fenced_epoch_do_nothing() {
    let other_digest = OrderRef { digest: Digest([9; 32]), ..order(2) };
    for standing in STANDINGS {
        for (name, ask, _) in TABLE {
            let mut row = at(standing);
            let before = row.clone();
            for other in [other_digest, order(1)] {
                assert!(ask(&mut row, &other).is_err(), "{name} at {}", standing.name());
                assert_eq!(row, before, "{name} at {}", standing.name());
            }
        }
        let mut row = at(standing);
        row.epoch.number += 1;
        let before = row.clone();
        for ask in [open_it, flip_it, drop_it, abort_it] {
            let refused = ask(&mut row, &order(2)).unwrap_err();
            assert!(matches!(refused, GateRefusal::StaleEpoch { .. }), "{refused:?}");
            assert_eq!(row, before);
        }
    }
}

#[test]
fn the_next_rotation_waits_for_the_end_of_this_one() {
    for standing in STANDINGS {
        let mut row = at(standing);
        let is_ended = standing >= KeystoreStanding::Flipped;
        let from = row.active.as_ref().unwrap().pattern;
        let next = gate::open(&mut row, &request(3, Some(from), Pattern([3; 32])), 3);
        assert_eq!(next.is_ok(), is_ended, "open at {}", standing.name());
        let mut row = at(standing);
        // What was opened anew ends with it, but not what has flipped: units are still to be shown that.
        let has_flipped =
            matches!(standing, KeystoreStanding::Switched | KeystoreStanding::Flipped);
        let before = row.clone();
        let (change, dropped) = gate::abort(&mut row, &end_of(order(3))).unwrap();
        assert_eq!(change == Change::Before, has_flipped, "abort at {}", standing.name());
        if has_flipped {
            assert_eq!(row, before);
            continue;
        }
        let is_open = matches!(standing, KeystoreStanding::Open | KeystoreStanding::Complete);
        assert_eq!((dropped.is_some(), row.open.is_none()), (is_open, true));
        let late = gate::open(&mut row, &request(2, Some(A), B), 3);
        assert!(matches!(late, Err(GateRefusal::OrderSpent { .. })), "{late:?}");
    }
}

/// A coordinator that has the administrators' leave writes orders as it likes.
#[test]
fn an_order_that_no_unit_has_taken_ends_nothing_and_spends_nothing() {
    for standing in STANDINGS {
        let (mut row, before) = (at(standing), at(standing));
        let of_rogue = AbortRequest { is_taken: false, ..end_of(order(u64::MAX)) };
        let ended = gate::abort(&mut row, &of_rogue).unwrap();
        assert!(matches!(ended, (Change::Before, None)), "{ended:?}");
        assert_eq!(row, before, "{}", standing.name());
    }
}

#[test]
fn a_generation_opens_only_over_the_pattern_that_the_order_goes_from() {
    let mut row = initialised();
    for (from, to) in [(None, B), (Some(B), A), (Some(A), A)] {
        let refused = gate::open(&mut row, &request(2, from, to), 3).unwrap_err();
        assert_eq!(refused, GateRefusal::OtherPattern(Some(A)));
    }
    let mut first = gate::new_row(row.instance, row.keystore);
    first.version_count = 1;
    let refused = gate::open(&mut first, &request(1, None, A), 0).unwrap_err();
    assert_eq!(refused, GateRefusal::NotEmpty(1));
    // Asked again with another pattern: one generation has one pattern for life.
    gate::open(&mut row, &request(2, Some(A), B), 3).unwrap();
    let refused = gate::open(&mut row, &request(2, Some(A), Pattern([3; 32])), 3).unwrap_err();
    assert_eq!(refused, GateRefusal::OtherPattern(Some(B)));
    // After an abort of the keystore alone, another generation under another number.
    let number = row.open.as_ref().unwrap().number;
    gate::abort(&mut row, &end_of(order(2))).unwrap();
    gate::open(&mut row, &request(2, Some(A), B), 3).unwrap();
    assert_eq!(row.open.as_ref().unwrap().number, number + 1, "a number is never used again");
}

fn range(after: u8, upto: u8) -> ChunkRange {
    let id = |byte| VersionId::from_bytes([byte; 16]);
    ChunkRange { after: id(after), upto: id(upto) }
}

#[test]
fn chunks_must_tile_the_key_space_and_sum_to_the_set() {
    let right = [(range(0, 10), 1), (range(10, 20), 0), (range(20, 0xff), 2)];
    assert_eq!(gate::tiles(&right, 3), Ok(()));
    let wrong: &[&[(ChunkRange, u64)]] = &[
        &[],
        &right[..2],
        &right[1..],
        &[right[0], right[2]],
        &[right[0], right[0], right[1], right[2]],
        &[right[1], right[0], right[2]],
        &[(range(0, 11), 1), right[1], right[2]],
        &[(range(0, 9), 1), right[1], right[2]],
        &[(range(1, 10), 1), right[1], right[2]],
        &[right[0], right[1], (range(20, 0xfe), 2)],
        &[right[0], right[1], (range(20, 0xff), 1)],
        &[right[0], right[1], (range(20, 0xff), 3)],
    ];
    for chunks in wrong {
        assert!(gate::tiles(chunks, 3).is_err(), "{chunks:?}");
        for standing in [KeystoreStanding::Open, KeystoreStanding::Complete] {
            let mut row = at(standing);
            let before = row.clone();
            let refused = match standing {
                KeystoreStanding::Open => {
                    gate::complete(&mut row, &order(2), generation(2), chunks)
                }
                _ => gate::flip(&mut row, &order(2), EPOCH, chunks, 0),
            };
            assert!(matches!(refused, Err(GateRefusal::NotComplete(_))), "{refused:?}");
            assert_eq!(row, before);
        }
    }
    let mut row = at(KeystoreStanding::Complete);
    let lacking = gate::flip(&mut row, &order(2), EPOCH, WHOLE, 1);
    assert!(matches!(lacking, Err(GateRefusal::NotComplete(_))), "{lacking:?}");
    assert_eq!(row, at(KeystoreStanding::Complete));
}

#[test]
fn a_write_supplies_a_blob_for_each_generation_and_the_gate_is_shut_in_strict_mode() {
    let ids = |row: &KeystoreRow| -> Vec<GenerationId> {
        let targets = gate::write_targets(row).unwrap();
        targets.iter().map(|target| target.id).collect()
    };
    let mut row = initialised();
    let before = ids(&row);
    assert_eq!(before.len(), 1);
    assert_eq!(gate::born_under(&row), 0);
    gate::open(&mut row, &request(2, Some(A), B), 3).unwrap();
    assert_eq!(gate::born_under(&row), row.open.as_ref().unwrap().number);
    let shut = gate::may_write(&row, &before);
    assert!(matches!(shut, Err(GateRefusal::GateClosed(_))), "{shut:?}");
    assert!(gate::may_use(&row).is_err());
    row.mode = GateMode::Online;
    let both = ids(&row);
    assert_eq!(both.len(), 2);
    assert!(gate::may_use(&row).is_ok());
    assert!(gate::may_write(&row, &both).is_ok());
    for lacking in [&both[..1], &both[1..], &[], &[both[0], both[0]]] {
        let refused = gate::may_write(&row, lacking).unwrap_err();
        assert_eq!(refused, GateRefusal::GenerationsChanged);
    }
    for standing in STANDINGS {
        let mut row = at(standing);
        row.mode = GateMode::Online;
        let is_open = matches!(standing, KeystoreStanding::Open | KeystoreStanding::Complete);
        assert_eq!(gate::write_targets(&row).unwrap().len(), if is_open { 2 } else { 1 });
        let is_still = is_open || standing == KeystoreStanding::Switched;
        assert_eq!(gate::purge_is_tombstone(&row), is_still, "{}", standing.name());
        // Whatever is created before the read-back is in no chunk, so it must not be read back.
        let number = gate::write_targets(&row).unwrap().last().unwrap().number;
        let born = if is_still { number } else { 0 };
        assert_eq!(gate::born_under(&row), born, "{}", standing.name());
    }
    let row = gate::new_row(row.instance, row.keystore);
    assert_eq!(gate::write_targets(&row).unwrap_err(), GateRefusal::NotInitialised);
}

#[test]
fn a_flip_retires_the_old_generation_and_a_drop_lets_go_of_it() {
    let mut row = at(KeystoreStanding::Switched);
    let active = row.active.as_ref().unwrap();
    assert_eq!((active.pattern, active.state), (B, GenerationState::Active));
    let [old] = row.retired.as_slice() else { panic!("{row:?}") };
    assert_eq!((old.pattern, old.state), (A, GenerationState::Retired));
    let refused = gate::drop_retired(&mut row, &order(2), EPOCH).unwrap_err();
    assert_eq!(refused, GateRefusal::NotReadBack);
    gate::mark_flipped(&mut row, &order(2), ROOT).unwrap();
    assert_eq!(row.rotation.as_ref().unwrap().key_root, Some(ROOT));
    gate::mark_flipped(&mut row, &order(2), Digest([8; 32])).unwrap();
    assert_eq!(row.rotation.as_ref().unwrap().key_root, Some(ROOT), "what was saved first");
    let (change, dropped) = gate::drop_retired(&mut row, &order(2), EPOCH).unwrap();
    assert_eq!((change, dropped.len()), (Change::Now, 1));
    assert_eq!(dropped[0].pattern, A);
    assert!(row.retired.is_empty());
}

/// Of this very order the flip is read back as it is asked for; what has come further needs nothing.
#[test]
fn only_an_earlier_flip_that_was_not_read_back_is_ended_by_whoever_opens_next() {
    use KeystoreStanding::{Aborted, Complete, Dropped, Flipped, Open, Switched};
    for standing in [Open, Complete, Switched, Flipped, Dropped, Aborted] {
        let mut row = at(standing);
        let left = rewrap::left_unread(&row, &order(3), Some(B));
        assert_eq!(left, (standing == Switched).then(|| order(2)), "{standing:?}");
        assert_eq!(rewrap::left_unread(&row, &order(2), Some(B)), None);
        assert_eq!(rewrap::left_unread(&row, &order(3), Some(A)), None, "a copy of another time");
        let Some(left) = left else { continue };
        let next = request(3, Some(B), A);
        assert!(gate::open(&mut row, &next, 3).is_err(), "not before");
        gate::mark_flipped(&mut row, &left, ROOT).unwrap();
        assert_eq!(gate::open(&mut row, &next, 3), Ok(Change::Now));
    }
}

/// Its amendments would let orders of an ended leave through.
#[test]
fn a_rotations_id_opens_no_second_generation() {
    let mut row = at(KeystoreStanding::Dropped);
    let before = row.clone();
    let mut again = request(3, Some(B), A);
    again.order.rotation = order(2).rotation;
    let refusal = gate::open(&mut row, &again, 3).unwrap_err();
    assert!(matches!(refusal, GateRefusal::OrderSpent { .. }), "{refusal}");
    assert_eq!(row, before);
}

#[test]
fn a_generation_is_filled_and_completed_by_its_id_while_it_is_being_built() {
    for standing in STANDINGS {
        let mut row = at(standing);
        let is_building = standing == KeystoreStanding::Open;
        assert_eq!(gate::may_fill(&row, generation(2)).is_ok(), is_building, "{standing:?}");
        // It had the same number before the database was set back.
        assert_eq!(gate::may_fill(&row, generation(7)), Err(GateRefusal::NotOpen));
        if is_building {
            let before = row.clone();
            let refused = gate::complete(&mut row, &order(2), generation(7), WHOLE);
            assert_eq!((refused, &row), (Err(GateRefusal::NotOpen), &before));
        }
    }
}

#[test]
fn the_gate_is_closed_while_a_generation_is_open_in_strict_mode_only() {
    for standing in STANDINGS {
        let mut row = at(standing);
        let is_open = matches!(standing, KeystoreStanding::Open | KeystoreStanding::Complete);
        assert_eq!(row.is_gate_closed(), is_open, "{standing:?}");
        row.mode = GateMode::Online;
        assert!(!row.is_gate_closed(), "{standing:?}: everything is served");
    }
}
