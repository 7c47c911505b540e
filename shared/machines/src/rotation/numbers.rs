//! The next epoch and the next order number, out of what units and keystores have seen.

use protocol::report::{KeystoreReport, UnitReport};
use protocol::{Epoch, OrderNumber, Ranked};

/// One more than the highest epoch seen anywhere, under this manifest.
pub fn next_epoch<'a>(
    manifest_serial: u64,
    record: Option<Epoch>,
    units: impl Iterator<Item = &'a UnitReport>,
    keystores: impl Iterator<Item = &'a KeystoreReport>,
) -> Epoch {
    let of_units = units.map(|report| report.epoch);
    let of_rows = keystores.filter_map(|report| report.row.as_ref()).map(|row| row.epoch);
    after(manifest_serial, of_units.chain(of_rows).chain(record).max())
}

/// One more than the highest order number that any unit or keystore has taken.
pub fn next_number<'a>(
    manifest_serial: u64,
    units: impl Iterator<Item = &'a UnitReport>,
    keystores: impl Iterator<Item = &'a KeystoreReport>,
) -> OrderNumber {
    let of_units = units.map(UnitReport::last_number);
    let of_rows = keystores
        .filter_map(|report| report.row.as_ref())
        .filter_map(|row| row.rotation.as_ref())
        .map(|rotation| rotation.number);
    after(manifest_serial, of_units.chain(of_rows).max())
}

/// A new manifest outranks every number of the old one, so counting begins anew under it.
fn after(manifest_serial: u64, highest: Option<Ranked>) -> Ranked {
    match highest {
        Some(seen) if seen.manifest_serial >= manifest_serial => {
            Ranked { manifest_serial: seen.manifest_serial, number: seen.number + 1 }
        }
        _ => Ranked { manifest_serial, number: 1 },
    }
}
