//! What a coordinator goes on with, out of its record and of what units and keystores say: they are
//! the truth, the record is a convenience that may be lost or restored from an old backup.

use protocol::audit::Phase;
use protocol::keystore::{KeystoreRow, KeystoreStanding};
use protocol::order::{OrderRef, SignedOrder};
use protocol::report::{KeystoreReport, Standing, UnitReport};
use protocol::{OrderNumber, Pattern, UnixMillis};

use super::record::{Record, Verdict};

/// What a start, or a survey, leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The rotation to go on with, if there is one; its epoch is still to be set.
    pub go_on: Option<Record>,
    /// A record of an earlier rotation that had no end in it; it has one now.
    pub closed: Option<Record>,
}

/// Everything that was reported.
#[derive(Clone, Debug)]
pub struct Reports<'a> {
    /// Of crypto units.
    pub units: Vec<&'a UnitReport>,
    /// Of reencryptors.
    pub keystores: Vec<&'a KeystoreReport>,
}

/// Decides by the reports of the highest order number: the keystore flipped, or promoted or cleared and none
/// aborted, forward; aborted and none promoted, abort; neither, as the record says, or abort. One below the
/// highest is gone on with where it has not ended.
pub fn recover(record: Option<Record>, reports: &Reports<'_>, now: UnixMillis) -> Recovered {
    let open = || reports.open_order().map(|found| reports.rebuilt(found, now));
    match record {
        None => Recovered { go_on: open(), closed: None },
        Some(record) if reports.goes_on_with(&record) => {
            Recovered { go_on: Some(reports.judged(record)), closed: None }
        }
        Some(record) => {
            let closed = reports.closed(record.clone(), now);
            match open() {
                // Nothing shows that it has ended well, and units are to be let go of.
                Some(found)
                    if found.signed_order == record.signed_order
                        && closed.verdict != Verdict::Decided =>
                {
                    let verdict = match record.verdict {
                        Verdict::Open => found.verdict,
                        saved => saved,
                    };
                    Recovered { go_on: Some(Record { verdict, ..record }), closed: None }
                }
                found => Recovered { go_on: found, closed: Some(closed) },
            }
        }
    }
}

/// Whether a keystore is still open in an earlier order than a unit has aborted, over keys that every unit with a
/// master key opens: nobody drives that any more, and telling the keystore of the later end closes it. A copy of
/// another master key's time is left as it is, and a keystore hears of no order to recover.
fn closes<'a>(
    unit: &UnitReport,
    row: &KeystoreRow,
    mut units: impl Iterator<Item = &'a UnitReport>,
) -> bool {
    let (Some(_), Some(active), Some(open)) = (&row.open, &row.active, &row.rotation) else {
        return false;
    };
    let aborted = unit.rotation.as_ref().filter(|found| found.standing == Standing::Aborted);
    let is_later = aborted.is_some_and(|found| {
        let order = found.signed_order.unverified();
        found.order.number > open.number
            && order.is_ok_and(|order| order.purpose.recovery().is_none())
    });
    is_later
        && units.all(|unit| unit.registers.current.is_none_or(|current| current == active.pattern))
}

impl<'a> Reports<'a> {
    /// The highest order number that anybody has taken.
    fn highest(&self) -> OrderNumber {
        let units = self.units.iter().map(|report| report.last_number());
        let rows = self.rows().filter_map(|row| row.rotation.as_ref()).map(|found| found.number);
        units.chain(rows).max().unwrap_or_default()
    }

    fn rows(&self) -> impl Iterator<Item = &KeystoreRow> {
        self.keystores.iter().filter_map(|report| report.row.as_ref())
    }

    /// Of an order to recover only what its target says counts.
    fn standings(&self, order: OrderRef) -> impl Iterator<Item = Standing> {
        self.units.iter().filter_map(move |report| {
            let found = report.in_order(&order)?;
            let recovery = found.signed_order.unverified().ok()?.purpose.recovery();
            let counts = recovery.is_none_or(|recovery| recovery.target == report.unit);
            counts.then_some(found.standing)
        })
    }

