//! How each state is reached: one unit is followed through a whole rotation, its saved bytes are put
//! aside at each state, and so is everything that was said.

use std::collections::BTreeMap;

use crypto::domain;
use machines::unit::Unit;
use machines::unit::state::UnitState;
use protocol::certificate::Certificate;
use protocol::codec;
use protocol::command::{Command, Step};
use protocol::keystore::KeystoreStanding;
use protocol::manifest::SignedManifest;
use protocol::order::{Authority, Hold, HoldEnd, Order, Purpose, SignedHoldEnd, SignedOrder};
use protocol::{Pattern, UnixMillis};

use super::evidence::{
    Evidence, at_of, flipped, foreign_offer, manifests, other_copy, sealed_to, surveyed,
};
use super::places::{At, Which, number_of};
use super::recovering;
use super::table::Kind;
use crate::world::{
    ALL, NOW, OP_1, OP_2, OTHERS, REC_1, REC_2, Run, World, config, identity, signatures, unit_id,
};

const HOLD_S: u32 = 60;
/// When no hold has ended, and when one that began then has.
pub const IN_HOLD: UnixMillis = NOW.plus_ms(1);
pub const AFTER_HOLD: UnixMillis = NOW.plus_ms(HOLD_S as u64 * 1000);

/// What kind of rotation a story is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Plot {
    Plain,
    WithHolds,
    /// The unit joins.
    Joining,
    /// An order to recover: the unit gets the master key.
    Recovering,
    /// An order to recover: the unit gives it.
    Giving,
}

/// A unit's way through one rotation.
pub struct Story {
    pub world: World,
    pub unit: usize,
    pub saved: BTreeMap<At, Vec<u8>>,
    pub orders: BTreeMap<Which, Run>,
    pub evidence: Evidence,
}

pub const fn unit_of(kind: Kind) -> usize {
    match kind {
        Kind::Operational => OP_1,
        Kind::Generator => REC_1,
        Kind::OtherRecovery => REC_2,
    }
}

/// Puts a saved state into the unit's process.
pub fn put(world: &mut World, unit: usize, state: &[u8]) {
    let state = UnitState::from_bytes(state).unwrap();
    world.units[unit] = Unit::new(config(unit), identity(unit as u8), state);
}

impl Story {
    pub fn told(kind: Kind, plot: Plot) -> Self {
        if matches!(plot, Plot::Recovering | Plot::Giving) {
            return Self::of_recovery(kind, plot);
        }
        let unit = unit_of(kind);
        let mut world = World::initialised();
        let mut saved = BTreeMap::new();
        let imprint = UnitState::imprint(world.instance).to_bytes().to_vec();
        saved.insert(At::Imprint, imprint);
        saved.insert(At::Settled, world.state_bytes(unit));
        let from = world.units[unit].state().registers().current;
        if plot == Plot::Joining {
            // As one that was made after the others had their master key.
            world.restart_with(unit, |state| (state.current, state.rotation) = (None, None));
            saved.remove(&At::Settled);
            saved.insert(At::Enrolled, world.state_bytes(unit));
        }
        let older = surveyed(&mut world, unit);
        let order = |world: &World, which: Which, from: Option<Pattern>| {
            let mut order = Order { from, ..world.order(Purpose::Rotate, number_of(which)) };
            match plot {
                Plot::Plain => {}
                Plot::WithHolds => {
                    (order.hold_after_commit_s, order.hold_before_clear_s) = (HOLD_S, HOLD_S);
                }
                Plot::Joining => order.joining = vec![unit_id(unit)],
                Plot::Recovering | Plot::Giving => unreachable!("another story"),
            }
            if which == Which::OtherDigest {
                order.expires_at = order.expires_at.plus_ms(1);
            }
            world.signed(order)
        };
        let mut orders: BTreeMap<_, _> = [Which::Lower, Which::Higher, Which::OtherDigest]
            .map(|which| (which, order(&world, which, from)))
            .into();
        let recover = recovering::order(&world, recovering::pair(unit, plot), Which::Recover);
        orders.insert(Which::Recover, recover);
        let foreign_offer = foreign_offer(&mut world, unit, orders.get(&Which::Higher).unwrap());

        let mut run = order(&world, Which::This, from);
        for each in ALL {
            assert_eq!(world.inspect(each, &run).code(), "taken");
        }
        keep(&mut saved, &world, unit, plot, At::Bound, At::JoiningBound);
        let offers: Vec<_> = ALL.map(|each| world.offer(each)).into();
        draw(&mut world, &mut run, kind, &mut saved, plot);
        let transfer = sealed_to(&mut world, &run, unit);
        for each in ALL.into_iter().filter(|each| *each != REC_1) {
            assert_eq!(world.install(each, &run).code(), "taken");
        }
        keep(&mut saved, &world, unit, plot, At::Uncommitted, At::JoiningUncommitted);
        for each in ALL {
            assert_eq!(world.step(each, &run, Step::Commit { pattern: run.to }).code(), "taken");
        }
        let committed = world.unit_certificate();
        orders.insert(Which::Next, order(&world, Which::Next, Some(run.to)));
        let (next, amends, removes) = manifests(&mut world, &run, unit);
        ends(&mut world, &run, unit, plot, &mut saved, &removes);
        let newest = surveyed(&mut world, unit);
        let other = if unit == OP_2 { OP_1 } else { OP_2 };
        let evidence = Evidence {
            offers: ALL.into_iter().filter(|it| *it != unit).map(|it| offers[it].clone()).collect(),
            foreign_offer,
            transfer_other: other_copy(&mut world, &run, unit, &offers[unit]),
            transfer: transfer.unwrap_or_else(|| run.transfers[at_of(unit)].clone()),
            transfer_for_other: run.transfers[at_of(other)].clone(),
            committed_lacking: Certificate {
                envelopes: committed.envelopes[1..].to_vec(),
                manifests: Vec::new(),
            },
            committed,
            recovered: Certificate {
                envelopes: vec![surveyed(&mut world, unit)],
                manifests: Vec::new(),
            },
            older,
            newest,
            newest_of_other: surveyed(&mut world, other),
            next,
            amends,
            removes,
        };
        orders.insert(Which::This, run);
        Self { world, unit, saved, orders, evidence }
    }

