//! The world's manifest.

use crypto::domain;
use crypto::identity::{self, Identity};
use crypto::quorum;
use protocol::codec;
use protocol::manifest::{AdminSignature, Administrator, Manifest, Member, SignedManifest};
use protocol::{InstanceId, KeystoreId, ProcessId, PublicKey, Role, UnixMillis};

use crate::coordinator::CoordinatorNode;
use crate::reencryptor::ReencryptorNode;
use crate::unit::UnitNode;

/// A unit, as a manifest names it.
pub(crate) fn member(unit: &UnitNode) -> Member {
    named(unit.id, &unit.name, unit.role, unit.identity().public_key())
}

fn named(id: ProcessId, name: &str, role: Role, identity: PublicKey) -> Member {
    Member { id, name: name.to_owned(), role, identity, location: "[sim]".to_owned() }
}

/// Names every node, signed by the one administrator.
pub(crate) fn manifest(
    instance: InstanceId,
    keystore: KeystoreId,
    units: &[UnitNode],
    reencryptor: &ReencryptorNode,
    coordinator: &CoordinatorNode,
    admin: &Identity,
) -> SignedManifest {
    let mut members: Vec<_> = units.iter().map(member).collect();
    let key = reencryptor.identity().public_key();
    members.push(named(reencryptor.id, "reencryptor", Role::Reencryptor, key));
    let key = coordinator.identity().public_key();
    members.push(named(coordinator.id, "coordinator", Role::Coordinator, key));
    if let Some(other) = coordinator.other() {
        let key = other.public_key();
        let id = identity::process_id(&key);
        members.push(named(id, "coordinator-2", Role::Coordinator, key));
    }
    let administrator = Administrator { name: "admin".to_owned(), key: admin.public_key() };
    let bytes = codec::encode(&Manifest {
        instance,
        name: "sim".to_owned(),
        serial: 1,
        previous: None,
        members,
        keystores: vec![keystore],
        administrators: vec![administrator],
        signature_threshold: 1,
        revocation_threshold: 1,
        created_at: UnixMillis(0),
        amendment: None,
    });
    let signature = admin.sign(domain::MANIFEST, &bytes);
    let signatures = vec![AdminSignature { ski: quorum::ski(&admin.public_key()), signature }];
    SignedManifest { bytes, signatures }
}
