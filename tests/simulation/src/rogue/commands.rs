//! What a rogue makes of what it has seen: every command that there is.

use machines::certificate::Reached;
use protocol::ProcessId;
use protocol::certificate::Certificate;
use protocol::command::{Command, KeystoreCommand, Step};
use protocol::manifest::SignedManifest;
use protocol::order::{OrderRef, SignedOrder};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Rogue, pick};

impl Rogue {
    pub(super) fn unit_command(
        &self,
        rng: &mut ChaCha8Rng,
        unit: ProcessId,
        signed: SignedOrder,
        order: OrderRef,
    ) -> Option<Command> {
        let step = |step| Some(Command::Step { order, step });
        match rng.random_range(0..13) {
            0 => Some(Command::Abort { order: signed }),
            1 => Some(Command::Inspect { order: signed }),
            2 => {
                let of_order = self.offers.iter().filter(|(found, _)| *found == order);
                let mut offers: Vec<_> = of_order.map(|(_, offer)| offer.clone()).collect();
                if rng.random_bool(0.5) {
                    offers.truncate(rng.random_range(0..=offers.len()));
                }
                step(Step::Generate { offers })
            }
            3 | 4 => {
                let certificate = self.certificate(rng, order, Reached::Committed);
                step(Step::Promote { certificate })
            }
            5 | 6 => step(Step::Clear { certificate: self.keystore_certificate(rng) }),
            7 => step(Step::Commit { pattern: pick(rng, &self.patterns)? }),
            8 => {
                let at = rng.random_range(0..self.transfers.len().max(1));
                let (order, transfer) = self.transfers.get(at)?.clone();
                Some(Command::Step { order, step: Step::Install { transfer } })
            }
            9 => Some(Command::Survey { order: Some(signed) }),
            10 => Some(Command::TakeManifest { chain: self.some_of_chain(rng) }),
            11 => {
                let at = rng.random_range(0..self.hold_ends.len().max(1));
                Some(Command::EndHold { statement: self.hold_ends.get(at)?.clone() })
            }
            _ => {
                // Mostly one of its own, now and then another's.
                let is_own = rng.random_bool(0.8);
                let reports = self.unit_reports.iter().filter(|seen| !is_own || seen.from == unit);
                let reports: Vec<_> = reports.collect();
                let at = rng.random_range(0..reports.len().max(1));
                Some(Command::Remind { report: reports.get(at)?.bytes.clone() })
            }
        }
    }

    pub(super) fn keystore_command(
        &self,
        rng: &mut ChaCha8Rng,
        signed: SignedOrder,
        order: OrderRef,
    ) -> KeystoreCommand {
        match rng.random_range(0..10) {
            0 | 1 => {
                let certificate = self.certificate(rng, order, Reached::Promoted);
                KeystoreCommand::Flip { order, certificate }
            }
            2 => {
                let certificate = self.certificate(rng, order, Reached::Cleared);
                KeystoreCommand::Drop { order, certificate }
            }
            3 => {
                let certificate = self.certificate(rng, order, Reached::Bound);
                KeystoreCommand::Abort { order: signed, certificate }
            }
            4 | 5 => KeystoreCommand::Restate { order, hold_ends: self.guessed_ends(rng) },
            6 => match pick(rng, &self.patterns) {
                Some(to) => {
                    let certificate = self.certificate(rng, order, Reached::Committed);
                    let verify_all = rng.random();
                    KeystoreCommand::Reencrypt { order: signed, to, verify_all, certificate }
                }
                None => KeystoreCommand::Survey,
            },
            7 => KeystoreCommand::TakeManifest { chain: self.some_of_chain(rng) },
            _ => KeystoreCommand::Survey,
        }
    }

    /// For each unit one of its reports in this order: mostly the latest, now and then any; now
    /// and then one comes twice or is of another order, and whoever is not as far as `needed` is
    /// left out.
    fn certificate(&self, rng: &mut ChaCha8Rng, order: OrderRef, needed: Reached) -> Certificate {
        let mut envelopes = Vec::new();
        let is_of_any_order = rng.random_bool(0.1);
        let leaves_out = rng.random_bool(0.3);
        for unit in &self.units {
            let of_unit: Vec<_> = self
                .unit_reports
                .iter()
                .filter(|seen| seen.from == *unit)
                .filter(|seen| is_of_any_order || seen.order == Some(order))
                .filter(|seen| !leaves_out || seen.reached >= Some(needed))
                .collect();
            let Some(last) = of_unit.len().checked_sub(1) else { continue };
            let at = if rng.random_bool(0.7) { last } else { rng.random_range(0..=last) };
            let times = if rng.random_bool(0.95) { 1 } else { 2 };
            envelopes.extend((0..times).map(|_| of_unit[at].bytes.clone()));
        }
        let manifests = if rng.random_bool(0.2) { self.some_of_chain(rng) } else { Vec::new() };
        Certificate { envelopes, manifests }
    }

    /// Part of the chain of manifests: what somebody may lack, or not.
    fn some_of_chain(&self, rng: &mut ChaCha8Rng) -> Vec<SignedManifest> {
        let from = rng.random_range(0..=self.chain.len());
        let to = rng.random_range(from..=self.chain.len());
        self.chain[from..to].to_vec()
    }

    /// What units may say at the end of a hold that has not come yet: a counter a little above the
    /// last one is easy to guess.
    fn guessed_ends(&self, rng: &mut ChaCha8Rng) -> Vec<(ProcessId, u64)> {
        let last = |unit: &ProcessId| {
            let reports = self.unit_reports.iter().filter(|seen| seen.from == *unit);
            reports.map(|seen| seen.counter).max()
        };
        let units = self.units.iter();
        units.filter_map(|unit| Some((*unit, last(unit)? + rng.random_range(0..4)))).collect()
    }

    fn keystore_certificate(&self, rng: &mut ChaCha8Rng) -> Certificate {
        let Some(last) = self.keystore_reports.len().checked_sub(1) else {
            return Certificate::default();
        };
        let at = if rng.random_bool(0.7) { last } else { rng.random_range(0..=last) };
        let envelopes = vec![self.keystore_reports[at].clone()];
        Certificate { envelopes, manifests: Vec::new() }
    }
}
