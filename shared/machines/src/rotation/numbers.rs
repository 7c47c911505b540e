//! The next epoch and the next order number, out of what units and keystores have seen.
//!
//! Neither ever overflows: a newer manifest begins anew, above every number of the one before. What
//! names a manifest that we do not have is believed by nobody, so that a member which names the highest
//! number there is, is outranked by the manifest that removes it.

use protocol::report::{KeystoreReport, UnitReport};
use protocol::{Epoch, OrderNumber, Ranked};

/// How far an order number may be above the next lower one that anybody has taken. Honest ones are
/// counted; a unit that claims more is not followed, as all others would have to follow too.
pub const MAX_LEAP: u64 = 1 << 32;

/// Serials of manifests that an epoch may be under.
#[derive(Clone, Copy, Debug)]
pub struct Serials {
    /// Of the order's manifest, where a rotation is gone on with: whoever lacks its amendments, or
    /// cannot take them, is still to be commanded.
    pub base: u64,
    /// Of the newest one.
    pub newest: u64,
}

/// One more than the highest epoch seen anywhere.
pub fn next_epoch<'a>(
    serials: Serials,
    record: Option<Epoch>,
    units: impl Iterator<Item = &'a UnitReport>,
    keystores: impl Iterator<Item = &'a KeystoreReport>,
) -> Epoch {
    let of_units = units.map(|report| report.epoch);
    let of_rows = keystores.filter_map(|report| report.row.as_ref()).map(|row| row.epoch);
    let seen = of_units.chain(of_rows).chain(record);
    match seen.filter(|epoch| epoch.manifest_serial <= serials.newest).max() {
        Some(highest) if highest.manifest_serial >= serials.base => after(highest, serials.newest),
        _ => Ranked { manifest_serial: serials.base, number: 1 },
    }
}

/// One more; after the last number there is, the first one under the newest manifest. If there is no
/// newer one, the same again, which whoever has seen it still obeys.
pub const fn after(highest: Ranked, newest: u64) -> Ranked {
    match highest.number.checked_add(1) {
        Some(number) => Ranked { manifest_serial: highest.manifest_serial, number },
        None if newest > highest.manifest_serial => Ranked { manifest_serial: newest, number: 1 },
        None => highest,
    }
}

/// One more than the highest order number that any unit or keystore has taken under this manifest, but
/// for those that leap.
pub fn next_number<'a>(
    newest: u64,
    units: impl Iterator<Item = &'a UnitReport>,
    keystores: impl Iterator<Item = &'a KeystoreReport>,
) -> OrderNumber {
    let of_units = units.map(UnitReport::last_number);
    let of_rows = keystores
        .filter_map(|report| report.row.as_ref())
        .filter_map(|row| row.rotation.as_ref())
        .map(|rotation| rotation.number);
    let taken = of_units.chain(of_rows).filter(|number| number.manifest_serial == newest);
    let mut numbers: Vec<_> = taken.map(|number| number.number).collect();
    numbers.sort_unstable();
    let mut highest = 0_u64;
    for number in numbers {
        if number - highest > MAX_LEAP {
            break;
        }
        highest = number;
    }
    Ranked { manifest_serial: newest, number: highest.saturating_add(1) }
}
