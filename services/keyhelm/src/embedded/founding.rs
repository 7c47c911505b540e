//! `auto-init` of an embedded cluster: trust on first use, one administrator whose key exists for
//! as long as the process does.

use anyhow::bail;
use crypto::identity::Identity;
use crypto::random::process_rng;
use crypto::{domain, quorum};
use machines::conductor::{Answer, Ask, Conductor, DraftRequest, StartAsk};
use protocol::api::RotationView;
use protocol::codec;
use protocol::keystore::GateMode;
use protocol::manifest::{AdminSignature, Administrator, Manifest, SignedManifest};
use protocol::order::{Authority, Purpose, SignedOrder, SignedStandingOrder, StandingOrder};
use protocol::report::Announcement;

use super::cluster::{Cluster, INSTANCE, UNITS};

/// Most times that everybody is asked whether they have the manifest.
const MAX_LOOKS: u32 = 100;
/// A year.
const STANDING_ORDER_MS: u64 = 365 * 24 * 60 * 60 * 1000;

/// The one administrator of an embedded cluster.
pub struct Administrators {
    key: Identity,
}

impl Default for Administrators {
    fn default() -> Self {
        Self::new()
    }
}

impl Administrators {
    /// Makes a key that is never saved.
    pub fn new() -> Self {
        Self { key: Identity::generate(&mut process_rng()) }
    }

    fn sign(&self, signing_domain: &str, bytes: &[u8]) -> Vec<AdminSignature> {
        let signature = self.key.sign(signing_domain, bytes);
        vec![AdminSignature { ski: quorum::ski(&self.key.public_key()), signature }]
    }
}

/// Names everybody in the first manifest, makes the first master key, signs a standing order.
pub async fn initialise(
    cluster: &Cluster,
    administrators: &Administrators,
) -> anyhow::Result<RotationView> {
    let announced = announced(cluster).await?;
    let manifest = manifest(cluster, administrators, &announced);
    let bytes = codec::encode(&manifest);
    let signatures = administrators.sign(domain::MANIFEST, &bytes);
    taken(cluster.ask(Ask::Manifest(SignedManifest { bytes, signatures }, None)).await?)?;
    let order = draft(cluster).await?;
    let signatures = administrators.sign(domain::ORDER, &order);
    let order = SignedOrder { bytes: order, authority: Authority::Quorum(signatures) };
    let view = cluster.rotate(start(Some(order)), |_| {}).await?;
    let standing = codec::encode(&StandingOrder {
        instance: cluster.instance,
        manifest_serial: manifest.serial,
        not_more_often_than_s: 0,
        pause_between_tries_s: 0,
        hold_after_commit_s: 0,
        hold_before_clear_s: 0,
        until: service::now().plus_ms(STANDING_ORDER_MS),
    });
    let signatures = administrators.sign(domain::STANDING_ORDER, &standing);
    let standing = SignedStandingOrder { bytes: standing, signatures };
    taken(cluster.ask(Ask::Standing(standing)).await?)?;
    Ok(view)
}

/// The request for a rotation, with an order or under the standing order.
pub fn start(order: Option<SignedOrder>) -> Ask {
    Ask::Start(Box::new(StartAsk::plain(order, GateMode::Strict, "demo")))
}

/// Waits until every process of the cluster has announced itself.
async fn announced(cluster: &Cluster) -> anyhow::Result<Vec<Announcement>> {
    // Units, reencryptor and gateway; the coordinator knows itself.
    let expected = UNITS.len() + 2;
    for _ in 0..MAX_LOOKS {
        let look = |found: Option<&Conductor>| {
            let heard = found.map(|conductor| conductor.heard().announced.values());
            heard.into_iter().flatten().map(|heard| heard.said.clone()).collect::<Vec<_>>()
        };
        let found = cluster.coordinator.see(cluster.instance, look).await?;
        if found.len() >= expected {
            return Ok(found);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    bail!("not every process of the cluster has announced itself");
}

fn manifest(
    cluster: &Cluster,
    administrators: &Administrators,
    announced: &[Announcement],
) -> Manifest {
    let mut members: Vec<_> = announced.iter().map(|said| said.member.clone()).collect();
    members.push(cluster.coordinator.member().clone());
    members.sort_by(|one, other| one.name.cmp(&other.name));
    Manifest {
        instance: cluster.instance,
        name: INSTANCE.to_owned(),
        serial: 1,
        previous: None,
        members,
        keystores: announced.iter().filter_map(|said| said.keystore).collect(),
        administrators: vec![Administrator {
            name: "embedded".to_owned(),
            key: administrators.key.public_key(),
        }],
        signature_threshold: 1,
        revocation_threshold: 1,
        created_at: service::now(),
        amendment: None,
    }
}

/// The order of the first master key. Units that have not taken the manifest yet are waited for.
async fn draft(cluster: &Cluster) -> anyhow::Result<Vec<u8>> {
    let request = DraftRequest {
        purpose: Purpose::Initialise,
        joining: Vec::new(),
        quarantined: Vec::new(),
        mode: GateMode::Strict,
        hold_after_commit_s: 0,
        hold_before_clear_s: 0,
        valid_for_s: 300,
    };
    let mut last = Vec::new();
    for _ in 0..MAX_LOOKS {
        match cluster.ask(Ask::Draft(request.clone())).await? {
            Answer::Drafted(_, bytes, _) => return Ok(bytes),
            Answer::Unmet(findings) => last = findings.unmet,
            _ => bail!("the coordinator gave an unexpected answer"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    bail!("the cluster cannot be initialised: {last:?}");
}

fn taken(answer: Answer) -> anyhow::Result<()> {
    match answer {
        Answer::Taken => Ok(()),
        Answer::Refused(refusal) => bail!("{}", refusal.text),
        _ => bail!("the coordinator gave an unexpected answer"),
    }
}
