//! Rotations that nobody drives, or that some have not heard the end of.

use protocol::api::{RotationView, Unmet};
use protocol::order::OrderRef;

use super::rotating::silences;
use super::words::sentence;
use super::{Known, Told};
use crate::rotation::precheck::units::in_rotation;
use crate::rotation::precheck::{TAKE_UP, TAKE_UP_RECOVERY};

pub(super) fn order_ended(known: &Known<'_>) -> Option<Told> {
    let left = left_behind(known);
    let last = known.last?;
    let heard_since = known.heard.units.values().filter(|heard| heard.at >= known.since);
    let mut bound = heard_since.filter_map(|heard| in_rotation(&heard.said)).peekable();
    bound.peek()?;
    if left.is_empty() || !bound.all(|found| is_over(&found.order, last)) {
        return None;
    }
    let mut details = vec![super::quiet::end_of(last)];
    details.extend(left.iter().map(|found| sentence(found)));
    mended(known, details, &left)
}

fn is_over(order: &OrderRef, last: &RotationView) -> bool {
    last.phase.is_ended() && (order.rotation == last.rotation || order.number < last.number)
}

pub(super) fn undriven(known: &Known<'_>) -> Option<Told> {
    let left = left_behind(known);
    if left.is_empty() {
        return None;
    }
    let details = left.iter().map(|found| sentence(found)).collect();
    mended(known, details, &left)
}

/// Conditions that say of somebody that it is in a rotation, while none runs.
fn left_behind<'a>(known: &'a Known<'_>) -> Vec<&'a Unmet> {
    let is_left = |found: &&Unmet| matches!(&*found.code, "bound" | "keystore-open");
    let found = known.findings.unmet.iter().filter(is_left);
    found.filter(|_| known.running.is_none()).collect()
}

/// Only when everybody has just been heard may it be taken up: whoever is silent could have promoted.
fn mended(known: &Known<'_>, mut details: Vec<String>, left: &[&Unmet]) -> Option<Told> {
    let taken_up = left.iter().find(|found| found.mend == TAKE_UP).or(left.first())?;
    let is_recovery = taken_up.mend == TAKE_UP_RECOVERY;
    let Some(first) = silences(known).next().filter(|_| !is_recovery) else {
        return Told::act(details, taken_up.mend.clone());
    };
    details.extend(silences(known).map(sentence));
    details.push(format!("Everybody must answer first; then: {}.", taken_up.mend));
    Told::act(details, first.mend.clone())
}
