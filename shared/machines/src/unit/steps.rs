//! The steps of a rotation: generate, install, commit, promote, clear, and the abort.
//!
//! Each of them either does its work, or finds it done and answers from state, or refuses and
//! changes nothing.

use crypto::master_key::MasterKey;
use protocol::certificate::Certificate;
use protocol::command::{SignedOffer, SignedTransfer, Step};
use protocol::order::{OrderRef, Purpose, SignedOrder};
use protocol::report::Standing;
use protocol::{Pattern, Role, UnixMillis};
use rand::CryptoRng;

use super::refusal::UnitRefusal;
use super::state::{NewKey, TakenRotation};
use super::{Done, Unit, admission};
use crate::amendment;
use crate::certificate::{self, Judge, Reached};
use crate::leave;
use crate::trust::Trust;

impl Unit {
    pub(super) fn step<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        order: &OrderRef,
        step: Step,
    ) -> Result<Done, UnitRefusal> {
        let taken = self.taken(order)?;
        if taken.standing == Standing::Aborted {
            return Err(UnitRefusal::Aborted);
        }
        if self.had_stood(order) == Some(Standing::Aborted) {
            return Err(UnitRefusal::Aborted);
        }
        if let Some(recovery) = taken.order.purpose.recovery() {
            return self.recover_step(rng, recovery, step);
        }
        match step {
            Step::Generate { offers } => self.generate(rng, &offers),
            Step::Install { transfer } => self.install(&transfer),
            Step::Commit { pattern } => self.commit(now, pattern),
            Step::Promote { certificate } => self.promote(now, &certificate),
            Step::Clear { certificate } => self.clear(now, rng, &certificate),
        }
    }

    /// Ends the rotation before its promote. A unit that never saw the order remembers it as ended,
    /// so that a late inspect or generate finds it so.
    pub(super) fn abort(&mut self, signed_order: SignedOrder) -> Result<Done, UnitRefusal> {
        let (order, given) = leave::read(&signed_order)?;
        admission::not_spent(&self.state, &given)?;
        // A unit that was set back aborts nothing that it had promoted. Where it had recovered, it has
        // lost what the order gave it, and gets it by another one.
        let may_abort = match self.had_stood(&given) {
            _ if order.purpose.recovery().is_some() => Ok(()),
            Some(Standing::Promoted) => Err(UnitRefusal::Promoted),
            Some(Standing::Cleared) => Err(UnitRefusal::Cleared),
            _ => Ok(()),
        };
        if let Some(taken) = &mut self.state.rotation
            && taken.reference == given
        {
            return match taken.standing {
                Standing::Aborted => Ok(Done::BEFORE),
                Standing::Promoted => Err(UnitRefusal::Promoted),
                Standing::Cleared => Err(UnitRefusal::Cleared),
                Standing::Bound => {
                    may_abort?;
                    taken.standing = Standing::Aborted;
                    taken.transport = None;
                    self.state.new = None;
                    Ok(Done::CHANGED)
                }
            };
        }
        let (order, reference) = leave::verify_ended(&signed_order, &self.state.trust)?;
        may_abort?;
        self.state.rotation = Some(TakenRotation::aborted(signed_order, order, reference));
        Ok(Done::CHANGED)
    }

    /// The manifests that a certificate is judged by: those that it carries must amend the rotation.
    fn judging_by(&self, certificate: &Certificate) -> Result<Trust, UnitRefusal> {
        let mut trust = self.state.trust.clone();
        amendment::take(&mut trust, &certificate.manifests, &self.binding(self.bound()?))?;
        Ok(trust)
    }

    fn taken(&self, order: &OrderRef) -> Result<&TakenRotation, UnitRefusal> {
        self.state
            .rotation
            .as_ref()
            .filter(|taken| taken.reference == *order)
            .ok_or(UnitRefusal::NotBound)
    }

    pub(super) fn bound(&self) -> Result<&TakenRotation, UnitRefusal> {
        self.state.rotation.as_ref().ok_or(UnitRefusal::NotBound)
    }

    /// Draws the key once. Asked again, or as another recovery unit that holds it, seals the same
    /// one to the offers given now.
    fn generate<R: CryptoRng>(
        &mut self,
        rng: &mut R,
        offers: &[SignedOffer],
    ) -> Result<Done, UnitRefusal> {
        let role = self.config.role;
        if role != Role::RecoveryUnit {
            return Err(UnitRefusal::NotAllowed { role, verb: "export" });
        }
        let taken = self.bound()?;
        if taken.standing == Standing::Cleared {
            return Err(UnitRefusal::Cleared);
        }
        let recipients = self.recipients(taken, offers)?;
        let held = match taken.standing {
            Standing::Promoted => self.state.current.as_ref(),
            _ => self.state.new.as_ref().map(|new| &new.key),
        };
        if let Some(key) = held {
            let transfers = Some(self.seal_to_all(rng, taken, key, &recipients)?);
            return Ok(Done { is_changed: false, transfers });
        }
        if taken.standing == Standing::Promoted {
            return Err(UnitRefusal::NewIsNot("filled"));
        }
        if taken.order.generator != self.id {
            return Err(UnitRefusal::NotTheGenerator(taken.order.generator));
        }
        // It may have drawn one before its state was set back: there is never a second one.
        if self.state.reminder.as_ref().is_some_and(|held| held.had_key(&taken.reference)) {
            return Err(UnitRefusal::HadDrawn);
        }
        let key = MasterKey::generate(rng);
        // What cannot be sealed to everybody is not kept: a refusal has changed nothing.
        let transfers = Some(self.seal_to_all(rng, taken, &key, &recipients)?);
        self.state.new = Some(NewKey { key, is_committed: false });
        Ok(Done { is_changed: true, transfers })
    }

    /// Opens a sealed copy; its pattern is computed from the opened key before it is saved.
    fn install(&mut self, signed: &SignedTransfer) -> Result<Done, UnitRefusal> {
        let taken = self.bound()?;
        let sealed = self.read_transfer(taken, signed)?;
        if taken.standing == Standing::Cleared {
            return Err(UnitRefusal::Cleared);
        }
        let held = match taken.standing {
            Standing::Promoted => self.state.current.as_ref(),
            _ => self.state.new.as_ref().map(|new| &new.key),
        };
        if let Some(held) = held.map(MasterKey::pattern) {
            return match held == sealed.to {
                true => Ok(Done::BEFORE),
                false => Err(UnitRefusal::OtherCopy { held, given: sealed.to }),
            };
        }
        let key = self.open_transfer(taken, sealed)?;
        if Some(key.pattern()) == taken.order.from {
            return Err(UnitRefusal::Transfer("it holds the current master key"));
        }
        self.state.new = Some(NewKey { key, is_committed: false });
        Ok(Done::CHANGED)
    }

    fn commit(&mut self, now: UnixMillis, pattern: Pattern) -> Result<Done, UnitRefusal> {
        let standing = self.bound()?.standing;
        if matches!(standing, Standing::Promoted | Standing::Cleared) {
            return match self.state.registers().current == Some(pattern) {
                true => Ok(Done::BEFORE),
                false => Err(UnitRefusal::OtherPattern),
            };
        }
        let Some(new) = &mut self.state.new else {
            return Err(UnitRefusal::NewIsNot("Full Uncommitted"));
        };
        if new.key.pattern() != pattern {
            return Err(UnitRefusal::OtherPattern);
        }
        let is_changed = !std::mem::replace(&mut new.is_committed, true);
        if is_changed {
            self.begin_hold_after_commit(now);
        }
        Ok(Done { is_changed, transfers: None })
    }

    /// One save: retiring := current, current := new, new := Empty.
    fn promote(&mut self, now: UnixMillis, certificate: &Certificate) -> Result<Done, UnitRefusal> {
        let taken = self.bound()?;
        if matches!(taken.standing, Standing::Promoted | Standing::Cleared) {
            return Ok(Done::BEFORE);
        }
        let reference = taken.reference;
        let is_rotation = taken.order.purpose == Purpose::Rotate;
        let committed = self.state.new.as_ref().filter(|new| new.is_committed);
        let Some(to) = committed.map(|new| new.key.pattern()) else {
            return Err(UnitRefusal::NewIsNot("Full Committed"));
        };
        if self.state.retiring.is_some() {
            return Err(UnitRefusal::NotEmpty("retiring"));
        }
        let trust = self.judging_by(certificate)?;
        let judge = Judge { trust: &trust, seen: Some(&self.state.counters), own: Some(self.id) };
        let shown =
            certificate::verify_units(certificate, &reference, to, Reached::Committed, judge)?;
        self.hold_after_commit_is_over(now)?;
        self.state.counters.extend(shown);
        self.state.retiring = self.state.current.take();
        self.state.current = self.state.new.take().map(|new| new.key);
        if is_rotation {
            self.state.history.last_promoted_at = Some(now);
        }
        if let Some(taken) = &mut self.state.rotation {
            taken.standing = Standing::Promoted;
        }
        Ok(Done::CHANGED)
    }

    /// Wipes retiring, only with *flipped* of every keystore.
    fn clear<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        certificate: &Certificate,
    ) -> Result<Done, UnitRefusal> {
        let taken = self.bound()?;
        match taken.standing {
            Standing::Cleared => return Ok(Done::BEFORE),
            Standing::Promoted => {}
            _ => return Err(UnitRefusal::NewIsNot("promoted")),
        }
        let to = self.state.registers().current.ok_or(UnitRefusal::OtherCurrent)?;
        let reference = taken.reference;
        let trust = self.judging_by(certificate)?;
        let flipped = certificate::verify_flipped(certificate, &reference, to, &trust)?;
        if let Some(held) = self.hold_before_clear(now, rng, &flipped)? {
            return Ok(held);
        }
        self.state.retiring = None;
        if let Some(taken) = &mut self.state.rotation {
            taken.standing = Standing::Cleared;
            taken.transport = None;
        }
        Ok(Done::CHANGED)
    }
}
