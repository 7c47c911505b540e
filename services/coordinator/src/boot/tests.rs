//! A coordinator that has lost its broker, and another that has not.
#![allow(clippy::unwrap_used)]

use bus::MemoryBus;
use identity::Issuer;

use super::*;

/// So long that no lease ends by itself while a test waits.
const LEASE_MS: u64 = 5 * 60 * 1000;
/// How long anything may take: an outage counts after a few seconds.
const SOON: Duration = Duration::from_secs(20);
/// The other coordinator.
const OTHER: ProcessId = ProcessId::from_bytes([9; 16]);

/// Asks for the lease for the other coordinator, until it is or is not held by somebody else. What the
/// other one gets in between it lets go again.
async fn until(records: &Records, is_held: bool) {
    let asking = async {
        loop {
            let acquired = records.acquire(OTHER, LEASE_MS).await.unwrap();
            if matches!(acquired, Acquired::Theirs { .. }) == is_held {
                return;
            }
            records.release().await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, asking).await.expect("the lease is where it should be");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_without_its_broker_leaves_the_lease_to_another_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let issuer = Issuer::create(&path("issuer"), &mut process_rng()).unwrap();
    let verifier = Verifier::from_jwks(&issuer.jwks()).unwrap();
    let mut settings = CoordinatorSettings { lease_ms: LEASE_MS, ..Default::default() };
    settings.common.data_dir = path("own").display().to_string();
    settings.served.listen = "127.0.0.1:0".to_owned();
    let memory = MemoryBus::default();
    let own = Records::open(&path("records.db")).await.unwrap();
    let others = Records::open(&path("records.db")).await.unwrap();
    let (status, shutdown) = (Status::default(), Shutdown::new());
    let terms = Terms {
        settings,
        bus: Bus::Memory(memory.clone()),
        records: own,
        verifier,
        status: status.clone(),
        shutdown: shutdown.clone(),
    };
    let acting = tokio::spawn(async move { terms.serve().await });
    until(&others, true).await;

    memory.set_away(true);
    until(&others, false).await;
    assert_eq!(status.because(), Some(outage::BECAUSE));

    memory.set_away(false);
    others.release().await.unwrap();
    until(&others, true).await;
    assert_ne!(status.because(), Some(outage::BECAUSE));
    shutdown.trigger();
    acting.await.unwrap().unwrap();
}
