//! What justifies each ask, and what looks as if it did.

use crypto::domain;
use crypto::master_key::MasterKey;
use crypto::transfer::TransferPurpose;
use protocol::GenerationId;
use protocol::certificate::Certificate;
use protocol::command::{Command, SignedOffer, SignedTransfer, Step};
use protocol::keystore::KeystoreStanding;
use protocol::manifest::{Amendment, SignedManifest};

use super::story::put;
use crate::sealing;
use crate::world::{ALL, OP_1, OP_2, REC_1, REC_2, Run, World, identity, reencryptor, unit_id};

/// What was said, for whoever asks.
pub struct Evidence {
    pub offers: Vec<SignedOffer>,
    pub foreign_offer: SignedOffer,
    pub transfer: SignedTransfer,
    pub transfer_other: SignedTransfer,
    pub transfer_for_other: SignedTransfer,
    pub committed: Certificate,
    pub committed_lacking: Certificate,
    /// That a unit has recovered its master key by this order; nobody has where it is a rotation.
    pub recovered: Certificate,
    pub older: Vec<u8>,
    pub newest: Vec<u8>,
    pub newest_of_other: Vec<u8>,
    pub next: SignedManifest,
    pub amends: SignedManifest,
    pub removes: SignedManifest,
}

/// Where a unit's copy is among those that the generator sealed.
pub const fn at_of(unit: usize) -> usize {
    if unit < REC_1 { unit } else { REC_2 - 1 }
}

/// The generator's own copy comes from the other recovery unit.
pub fn sealed_to(world: &mut World, run: &Run, unit: usize) -> Option<SignedTransfer> {
    if unit != REC_1 {
        return None;
    }
    let before = world.state_bytes(REC_2);
    assert_eq!(world.install(REC_2, run).code(), "taken");
    let offers = vec![world.offer(REC_1)];
    let answer = world.step(REC_2, run, Step::Generate { offers });
    put(world, REC_2, &before);
    answer.transfers.unwrap().transfers.pop()
}

pub fn foreign_offer(world: &mut World, unit: usize, run: &Run) -> SignedOffer {
    let other = if unit == OP_2 { OP_1 } else { OP_2 };
    let before = world.state_bytes(other);
    let joins = run.order.joining.contains(&unit_id(other));
    assert!(!joins && world.inspect(other, run).code() == "taken");
    let offer = world.offer(other);
    put(world, other, &before);
    offer
}

/// A copy that is right in everything, but of another master key.
pub fn other_copy(
    world: &mut World,
    run: &Run,
    unit: usize,
    offer: &SignedOffer,
) -> SignedTransfer {
    let source = if unit == REC_1 { REC_2 } else { REC_1 };
    let key = MasterKey::generate(&mut world.rng);
    let info = sealing::info(run, TransferPurpose::Rotate, (source, unit), key.pattern());
    let transfer = sealing::sealed(world, &key, offer, &info);
    sealing::signed(&identity(source as u8), domain::TRANSFER, &transfer)
}

/// The next manifest in three ways: no amendment, one that removes another unit, one that removes
/// this one. A recovery unit that holds both master keys vouches for the removals.
pub fn manifests(
    world: &mut World,
    run: &Run,
    unit: usize,
) -> (SignedManifest, SignedManifest, SignedManifest) {
    let before = world.manifests.clone();
    let holder_report = surveyed(world, if unit == REC_2 { REC_1 } else { REC_2 });
    let rotation = run.reference.rotation;
    let mut signed = |stay: &dyn Fn(usize) -> bool, amends: bool| {
        world.manifests.clone_from(&before);
        let stay: Vec<_> = ALL.into_iter().filter(|it| stay(*it)).collect();
        let holder_report = holder_report.clone();
        world.sign_manifest(&stay, |manifest| {
            manifest.amendment = amends.then_some(Amendment { rotation, holder_report });
        });
        world.manifests.pop().unwrap()
    };
    let next = signed(&|_| true, false);
    let amends = signed(&|it| it != OP_2 || unit == OP_2, true);
    let removes = signed(&|it| it != unit, true);
    world.manifests = before;
    (next, amends, removes)
}

/// *Flipped* as the reencryptor signs it.
pub fn flipped(
    world: &mut World,
    run: &Run,
    standing: KeystoreStanding,
    id: u8,
    (unit, named): (usize, Option<u64>),
) -> Certificate {
    let mut report = world.flipped(run);
    let row = report.row.as_mut().unwrap();
    row.active.as_mut().unwrap().id = GenerationId::from_bytes([id; 16]);
    row.rotation.as_mut().unwrap().standing = standing;
    report.hold_ends = named.into_iter().map(|nonce| (unit_id(unit), nonce)).collect();
    let envelopes = vec![world.keystore_envelope(&reencryptor(), &report)];
    Certificate { envelopes, manifests: Vec::new() }
}

/// The unit's signed report.
pub fn surveyed(world: &mut World, unit: usize) -> Vec<u8> {
    world.command(unit, Command::Survey { order: None }).envelope
}
