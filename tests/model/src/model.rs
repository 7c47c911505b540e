//! Which acts there are in a state, and what comes of each.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, RwLock};

use protocol::keystore::KeystoreStanding;
use protocol::report::Standing;
use protocol::{Pattern, Role};
use stateright::{Model, Property};

use crate::founding::{Founding, OrderKey};
use crate::properties;
use crate::state::{Act, Seen, SetBack, State, UnitNow};
use crate::stores::{Kept, StoreAsk, Stores, standing_of};
use crate::units::{Ask, Came, Id, Saved, Units, hash_of, read, write};

/// How far the world goes. Depth has no bound of its own.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// One recovery unit, the others operational.
    pub units: usize,
    /// The rogue writes orders of so many numbers.
    pub orders: u64,
    /// Each of them from any pattern that it has seen, or from the first one only.
    pub from_any: bool,
    /// Most generations that the keystore opens: after an abort of the keystore alone it opens another.
    pub generations: u32,
    /// Most crashes between a save and its answer.
    pub crashes: u8,
    /// How often a unit is set back at most.
    pub set_backs: u8,
}

/// A rule that a run may take out, to show that a property fails without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// A unit saves before it answers.
    SaveBeforeAnswer,
    /// A flip needs its certificate.
    FlipCertificate,
    /// A unit that was set back counts for nothing until it is as far again.
    SetBackExempt,
}

/// The world, and everything that has been found out about its parts.
#[derive(Debug)]
pub struct World {
    pub(crate) bounds: Bounds,
    pub(crate) without: Option<Without>,
    pub(crate) founding: Founding,
    pub(crate) units: Units,
    pub(crate) stores: Stores,
    sends: RwLock<HashMap<Id, Arc<Vec<Ask>>>>,
}

impl World {
    /// A new one.
    pub fn new(bounds: Bounds, without: Option<Without>) -> Self {
        Self {
            bounds,
            without,
            founding: Founding::of(bounds.units),
            units: Units::new(),
            stores: Stores::new(without != Some(Without::FlipCertificate)),
            sends: RwLock::default(),
        }
    }

    pub(crate) fn saved(&self, unit: &UnitNow) -> Arc<Saved> {
        self.units.saved(unit.saved)
    }

    pub(crate) fn kept(&self, state: &State) -> Arc<Kept> {
        self.stores.kept(state.store)
    }

    fn asked(&self, state: &State, unit: usize, ask: &Ask) -> Came {
        let now = &state.units[unit];
        let asked = (unit, now.saved, now.lives, ask.clone());
        let flipped = |id| self.stores.kept(id).envelope.clone();
        self.units.ask(&self.founding, asked, flipped)
    }

    /// Patterns that the rogue has seen.
    fn patterns(&self, seen: &Seen) -> BTreeSet<Pattern> {
        let reports = seen.reports.iter().flatten();
        reports
            .flat_map(|id| self.units.saved(*id).report.registers.patterns().collect::<Vec<_>>())
            .collect()
    }

    /// Orders that the rogue can write.
    fn orders(&self, seen: &Seen) -> Vec<OrderKey> {
        let patterns = match self.bounds.from_any {
            true => self.patterns(seen),
            false => self.founding.first_state().registers().current.into_iter().collect(),
        };
        let numbers = 2..2 + self.bounds.orders;
        numbers
            .flat_map(|number| patterns.iter().map(move |from| OrderKey { number, from: *from }))
            .collect()
    }

