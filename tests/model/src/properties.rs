//! What must hold in every state (section 8 of the design), and what must be reachable, so that
//! nothing holds only because nothing happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use machines::certificate::{Reached, reached};
use protocol::keystore::KeystoreStanding;
use protocol::report::Standing;
use protocol::{Digest, Pattern};
use stateright::Property;

use crate::model::{Without, World};
use crate::state::{State, UnitNow};
use crate::stores::{order_of, standing_of};
use crate::units::Saved;

/// Every property.
pub(crate) fn all() -> Vec<Property<World>> {
    vec![
        Property::always("every key opens in every unit that serves", every_key_opens),
        Property::always("no flip before every unit has promoted", flip_after_promote),
        Property::always("no clear before the flip was read back", clear_after_flip),
        Property::always("no drop before every unit has cleared", drop_after_clear),
        Property::always("no promote before every unit has committed", promote_after_commit),
        Property::always("at most one key is drawn for an order", one_key_per_order),
        Property::always("no unit both aborts and promotes an order", one_end),
        Property::sometimes("a rotation ends well", ends_well),
        Property::sometimes("a rotation is aborted by everybody", all_aborted),
        Property::sometimes("one has aborted what another has promoted", mixed_end),
    ]
}

/// Whoever was set back serves nothing until it is as far again.
fn counts(world: &World, unit: &UnitNow) -> bool {
    unit.set_back.is_none() || world.without == Some(Without::SetBackExempt)
}

fn counting<'a>(world: &'a World, state: &'a State) -> impl Iterator<Item = Arc<Saved>> + 'a {
    state.units.iter().filter(|unit| counts(world, unit)).map(|unit| world.saved(unit))
}

fn every_key_opens(world: &World, state: &State) -> bool {
    let counting = state.units.iter().filter(|unit| counts(world, unit));
    counting.into_iter().all(|unit| world.stores.opens(&world.units, unit.saved, state.store))
}

/// Whether every unit stands so in the keystore's order, or has taken a later one since.
fn all_stand(world: &World, state: &State, needed: Standing) -> bool {
    let kept = world.kept(state);
    let Some(order) = order_of(&kept.store) else { return true };
    counting(world, state).all(|saved| {
        let Some(rotation) = &saved.report.rotation else { return false };
        match rotation.order == order {
            true => rotation.standing != Standing::Aborted && rotation.standing >= needed,
            false => rotation.order.number > order.number,
        }
    })
}

/// The first rotation of a keystore is none of the units' in this world.
fn is_at(world: &World, state: &State, wanted: &[KeystoreStanding]) -> bool {
    let store = &world.kept(state).store;
    let is_first = order_of(store).is_some_and(|order| order.number.number < 2);
    !is_first && standing_of(store).is_some_and(|standing| wanted.contains(&standing))
}

fn flip_after_promote(world: &World, state: &State) -> bool {
    let flipped =
        [KeystoreStanding::Switched, KeystoreStanding::Flipped, KeystoreStanding::Dropped];
    !is_at(world, state, &flipped) || all_stand(world, state, Standing::Promoted)
}

fn drop_after_clear(world: &World, state: &State) -> bool {
    !is_at(world, state, &[KeystoreStanding::Dropped]) || all_stand(world, state, Standing::Cleared)
}

fn clear_after_flip(world: &World, state: &State) -> bool {
    let kept = world.kept(state);
    let order = order_of(&kept.store);
    let standing = standing_of(&kept.store);
    let is_flipped =
        matches!(standing, Some(KeystoreStanding::Flipped | KeystoreStanding::Dropped));
    let cleared = counting(world, state).filter(|it| it.standing() == Some(Standing::Cleared));
    cleared.into_iter().all(|saved| {
        let own = saved.report.rotation.as_ref().map(|rotation| rotation.order);
        let is_later = order.zip(own).is_some_and(|(order, own)| order.number > own.number);
        is_later || (own == order && is_flipped)
    })
}

/// Everything that a unit is known to have saved.
fn history<'a>(
    world: &'a World,
    state: &'a State,
    unit: usize,
) -> impl Iterator<Item = Arc<Saved>> + 'a {
    let now = std::iter::once(&state.units[unit].saved);
    now.chain(&state.seen.reports[unit]).map(|id| world.units.saved(*id))
}

fn promote_after_commit(world: &World, state: &State) -> bool {
    counting(world, state).all(|saved| {
        let Some(rotation) = &saved.report.rotation else { return true };
        if !matches!(rotation.standing, Standing::Promoted | Standing::Cleared) {
            return true;
        }
        (0..state.units.len()).all(|other| {
            history(world, state, other).any(|seen| {
                let far = reached(&seen.report, &rotation.order);
                far.is_some_and(|(far, _)| far >= Reached::Committed)
            })
        })
    })
}

/// A generator that was set back and not reminded cannot know that it has drawn a key.
fn one_key_per_order(world: &World, state: &State) -> bool {
    let mut drawn: BTreeMap<Digest, BTreeSet<Pattern>> = BTreeMap::new();
    if state.units[0].lives > 0 {
        return true;
    }
    for unit in 0..state.units.len() {
        for saved in history(world, state, unit) {
            let order = saved.report.rotation.as_ref().map(|rotation| rotation.order.digest);
            if let Some((order, pattern)) = order.zip(saved.pattern_in_order()) {
                drawn.entry(order).or_default().insert(pattern);
            }
        }
    }
    drawn.values().all(|patterns| patterns.len() == 1)
}

fn one_end(world: &World, state: &State) -> bool {
    (0..state.units.len()).filter(|unit| state.units[*unit].lives == 0).all(|unit| {
        let stood = |wanted: fn(Standing) -> bool| -> BTreeSet<Digest> {
            let all = history(world, state, unit);
            let found = all.filter_map(|saved| {
                let rotation = saved.report.rotation.as_ref()?;
                wanted(rotation.standing).then_some(rotation.order.digest)
            });
            found.collect()
        };
        let aborted = stood(|standing| standing == Standing::Aborted);
        let promoted = stood(|standing| matches!(standing, Standing::Promoted | Standing::Cleared));
        aborted.is_disjoint(&promoted)
    })
}

fn ends_well(world: &World, state: &State) -> bool {
    is_at(world, state, &[KeystoreStanding::Dropped])
        && counting(world, state).all(|saved| saved.standing() == Some(Standing::Cleared))
}

fn all_aborted(world: &World, state: &State) -> bool {
    is_at(world, state, &[KeystoreStanding::Aborted])
        && counting(world, state).all(|saved| saved.standing() == Some(Standing::Aborted))
}

fn mixed_end(world: &World, state: &State) -> bool {
    let standings: Vec<_> = counting(world, state)
        .filter_map(|saved| saved.report.rotation.as_ref().map(|it| (it.order, it.standing)))
        .collect();
    let any = |wanted: Standing| standings.iter().find(|(_, standing)| *standing == wanted);
    let both = any(Standing::Aborted).zip(any(Standing::Promoted));
    both.is_some_and(|((aborted, _), (promoted, _))| aborted == promoted)
}
