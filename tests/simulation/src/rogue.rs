//! A rogue that holds the coordinator's identity, has seen every envelope, and sends whatever it
//! can assemble from them, with an epoch that is never too low.

use crypto::identity::Identity;
use machines::envelope::{self, Outgoing};
use protocol::certificate::Certificate;
use protocol::codec;
use protocol::command::{Command, KeystoreCommand, Step, Transfers};
use protocol::envelope::{Envelope, Kind, Recipient};
use protocol::order::{OrderRef, SignedOrder};
use protocol::report::{KeystoreReport, UnitReport};
use protocol::{Epoch, InstanceId, MessageId, Pattern, ProcessId, UnixMillis};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// What a rogue keeps of each envelope that it saw.
struct Seen {
    bytes: Vec<u8>,
    from: ProcessId,
    order: Option<OrderRef>,
}

/// The rogue.
pub struct Rogue {
    identity: Identity,
    instance: InstanceId,
    units: Vec<ProcessId>,
    reencryptor: ProcessId,
    orders: Vec<(SignedOrder, OrderRef)>,
    unit_reports: Vec<Seen>,
    keystore_reports: Vec<Seen>,
    transfers: Vec<(OrderRef, Transfers)>,
    patterns: Vec<Pattern>,
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
            unit_reports: Vec::new(),
            keystore_reports: Vec::new(),
            transfers: Vec::new(),
            patterns: Vec::new(),
            epoch: Epoch { manifest_serial: 0, number: 0 },
            serial: 1,
        }
    }

    /// Sees a message on the bus.
    pub fn see(&mut self, bytes: &[u8]) {
        let Ok(found) = Envelope::parse(bytes) else { return };
        let from = found.header.sender;
        self.epoch = self.epoch.max(found.header.epoch);
        match found.header.kind {
            Kind::UnitReport => {
                let Ok(report) = codec::decode::<UnitReport>(found.body) else { return };
                self.epoch = self.epoch.max(report.epoch);
                let rotation = report.rotation.as_ref();
                if let Some(rotation) = rotation
                    && !self.orders.iter().any(|(_, order)| *order == rotation.order)
                {
                    self.orders.push((rotation.signed_order.clone(), rotation.order));
                }
                let shown = [report.registers.current, report.registers.new.map(|it| it.pattern)];
                for pattern in shown.into_iter().flatten() {
                    if !self.patterns.contains(&pattern) {
                        self.patterns.push(pattern);
                    }
                }
                let order = rotation.map(|rotation| rotation.order);
                keep(&mut self.unit_reports, Seen { bytes: bytes.to_vec(), from, order });
            }
            Kind::KeystoreReport => {
                let Ok(_) = codec::decode::<KeystoreReport>(found.body) else { return };
                let seen = Seen { bytes: bytes.to_vec(), from, order: None };
                keep(&mut self.keystore_reports, seen);
            }
            Kind::Transfers => {
                if let Ok(transfers) = codec::decode::<Transfers>(found.body) {
                    self.transfers.push((transfers.order, transfers));
                }
            }
            _ => {}
        }
    }

    /// Sends something.
    pub fn act(
        &mut self,
        now: UnixMillis,
        rng: &mut ChaCha8Rng,
    ) -> Option<(ProcessId, &'static str, Vec<u8>)> {
        let newest = self.orders.len().checked_sub(1)?;
        let at = if rng.random_bool(0.8) { newest } else { rng.random_range(0..=newest) };
        let (signed, order) = self.orders[at].clone();
        let unit = self.units[rng.random_range(0..self.units.len())];
        let choice = rng.random_range(0..10);
        let step = |step| Command::Step { order, step };
        let command = match choice {
            0 => Command::Abort { order: signed },
            1 => Command::Inspect { order: signed },
            2 => step(Step::Generate { offers: Vec::new() }),
            3 => step(Step::Promote { certificate: self.certificate(rng, order) }),
            4 => step(Step::Clear { certificate: self.keystore_certificate(rng) }),
            5 => {
                let pattern =
                    *self.patterns.get(rng.random_range(0..self.patterns.len().max(1)))?;
                step(Step::Commit { pattern })
            }
            6 => {
                let (order, found) = self.transfers.last()?.clone();
                let count = found.transfers.len();
                let transfer = found.transfers.get(rng.random_range(0..count.max(1)))?.clone();
                Command::Step { order, step: Step::Install { transfer } }
            }
            7 => {
                let certificate = self.certificate(rng, order);
                let command = KeystoreCommand::Flip { order, certificate };
                return Some(self.to_keystore(now, rng, &command));
            }
            8 => {
                let certificate = self.certificate(rng, order);
                let command = KeystoreCommand::Drop { order, certificate };
                return Some(self.to_keystore(now, rng, &command));
            }
            _ => {
                return Some(self.to_keystore(now, rng, &KeystoreCommand::Abort { order: signed }));
            }
        };
        let name = command.name();
        let body = codec::encode(&command);
        Some((unit, name, self.seal(now, rng, unit, Kind::Command, &body)))
    }

    /// For each unit one of its reports in this order: mostly the latest, now and then any.
    fn certificate(&self, rng: &mut ChaCha8Rng, order: OrderRef) -> Certificate {
        let mut envelopes = Vec::new();
        for unit in &self.units {
            let of_unit: Vec<_> = self
                .unit_reports
                .iter()
                .filter(|seen| seen.from == *unit && seen.order == Some(order))
                .collect();
            let Some(last) = of_unit.len().checked_sub(1) else { continue };
            let at = if rng.random_bool(0.7) { last } else { rng.random_range(0..=last) };
            envelopes.push(of_unit[at].bytes.clone());
        }
        Certificate { envelopes, manifests: Vec::new() }
    }

    fn keystore_certificate(&self, rng: &mut ChaCha8Rng) -> Certificate {
        let Some(last) = self.keystore_reports.len().checked_sub(1) else {
            return Certificate::default();
        };
        let at = if rng.random_bool(0.7) { last } else { rng.random_range(0..=last) };
        let envelopes = vec![self.keystore_reports[at].bytes.clone()];
        Certificate { envelopes, manifests: Vec::new() }
    }

    fn to_keystore(
        &self,
        now: UnixMillis,
        rng: &mut ChaCha8Rng,
        command: &KeystoreCommand,
    ) -> (ProcessId, &'static str, Vec<u8>) {
        let body = codec::encode(command);
        let to = self.reencryptor;
        (to, command.name(), self.seal(now, rng, to, Kind::KeystoreCommand, &body))
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

fn keep(list: &mut Vec<Seen>, seen: Seen) {
    if list.len() >= MEMORY {
        list.remove(0);
    }
    list.push(seen);
}
