//! Pages: re-wrapping a chunk of wrapped keys, and opening them for a check. No state changes.

use crypto::blob::{self, BlobBinding, BlobHeader, Rewrapper};
use crypto::digest::ChunkDigest;
use crypto::domain;
use crypto::identity::Identity;
use protocol::codec;
use protocol::page::{
    CheckAnswer, CheckPage, ChunkReceipt, PageAnswer, RewrapPage, SignedReceipt, UnopenedRow,
};
use protocol::{Blobs, InstanceId, ProcessId, RowRef};
use rand::CryptoRng;

use super::keyring::{Keyring, RewrapLeave};

/// Re-wraps a chunk and signs its receipt. All rows or none: one that does not open is named.
pub fn rewrap<R: CryptoRng>(
    keyring: &Keyring,
    identity: &Identity,
    page: &RewrapPage,
    rng: &mut R,
) -> PageAnswer {
    let leave = match check_leave(keyring, page) {
        Ok(leave) => leave,
        Err(reason) => return PageAnswer::Refused(reason.to_owned()),
    };
    let (Some(instance), Some(unit)) = (keyring.instance, keyring.unit) else {
        return PageAnswer::Refused("the unit is in imprint mode".to_owned());
    };
    let (Some(from), Some(to)) = (keyring.keys(leave.from), keyring.keys(leave.to)) else {
        return PageAnswer::Refused("the unit does not hold both patterns".to_owned());
    };
    let mut blobs = Blobs::with_room(page.rows.byte_count());
    let mut unopened = Vec::new();
    let (mut old_digest, mut new_digest) = (ChunkDigest::new(), ChunkDigest::new());
    let mut rewrapper = Rewrapper::new(from, to);
    for row in page.rows.iter() {
        let bound = binding(instance, row);
        match blobs.push_with(|out| rewrapper.rewrap(&bound, row.blob, rng, out)) {
            Ok(new_blob) => {
                old_digest.row(row.version, row.key, row.attributes, row.blob);
                new_digest.row(row.version, row.key, row.attributes, new_blob);
            }
            Err(error) => unopened.push(named(row, error.to_string())),
        }
    }
    if !unopened.is_empty() {
        return PageAnswer::Unopened(unopened);
    }
    let receipt = ChunkReceipt {
        instance,
        rotation: leave.order.rotation,
        order_digest: leave.order.digest,
        generation: page.generation,
        from: Some(leave.from),
        to: leave.to,
        range: page.range,
        count: page.rows.len() as u64,
        old_digest: old_digest.finish(),
        new_digest: new_digest.finish(),
        unit,
    };
    PageAnswer::Rewrapped { blobs, receipt: sign(identity, &receipt) }
}

/// Opens every row with whichever register its blob's header names; where second blobs are given,
/// both must hold the same key.
pub fn check(keyring: &Keyring, page: &CheckPage) -> CheckAnswer {
    if let Some(reason) = keyring.not_opening {
        return CheckAnswer::Refused(reason.to_owned());
    }
    if !page.new_blobs.is_empty() && page.new_blobs.len() != page.rows.len() {
        return CheckAnswer::Refused("there is not one new blob for each row".to_owned());
    }
    let (opened_count, unopened) =
        check_rows(keyring, page.rows.iter(), page.new_blobs.iter().map(Some));
    CheckAnswer::Checked { opened_count, unopened }
}

/// How many rows open (and compare equal with their new blob, where there is one), and the others.
pub fn check_rows<'a>(
    keyring: &Keyring,
    rows: impl Iterator<Item = RowRef<'a>>,
    new_blobs: impl Iterator<Item = Option<&'a [u8]>>,
) -> (u64, Vec<UnopenedRow>) {
    let (mut opened_count, mut unopened) = (0, Vec::new());
    for (row, second) in rows.zip(new_blobs.chain(std::iter::repeat(None))) {
        match check_row(keyring, row, second) {
            Ok(()) => opened_count += 1,
            Err(reason) => unopened.push(named(row, reason)),
        }
    }
    (opened_count, unopened)
}

fn check_row(keyring: &Keyring, row: RowRef<'_>, second: Option<&[u8]>) -> Result<(), String> {
    let instance = keyring.instance.ok_or("the unit is in imprint mode")?;
    let open = |blob: &[u8]| {
        let header = BlobHeader::parse(blob).map_err(|error| error.to_string())?;
        let keys = keyring
            .keys(header.pattern)
            .ok_or_else(|| format!("no register holds pattern {}", header.pattern))?;
        blob::open_blob(keys, &binding(instance, row), blob).map_err(|error| error.to_string())
    };
    let first = open(row.blob)?;
    match second {
        None => Ok(()),
        Some(second) if first.ct_eq(&open(second)?) => Ok(()),
        Some(_) => Err("the new blob holds another key".to_owned()),
    }
}

fn check_leave(keyring: &Keyring, page: &RewrapPage) -> Result<RewrapLeave, &'static str> {
    if let Some(reason) = keyring.not_serving {
        return Err(reason);
    }
    let leave = keyring.rewrap.ok_or("the unit does not hold both patterns of a rotation")?;
    if leave.order.digest != page.order_digest || leave.order.number != page.number {
        return Err("the unit is bound to another order");
    }
    if leave.from != page.from || leave.to != page.to {
        return Err("the page names other patterns than the rotation's");
    }
    let is_in_order = page.rows.iter().map(|row| row.version).is_sorted_by(|one, next| one < next);
    if !is_in_order || page.rows.iter().any(|row| !page.range.contains(row.version)) {
        return Err("the rows are not in order, or not in the page's range");
    }
    Ok(leave)
}

fn sign(identity: &Identity, receipt: &ChunkReceipt) -> SignedReceipt {
    let bytes = codec::encode(receipt);
    let signature = identity.sign(domain::RECEIPT, &bytes);
    SignedReceipt { bytes, signature }
}

/// Whether a receipt is signed by `unit`, and what it says.
pub fn read_receipt(
    signed: &SignedReceipt,
    key_of: impl Fn(ProcessId) -> Option<protocol::PublicKey>,
) -> Option<ChunkReceipt> {
    let receipt: ChunkReceipt = codec::decode(&signed.bytes).ok()?;
    let key = key_of(receipt.unit)?;
    crypto::identity::verify(&key, domain::RECEIPT, &signed.bytes, &signed.signature)
        .then_some(receipt)
}

/// What the blob of a row is bound to.
pub fn binding(instance: InstanceId, row: RowRef<'_>) -> BlobBinding {
    let (key, version, attributes) = (row.key, row.version, row.attributes);
    BlobBinding { instance, key, version, attributes }
}

fn named(row: RowRef<'_>, reason: String) -> UnopenedRow {
    UnopenedRow { version: row.version, key: row.key, reason }
}
