//! The two ways through an order to recover: of the unit that gets the master key, and of the recovery
//! unit that gives it.

use std::collections::BTreeMap;

use crypto::domain;
use crypto::master_key::MasterKey;
use crypto::transfer::TransferPurpose;
use machines::unit::state::UnitState;
use protocol::certificate::Certificate;
use protocol::codec;
use protocol::command::{SignedOffer, SignedTransfer, Step, Transfer};
use protocol::order::Purpose;

use super::evidence::{Evidence, manifests, surveyed};
use super::places::{At, Which, number_of};
use super::story::{Plot, Story, put, unit_of};
use super::table::Kind;
use crate::sealing;
use crate::world::{OP_1, OP_2, REC_1, REC_2, Run, World, identity, unit_id};

/// Target and source, where this unit is the one or the other.
pub fn pair(unit: usize, plot: Plot) -> (usize, usize) {
    match plot {
        Plot::Giving => (OP_1, unit),
        _ => (unit, if unit == REC_1 { REC_2 } else { REC_1 }),
    }
}

/// An order to recover, from the master key that the source holds.
pub fn order(world: &World, (target, source): (usize, usize), which: Which) -> Run {
    let purpose = Purpose::Recover { target: unit_id(target), source: unit_id(source) };
    let mut order = world.order(purpose, number_of(which));
    order.generator = unit_id(source);
    order.from = world.units[source].state().registers().current;
    if which == Which::OtherDigest {
        order.expires_at = order.expires_at.plus_ms(1);
    }
    world.signed(order)
}

impl Story {
    /// A unit's way through an order to recover.
    pub fn of_recovery(kind: Kind, plot: Plot) -> Self {
        let unit = unit_of(kind);
        let mut world = World::initialised();
        let (target, source) = pair(unit, plot);
        world.restart_with(target, |state: &mut UnitState| {
            (state.current, state.rotation) = (None, None);
        });
        let older = surveyed(&mut world, unit);
        let orders: BTreeMap<_, _> = Which::ALL
            .iter()
            .map(|which| (*which, order(&world, which_pair(unit, plot, *which), *which)))
            .collect();
        let run = orders[&Which::This].clone();
        let foreign_offer = offer_in(&mut world, target, &orders[&Which::Higher]);
        for each in [target, source] {
            let answer = world.inspect(each, &run);
            assert_eq!(answer.code(), "taken", "{}", answer.text());
        }
        let mut saved = BTreeMap::new();
        let (bound, ended) = match plot {
            Plot::Giving => (At::GivingBound, At::Given),
            _ => (At::RecoverBound, At::Recovered),
        };
        saved.insert(bound, world.state_bytes(unit));
        let offers = vec![world.offer(target)];
        let sealed = world.step(source, &run, Step::Generate { offers: offers.clone() });
        let transfer = sealed.transfers.unwrap().transfers.remove(0);
        let step = Step::Install { transfer: transfer.clone() };
        assert_eq!(world.step(target, &run, step).code(), "taken");
        let envelopes = vec![surveyed(&mut world, target)];
        let recovered = Certificate { envelopes, manifests: Vec::new() };
        let step = Step::Clear { certificate: recovered.clone() };
        assert_eq!(world.step(source, &run, step).code(), "taken");
        saved.insert(ended, world.state_bytes(unit));
        let (next, amends, removes) = manifests(&mut world, &run, unit);
        let committed = world.unit_certificate();
        let evidence = Evidence {
            transfer_other: other_key(&mut world, &run, (target, source), &offers[0]),
            transfer_for_other: for_other(&transfer, source),
            offers,
            foreign_offer,
            transfer,
            committed_lacking: Certificate {
                envelopes: committed.envelopes[1..].to_vec(),
                manifests: Vec::new(),
            },
            committed,
            recovered,
            older,
            newest: surveyed(&mut world, unit),
            newest_of_other: surveyed(&mut world, if unit == OP_2 { OP_1 } else { OP_2 }),
            next,
            amends,
            removes,
        };
        Self { world, unit, saved, orders, evidence }
    }
}

/// In the order that is asked for beside all others the unit itself is the target.
fn which_pair(unit: usize, plot: Plot, which: Which) -> (usize, usize) {
    match which {
        Which::Recover => pair(unit, Plot::Recovering),
        _ => pair(unit, plot),
    }
}

fn offer_in(world: &mut World, target: usize, run: &Run) -> SignedOffer {
    let before = world.state_bytes(target);
    assert_eq!(world.inspect(target, run).code(), "taken");
    let offer = world.offer(target);
    put(world, target, &before);
    offer
}

/// Right in everything, but of another master key.
fn other_key(
    world: &mut World,
    run: &Run,
    (target, source): (usize, usize),
    offer: &SignedOffer,
) -> SignedTransfer {
    let key = MasterKey::generate(&mut world.rng);
    let info = sealing::info(run, TransferPurpose::Recover, (source, target), key.pattern());
    let transfer = sealing::sealed(world, &key, offer, &info);
    signed(source, &transfer)
}

fn for_other(transfer: &SignedTransfer, source: usize) -> SignedTransfer {
    let mut transfer: Transfer = codec::decode(&transfer.bytes).unwrap();
    transfer.recipient = unit_id(OP_2);
    signed(source, &transfer)
}

fn signed(source: usize, transfer: &Transfer) -> SignedTransfer {
    sealing::signed(&identity(source as u8), domain::RECOVER_TRANSFER, transfer)
}
