//! What a source makes of a master key, made by hand: for what no unit would make.

use crypto::identity::Identity;
use crypto::master_key::MasterKey;
use crypto::transfer::{self, TransferInfo, TransferPurpose};
use protocol::Pattern;
use protocol::codec;
use protocol::command::{Offer, SignedOffer, SignedTransfer, Transfer};

use crate::world::{Run, World, unit_id};

/// What a seal of this order binds.
pub fn info(
    run: &Run,
    purpose: TransferPurpose,
    (source, recipient): (usize, usize),
    to: Pattern,
) -> TransferInfo {
    TransferInfo {
        purpose,
        instance: run.order.instance,
        manifest_serial: run.order.number.manifest_serial,
        rotation: run.order.rotation,
        number: run.order.number,
        source: unit_id(source),
        recipient: unit_id(recipient),
        from: run.order.from,
        to,
    }
}

/// The key sealed to the offer, in the words of what it is bound to.
pub fn sealed(
    world: &mut World,
    key: &MasterKey,
    offer: &SignedOffer,
    info: &TransferInfo,
) -> Transfer {
    let offer: Offer = codec::decode(&offer.bytes).unwrap();
    let sealed = transfer::seal_master_key(key, &offer.transport_key, info, &mut world.rng);
    let sealed = sealed.unwrap();
    Transfer {
        instance: info.instance,
        manifest_serial: info.manifest_serial,
        rotation: info.rotation,
        number: info.number,
        source: info.source,
        recipient: info.recipient,
        from: info.from,
        to: info.to,
        enc: sealed.enc,
        ciphertext: sealed.ciphertext,
    }
}

/// Signed for this purpose.
pub fn signed(by: &Identity, signed_as: &str, transfer: &Transfer) -> SignedTransfer {
    let bytes = codec::encode(transfer);
    let signature = by.sign(signed_as, &bytes);
    SignedTransfer { bytes, signature }
}
