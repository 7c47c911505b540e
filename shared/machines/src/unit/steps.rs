//! The steps of a rotation: generate, install, commit, promote, clear, and the abort.
//!
//! Each of them either does its work, or finds it done and answers from state, or refuses and
//! changes nothing.

use crypto::identity;
use crypto::master_key::MasterKey;
use crypto::transfer::{self, TransferInfo, TransferPurpose, TransportKey};
use protocol::certificate::Certificate;
use protocol::codec;
use protocol::command::{Offer, SignedOffer, SignedTransfer, Step, Transfer, Transfers};
use protocol::order::{Order, OrderRef, Purpose, SignedOrder};
use protocol::report::Standing;
use protocol::{Pattern, ProcessId, Role, UnixMillis};
use rand::CryptoRng;

use super::hold::Holds;
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
        self.state.rotation = Some(TakenRotation {
            signed_order,
            order,
            reference,
            standing: Standing::Aborted,
            holds: Holds::default(),
            transport: None,
        });
        Ok(Done::CHANGED)
    }

    /// One transport key for one rotation, and the signed offer of it.
    pub(super) fn make_offer<R: CryptoRng>(
        &self,
        rng: &mut R,
        order: &Order,
    ) -> (TransportKey, SignedOffer) {
        let key = TransportKey::generate(rng);
        let bytes = codec::encode(&Offer {
            instance: order.instance,
            manifest_serial: order.number.manifest_serial,
            rotation: order.rotation,
            number: order.number,
            unit: self.id,
            transport_key: key.public(),
        });
        let signature = self.identity.sign(transfer_purpose(order).offer_domain(), &bytes);
        (key, SignedOffer { bytes, signature })
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
        let is_drawn = taken.standing == Standing::Promoted || self.state.new.is_some();
        if !is_drawn {
            if taken.order.generator != self.id {
                return Err(UnitRefusal::NotTheGenerator(taken.order.generator));
            }
            // It may have drawn one before its state was set back: there is never a second one.
            if self.state.reminder.as_ref().is_some_and(|held| held.had_key(&taken.reference)) {
                return Err(UnitRefusal::HadDrawn);
            }
            let key = MasterKey::generate(rng);
            self.state.new = Some(NewKey { key, is_committed: false });
        }
        let taken = self.bound()?;
        let key = match taken.standing {
            Standing::Promoted => self.state.current.as_ref(),
            _ => self.state.new.as_ref().map(|new| &new.key),
        };
        let key = key.ok_or(UnitRefusal::NewIsNot("filled"))?;
        let transfers = Some(self.seal_to_all(rng, taken, key, &recipients)?);
        Ok(Done { is_changed: !is_drawn, transfers })
    }

    /// To whom these offers let a master key of this order be sealed.
    pub(super) fn recipients(
        &self,
        taken: &TakenRotation,
        offers: &[SignedOffer],
    ) -> Result<Vec<(ProcessId, [u8; 32])>, UnitRefusal> {
        offers.iter().map(|offer| self.verify_offer(taken, offer)).collect()
    }

    /// Seals the key to each of them.
    pub(super) fn seal_to_all<R: CryptoRng>(
        &self,
        rng: &mut R,
        taken: &TakenRotation,
        key: &MasterKey,
        recipients: &[(ProcessId, [u8; 32])],
    ) -> Result<Transfers, UnitRefusal> {
        let seal =
            |(unit, public): &(ProcessId, [u8; 32])| self.seal_to(rng, taken, key, *unit, public);
        let transfers = recipients.iter().map(seal).collect::<Result<Vec<_>, _>>()?;
        Ok(Transfers { order: taken.reference, transfers })
    }

    /// An offer holds if a crypto unit of the newest manifest signed it for this very rotation.
    fn verify_offer(
        &self,
        taken: &TakenRotation,
        signed: &SignedOffer,
    ) -> Result<(ProcessId, [u8; 32]), UnitRefusal> {
        let offer: Offer = codec::decode(&signed.bytes)
            .map_err(|_| UnitRefusal::Offer { unit: self.id, reason: "it cannot be read" })?;
        let refuse = |reason| Err(UnitRefusal::Offer { unit: offer.unit, reason });
        let Some(member) = self.state.trust.member(offer.unit) else {
            return refuse("its unit is not in the manifest");
        };
        if !member.role.is_crypto_unit() || offer.unit == self.id {
            return refuse("its unit takes no master key");
        }
        let order = &taken.order;
        let signed_as = transfer_purpose(order).offer_domain();
        if !identity::verify(&member.identity, signed_as, &signed.bytes, &signed.signature) {
            return refuse("its signature is not its unit's");
        }
        if order.purpose.recovery().is_some_and(|recovery| recovery.target != offer.unit) {
            return refuse("its unit is not the order's target");
        }
        let is_for_this = offer.instance == order.instance
            && offer.manifest_serial == order.number.manifest_serial
            && offer.rotation == order.rotation
            && offer.number == order.number;
        match is_for_this {
            true => Ok((offer.unit, offer.transport_key)),
            false => refuse("it was made for another rotation"),
        }
    }

    fn seal_to<R: CryptoRng>(
        &self,
        rng: &mut R,
        taken: &TakenRotation,
        key: &MasterKey,
        recipient: ProcessId,
        public: &[u8; 32],
    ) -> Result<SignedTransfer, UnitRefusal> {
        let info = transfer_info(&taken.order, self.id, recipient, key.pattern());
        let sealed = transfer::seal_master_key(key, public, &info, rng)
            .map_err(|_| UnitRefusal::Transfer("it could not be sealed"))?;
        let bytes = codec::encode(&Transfer {
            instance: info.instance,
            manifest_serial: info.manifest_serial,
            rotation: info.rotation,
            number: info.number,
            source: info.source,
            recipient,
            from: info.from,
            to: info.to,
            enc: sealed.enc,
            ciphertext: sealed.ciphertext,
        });
        let signature = self.identity.sign(info.purpose.transfer_domain(), &bytes);
        Ok(SignedTransfer { bytes, signature })
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

    /// Only from a recovery unit of the manifest (that of the order to recover), to this unit, for this
    /// very order.
    pub(super) fn read_transfer(
        &self,
        taken: &TakenRotation,
        signed: &SignedTransfer,
    ) -> Result<Transfer, UnitRefusal> {
        let transfer: Transfer =
            codec::decode(&signed.bytes).map_err(|_| UnitRefusal::Transfer("it cannot be read"))?;
        let source = self
            .state
            .trust
            .member(transfer.source)
            .filter(|member| member.role == Role::RecoveryUnit)
            .ok_or(UnitRefusal::Transfer("its source may not export"))?;
        let signed_as = transfer_purpose(&taken.order).transfer_domain();
        if !identity::verify(&source.identity, signed_as, &signed.bytes, &signed.signature) {
            return Err(UnitRefusal::Transfer("its signature is not its source's"));
        }
        let recovery = taken.order.purpose.recovery();
        if recovery.is_some_and(|recovery| recovery.source != transfer.source) {
            return Err(UnitRefusal::Transfer("its source is not the order's"));
        }
        if transfer.recipient != self.id {
            return Err(UnitRefusal::Transfer("it is for another unit"));
        }
        let order = &taken.order;
        let is_for_this = transfer.instance == order.instance
            && transfer.manifest_serial == order.number.manifest_serial
            && transfer.rotation == order.rotation
            && transfer.number == order.number
            && transfer.from == order.from;
        match is_for_this {
            true => Ok(transfer),
            false => Err(UnitRefusal::Transfer("it was made for another rotation")),
        }
    }

    /// Opens what was sealed to this unit, to the pattern that it names.
    pub(super) fn open_transfer(
        &self,
        taken: &TakenRotation,
        sealed: Transfer,
    ) -> Result<MasterKey, UnitRefusal> {
        let Some((transport, _)) = &taken.transport else {
            return Err(UnitRefusal::Transfer("the transport key is gone"));
        };
        let info = transfer_info(&taken.order, sealed.source, self.id, sealed.to);
        let wire = transfer::SealedKey { enc: sealed.enc, ciphertext: sealed.ciphertext };
        transfer::open_master_key(transport, &wire, &info)
            .map_err(|_| UnitRefusal::Transfer("it does not open to the pattern it names"))
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

const fn transfer_purpose(order: &Order) -> TransferPurpose {
    match order.purpose {
        Purpose::Initialise | Purpose::Rotate => TransferPurpose::Rotate,
        Purpose::Recover { .. } => TransferPurpose::Recover,
    }
}

/// What HPKE's `info` binds.
fn transfer_info(
    order: &Order,
    source: ProcessId,
    recipient: ProcessId,
    to: Pattern,
) -> TransferInfo {
    TransferInfo {
        purpose: transfer_purpose(order),
        instance: order.instance,
        manifest_serial: order.number.manifest_serial,
        rotation: order.rotation,
        number: order.number,
        source,
        recipient,
        from: order.from,
        to,
    }
}
