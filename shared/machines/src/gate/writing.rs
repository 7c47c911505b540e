//! What a write of a key must bring, and when it is refused.

use protocol::GenerationId;
use protocol::keystore::{GateMode, Generation, KeystoreRow, KeystoreStanding};

use super::GateRefusal;

/// Generations that a write must supply a blob for, each under its own pattern.
pub fn write_targets(row: &KeystoreRow) -> Result<Vec<Generation>, GateRefusal> {
    let active = row.active.clone().ok_or(GateRefusal::NotInitialised)?;
    match (&row.open, row.mode, &row.rotation) {
        (None, ..) => Ok(vec![active]),
        (Some(open), GateMode::Online, _) => Ok(vec![active, open.clone()]),
        (Some(_), GateMode::Strict, Some(rotation)) => {
            Err(GateRefusal::GateClosed(rotation.rotation))
        }
        (Some(_), GateMode::Strict, None) => Err(GateRefusal::GenerationsChanged),
    }
}

/// Whether a write with blobs for these generations may be done, judged under the row's lock.
pub fn may_write(row: &KeystoreRow, supplied: &[GenerationId]) -> Result<(), GateRefusal> {
    let targets = write_targets(row)?;
    let is_same = targets.len() == supplied.len()
        && targets.iter().all(|target| supplied.contains(&target.id));
    if is_same { Ok(()) } else { Err(GateRefusal::GenerationsChanged) }
}

/// Whether wrap, unwrap and payload are refused too (strict mode).
pub fn may_use(row: &KeystoreRow) -> Result<(), GateRefusal> {
    write_targets(row).map(|_| ())
}

/// Whether a purge writes only a tombstone: from opening until flipped or aborted the set, its
/// count and its digests stand still.
pub fn purge_is_tombstone(row: &KeystoreRow) -> bool {
    row.rotation.as_ref().is_some_and(|rotation| {
        matches!(
            rotation.standing,
            KeystoreStanding::Open | KeystoreStanding::Complete | KeystoreStanding::Switched
        )
    })
}

/// Number that a version created now is born under: in no chunk of a generation of that number.
/// After the flip the gate is open again, but the new generation has still to be read back, and
/// what is created meanwhile is in none of the digests that the units signed.
pub fn born_under(row: &KeystoreRow) -> u32 {
    let is_read_back = row
        .rotation
        .as_ref()
        .is_none_or(|rotation| rotation.standing != KeystoreStanding::Switched);
    let growing = match is_read_back {
        true => row.open.as_ref(),
        false => row.active.as_ref(),
    };
    growing.map_or(0, |generation| generation.number)
}
