//! What a unit says of itself: its announcement, its report, and the envelopes around them.

use protocol::envelope::{Header, Kind, Recipient};
use protocol::manifest::Member;
use protocol::report::{Announcement, Answering, Standing, UnitFacts, UnitReport, UnitRotation};
use protocol::{MessageId, Role, UnixMillis};
use rand::CryptoRng;

use super::{Message, Unit, hold, state};
use crate::envelope::{self, Outgoing};

impl Unit {
    /// What it says of itself when it starts.
    pub fn announcement(&self) -> Announcement {
        Announcement {
            member: Member {
                id: self.id,
                name: self.config.name.clone(),
                role: self.config.role,
                identity: self.identity.public_key(),
                location: self.config.location.clone(),
            },
            instance_name: self.config.instance_name.clone(),
            keystore: None,
            manifest_serial: self.state.trust.serial(),
            protocol_version: self.config.protocol_version,
        }
    }

    /// The report, as the unit stands now.
    pub fn report(&self, now: UnixMillis, answering: Option<Answering>) -> UnitReport {
        let manifest = self.state.trust.newest();
        UnitReport {
            instance: self.state.trust.instance(),
            unit: self.id,
            role: self.config.role,
            manifest_serial: self.state.trust.serial(),
            state_counter: self.state.counter,
            registers: self.state.registers(),
            rotation: self.state.rotation.as_ref().map(|taken| UnitRotation {
                order: taken.reference,
                standing: taken.standing,
                signed_order: taken.signed_order.clone(),
                offer: taken.transport.as_ref().map(|(_, offer)| offer.clone()),
                promote_not_before: match taken.standing {
                    Standing::Bound => taken.holds.promote_not_before,
                    _ => None,
                },
                clear_not_before: seen_flipped(taken).map(|seen| seen.clear_not_before),
                hold_end_nonce: seen_flipped(taken).and_then(|seen| seen.end_nonce),
            }),
            epoch: self.state.epoch,
            set_back_from: self.state.reminder.as_ref().map(|held| held.report.state_counter),
            answering,
            facts: UnitFacts {
                is_imprint: manifest.is_none(),
                clock: now,
                signature_threshold: manifest.map_or(0, |found| found.signature_threshold),
                revocation_threshold: manifest.map_or(0, |found| found.revocation_threshold),
                administrators: manifest
                    .map(|found| found.administrators.clone())
                    .unwrap_or_default(),
                is_storage_key_local: self.config.is_storage_key_local,
                protocol_version: self.config.protocol_version,
                last_promoted_at: self.state.history.last_promoted_at,
                would_refuse: None,
            },
        }
    }

    /// Seals a body to the sender of the message that it answers.
    pub fn message<R: CryptoRng>(
        &self,
        now: UnixMillis,
        rng: &mut R,
        answered: Option<&Header>,
        kind: Kind,
        body: &[u8],
    ) -> Message {
        let to = answered.map_or(self.id, |header| header.sender);
        let outgoing = Outgoing {
            id: MessageId::from_uuid(crypto::random::uuid_v7(now, rng)),
            in_answer_to: answered.map(|header| header.id),
            instance: self.state.trust.instance(),
            recipient: Recipient::Process(to),
            manifest_serial: self.state.trust.serial(),
            rotation: self.state.rotation.as_ref().map(|taken| taken.reference.rotation),
            epoch: self.state.epoch,
            kind,
        };
        Message { to, bytes: envelope::seal(&self.identity, &outgoing, body) }
    }

    /// Seals a body to any coordinator.
    pub fn broadcast<R: CryptoRng>(
        &self,
        now: UnixMillis,
        rng: &mut R,
        kind: Kind,
        body: &[u8],
    ) -> Vec<u8> {
        let outgoing = Outgoing {
            id: MessageId::from_uuid(crypto::random::uuid_v7(now, rng)),
            in_answer_to: None,
            instance: self.state.trust.instance(),
            recipient: Recipient::Role(Role::Coordinator),
            manifest_serial: self.state.trust.serial(),
            rotation: None,
            epoch: self.state.epoch,
            kind,
        };
        envelope::seal(&self.identity, &outgoing, body)
    }
}

/// Its first sight of *flipped*, while that still matters.
fn seen_flipped(taken: &state::TakenRotation) -> Option<&hold::SeenFlipped> {
    taken.holds.flipped.as_ref().filter(|_| taken.standing == Standing::Promoted)
}