    fn has_promoted(&self, order: OrderRef) -> bool {
        self.standings(order).any(|it| matches!(it, Standing::Promoted | Standing::Cleared))
    }

    fn has_aborted(&self, order: OrderRef) -> bool {
        self.standings(order).any(|it| it == Standing::Aborted)
    }

    fn is_open_in_keystore(&self, order: &OrderRef) -> bool {
        self.rows()
            .filter(|row| row.open.is_some())
            .filter_map(|row| row.rotation.as_ref())
            .any(|found| found.rotation == order.rotation)
    }

    /// Whether a coordinator that drives this order has something to do in it: nobody has taken a later one,
    /// or it has not ended for all that.
    pub fn goes_on(&self, order: &OrderRef) -> bool {
        self.highest() <= order.number
            || self.is_left(order)
            || self.is_mixed(order)
            || (!self.is_past(order) && self.open_order().is_some_and(|(open, _)| open == *order))
    }

    fn goes_on_with(&self, record: &Record) -> bool {
        let Ok((_, order)) = record.order() else { return false };
        self.goes_on(&order) || self.may_be_left(record, &order)
    }

    /// Whether a keystore has come to a later order.
    fn is_past(&self, order: &OrderRef) -> bool {
        let mut rotations = self.rows().filter_map(|row| row.rotation.as_ref());
        rotations.any(|found| found.number > order.number)
    }

    /// Whether units have promoted an order that the keystore was let go of in: a mixed end, which stands
    /// until administrators end it.
    fn is_mixed(&self, order: &OrderRef) -> bool {
        let is_aborted =
            self.standings_in_keystores(order).any(|it| it == KeystoreStanding::Aborted);
        is_aborted && self.standings(*order).any(|it| it == Standing::Promoted)
    }

    /// Whether a keystore has flipped in this order.
    fn has_flipped(&self, order: &OrderRef) -> bool {
        self.standings_in_keystores(order).any(|it| it.has_reached(KeystoreStanding::Switched))
    }

    /// How keystores stand in this order.
    fn standings_in_keystores(&self, order: &OrderRef) -> impl Iterator<Item = KeystoreStanding> {
        let digest = order.digest;
        self.rows()
            .filter_map(|row| row.rotation.as_ref())
            .filter(move |found| found.order_digest == digest)
            .map(|found| found.standing)
    }

    /// Whether an order has not ended in the keystore, and units are bound to it, whatever others have taken
    /// since: to clear it, where the keystore has flipped, else as far as it goes.
    fn is_left(&self, order: &OrderRef) -> bool {
        let is_any = |wanted: &[Standing]| self.standings(*order).any(|it| wanted.contains(&it));
        self.standings_in_keystores(order).any(|standing| match standing {
            KeystoreStanding::Flipped => is_any(&[Standing::Promoted]),
            standing if standing.is_over() => false,
            _ => is_any(&[Standing::Promoted, Standing::Bound]),
        })
    }

    /// Whether that may be so of what the record says is decided, as long as no keystore has said how it stands:
    /// its reencryptor may be lost, and only while the rotation runs may another one take its place.
    fn may_be_left(&self, record: &Record, order: &OrderRef) -> bool {
        record.verdict == Verdict::Decided
            && self.rows().next().is_none()
            && self.promoted(order) > 0
    }

    /// How many units have promoted an order, and not been set back to that as far as they know.
    fn promoted(&self, order: &OrderRef) -> usize {
        let is_promoted = |report: &&&UnitReport| {
            let found = report.in_order(order);
            report.set_back_from.is_none()
                && found.is_some_and(|it| it.standing == Standing::Promoted)
        };
        self.units.iter().filter(is_promoted).count()
    }

    /// Whether units have promoted an order to which no keystore has come yet, as far as any has said how it
    /// stands: it is to be gone on with, whatever one of them was brought to take since. Of one alone the state
    /// may have been set back.
    fn is_underway(&self, order: &OrderRef) -> bool {
        let mut rotations = self.rows().filter_map(|row| row.rotation.as_ref());
        rotations.all(|found| found.number < order.number) && self.promoted(order) > 1
    }

