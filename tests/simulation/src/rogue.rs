//! A rogue that holds the coordinator's identity, has seen every envelope, and sends whatever it
//! can assemble from them, with an epoch that is never too low.

mod commands;
mod orders;

use std::collections::VecDeque;

use crypto::identity::Identity;
use machines::certificate::{Reached, reached};
use machines::envelope::{self, Outgoing};
use protocol::certificate::Certificate;
use protocol::codec;
use protocol::command::{Command, KeystoreCommand, SignedOffer, SignedTransfer, Step, Transfers};
use protocol::envelope::{Envelope, Kind, Recipient};
use protocol::keystore::KeystoreStanding;
use protocol::manifest::SignedManifest;
use protocol::order::{Authority, OrderRef, SignedHoldEnd, SignedOrder, SignedStandingOrder};
use protocol::report::{KeystoreReport, UnitReport};
use protocol::{Epoch, InstanceId, MessageId, Pattern, ProcessId, UnixMillis};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A unit's report, as a rogue keeps it.
struct SeenReport {
    bytes: Vec<u8>,
    from: ProcessId,
    counter: u64,
    order: Option<OrderRef>,
    reached: Option<Reached>,
}

/// A moment that a rogue does not let pass.
#[derive(Clone, Copy)]
enum Tempting {
    /// A flip is on its way.
    Flip,
    /// The keystore says that it has flipped this order, and has not been read back.
    NotReadBack(OrderRef),
}

