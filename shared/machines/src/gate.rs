//! The rules of the keystore row, pure. Both SQL stores apply them inside a transaction that holds
//! the row's lock, and the simulation inside its own.

mod refusal;
mod writing;

pub use self::refusal::GateRefusal;
pub use self::writing::{born_under, may_use, may_write, purge_is_tombstone, write_targets};

use protocol::keystore::{
    GateMode, Generation, GenerationState, KeystoreRotation, KeystoreRow, KeystoreStanding,
};
use protocol::order::OrderRef;
use protocol::page::ChunkRange;
use protocol::{Digest, Epoch, GenerationId, InstanceId, KeystoreId, Pattern};

/// Whether a transition was made now or had been made before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Made now: the row must be written.
    Now,
    /// Made before.
    Before,
}

/// What opens a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenRequest {
    /// The order.
    pub order: OrderRef,
    /// Under which epoch.
    pub epoch: Epoch,
    /// Pattern before; none at initialisation.
    pub from: Option<Pattern>,
    /// Pattern of the new generation.
    pub to: Pattern,
    /// A random id for it.
    pub generation: GenerationId,
    /// What is refused while it is open.
    pub mode: GateMode,
}

/// What ends a rotation before its flip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortRequest {
    /// The order.
    pub order: OrderRef,
    /// Under which epoch.
    pub epoch: Epoch,
    /// Pattern before, and of the generation that it would have led to, as far as they are known.
    pub from_to: (Option<Pattern>, Pattern),
    /// Whether a crypto unit has taken the order, as it does only after the end of all before.
    pub is_taken: bool,
}

/// A keystore before its initialisation.
pub const fn new_row(instance: InstanceId, keystore: KeystoreId) -> KeystoreRow {
    KeystoreRow {
        instance,
        keystore,
        mode: GateMode::Strict,
        active: None,
        open: None,
        retired: Vec::new(),
        next_number: 1,
        rotation: None,
        epoch: Epoch { manifest_serial: 0, number: 0 },
        version_count: 0,
    }
}

/// Refuses an epoch lower than the highest seen, and remembers a higher one.
pub fn fence(row: &mut KeystoreRow, epoch: Epoch) -> Result<(), GateRefusal> {
    if epoch < row.epoch {
        return Err(GateRefusal::StaleEpoch { given: epoch, highest: row.epoch });
    }
    row.epoch = epoch;
    Ok(())
}

/// Opens a generation: the gate is closed from here on. The caller counts the set and makes the
/// table in the same transaction; `set_count` is what it counted.
pub fn open(
    row: &mut KeystoreRow,
    request: &OpenRequest,
    set_count: u64,
) -> Result<Change, GateRefusal> {
    fence(row, request.epoch)?;
    let order = &request.order;
    if let Some(taken) = &row.rotation {
        let is_reused = taken.rotation == order.rotation && taken.number != order.number;
        if taken.number > order.number || is_reused {
            return Err(GateRefusal::OrderSpent { given: order.number, taken: taken.number });
        }
        if taken.number == order.number {
            if taken.order_digest != order.digest {
                return Err(GateRefusal::OtherDigest(order.number));
            }
            // After an abort of the keystore alone, the rotation opens another generation.
            if taken.standing != KeystoreStanding::Aborted {
                return match taken.to == request.to {
                    true => Ok(Change::Before),
                    false => Err(GateRefusal::OtherPattern(Some(taken.to))),
                };
            }
        } else if taken.standing < KeystoreStanding::Flipped {
            return Err(GateRefusal::OtherRotation(taken.rotation));
        }
    }
    let active = row.active.as_ref().map(|active| active.pattern);
    if active != request.from || active == Some(request.to) {
        return Err(GateRefusal::OtherPattern(active));
    }
    if active.is_none() && row.version_count > 0 {
        return Err(GateRefusal::NotEmpty(row.version_count));
    }
    row.mode = request.mode;
    row.open = Some(Generation {
        number: row.next_number,
        id: request.generation,
        pattern: request.to,
        state: GenerationState::Building,
        set_count,
        done_count: 0,
        quarantined_count: 0,
    });
    row.next_number += 1;
    row.rotation = Some(KeystoreRotation {
        rotation: order.rotation,
        number: order.number,
        order_digest: order.digest,
        standing: KeystoreStanding::Open,
        from: request.from,
        to: request.to,
        key_root: None,
    });
    Ok(Change::Now)
}

