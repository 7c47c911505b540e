//! Rotations that some crypto units have aborted and others have promoted, or that are decided: who can go.

use std::collections::BTreeMap;

use protocol::keystore::KeystoreStanding;
use protocol::manifest::{Manifest, Member};
use protocol::order::OrderRef;
use protocol::report::Standing;
use protocol::{OrderNumber, Role, RotationId};

use super::rotating::silences;
use super::{Known, Told};
use crate::rotation::precheck::units::{recovery, restore, shown};

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
    let flipped = has_flipped(known, manifest, rotation);
    let can_spare_aborted = can_go(&sides.aborted, manifest);
    let is_one_sided = sides.promoted.is_empty();
    match flipped {
        Some(true) => details.push(
            "The key storage is under the new master key, which they do not hold.".to_owned(),
        ),
        _ if is_one_sided => {
            details.push("It is decided, and nobody has promoted it yet.".to_owned())
        }
        _ => details.push(format!("It was promoted in {}.", names(&sides.promoted))),
    }
    if !can_spare_aborted && (flipped != Some(false) || is_one_sided) {
        return without_anybody(known, &sides, flipped, details);
    }
    // Only where it is certain that nothing is under the new master key may those go who hold it.
    let promoted_go = !is_one_sided && flipped == Some(false) && can_go(&sides.promoted, manifest);
    let (goes, stays) = match promoted_go || !can_spare_aborted {
        true => (&sides.promoted, &sides.aborted),
        false => (&sides.aborted, &sides.promoted),
    };
    let gone = names(goes);
    details.push(match is_one_sided {
        true => format!(
            "Administrators sign {gone} out of the instance: then it goes forward without it."
        ),
        false => format!(
            "Administrators sign one side out of the instance: {gone} can go, {} stay.",
            names(stays)
        ),
    });
    let whom: Vec<_> = goes.iter().map(|member| shown(member, manifest)).collect();
    Told::act(details, format!("keyhelm cryptounit-retire {}", whom.join(" ")))
}

/// Those that have aborted cannot be spared, and neither may those that have promoted go.
fn without_anybody(
    known: &Known<'_>,
    sides: &Sides<'_>,
    flipped: Option<bool>,
    mut details: Vec<String>,
) -> Option<Told> {
    let next = match flipped {
        Some(true) => {
            let text = "They cannot be spared: nothing goes on before their newest data is back.";
            details.push(text.to_owned());
            restore(sides.aborted.first()?)
        }
        Some(false) => {
            let text = "They cannot be spared. Administrators sign the manifest once more, without \
                        a change: then it is aborted in all.";
            details.push(text.to_owned());
            "keyhelm cryptounit-retire --nobody".to_owned()
        }
        None => {
            let text = "Whether the key storage is under the new master key, only its reencryptor \
                        knows.";
            details.push(text.to_owned());
            silences(known).find(|found| found.code == "keystore-silent")?.mend.clone()
        }
    };
    Told::act(details, next)
}

/// Whether a keystore has flipped in this rotation: all had promoted, and who has aborted was set back.
/// Not known where one has not been heard.
fn has_flipped(known: &Known<'_>, manifest: &Manifest, rotation: RotationId) -> Option<bool> {
    let rows = || known.heard.keystores.values().filter_map(|heard| heard.said.row.as_ref());
    let mut rotations = rows().filter_map(|row| row.rotation.as_ref());
    let is_flipped = rotations.any(|found| {
        found.rotation == rotation && found.standing.has_reached(KeystoreStanding::Switched)
    });
    let is_heard = |keystore| rows().any(|row| row.keystore == keystore);
    let all_heard = manifest.keystores.iter().all(|keystore| is_heard(*keystore));
    if is_flipped || all_heard { Some(is_flipped) } else { None }
}

/// Whether the instance still has a unit of either role without them.
fn can_go(side: &[&Member], manifest: &Manifest) -> bool {
    let is_left = |role| manifest.of_role(role).any(|member| !side.contains(&member));
    is_left(Role::RecoveryUnit) && is_left(Role::OperationalUnit)
}

fn names(members: &[&Member]) -> String {
    members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ")
}