/// What a rogue sends: to whom, what it is, the bytes.
pub type Sent = (ProcessId, &'static str, Vec<u8>);

/// The rogue.
pub struct Rogue {
    identity: Identity,
    instance: InstanceId,
    units: Vec<ProcessId>,
    pub(crate) reencryptor: ProcessId,
    orders: Vec<(SignedOrder, OrderRef)>,
    /// The administrators' leave under which the last order was given that had one.
    standing: Option<SignedStandingOrder>,
    offers: VecDeque<(OrderRef, SignedOffer)>,
    unit_reports: VecDeque<SeenReport>,
    keystore_reports: VecDeque<Vec<u8>>,
    transfers: VecDeque<(OrderRef, SignedTransfer)>,
    anything: VecDeque<(ProcessId, Vec<u8>)>,
    patterns: Vec<Pattern>,
    /// The longest chain of manifests that it has seen.
    chain: Vec<SignedManifest>,
    hold_ends: Vec<SignedHoldEnd>,
    tempting: Option<Tempting>,
    epoch: Epoch,
    serial: u64,
}

/// How much it remembers of each kind.
const MEMORY: usize = 160;

impl Rogue {
    /// A new one.
    pub const fn new(
        identity: Identity,
        instance: InstanceId,
        units: Vec<ProcessId>,
        reencryptor: ProcessId,
    ) -> Self {
        Self {
            identity,
            instance,
            units,
            reencryptor,
            orders: Vec::new(),
            standing: None,
            offers: VecDeque::new(),
            unit_reports: VecDeque::new(),
            keystore_reports: VecDeque::new(),
            transfers: VecDeque::new(),
            anything: VecDeque::new(),
            patterns: Vec::new(),
            chain: Vec::new(),
            hold_ends: Vec::new(),
            tempting: None,
            epoch: Epoch { manifest_serial: 0, number: 0 },
            serial: 1,
        }
    }

    /// Sees a message on the bus.
    pub fn see(&mut self, to: ProcessId, bytes: &[u8]) {
        let Ok(found) = Envelope::parse(bytes) else { return };
        self.epoch = self.epoch.max(found.header.epoch);
        match found.header.kind {
            Kind::UnitReport => {
                if let Ok(report) = codec::decode(found.body) {
                    self.see_report(&report, bytes);
                }
            }
            Kind::KeystoreReport => {
                keep(&mut self.keystore_reports, bytes.to_vec());
                let report = codec::decode::<KeystoreReport>(found.body).ok();
                let rotation = report.and_then(|report| report.row).and_then(|row| row.rotation);
                let switched = rotation.filter(|it| it.standing == KeystoreStanding::Switched);
                self.tempting = switched.map(|it| Tempting::NotReadBack(it.order()));
            }
            Kind::Transfers => {
                let Ok(found) = codec::decode::<Transfers>(found.body) else { return };
                for transfer in found.transfers {
                    keep(&mut self.transfers, (found.order, transfer));
                }
            }
            Kind::Command => {
                keep(&mut self.anything, (to, bytes.to_vec()));
                match codec::decode(found.body) {
                    Ok(Command::TakeManifest { chain }) => self.see_chain(chain),
                    Ok(Command::EndHold { statement }) if !self.hold_ends.contains(&statement) => {
                        self.hold_ends.push(statement);
                    }
                    _ => {}
                }
            }
            Kind::KeystoreCommand => {
                keep(&mut self.anything, (to, bytes.to_vec()));
                if let Ok(KeystoreCommand::Flip { .. }) = codec::decode(found.body) {
                    self.tempting = Some(Tempting::Flip);
                }
            }
            _ => {}
        }
    }

    fn see_report(&mut self, report: &UnitReport, bytes: &[u8]) {
        self.epoch = self.epoch.max(report.epoch);
        let rotation = report.rotation.as_ref();
        if let Some(rotation) = rotation {
            if !self.orders.iter().any(|(_, order)| *order == rotation.order) {
                self.orders.push((rotation.signed_order.clone(), rotation.order));
                if let Authority::Standing { standing, .. } = &rotation.signed_order.authority {
                    self.standing = Some(standing.clone());
                }
            }
            let offer = rotation.offer.clone().map(|offer| (rotation.order, offer));
            if let Some(offer) = offer.filter(|offer| !self.offers.contains(offer)) {
                keep(&mut self.offers, offer);
            }
        }
        let shown = [report.registers.current, report.registers.new.map(|it| it.pattern)];
        for pattern in shown.into_iter().flatten() {
            if !self.patterns.contains(&pattern) {
                self.patterns.push(pattern);
            }
        }
        let order = rotation.map(|rotation| rotation.order);
        let reached = order.and_then(|order| reached(report, &order)).map(|(reached, _)| reached);
        let seen = SeenReport {
            bytes: bytes.to_vec(),
            from: report.unit,
            counter: report.state_counter,
            order,
            reached,
        };
        keep(&mut self.unit_reports, seen);
    }

    /// Who lacks manifests is sent those that it lacks: they continue what was seen before.
    fn see_chain(&mut self, chain: Vec<SignedManifest>) {
        for signed in chain {
            let serial = signed.unverified().map_or(0, |manifest| manifest.serial);
            if serial == self.chain.len() as u64 + 1 {
                self.chain.push(signed);
                self.serial = self.serial.max(serial);
            }
        }
    }

    /// Whether it has just seen something that it wants to act on at once.
    pub const fn is_tempted(&self) -> bool {
        self.tempting.is_some()
    }

    /// Acts on what it has just seen: asks the keystore while a flip is on its way, and has a unit
    /// clear with the keystore's word before the flip is read back.
    pub fn seize(&mut self, now: UnixMillis, rng: &mut ChaCha8Rng) -> Option<Sent> {
        match self.tempting.take()? {
            Tempting::Flip => {
                let command = KeystoreCommand::Survey;
                let (to, body) = (self.reencryptor, codec::encode(&command));
                Some((to, command.name(), self.seal(now, rng, to, Kind::KeystoreCommand, &body)))
            }
            Tempting::NotReadBack(order) => {
                let envelopes = self.keystore_reports.back().cloned().into_iter().collect();
                let certificate = Certificate { envelopes, manifests: Vec::new() };
                let command = Command::Step { order, step: Step::Clear { certificate } };
                let (unit, body) = (pick(rng, &self.units)?, codec::encode(&command));
                Some((unit, command.name(), self.seal(now, rng, unit, Kind::Command, &body)))
            }
        }
    }

    /// Sends something: to a unit, to the keystore, or what it has seen as it was.
    pub fn act(&self, now: UnixMillis, rng: &mut ChaCha8Rng) -> Option<Sent> {
        let newest = self.orders.len().checked_sub(1)?;
        let at = if rng.random_bool(0.8) { newest } else { rng.random_range(0..=newest) };
        let (signed, order) = self.orders[at].clone();
        match rng.random_range(0..16) {
            0..10 => {
                let unit = pick(rng, &self.units)?;
                let command = self.unit_command(rng, unit, signed, order)?;
                let body = codec::encode(&command);
                Some((unit, command.name(), self.seal(now, rng, unit, Kind::Command, &body)))
            }
            10..15 => {
                let command = self.keystore_command(rng, signed, order);
                let (to, body) = (self.reencryptor, codec::encode(&command));
                Some((to, command.name(), self.seal(now, rng, to, Kind::KeystoreCommand, &body)))
            }
            _ => {
                let at = rng.random_range(0..self.anything.len().max(1));
                let (to, bytes) = self.anything.get(at)?.clone();
                Some((to, "what it has seen", bytes))
            }
        }
    }

    fn seal(
        &self,
        now: UnixMillis,
        rng: &mut ChaCha8Rng,
        to: ProcessId,
        kind: Kind,
        body: &[u8],
    ) -> Vec<u8> {
        let outgoing = Outgoing {
            id: MessageId::from_uuid(crypto::random::uuid_v7(now, rng)),
            in_answer_to: None,
            instance: self.instance,
            recipient: Recipient::Process(to),
            manifest_serial: self.serial,
            rotation: None,
            epoch: self.epoch,
            kind,
        };
        envelope::seal(&self.identity, &outgoing, body)
    }
}

fn pick<T: Copy>(rng: &mut ChaCha8Rng, of: &[T]) -> Option<T> {
    of.get(rng.random_range(0..of.len().max(1))).copied()
}

fn keep<T>(list: &mut VecDeque<T>, seen: T) {
    if list.len() >= MEMORY {
        list.pop_front();
    }
    list.push_back(seen);
}
