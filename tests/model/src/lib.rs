//! Every state that 2 or 3 units and a keystore can get into under a coordinator that may send
//! anything: the shipped machines, with real signatures and keys, explored whole by `stateright`.
//!
//! The rogue holds the coordinator's identity and a standing order, so that it writes orders itself;
//! it sends every command and step in any order, with every choice of the reports that it has seen as
//! a certificate. A unit may crash between its save and its answer, and its volume may be brought back
//! as it was at any earlier save. Bounds are the numbers of orders, crashes and volumes brought back;
//! depth has none. Time stands still, and no unit joins: holds and joining are the simulation's.

mod founding;
mod model;
mod properties;
mod state;
mod stores;
mod units;

use std::collections::BTreeSet;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

pub use founding::OrderKey;
pub use model::{Bounds, Without, World};
pub use state::{Act, Seen, SetBack, State, UnitNow};
pub use stores::StoreAsk;
pub use units::Ask;

/// What a search came to.
#[derive(Clone, Debug)]
pub struct Found {
    /// Different states.
    pub states: usize,
    /// Steps tried.
    pub steps: usize,
    /// Length of the longest path that was needed.
    pub depth: usize,
    /// Whether every state within the bounds was looked at.
    pub is_complete: bool,
    /// Properties that do not hold, each with the acts that lead to where it does not.
    pub broken: Vec<(&'static str, Vec<String>)>,
    /// What must be reachable and is not.
    pub unreached: Vec<&'static str>,
}

/// Looks at every state within the bounds, or until a property does not hold.
pub fn search(bounds: Bounds, without: Option<Without>, threads: usize) -> Found {
    let world = World::new(bounds, without);
    let properties = world.properties();
    let of = |wanted: Expectation| -> BTreeSet<&'static str> {
        let found = properties.iter().filter(|it| it.expectation == wanted);
        found.map(|property| property.name).collect()
    };
    let (always, sometimes) = (of(Expectation::Always), of(Expectation::Sometimes));
    let first = HasDiscoveries::AnyOf(always.clone());
    let checker = world.checker().threads(threads).finish_when(first).spawn_bfs().join();
    let found = checker.discoveries();
    let broken: Vec<_> = found
        .iter()
        .filter(|(name, _)| always.contains(*name))
        .map(|(name, path)| {
            let acts = path.clone().into_actions().into_iter();
            (*name, acts.map(|act| format!("{act:?}")).collect())
        })
        .collect();
    Found {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        is_complete: checker.is_done() && broken.is_empty(),
        unreached: sometimes.into_iter().filter(|name| !found.contains_key(name)).collect(),
        broken,
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let complete = if self.is_complete { "yes" } else { "no" };
        let Self { states, steps, depth, broken, unreached, .. } = self;
        writeln!(f, "states: {states}, steps: {steps}, depth: {depth}, complete: {complete}")?;
        for (name, acts) in broken {
            writeln!(f, "does not hold: {name}")?;
            acts.iter().try_for_each(|act| writeln!(f, "    {act}"))?;
        }
        unreached.iter().try_for_each(|name| writeln!(f, "is never reached: {name}"))
    }
}
