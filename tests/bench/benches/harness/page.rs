//! A page as the reencryptor sends it, and the unit that re-wraps it.

#![allow(dead_code)] // Each bench uses a part of it.

use crypto::blob::{self, BlobBinding, WrapKeys};
use crypto::identity::Identity;
use crypto::master_key::MasterKey;
use crypto::random::{ProcessRng, process_rng, uuid_v4};
use protocol::page::{ChunkRange, RewrapPage};
use protocol::{Digest, GenerationId, InstanceId, KeyId, OrderNumber, RowRef, Rows, VersionId};

/// Rows of a page, the default of `rows_per_page`.
pub const ROWS: u64 = 2000;

/// Two master keys and a page from one to the other.
pub struct Stage {
    pub instance: InstanceId,
    pub identity: Identity,
    pub from: WrapKeys,
    pub to: WrapKeys,
    pub page: RewrapPage,
    pub rng: ProcessRng,
}

impl Stage {
    pub fn new() -> Self {
        let mut rng = process_rng();
        let (old, new) = (MasterKey::generate(&mut rng), MasterKey::generate(&mut rng));
        let (from, to) = (WrapKeys::derive(&old), WrapKeys::derive(&new));
        let instance = InstanceId::named("bench");
        let mut ids: Vec<_> = (0..ROWS).map(|_| uuid_v4(&mut rng)).collect();
        ids.sort();
        let mut rows = Rows::default();
        for id in ids {
            let (version, key) = (VersionId::from_uuid(id), KeyId::from_uuid(uuid_v4(&mut rng)));
            let bound = BlobBinding { instance, key, version, attributes: 0x11 };
            let Ok(blob) = blob::seal_blob(&from, &bound, &[7; 32], &mut rng) else { continue };
            rows.push(RowRef { version, key, attributes: 0x11, blob: &blob });
        }
        let page = RewrapPage {
            order_digest: Digest([1; 32]),
            number: OrderNumber::default(),
            generation: GenerationId::from_uuid(uuid_v4(&mut rng)),
            range: ChunkRange::WHOLE,
            from: from.pattern(),
            to: to.pattern(),
            rows,
        };
        Self { instance, identity: Identity::generate(&mut rng), from, to, page, rng }
    }

    pub const fn bound(instance: InstanceId, row: RowRef<'_>) -> BlobBinding {
        let RowRef { version, key, attributes, .. } = row;
        BlobBinding { instance, key, version, attributes }
    }
}
