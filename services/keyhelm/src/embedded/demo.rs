//! `keyhelm demo`: what the program is for, in a few seconds, on this machine alone.

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use machines::conductor::{Answer, Ask, Conductor};
use protocol::KeyId;

use super::cluster::Cluster;
use super::founding::{self, Administrators};
use super::proof::{self, Witness};
use crate::failure::{Exit, Failure, Outcome};
use crate::interrupt::Handling;
use crate::out;
use crate::show::compare::{self, Row};
use crate::show::progress::{self, Progress};
use crate::show::time::count;

/// Arguments of the demo.
#[derive(Clone, Copy, Debug, Args)]
pub struct DemoArgs {
    /// How many keys to make before the rotation.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub keys: u32,
}

/// Keys made in one request.
const PAGE: u32 = 1_000;
/// Root keys that data are wrapped under.
const WRAPPED: usize = 100;
/// Standard keys of known bytes.
const IMPORTED: usize = 20;

/// Runs the demo; its folder is gone when it ends.
pub async fn run(args: DemoArgs) -> Outcome {
    let handling = Handling::begin();
    let folder = tempfile::Builder::new().prefix("keyhelm-demo-").tempdir()?;
    out::answer(
        "Starting 3 operational and 2 recovery crypto units, a coordinator, a reencryptor and\n\
         a gateway in this process. Nothing of it stays.",
    )?;
    let cluster = Cluster::start(folder.path()).await?;
    let done = tokio::select! {
        done = play(&cluster, args) => done,
        () = handling.caught() => Err(interrupted()),
    };
    let stopped = cluster.stop().await;
    folder.close()?;
    done.and(stopped.map_err(Failure::from))
}

fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted", "interrupted")
        .safe("nothing was left behind")
        .next("keyhelm demo")
}

async fn play(cluster: &Cluster, args: DemoArgs) -> Outcome {
    let administrators = Administrators::new();
    let first = founding::initialise(cluster, &administrators).await?;
    out::answer(&format!(
        "\nInitialised: a random master key in {} crypto units.",
        first.units_total
    ))?;
    let root_keys = make_keys(cluster, args.keys).await?;
    let wrapped: Vec<_> = root_keys.into_iter().take(WRAPPED).collect();
    let witness = Witness::take(&cluster.keys, &wrapped, IMPORTED).await?;
    out::answer(&format!(
        "Made {} root keys, wrapped data under {} of them, imported {} keys of known bytes.",
        count(u64::from(args.keys)),
        witness.wrapped_count(),
        witness.imported_count()
    ))?;
    out::answer(&format!("\nBefore:\n\n{}\n", compare::registers(&registers(cluster).await?)))?;
    out::answer("Rotating the master key:")?;
    let mut progress = Progress::new();
    let view = cluster.rotate(founding::start(None), |view| progress.show(view)).await?;
    progress.end();
    out::answer(&format!("\nAfter:\n\n{}\n", compare::registers(&registers(cluster).await?)))?;
    out::answer(&format!("{}\n", progress::time_by_phase(&view)))?;
    prove(cluster, &witness, &view).await?;
    out::answer(&format!("\n{}", progress::done_line(&view)))?;
    Ok(())
}

async fn make_keys(cluster: &Cluster, keys: u32) -> anyhow::Result<Vec<KeyId>> {
    let mut made = Vec::with_capacity(keys as usize);
    for from in (0..keys).step_by(PAGE as usize) {
        let names: Vec<_> =
            (from..keys.min(from + PAGE)).map(|index| format!("key-{index:06}")).collect();
        let metas = cluster.keys.create(&names, false, "demo").await?;
        made.extend(metas.iter().map(|meta| meta.key));
    }
    Ok(made)
}

/// What every unit reports now.
async fn registers(cluster: &Cluster) -> anyhow::Result<Vec<Row>> {
    let Answer::Looked(_) = cluster.ask(Ask::Look).await? else {
        bail!("the coordinator gave an unexpected answer");
    };
    let look = |found: Option<&Conductor>| {
        let conductor = found?;
        let manifest = conductor.trust().newest()?;
        let row = |member: &protocol::manifest::Member| {
            let heard = conductor.heard().units.get(&member.id);
            (member.clone(), heard.map(|heard| heard.said.registers))
        };
        Some(manifest.crypto_units().map(row).collect::<Vec<_>>())
    };
    let rows = cluster.coordinator.see(cluster.instance, look).await?;
    rows.ok_or_else(|| anyhow::anyhow!("the cluster has no manifest"))
}

/// Looks from outside at what the rotation has done.
async fn prove(
    cluster: &Cluster,
    witness: &Witness,
    view: &protocol::api::RotationView,
) -> Outcome {
    out::answer("Proof:")?;
    let checked = proof::all_open(&cluster.keys).await?;
    out::answer(&format!("  {} key versions opened in the crypto units.", count(checked.opened)))?;
    witness.compare(&cluster.keys).await?;
    out::answer(&format!(
        "  {} ciphertexts made before unwrap to their data; {} imported keys give their bytes.",
        witness.wrapped_count(),
        witness.imported_count()
    ))?;
    let to = view.to.context("the rotation has no new pattern")?;
    let found = proof::on_disk(&Cluster::keystore_path(cluster.folder()), to)?;
    if found.tables != 1 || found.under != found.rows || found.rows != checked.checked {
        return Err(anyhow!("the database file does not hold what it should: {found:?}").into());
    }
    out::answer(&format!(
        "  The database file holds {} wrapped keys, each under the new pattern; none under the old.",
        count(found.rows)
    ))?;
    Ok(())
}