/// The rotation of this very order, as it stands here.
fn rotation_of<'a>(
    row: &'a mut KeystoreRow,
    order: &OrderRef,
) -> Result<&'a mut KeystoreRotation, GateRefusal> {
    row.rotation.as_mut().filter(|found| found.is_of(order)).ok_or(GateRefusal::NotOpen)
}

/// Whether chunks of a generation may be written: it is the one being built, and not another that got its number
/// when the database had been set back behind its opening.
pub fn may_fill(row: &KeystoreRow, generation: GenerationId) -> Result<(), GateRefusal> {
    let is_it =
        |open: &Generation| open.id == generation && open.state == GenerationState::Building;
    if row.open.as_ref().is_some_and(is_it) { Ok(()) } else { Err(GateRefusal::NotOpen) }
}

/// Marks the new generation complete, given its chunks, for whoever has filled it.
pub fn complete(
    row: &mut KeystoreRow,
    order: &OrderRef,
    filled: GenerationId,
    chunks: &[(ChunkRange, u64)],
) -> Result<Change, GateRefusal> {
    match rotation_of(row, order)?.standing {
        KeystoreStanding::Open => {}
        KeystoreStanding::Aborted => return Err(GateRefusal::NotOpen),
        _ => return Ok(Change::Before),
    }
    let open = row.open.as_mut().filter(|open| open.id == filled);
    let generation = open.ok_or(GateRefusal::NotOpen)?;
    tiles(chunks, generation.set_count).map_err(GateRefusal::NotComplete)?;
    generation.state = GenerationState::Complete;
    generation.done_count = generation.set_count;
    rotation_of(row, order)?.standing = KeystoreStanding::Complete;
    Ok(Change::Now)
}

/// Whether chunks, in ascending order, tile the key space and sum to the set's count.
pub fn tiles(chunks: &[(ChunkRange, u64)], set_count: u64) -> Result<(), String> {
    let mut at = ChunkRange::WHOLE.after;
    let mut sum = 0;
    for (range, count) in chunks {
        if range.after != at {
            return Err(format!("the chunks leave a gap or overlap after {at}"));
        }
        at = range.upto;
        sum += count;
    }
    if at != ChunkRange::WHOLE.upto {
        return Err(format!("the chunks end at {at}"));
    }
    match sum == set_count {
        true => Ok(()),
        false => Err(format!("the chunks hold {sum} versions, the set has {set_count}")),
    }
}

/// Moves the active row and opens the gate. `younger_lacking` are versions created since opening
/// that have no blob in the new generation.
pub fn flip(
    row: &mut KeystoreRow,
    order: &OrderRef,
    epoch: Epoch,
    chunks: &[(ChunkRange, u64)],
    younger_lacking: u64,
) -> Result<Change, GateRefusal> {
    fence(row, epoch)?;
    match rotation_of(row, order)?.standing {
        KeystoreStanding::Complete => {}
        KeystoreStanding::Open => {
            return Err(GateRefusal::NotComplete("chunks are being written".to_owned()));
        }
        KeystoreStanding::Aborted => return Err(GateRefusal::NotOpen),
        _ => return Ok(Change::Before),
    }
    let Some(mut generation) = row.open.take() else { return Err(GateRefusal::NotOpen) };
    let sound = tiles(chunks, generation.set_count).and_then(|()| match younger_lacking {
        0 => Ok(()),
        count => Err(format!("{count} versions created since opening have no blob in it")),
    });
    if let Err(reason) = sound {
        row.open = Some(generation);
        return Err(GateRefusal::NotComplete(reason));
    }
    generation.state = GenerationState::Active;
    if let Some(mut old) = row.active.replace(generation) {
        old.state = GenerationState::Retired;
        row.retired.push(old);
    }
    rotation_of(row, order)?.standing = KeystoreStanding::Switched;
    Ok(Change::Now)
}