    /// What has an effect of all that can be sent to a unit. Steps are sent for the order that it is
    /// in, and certificates to who can use one: others are refused in every state whatever they carry,
    /// which the table of `machines` shows.
    fn sends(&self, state: &State, unit: usize) -> Arc<Vec<Ask>> {
        let now = &state.units[unit];
        let name = hash_of((unit, now.saved, now.lives, &state.seen));
        if let Some(found) = read(&self.sends).get(&name) {
            return Arc::clone(found);
        }
        let saved = self.saved(now);
        let mut asks = vec![Ask::Survey];
        for order in self.orders(&state.seen) {
            asks.extend([Ask::Inspect(order), Ask::Abort(order)]);
        }
        asks.extend(state.seen.reports[unit].iter().map(|report| Ask::Remind(*report)));
        match saved.standing() {
            Some(Standing::Bound) => {
                asks.extend([Ask::Draw, Ask::Commit]);
                asks.extend(self.seals(state, unit, &saved));
                let copies = state.seen.copies.iter().copied();
                let to_it = copies.filter(|id| self.units.copy(*id).recipient == unit);
                asks.extend(to_it.map(Ask::Install));
                if saved.is_committed() {
                    asks.extend(self.certificates(&state.seen).into_iter().map(Ask::Promote));
                }
            }
            Some(Standing::Promoted) => {
                asks.extend(self.seals(state, unit, &saved));
                asks.extend(state.seen.stores.iter().map(|report| Ask::Clear(*report)));
            }
            Some(Standing::Aborted | Standing::Cleared) | None => {}
        }
        asks.retain(|ask| {
            let came = self.asked(state, unit, ask);
            came.saved != now.saved
                || !state.seen.reports[unit].contains(&now.saved)
                || came.copies.iter().any(|copy| !state.seen.copies.contains(copy))
        });
        // Whoever has not been heard since its save says the same to everything.
        let is_heard = state.seen.reports[unit].contains(&now.saved);
        asks.retain(|ask| {
            is_heard || *ask == Ask::Survey || self.asked(state, unit, ask).saved != now.saved
        });
        let found = Arc::new(asks);
        write(&self.sends).insert(name, Arc::clone(&found));
        found
    }

    /// One offer each is enough, whatever report it is in.
    fn seals(&self, state: &State, unit: usize, saved: &Saved) -> Vec<Ask> {
        if self.founding.roles[unit] != Role::RecoveryUnit || saved.pattern_in_order().is_none() {
            return Vec::new();
        }
        let mut offers = BTreeSet::new();
        let reports = state.seen.reports.iter().flatten();
        let new = |id: &&Id| self.units.saved(**id).offer_id().is_some_and(|it| offers.insert(it));
        reports.filter(new).map(|id| Ask::Seal(*id)).collect()
    }

    /// Every choice of one report of each unit out of those seen, and the same with one unit left out.
    fn certificates(&self, seen: &Seen) -> Vec<Vec<Id>> {
        let mut all: Vec<Vec<Id>> = vec![Vec::new()];
        for of_unit in &seen.reports {
            let mut longer = all.clone();
            for chosen in &all {
                longer.extend(of_unit.iter().map(|id| [chosen.as_slice(), &[*id]].concat()));
            }
            all = longer;
        }
        all.retain(|chosen| chosen.len() + 1 >= self.bounds.units);
        all
    }

    fn store_asks(&self, state: &State) -> Vec<StoreAsk> {
        let kept = self.kept(state);
        let mut asks = Vec::new();
        for order in self.orders(&state.seen) {
            asks.push(StoreAsk::Abort(order, Vec::new()));
            let reports = state.seen.reports.iter().flatten();
            asks.extend(reports.map(|report| StoreAsk::Abort(order, vec![*report])));
            // The first one is that of initialisation.
            if kept.store.row.next_number > self.bounds.generations + 1 {
                continue;
            }
            for to in self.patterns(&state.seen) {
                let certificates = self.certificates(&state.seen).into_iter();
                asks.extend(certificates.map(|reports| StoreAsk::Open(order, to, reports)));
            }
        }
        match standing_of(&kept.store) {
            Some(KeystoreStanding::Open) => {
                let units = state.units.iter().enumerate();
                asks.extend(units.map(|(unit, now)| StoreAsk::Page(unit, now.saved)));
            }
            Some(KeystoreStanding::Complete) => {
                asks.extend(self.certificates(&state.seen).into_iter().map(StoreAsk::Flip));
            }
            Some(KeystoreStanding::Switched) => asks.push(StoreAsk::ReadBack),
            Some(KeystoreStanding::Flipped) => {
                asks.extend(self.certificates(&state.seen).into_iter().map(StoreAsk::Drop));
            }
            Some(KeystoreStanding::Dropped | KeystoreStanding::Aborted) | None => {}
        }
        let ask = |ask: &StoreAsk| self.stores.ask(&self.founding, &self.units, state.store, ask);
        // Certificates that come to the same are one.
        let mut ends = BTreeSet::new();
        asks.retain(|it| {
            let came = ask(it);
            came != state.store && ends.insert(came)
        });
        asks
    }
}

