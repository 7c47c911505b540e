//! Rotations that nobody drives, that some have not heard the end of, or that ended both ways.

use std::collections::BTreeMap;

use protocol::api::{RotationView, Unmet};
use protocol::keystore::KeystoreStanding;
use protocol::manifest::{Manifest, Member};
use protocol::order::OrderRef;
use protocol::report::Standing;
use protocol::{OrderNumber, Role, RotationId};

use super::rotating::silences;
use super::words::sentence;
use super::{Known, Told};
use crate::rotation::precheck::units::{in_rotation, recovery, restore, shown};
use crate::rotation::precheck::{TAKE_UP, TAKE_UP_RECOVERY};

/// Who ended an order, by how they did.
#[derive(Default)]
struct Sides<'a> {
    aborted: Vec<&'a Member>,
    promoted: Vec<&'a Member>,
}

/// Both standings are for good, so what was heard before counts too.
pub(super) fn mixed_end(known: &Known<'_>) -> Option<Told> {
    let manifest = known.manifest?;
    let mut orders: BTreeMap<(OrderNumber, RotationId), Sides<'_>> = BTreeMap::new();
    for member in manifest.crypto_units() {
        let Some(heard) = known.heard.units.get(&member.id) else { continue };
        let Some(found) = &heard.said.rotation else { continue };
        // One of the two units of an order to recover does without the other.
        if recovery(found).is_some() {
            continue;
        }
        let OrderRef { number, rotation, .. } = found.order;
        let sides = orders.entry((number, rotation)).or_default();
        match found.standing {
            Standing::Aborted => sides.aborted.push(member),
            Standing::Promoted | Standing::Cleared => sides.promoted.push(member),
            Standing::Bound => {}
        }
    }
    let decided = known.running.as_ref().filter(|running| running.view.is_decided);
    // Who has taken another order before the flip never promotes the one that runs.
    let goes_on = known.running.as_ref().filter(|running| running.ends_because.is_none());
    if let Some(running) = goes_on.filter(|running| running.is_before_flip) {
        let order = &running.order;
        for member in manifest.crypto_units() {
            let heard = known.heard.units.get(&member.id);
            if heard.is_some_and(|heard| heard.said.has_spent(order)) {
                let key = (order.number, order.rotation);
                orders.entry(key).or_default().aborted.push(member);
            }
        }
    }
    let is_mixed = |rotation: RotationId, sides: &Sides<'_>| {
        let goes_on = decided.is_some_and(|running| running.view.rotation == rotation);
        !sides.aborted.is_empty() && (goes_on || !sides.promoted.is_empty())
    };
    let mut newest_first = orders.into_iter().rev();
    let ((_, rotation), sides) = newest_first.find(|((_, id), sides)| is_mixed(*id, sides))?;
    let mut details =
        vec![format!("Rotation {rotation} was aborted in {}.", names(&sides.aborted))];
    if has_flipped(known, rotation) && !can_go(&sides.aborted, manifest) {
        details.push(
            "The key storage is under the new master key, which they do not hold.".to_owned(),
        );
        details.push(
            "They cannot be spared: nothing goes on before their newest data is back.".to_owned(),
        );
        return Told::act(details, restore(sides.aborted.first()?));
    }
    let is_one_sided = sides.promoted.is_empty();
    let (goes, stays) = match is_one_sided || !can_go(&sides.promoted, manifest) {
        true if is_one_sided || can_go(&sides.aborted, manifest) => {
            (&sides.aborted, &sides.promoted)
        }
        _ => (&sides.promoted, &sides.aborted),
    };
    if is_one_sided && !can_go(goes, manifest) {
        details.push("It is decided, and nobody has promoted it yet.".to_owned());
        details.push(
            "They cannot be spared. Administrators sign the manifest once more, without a change: \
             then it is aborted in all."
                .to_owned(),
        );
        return Told::act(details, "keyhelm cryptounit-retire --nobody".to_owned());
    }
    if is_one_sided {
        details.push("It is decided, and nobody has promoted it yet.".to_owned());
        let goes = names(goes);
        details.push(format!(
            "Administrators sign {goes} out of the instance: then it goes forward without it."
        ));
    } else {
        details.push(format!("It was promoted in {}.", names(&sides.promoted)));
        details.push(format!(
            "Administrators sign one side out of the instance: {} can go, {} stay.",
            names(goes),
            names(stays)
        ));
    }
    let whom: Vec<_> = goes.iter().map(|member| shown(member, manifest)).collect();
    Told::act(details, format!("keyhelm cryptounit-retire {}", whom.join(" ")))
}

/// Whether a keystore has flipped in this rotation: all had promoted, and who has aborted was set back.
fn has_flipped(known: &Known<'_>, rotation: RotationId) -> bool {
    let rows = known.heard.keystores.values().filter_map(|heard| heard.said.row.as_ref());
    rows.filter_map(|row| row.rotation.as_ref()).any(|found| {
        found.rotation == rotation && found.standing.has_reached(KeystoreStanding::Switched)
    })
}

/// Whether the instance still has a unit of either role without them.
fn can_go(side: &[&Member], manifest: &Manifest) -> bool {
    let is_left = |role| manifest.of_role(role).any(|member| !side.contains(&member));
    is_left(Role::RecoveryUnit) && is_left(Role::OperationalUnit)
}

fn names(members: &[&Member]) -> String {
    members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ")
}

pub(super) fn order_ended(known: &Known<'_>) -> Option<Told> {
    let left = left_behind(known);
    let last = known.last?;
    let answered = known.heard.units.values().filter(|heard| heard.at >= known.since);
    let mut bound = answered.filter_map(|heard| in_rotation(&heard.said)).peekable();
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
