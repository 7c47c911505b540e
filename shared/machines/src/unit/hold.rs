//! The two holds of an order, which every unit keeps by its own clock: no promote before the one, no
//! clear before the other. A unit never acts by itself when a hold ends.

use bincode::{Decode, Encode};
use protocol::order::{Hold, SignedHoldEnd};
use protocol::report::Standing;
use protocol::{GenerationId, KeystoreId, UnixMillis};
use rand::CryptoRng;

use super::refusal::UnitRefusal;
use super::{Done, Unit};
use crate::certificate::Flipped;
use crate::hold_end;

/// How the holds of the order that a unit has taken stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Holds {
    /// End of the hold after commit; absent before the commit and where there is none.
    pub promote_not_before: Option<UnixMillis>,
    /// What was flipped when *flipped* was first seen, and the hold that began with it.
    pub flipped: Option<SeenFlipped>,
}

/// A unit's first sight of *flipped*.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SeenFlipped {
    /// The generations that were made active. With others the hold begins anew: a keystore that was
    /// restored meanwhile has been re-encrypted once more.
    pub generations: Vec<(KeystoreId, GenerationId)>,
    /// End of the hold before clear.
    pub clear_not_before: UnixMillis,
    /// Drawn and saved at its end.
    pub end_nonce: Option<u64>,
}

impl Unit {
    /// A committed unit counts the hold after commit from now.
    pub(super) fn begin_hold_after_commit(&mut self, now: UnixMillis) {
        if let Some(taken) = &mut self.state.rotation
            && taken.order.hold_after_commit_s > 0
        {
            let hold_ms = u64::from(taken.order.hold_after_commit_s) * 1000;
            taken.holds.promote_not_before = Some(now.plus_ms(hold_ms));
        }
    }

    pub(super) fn hold_after_commit_is_over(&self, now: UnixMillis) -> Result<(), UnitRefusal> {
        let taken = self.state.rotation.as_ref();
        match taken.and_then(|taken| taken.holds.promote_not_before) {
            Some(until) if until > now => {
                let wait_s = until.since(now).div_ceil(1000);
                Err(UnitRefusal::Holding { hold: Hold::AfterCommit.name(), wait_s })
            }
            _ => Ok(()),
        }
    }

    /// The hold before clear: begins with the first sight of *flipped*, its end is a save of its own,
    /// and only a *flipped* that was signed after it lets the unit clear: it names a number that was
    /// drawn with that save, and that nobody could have had a reencryptor name before. `None` if it
    /// may clear now.
    pub(super) fn hold_before_clear<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        flipped: &Flipped,
    ) -> Result<Option<Done>, UnitRefusal> {
        let who = self.id;
        let Some(taken) = &mut self.state.rotation else { return Ok(None) };
        let hold_ms = u64::from(taken.order.hold_before_clear_s) * 1000;
        if hold_ms == 0 {
            return Ok(None);
        }
        let seen = taken.holds.flipped.as_mut();
        let Some(seen) = seen.filter(|seen| seen.generations == flipped.generations) else {
            taken.holds.flipped = Some(SeenFlipped {
                generations: flipped.generations.clone(),
                clear_not_before: now.plus_ms(hold_ms),
                end_nonce: None,
            });
            return Ok(Some(Done::CHANGED));
        };
        match seen.end_nonce {
            Some(end) if flipped.hold_ends.contains(&(who, end)) => Ok(None),
            Some(_) => Ok(Some(Done::BEFORE)),
            None if seen.clear_not_before > now => {
                let wait_s = seen.clear_not_before.since(now).div_ceil(1000);
                Err(UnitRefusal::Holding { hold: Hold::BeforeClear.name(), wait_s })
            }
            None => {
                seen.end_nonce = Some(rng.next_u64());
                Ok(Some(Done::CHANGED))
            }
        }
    }

    /// The administrators end a hold before its time.
    pub(super) fn end_hold(
        &mut self,
        now: UnixMillis,
        signed: &SignedHoldEnd,
    ) -> Result<Done, UnitRefusal> {
        let manifest = self.state.trust.newest().ok_or(UnitRefusal::Imprint)?;
        let running = self.state.rotation.as_ref().map(|taken| &taken.reference);
        let statement = hold_end::verify(signed, manifest, running)?;
        let Some(taken) = &mut self.state.rotation else { return Err(UnitRefusal::NotBound) };
        let until = match (statement.hold, taken.standing, &mut taken.holds) {
            (Hold::AfterCommit, Standing::Bound, holds) => holds.promote_not_before.as_mut(),
            (Hold::BeforeClear, Standing::Promoted, holds) => {
                holds.flipped.as_mut().map(|seen| &mut seen.clear_not_before)
            }
            _ => None,
        };
        match until {
            Some(until) if *until > now => {
                *until = now;
                Ok(Done::CHANGED)
            }
            _ => Ok(Done::BEFORE),
        }
    }
}