impl Model for World {
    type State = State;
    type Action = Act;

    fn init_states(&self) -> Vec<State> {
        let first = self.founding.first_state();
        let unit = |unit| UnitNow {
            saved: self.units.keep(&self.founding, unit, &first),
            earlier: Vec::new(),
            lives: 0,
            set_back: None,
        };
        let units: Vec<_> = (0..self.bounds.units).map(unit).collect();
        let store = self.stores.keep(&self.founding, self.founding.first_store());
        let reports = units.iter().map(|unit| BTreeSet::from([unit.saved])).collect();
        let seen = Seen { reports, stores: BTreeSet::from([store]), copies: BTreeSet::new() };
        vec![State { units, store, seen, crashes: 0, set_backs: 0 }]
    }

    fn actions(&self, state: &State, acts: &mut Vec<Act>) {
        for (unit, now) in state.units.iter().enumerate() {
            for ask in self.sends(state, unit).iter() {
                acts.push(Act::Send(unit, ask.clone()));
                let is_saved = self.asked(state, unit, ask).saved != now.saved;
                if is_saved && state.crashes < self.bounds.crashes {
                    acts.push(Act::Crash(unit, ask.clone()));
                }
            }
            if state.set_backs < self.bounds.set_backs {
                acts.extend(now.earlier.iter().map(|id| Act::SetBack(unit, *id)));
            }
        }
        acts.extend(self.store_asks(state).into_iter().map(Act::Store));
    }

    fn next_state(&self, state: &State, act: Act) -> Option<State> {
        let mut next = state.clone();
        match act {
            Act::Send(unit, ask) => {
                let came = self.asked(state, unit, &ask);
                next.seen.reports[unit].insert(came.saved);
                next.seen.copies.extend(came.copies.iter());
                self.save(&mut next, unit, came.saved);
            }
            Act::Crash(unit, ask) => {
                let came = self.asked(state, unit, &ask);
                next.crashes += 1;
                if self.without == Some(Without::SaveBeforeAnswer) {
                    next.seen.reports[unit].insert(came.saved);
                    next.seen.copies.extend(came.copies.iter());
                } else {
                    self.save(&mut next, unit, came.saved);
                }
            }
            Act::Store(ask) => {
                next.store = self.stores.ask(&self.founding, &self.units, state.store, &ask);
                next.seen.stores.insert(next.store);
            }
            Act::SetBack(unit, earlier) => self.set_back(&mut next, unit, earlier),
        }
        if next.set_backs == self.bounds.set_backs {
            next.units.iter_mut().for_each(|unit| unit.earlier.clear());
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

impl World {
    fn save(&self, next: &mut State, unit: usize, saved: Id) {
        let now = &mut next.units[unit];
        if saved == now.saved {
            return;
        }
        now.earlier.push(std::mem::replace(&mut now.saved, saved));
        let found = self.units.saved(saved);
        if let Some(set_back) = &mut now.set_back {
            set_back.was_reminded |= found.reminded_of >= Some(set_back.from);
            let is_above = found.report.state_counter > set_back.from;
            if set_back.was_reminded && found.reminded_of.is_none() && is_above {
                now.set_back = None;
            }
        }
    }

    fn set_back(&self, next: &mut State, unit: usize, earlier: Id) {
        next.set_backs += 1;
        let now = &mut next.units[unit];
        let from = self.units.saved(now.saved).report.state_counter;
        let before = now.set_back.map_or(0, |set_back| set_back.from);
        now.set_back = Some(SetBack { from: from.max(before), was_reminded: false });
        now.lives += 1;
        let at = now.earlier.iter().position(|id| *id == earlier).unwrap_or(0);
        now.earlier.truncate(at);
        now.saved = earlier;
    }
}
