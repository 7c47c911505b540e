//! Units that never answer, and clients that do not wait for them.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use bus::{MemoryBus, QueueSpec};
use futures_util::FutureExt;
use protocol::manifest::{Administrator, Manifest, Member, SignedManifest};
use protocol::{InstanceId, KeystoreId};

use super::*;

fn member(role: Role) -> Member {
    let key = Identity::generate(&mut process_rng()).public_key();
    Member {
        id: identity::process_id(&key),
        name: role.name().to_owned(),
        role,
        identity: key,
        location: "[test]".to_owned(),
    }
}

/// A gateway with one operational unit, whose queue nobody reads.
async fn with_a_silent_unit() -> Units {
    let instance = InstanceId::named("silent");
    let gateway = Identity::generate(&mut process_rng());
    let unit = member(Role::OperationalUnit);
    let address = topology::process_address(Role::OperationalUnit, instance, unit.id);
    let administrator = Identity::generate(&mut process_rng()).public_key();
    let manifest = Manifest {
        instance,
        name: "silent".to_owned(),
        serial: 1,
        previous: None,
        members: vec![unit, member(Role::RecoveryUnit)],
        keystores: vec![KeystoreId::from_bytes([1; 16])],
        administrators: vec![Administrator { name: "tests".to_owned(), key: administrator }],
        signature_threshold: 1,
        revocation_threshold: 1,
        created_at: service::now(),
        amendment: None,
    };
    let signed = SignedManifest { bytes: codec::encode(&manifest), signatures: Vec::new() };
    let trust = Trust::from_saved(instance, vec![signed]).unwrap();
    let bus = Bus::Memory(MemoryBus::default());
    bus.declare(&[QueueSpec::transient(address)]).await.unwrap();
    Units::new(bus, Arc::new(gateway), Arc::new(RwLock::new(trust)))
}

#[tokio::test]
async fn whoever_hangs_up_is_waited_for_no_longer() {
    let units = with_a_silent_unit().await;
    let request = KeyRequest::Check { rows: Vec::new() };
    for _ in 0..100 {
        let mut asked = Box::pin(units.ask(&request));
        assert!((&mut asked).now_or_never().is_none());
        assert_eq!(units.awaited.count(), 1);
        drop(asked);
        assert_eq!(units.awaited.count(), 0);
    }
}

/// All of them wait for the one that opens the session, and none of them tries again by itself.
#[tokio::test]
async fn however_many_need_a_silent_unit_they_give_it_up_together() {
    let units = with_a_silent_unit().await;
    let request = KeyRequest::Check { rows: Vec::new() };
    let Bus::Memory(memory) = &units.bus else { panic!("another bus") };
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    memory.tap(move |_| _ = counted.fetch_add(1, Ordering::Relaxed));
    let asked = futures_util::future::join_all((0..20).map(|_| units.ask(&request))).await;
    assert!(asked.iter().all(|answer| answer == &Err(UnitsError::Silent)), "{asked:?}");
    assert_eq!(count.load(Ordering::Relaxed), 1, "messages to the unit");
    assert_eq!(units.awaited.count(), 0);
}
