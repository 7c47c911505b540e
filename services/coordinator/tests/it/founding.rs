//! Founding an instance by nothing but the HTTP interface, as `auto-init` does.

use std::time::Duration;

use crypto::identity::Identity;
use crypto::random::process_rng;
use crypto::{domain, quorum};
use protocol::api::{
    AnnouncedMember, ManifestView, OrderDraft, OrderDraftRequest, RotationView, StartRotation,
    Started,
};
use protocol::audit::Phase;
use protocol::codec;
use protocol::keystore::GateMode;
use protocol::manifest::{AdminSignature, Administrator, Manifest, SignedManifest};
use protocol::order::{Authority, Purpose, SignedOrder, SignedStandingOrder, StandingOrder};
use reqwest::StatusCode;

use crate::api::{Api, PATIENCE, json};
use crate::cluster::{Cluster, INSTANCE, UNITS};

/// The one administrator.
pub struct Administrator1(pub Identity);

impl Administrator1 {
    pub fn new() -> Self {
        Self(Identity::generate(&mut process_rng()))
    }

    pub fn sign(&self, signing_domain: &'static str, bytes: &[u8]) -> Vec<AdminSignature> {
        let signature = self.0.sign(signing_domain, bytes);
        vec![AdminSignature { ski: quorum::ski(&self.0.public_key()), signature }]
    }

    pub fn order(&self, draft: &OrderDraft) -> SignedOrder {
        let bytes = hex::decode(&draft.bytes_hex).unwrap();
        let signatures = self.sign(domain::ORDER, &bytes);
        SignedOrder { bytes, authority: Authority::Quorum(signatures) }
    }
}

pub fn path(of: &str) -> String {
    format!("/v1/instances/{INSTANCE}/{of}")
}

/// A founded cluster with a standing order, and its administrator.
pub async fn founded() -> (Cluster, Administrator1) {
    let cluster = Cluster::start().await;
    let administrator = Administrator1::new();
    let first = found(&cluster.api, &administrator).await;
    assert_eq!((first.phase, first.units_done), (Phase::Done, UNITS.len()));
    (cluster, administrator)
}

/// Manifest, first master key, standing order; gives the rotation that made the key.
pub async fn found(api: &Api, administrator: &Administrator1) -> RotationView {
    let members = everybody(api).await;
    let manifest = manifest(administrator, &members);
    let bytes = codec::encode(&manifest);
    let signatures = administrator.sign(domain::MANIFEST, &bytes);
    let signed = SignedManifest { bytes, signatures };
    let response = api.post(&path("manifests"), &signed).await;
    let taken: ManifestView = json(response, StatusCode::CREATED).await;
    assert_eq!((&taken.manifest, &taken.chain), (&manifest, &vec![signed]));
    let order = administrator.order(&draft(api, Purpose::Initialise).await);
    let start = StartRotation { order: Some(order), ..StartRotation::default() };
    let response = api.post(&path("rotations"), &start).await;
    let started: Started = json(response, StatusCode::CREATED).await;
    let rotation = started.rotation.unwrap().rotation;
    api.events(rotation, None).await;
    let response = api.post(&path("standing-orders"), &standing(administrator, &manifest)).await;
    let taken: ManifestView = json(response, StatusCode::CREATED).await;
    assert!(taken.standing_order.is_some());
    api.read(&format!("/v1/rotations/{rotation}")).await
}

/// Waits until every process has announced itself.
async fn everybody(api: &Api) -> Vec<AnnouncedMember> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let response = api.get(&path("members")).await;
        // Units, reencryptor, coordinator.
        if response.status() == StatusCode::OK {
            let members: Vec<AnnouncedMember> = json(response, StatusCode::OK).await;
            if members.len() == UNITS.len() + 2 {
                return members;
            }
        }
        assert!(tokio::time::Instant::now() < deadline, "not everybody has announced itself");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn manifest(administrator: &Administrator1, members: &[AnnouncedMember]) -> Manifest {
    Manifest {
        instance: Cluster::instance(),
        name: INSTANCE.to_owned(),
        serial: 1,
        previous: None,
        members: members.iter().map(|said| said.member.clone()).collect(),
        keystores: members.iter().filter_map(|said| said.keystore).collect(),
        administrators: vec![Administrator {
            name: "one".to_owned(),
            key: administrator.0.public_key(),
        }],
        signature_threshold: 1,
        revocation_threshold: 1,
        created_at: service::now(),
        amendment: None,
    }
}

pub fn standing(administrator: &Administrator1, manifest: &Manifest) -> SignedStandingOrder {
    let bytes = codec::encode(&StandingOrder {
        instance: manifest.instance,
        manifest_serial: manifest.serial,
        not_more_often_than_s: 0,
        pause_between_tries_s: 0,
        hold_after_commit_s: 0,
        hold_before_clear_s: 0,
        until: service::now().plus_ms(3_600_000),
    });
    let signatures = administrator.sign(domain::STANDING_ORDER, &bytes);
    SignedStandingOrder { bytes, signatures }
}

/// An order to be signed.
pub async fn draft(api: &Api, purpose: Purpose) -> OrderDraft {
    drafted(api, purpose, [0, 0]).await
}

/// An order with a hold after commit and one before clear, in seconds. Units that have not taken the
/// manifest yet are waited for.
pub async fn drafted(api: &Api, purpose: Purpose, holds: [u32; 2]) -> OrderDraft {
    let [hold_after_commit_s, hold_before_clear_s] = holds;
    let request = OrderDraftRequest {
        purpose,
        joining: Vec::new(),
        quarantined: Vec::new(),
        mode: GateMode::Strict,
        hold_after_commit_s,
        hold_before_clear_s,
        valid_for_s: 300,
    };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let response = api.post(&path("order-drafts"), &request).await;
        if response.status() == StatusCode::OK {
            let draft: OrderDraft = json(response, StatusCode::OK).await;
            let bytes = hex::decode(&draft.bytes_hex).unwrap();
            assert_eq!(codec::decode::<protocol::order::Order>(&bytes).unwrap(), draft.order);
            assert_eq!(machines::leave::order_digest(&bytes), draft.digest);
            return draft;
        }
        let text = response.text().await.unwrap();
        assert!(tokio::time::Instant::now() < deadline, "no draft: {text}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Starts a rotation under the standing order.
pub async fn start(api: &Api) -> RotationView {
    let response = api.post(&path("rotations"), &StartRotation::default()).await;
    let started: Started = json(response, StatusCode::CREATED).await;
    assert!(!started.joined);
    started.rotation.unwrap()
}

/// Starts a rotation and follows it to its end.
pub async fn rotated(api: &Api) -> RotationView {
    let rotation = start(api).await.rotation;
    let last = api.events(rotation, None).await.pop().unwrap();
    assert_eq!(last.rotation.phase, Phase::Done);
    last.rotation
}