/// Saves that the flip was read back, and the Merkle root over the keys that were read; tombstones
/// are applied in the same transaction.
pub fn mark_flipped(
    row: &mut KeystoreRow,
    order: &OrderRef,
    key_root: Digest,
) -> Result<Change, GateRefusal> {
    let rotation = rotation_of(row, order)?;
    match rotation.standing {
        KeystoreStanding::Switched => {
            rotation.standing = KeystoreStanding::Flipped;
            rotation.key_root = Some(key_root);
            Ok(Change::Now)
        }
        KeystoreStanding::Flipped | KeystoreStanding::Dropped => Ok(Change::Before),
        _ => Err(GateRefusal::NotOpen),
    }
}

/// Ends a rotation before its flip; the caller drops the table and applies tombstones in the same
/// transaction. One that never opened is remembered, so that a late open finds it ended.
///
/// An earlier rotation that is open ends with it: units take a later order only after the end of all
/// before, so a rogue coordinator has opened it anew, and nobody drives it. What no unit has taken ends
/// nothing and is not remembered: it cannot be opened, and a coordinator that gives such orders by the
/// administrators' leave would otherwise end the rotation that runs, for good.
pub fn abort(
    row: &mut KeystoreRow,
    request: &AbortRequest,
) -> Result<(Change, Option<Generation>), GateRefusal> {
    fence(row, request.epoch)?;
    let order = &request.order;
    if let Some(taken) = &mut row.rotation {
        if taken.number > order.number {
            return Err(GateRefusal::OrderSpent { given: order.number, taken: taken.number });
        }
        if taken.number == order.number {
            if taken.order_digest != order.digest {
                return Err(GateRefusal::OtherDigest(order.number));
            }
            return match taken.standing {
                KeystoreStanding::Open | KeystoreStanding::Complete => {
                    taken.standing = KeystoreStanding::Aborted;
                    Ok((Change::Now, row.open.take()))
                }
                KeystoreStanding::Aborted => Ok((Change::Before, None)),
                _ => Err(GateRefusal::Flipped),
            };
        }
    }
    // Units that have not cleared what has flipped are still to be shown that it has.
    let has_flipped = row.rotation.as_ref().is_some_and(|taken| {
        matches!(taken.standing, KeystoreStanding::Switched | KeystoreStanding::Flipped)
    });
    if has_flipped || !request.is_taken {
        return Ok((Change::Before, None));
    }
    row.rotation = Some(KeystoreRotation {
        rotation: order.rotation,
        number: order.number,
        order_digest: order.digest,
        standing: KeystoreStanding::Aborted,
        from: request.from_to.0,
        to: request.from_to.1,
        key_root: None,
    });
    Ok((Change::Now, row.open.take()))
}

/// Lets go of retired generations; the caller drops their tables in the same transaction.
pub fn drop_retired(
    row: &mut KeystoreRow,
    order: &OrderRef,
    epoch: Epoch,
) -> Result<(Change, Vec<Generation>), GateRefusal> {
    fence(row, epoch)?;
    let rotation = rotation_of(row, order)?;
    match rotation.standing {
        KeystoreStanding::Flipped => {
            rotation.standing = KeystoreStanding::Dropped;
            Ok((Change::Now, std::mem::take(&mut row.retired)))
        }
        KeystoreStanding::Dropped => Ok((Change::Before, Vec::new())),
        KeystoreStanding::Switched => Err(GateRefusal::NotReadBack),
        _ => Err(GateRefusal::NotOpen),
    }
}