    fn is_closed_by(&self, unit: &UnitReport) -> bool {
        self.rows().any(|row| closes(unit, row, self.units.iter().copied()))
    }

    /// The newest order that some unit is bound to, or that a keystore is still open in, or whose end closes a
    /// keystore. One below the highest has ended, unless it is left: a unit that has promoted it, or knows that
    /// it had come further, was set back and is not brought up by it any more; one that is bound is let go of,
    /// and a keystore that is open in it (orders to recover, which it never sees, came after) is closed.
    fn open_order(&self) -> Option<(OrderRef, &'a SignedOrder)> {
        let highest = self.highest();
        let open = self.units.iter().filter_map(|report| {
            let found = report.rotation.as_ref()?;
            let is_highest = found.order.number == highest;
            let is_left_open =
                self.is_open_in_keystore(&found.order) && !self.has_promoted(found.order);
            let is_open = match found.standing {
                Standing::Bound => is_highest || report.set_back_from.is_none() || is_left_open,
                Standing::Promoted => {
                    is_highest || self.is_left(&found.order) || self.is_underway(&found.order)
                }
                Standing::Aborted if is_highest && self.is_open_in_keystore(&found.order) => true,
                Standing::Aborted => is_left_open || self.is_closed_by(report),
                // A keystore that is still open in it is an old copy, and precheck says so.
                Standing::Cleared => false,
            };
            is_open.then_some(found)
        });
        // What is bound can be let go of at any time; what is promoted only goes forward.
        let newest =
            open.max_by_key(|found| (self.is_underway(&found.order), found.order.number))?;
        Some((newest.order, &newest.signed_order))
    }

    /// A record of which nothing is left, or that has ended without a unit that was silent: forward if the
    /// keystore has flipped, or a unit has promoted and none aborted, else it is ended.
    fn rebuilt(&self, (order, signed): (OrderRef, &SignedOrder), now: UnixMillis) -> Record {
        let verdict = match self.is_forward(order) {
            true => Verdict::Decided,
            false => Verdict::Aborted {
                because: "nobody drove it any more, and it was not decided".to_owned(),
            },
        };
        Record::rebuilt(signed.clone(), verdict, now)
    }

    fn is_forward(&self, order: OrderRef) -> bool {
        // A keystore that has flipped was shown that all had promoted; whoever says less was set back. What
        // it has gone on from is over, whoever was put back into it.
        let has_flipped = self.highest() <= order.number && self.has_flipped(&order);
        let is_promoted = self.has_promoted(order) && !self.has_aborted(order);
        has_flipped || (is_promoted && !self.is_past(&order))
    }

    /// The record is of the newest rotation, but may be older than what has come of it. A verdict
    /// that it has is never taken back.
    fn judged(&self, mut record: Record) -> Record {
        let Ok((_, order)) = record.order() else { return record };
        if record.verdict == Verdict::Open && self.is_forward(order) {
            record.verdict = Verdict::Decided;
        }
        record
    }

    /// Later orders have been taken since, so this one has ended: well, if it was decided, or a unit has
    /// promoted it, or its master key is, or has been, the one that units rotate from.
    fn closed(&self, mut record: Record, now: UnixMillis) -> Record {
        if record.verdict == Verdict::Open {
            let has_promoted = record.order().is_ok_and(|(_, order)| self.has_promoted(order));
            let is_forward = has_promoted || record.to.is_some_and(|to| self.has_been_current(to));
            record.verdict = match is_forward {
                true => Verdict::Decided,
                false => Verdict::Aborted {
                    because: "it ended while the coordinator had no record of it".to_owned(),
                },
            };
        }
        let was_done = record.verdict == Verdict::Decided;
        record.phases.push((if was_done { Phase::Done } else { Phase::Aborted }, now));
        record.finished_at = Some(now);
        record
    }

    fn has_been_current(&self, pattern: Pattern) -> bool {
        let rotated_from = |report: &&UnitReport| {
            let order = report.rotation.as_ref()?.signed_order.unverified().ok()?;
            order.from
        };
        self.units.iter().any(|report| {
            report.registers.current == Some(pattern) || rotated_from(report) == Some(pattern)
        })
    }
}