    pub fn run(&self, which: Which) -> &Run {
        &self.orders[&which]
    }

    /// An order with one signature of two.
    pub fn unsigned(&self, which: Which) -> SignedOrder {
        let mut signed = self.run(which).signed.clone();
        match &mut signed.authority {
            Authority::Quorum(given) => given.truncate(1),
            Authority::Standing { .. } => panic!("no order here is of a standing one"),
        }
        signed
    }

    pub fn hold_end(&self, which: Which, hold: Hold, signers: usize) -> SignedHoldEnd {
        let run = self.run(which);
        let (rotation, number) = (run.reference.rotation, run.reference.number);
        let statement = HoldEnd { instance: run.order.instance, rotation, number, hold };
        let bytes = codec::encode(&statement);
        let mut signatures = signatures(domain::HOLD_END, &bytes);
        signatures.truncate(signers);
        SignedHoldEnd { bytes, signatures }
    }

    /// *Flipped* as the reencryptor signs it.
    pub fn flipped(
        &mut self,
        standing: KeystoreStanding,
        id: u8,
        named: Option<u64>,
    ) -> Certificate {
        let run = self.orders[&Which::This].clone();
        flipped(&mut self.world, &run, standing, id, (self.unit, named))
    }
}

fn keep(
    saved: &mut BTreeMap<At, Vec<u8>>,
    world: &World,
    unit: usize,
    plot: Plot,
    at: At,
    joining: At,
) {
    let at = if plot == Plot::Joining { joining } else { at };
    saved.insert(at, world.state_bytes(unit));
}

/// The generator draws, and seals to the others.
fn draw(
    world: &mut World,
    run: &mut Run,
    kind: Kind,
    saved: &mut BTreeMap<At, Vec<u8>>,
    plot: Plot,
) {
    let offers = OTHERS.map(|unit| world.offer(unit)).into();
    let answer = world.step(REC_1, run, Step::Generate { offers });
    run.transfers = answer.transfers.unwrap().transfers;
    run.to = answer.report.registers.new.unwrap().pattern;
    if kind == Kind::Generator {
        keep(saved, world, REC_1, plot, At::Uncommitted, At::JoiningUncommitted);
    }
}

/// From committed to every end.
fn ends(
    world: &mut World,
    run: &Run,
    unit: usize,
    plot: Plot,
    saved: &mut BTreeMap<At, Vec<u8>>,
    removes: &SignedManifest,
) {
    let committed = world.state_bytes(unit);
    let abort = Command::Abort { order: run.signed.clone() };
    assert_eq!(world.command(unit, abort).code(), "taken");
    keep(saved, world, unit, plot, At::Aborted, At::JoiningAborted);
    put(world, unit, &committed);
    let chain = vec![removes.clone()];
    assert_eq!(world.command(unit, Command::TakeManifest { chain }).code(), "taken");
    saved.insert(At::Removed, world.state_bytes(unit));
    put(world, unit, &committed);
    match plot {
        Plot::Recovering | Plot::Giving => unreachable!("another story"),
        Plot::Plain | Plot::Joining => {
            keep(saved, world, unit, plot, At::Committed, At::JoiningCommitted);
        }
        Plot::WithHolds => {
            saved.insert(At::HoldAfterCommit, committed.clone());
            saved.insert(At::HoldAfterCommitOver, committed);
            world.now = AFTER_HOLD;
        }
    }
    for each in ALL {
        let answer = world.promote(each, run);
        assert_eq!(answer.code(), "taken", "{}", answer.text());
    }
    world.now = NOW;
    let clear = |world: &mut World, named| {
        let standing = KeystoreStanding::Flipped;
        let certificate = flipped(world, run, standing, 5, (unit, named));
        let answer = world.step(unit, run, Step::Clear { certificate });
        assert_eq!(answer.code(), "taken", "{}", answer.text());
        answer.report.rotation.unwrap().hold_end_nonce
    };
    if plot == Plot::WithHolds {
        saved.insert(At::PromotedWithHold, world.state_bytes(unit));
        clear(world, None);
        saved.insert(At::HoldBeforeClear, world.state_bytes(unit));
        saved.insert(At::HoldBeforeClearOver, world.state_bytes(unit));
        world.now = AFTER_HOLD;
        let end = clear(world, None);
        saved.insert(At::HoldEndSaved, world.state_bytes(unit));
        clear(world, end);
    } else {
        keep(saved, world, unit, plot, At::Promoted, At::JoiningPromoted);
        clear(world, None);
    }
    saved.insert(At::Cleared, world.state_bytes(unit));
    world.now = NOW;
}
