//! Writing an order: what a coordinator may fill in, and its own signature under a standing order.

use crypto::domain;
use protocol::codec;
use protocol::keystore::GateMode;
use protocol::order::{Authority, Order, Purpose, SignedOrder};
use protocol::{KeyId, Pattern, ProcessId, RotationId, UnixMillis};
use rand::CryptoRng;

use super::Conductor;
use crate::rotation::numbers;

/// What the caller of a draft chooses.
#[derive(Clone, Debug)]
pub struct DraftRequest {
    /// What for.
    pub purpose: Purpose,
    /// Units that join: their current registers are Empty.
    pub joining: Vec<ProcessId>,
    /// Keys whose versions that no unit opens are carried in quarantine.
    pub quarantined: Vec<KeyId>,
    /// What clients may do meanwhile.
    pub mode: GateMode,
    /// Hold after commit, in seconds.
    pub hold_after_commit_s: u32,
    /// Hold before clear, in seconds.
    pub hold_before_clear_s: u32,
    /// For how long units may take it, in seconds.
    pub valid_for_s: u32,
}

impl Conductor {
    /// An order out of what everybody has just reported. None without a manifest or recovery unit.
    pub(super) fn draft<R: CryptoRng>(
        &self,
        now: UnixMillis,
        rng: &mut R,
        request: &DraftRequest,
        generator: ProcessId,
        from: Option<Pattern>,
    ) -> Order {
        let serial = self.trust.serial();
        // What a unit had taken before it was set back is spent for it, too.
        let today = self.heard.units.values().map(|heard| &heard.said);
        let units = today.chain(self.heard.all_highest());
        let keystores = self.heard.keystores.values().map(|heard| &heard.said);
        Order {
            instance: self.trust.instance(),
            rotation: RotationId::from_uuid(crypto::random::uuid_v7(now, rng)),
            number: numbers::next_number(serial, units, keystores),
            purpose: request.purpose,
            from,
            generator,
            joining: request.joining.clone(),
            quarantined: request.quarantined.clone(),
            mode: request.mode,
            hold_after_commit_s: request.hold_after_commit_s,
            hold_before_clear_s: request.hold_before_clear_s,
            issued_at: now,
            expires_at: now.plus_ms(u64::from(request.valid_for_s) * 1000),
        }
    }

    /// The coordinator's own order, under the standing order; none if there is none.
    pub(super) fn order_by_standing<R: CryptoRng>(
        &self,
        now: UnixMillis,
        rng: &mut R,
        mode: GateMode,
        generator: ProcessId,
        from: Option<Pattern>,
    ) -> Option<SignedOrder> {
        let standing = self.standing_order()?;
        let request = DraftRequest {
            purpose: Purpose::Rotate,
            joining: Vec::new(),
            quarantined: Vec::new(),
            mode,
            hold_after_commit_s: standing.hold_after_commit_s,
            hold_before_clear_s: standing.hold_before_clear_s,
            valid_for_s: self.times.order_valid_s,
        };
        let bytes = codec::encode(&self.draft(now, rng, &request, generator, from));
        let signature = self.identity.sign(domain::ORDER, &bytes);
        let authority = Authority::Standing {
            standing: self.standing.clone()?,
            coordinator: self.id,
            signature,
        };
        Some(SignedOrder { bytes, authority })
    }
}
