//! Orders that a rogue gives itself, by the leave that the administrators gave its coordinator.

use crypto::domain;
use machines::leave;
use protocol::codec;
use protocol::command::Command;
use protocol::envelope::Kind;
use protocol::keystore::GateMode;
use protocol::order::{Authority, Order, OrderRef, Purpose, SignedOrder};
use protocol::{OrderNumber, RotationId, UnixMillis};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Rogue, Sent, pick};

impl Rogue {
    /// Gives an order of its own to one unit; the others see it, or not, in what it does from then on.
    pub fn order(&mut self, now: UnixMillis, rng: &mut ChaCha8Rng) -> Option<(OrderRef, Sent)> {
        let standing = self.standing.clone()?;
        let leave = standing.unverified().ok()?;
        let order = Order {
            instance: self.instance,
            rotation: RotationId::from_uuid(crypto::random::uuid_v7(now, rng)),
            number: self.number(rng, leave.manifest_serial),
            purpose: Purpose::Rotate,
            from: pick(rng, &self.patterns),
            generator: pick(rng, &self.units)?,
            joining: Vec::new(),
            quarantined: Vec::new(),
            mode: if rng.random_bool(0.5) { GateMode::Strict } else { GateMode::Online },
            hold_after_commit_s: leave.hold_after_commit_s,
            hold_before_clear_s: leave.hold_before_clear_s,
            issued_at: now,
            expires_at: now.plus_ms(600_000),
        };
        let bytes = codec::encode(&order);
        let signature = self.identity.sign(domain::ORDER, &bytes);
        let coordinator = crypto::identity::process_id(&self.identity.public_key());
        let authority = Authority::Standing { standing, coordinator, signature };
        let signed = SignedOrder { bytes, authority };
        let (_, reference) = leave::read(&signed).ok()?;
        self.orders.push((signed.clone(), reference));
        let (unit, command) = (pick(rng, &self.units)?, Command::Inspect { order: signed });
        let bytes = self.seal(now, rng, unit, Kind::Command, &codec::encode(&command));
        Some((reference, (unit, command.name(), bytes)))
    }

    /// Mostly the next one; now and then one that leaps, or that was taken before.
    fn number(&self, rng: &mut ChaCha8Rng, manifest_serial: u64) -> OrderNumber {
        let under_it = self.orders.iter().map(|(_, order)| order.number);
        let of_it = under_it.filter(|number| number.manifest_serial == manifest_serial);
        let highest = of_it.map(|number| number.number).max().unwrap_or_default();
        let number = match rng.random_range(0..10) {
            0 => highest,
            1 => u64::MAX,
            2 => highest.saturating_add(rng.random_range(2..1_000)),
            _ => highest.saturating_add(1),
        };
        OrderNumber { manifest_serial, number }
    }
}
