//! What units have signed of the chunks that they made: a database that is asked for a digest tells what
//! somebody wrote there, and a receipt what a unit has.

use std::collections::BTreeMap;

use keystore::ChunkRecord;
use machines::rewrap::chunk_digest;
use machines::trust::Trust;
use machines::unit::page::read_receipt;
use protocol::codec;
use protocol::keystore::Generation;
use protocol::order::OrderRef;
use protocol::page::SignedReceipt;
use protocol::{Digest, ProcessId, PublicKey, Role, Rows};

/// Units that may have signed receipts, by every manifest so far: one that has re-wrapped chunks may have
/// been removed before they are read back.
pub(crate) struct Units(BTreeMap<ProcessId, PublicKey>);

impl Units {
    pub(crate) fn of(trust: &Trust) -> Self {
        let manifests = trust.chain().iter().filter_map(|signed| signed.unverified().ok());
        let units = manifests.flat_map(|manifest| {
            let units = manifest.of_role(Role::OperationalUnit);
            units.map(|unit| (unit.id, unit.identity)).collect::<Vec<_>>()
        });
        Self(units.collect())
    }

    /// The digest of a chunk's new rows by its receipt; none if that is not a unit's, or for another chunk.
    pub(crate) fn signed_digest(
        &self,
        order: &OrderRef,
        active: &Generation,
        chunk: &ChunkRecord,
    ) -> Option<Digest> {
        let bytes = &chunk.done.as_ref()?.receipt;
        if bytes.is_empty() {
            // The one chunk of a new keystore, which no unit has made: it has no rows.
            return Some(chunk_digest(&Rows::default()));
        }
        let signed: SignedReceipt = codec::decode(bytes).ok()?;
        let receipt = read_receipt(&signed, |unit| self.0.get(&unit).copied())?;
        let is_of_it = receipt.order_digest == order.digest
            && receipt.generation == active.id
            && receipt.range == chunk.range
            && receipt.to == active.pattern;
        is_of_it.then_some(receipt.new_digest)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crypto::domain;
    use crypto::identity::{self, Identity};
    use crypto::random::process_rng;
    use keystore::WrittenChunk;
    use protocol::keystore::GenerationState;
    use protocol::manifest::{Manifest, Member, SignedManifest};
    use protocol::page::{ChunkRange, ChunkReceipt};
    use protocol::{
        GenerationId, InstanceId, OrderNumber, Pattern, RotationId, UnixMillis, VersionId,
    };

    use super::*;

    const INSTANCE: InstanceId = InstanceId::from_bytes([1; 16]);
    const ORDER: OrderRef = OrderRef {
        rotation: RotationId::from_bytes([2; 16]),
        number: OrderNumber { manifest_serial: 1, number: 2 },
        digest: Digest([2; 32]),
    };

    #[test]
    fn a_digest_is_believed_only_by_a_receipt_that_a_unit_has_signed_for_this_chunk() {
        let (unit, other) =
            (Identity::generate(&mut process_rng()), Identity::generate(&mut process_rng()));
        let manifest = Manifest {
            instance: INSTANCE,
            name: "test".to_owned(),
            serial: 1,
            previous: None,
            members: vec![member(&unit, Role::OperationalUnit), member(&other, Role::Coordinator)],
            keystores: Vec::new(),
            administrators: Vec::new(),
            signature_threshold: 1,
            revocation_threshold: 1,
            created_at: UnixMillis(0),
            amendment: None,
        };
        let chain =
            vec![SignedManifest { bytes: codec::encode(&manifest), signatures: Vec::new() }];
        let units = Units::of(&Trust::from_saved(INSTANCE, chain).unwrap());
        let active = Generation {
            number: 2,
            id: GenerationId::from_bytes([2; 16]),
            pattern: Pattern([2; 32]),
            state: GenerationState::Active,
            set_count: 1,
            done_count: 1,
            quarantined_count: 0,
        };
        let receipt = ChunkReceipt {
            instance: INSTANCE,
            rotation: ORDER.rotation,
            order_digest: ORDER.digest,
            generation: active.id,
            from: Some(Pattern([1; 32])),
            to: active.pattern,
            range: ChunkRange::WHOLE,
            count: 1,
            old_digest: Digest([3; 32]),
            new_digest: Digest([4; 32]),
            unit: identity::process_id(&unit.public_key()),
        };
        let believed = |receipt: &ChunkReceipt, by: &Identity| {
            let bytes = codec::encode(receipt);
            let signature = by.sign(domain::RECEIPT, &bytes);
            let receipt = codec::encode(&SignedReceipt { bytes, signature });
            // The column beside it says what somebody wrote there.
            let new_digest = Digest([5; 32]);
            let done = Some(WrittenChunk { count: 1, quarantined_count: 0, new_digest, receipt });
            let chunk = ChunkRecord { range: ChunkRange::WHOLE, done };
            units.signed_digest(&ORDER, &active, &chunk)
        };
        assert_eq!(believed(&receipt, &unit), Some(Digest([4; 32])));
        assert_eq!(believed(&receipt, &other), None);
        let of_other = identity::process_id(&other.public_key());
        let (upto, whole) = (VersionId::from_bytes([1; 16]), ChunkRange::WHOLE);
        for (receipt, by) in [
            (ChunkReceipt { unit: of_other, ..receipt.clone() }, &other),
            (ChunkReceipt { order_digest: Digest([1; 32]), ..receipt.clone() }, &unit),
            (
                ChunkReceipt { generation: GenerationId::from_bytes([1; 16]), ..receipt.clone() },
                &unit,
            ),
            (ChunkReceipt { range: ChunkRange { upto, ..whole }, ..receipt.clone() }, &unit),
            (ChunkReceipt { to: Pattern([1; 32]), ..receipt.clone() }, &unit),
        ] {
            assert_eq!(believed(&receipt, by), None, "{receipt:?}");
        }
    }

    fn member(identity: &Identity, role: Role) -> Member {
        Member {
            id: identity::process_id(&identity.public_key()),
            name: "member".to_owned(),
            role,
            identity: identity.public_key(),
            location: "[test]".to_owned(),
        }
    }
}
