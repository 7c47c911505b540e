//! How master keys travel: offers of transport keys, copies sealed to them, and copies that are opened.

use crypto::identity;
use crypto::master_key::MasterKey;
use crypto::transfer::{self, TransferInfo, TransferPurpose, TransportKey};
use protocol::codec;
use protocol::command::{Offer, SignedOffer, SignedTransfer, Transfer, Transfers};
use protocol::order::{Order, Purpose};
use protocol::{Pattern, ProcessId, Role};
use rand::CryptoRng;

use super::Unit;
use super::refusal::UnitRefusal;
use super::state::TakenRotation;

impl Unit {
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

    /// To whom these offers let a master key of this order be sealed.
    pub(super) fn recipients(
        &self,
        taken: &TakenRotation,
        offers: &[SignedOffer],
    ) -> Result<Vec<(ProcessId, [u8; 32])>, UnitRefusal> {
        offers.iter().map(|offer| self.verify_offer(taken, offer)).collect()
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
