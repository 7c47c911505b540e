//! `keyhelm dev`: a cluster that stays, in this process and one folder, for other terminals to use.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use coordinator::http::HttpState as CoordinatorHttp;
use crypto::random::{process_rng, uuid_v4};
use identity::{AUDIENCE, Claims, Issuer, Role, Verifier};
use kms_gateway::http::{HttpConfig, HttpState as GatewayHttp, Instances};
use service::Shutdown;

use super::cluster::{Cluster, INSTANCE};
use crate::context::{self, Context};
use crate::interrupt::Handling;

/// Arguments of `dev`.
#[derive(Clone, Debug, Args)]
pub struct DevArgs {
    /// Folder of the cluster: made if it is not there, gone on with if it is
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Begin anew: everything in the folder is deleted, every key with it
    #[arg(long)]
    pub reset: bool,
    /// Port of the coordinator; 0 for a free one
    #[arg(long, value_name = "PORT", default_value_t = 7600)]
    pub coordinator_port: u16,
    /// Port of the gateway; 0 for a free one
    #[arg(long, value_name = "PORT", default_value_t = 7601)]
    pub gateway_port: u16,
}

/// Says that a folder is ours, so that `--reset` never deletes anything else.
const MARKER: &str = "keyhelm-dev";
/// For how long the token that a start issues is good.
const TOKEN_S: u64 = 30 * 24 * 60 * 60;
/// Name of the context that it saves.
const CONTEXT: &str = "dev";

/// A line for whoever started it. The cluster stays, whether anybody reads it or not.
macro_rules! say {
    ($($words:tt)*) => {{
        let _ = writeln!(std::io::stdout().lock(), $($words)*);
    }};
}

/// Runs the cluster until Ctrl-C or SIGTERM; what was in hand is finished first.
pub async fn run(args: DevArgs) -> anyhow::Result<()> {
    let folder = prepared(&args.data, args.reset)?;
    let _handling = Handling::begin();
    let stop = Shutdown::new();
    stop.on_signals()?;
    let coordinator =
        service::http::listen(&format!("127.0.0.1:{}", args.coordinator_port)).await?;
    let gateway = service::http::listen(&format!("127.0.0.1:{}", args.gateway_port)).await?;
    let server = format!("http://{}", service::http::address(&coordinator)?);
    let keys_at = format!("http://{}", service::http::address(&gateway)?);
    let verifier = credentials(&folder)?;
    let cluster = Cluster::start(&folder).await?;
    let router = coordinator::http::router(CoordinatorHttp::new(
        cluster.coordinator.clone(),
        cluster.records.clone(),
        verifier.clone(),
    ));
    let first = tokio::spawn(service::http::serve(coordinator, router, stop.clone()));
    // A key may be purged at once here: nobody's production key is among them.
    let config = HttpConfig { purge_wait_ms: 0, ..HttpConfig::default() };
    let instances = Instances::one(cluster.keys.clone());
    let router = kms_gateway::http::router(GatewayHttp::new(instances, verifier, config));
    let second = tokio::spawn(service::http::serve(gateway, router, stop.clone()));
    let saved = context::save(
        CONTEXT,
        Context {
            server: Some(server.clone()),
            gateway: Some(keys_at.clone()),
            token_file: Some(folder.join("token")),
            ..Context::default()
        },
    );
    introduce(&folder, &server, &keys_at, saved.is_ok());
    stop.requested().await;
    say!("Stopping: what is in hand is finished first.");
    first.await.context("the coordinator's HTTP interface")??;
    second.await.context("the gateway's HTTP interface")??;
    cluster.stop().await?;
    say!("Stopped. `keyhelm dev --data {}` goes on from here.", args.data.display());
    Ok(())
}

fn introduce(folder: &Path, server: &str, gateway: &str, is_context_saved: bool) {
    say!("A cluster of 3 operational and 2 recovery crypto units runs in this process.\n");
    say!("  instance      {INSTANCE}");
    say!("  folder        {}", folder.display());
    say!("  coordinator   {server}");
    say!("  gateway       {gateway}\n");
    if is_context_saved {
        say!("Other terminals use it without being told (context `{CONTEXT}`):\n");
    } else {
        say!("The context could not be saved; tell other terminals where it is:\n");
        say!("  export KEYHELM_SERVER={server} KEYHELM_GATEWAY={gateway}");
        say!("  export KEYHELM_TOKEN_FILE={}\n", folder.join("token").display());
    }
    say!("  keyhelm sigkey-add alice");
    say!("  keyhelm auto-init --trust-first-use --standing-order 1m");
    say!("  keyhelm keys create --count 3000");
    say!("  keyhelm auto-mk-rotate\n");
    say!("Ctrl-C stops it; nothing is lost.");
}

/// The folder, made or emptied as asked. A folder with other things in it is left alone.
fn prepared(folder: &Path, reset: bool) -> anyhow::Result<PathBuf> {
    let shown = folder.display();
    let marker = folder.join(MARKER);
    let is_there = folder.try_exists().with_context(|| format!("{shown}"))?;
    let is_empty = !is_there || fs::read_dir(folder)?.next().is_none();
    if !is_empty && !marker.exists() {
        bail!("{shown} has other things in it: name an empty or a new folder");
    }
    if reset && is_there {
        fs::remove_dir_all(folder).with_context(|| format!("{shown}"))?;
    }
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder).with_context(|| format!("{shown}"))?;
    let folder = folder.canonicalize().with_context(|| format!("{shown}"))?;
    fs::write(folder.join(MARKER), "The folder of a `keyhelm dev` cluster.\n")?;
    Ok(folder)
}

/// The issuer's key (made at the first start), its key set, and a fresh token for whoever may read
/// the folder.
fn credentials(folder: &Path) -> anyhow::Result<Verifier> {
    let key = folder.join("issuer.pem");
    let mut rng = process_rng();
    let issuer = match key.exists() {
        true => Issuer::from_file(&key)?,
        false => Issuer::create(&key, &mut rng)?,
    };
    let now_s = service::now().0 / 1000;
    let token = issuer.issue(&Claims {
        iss: "keyhelm dev".to_owned(),
        sub: "dev".to_owned(),
        aud: AUDIENCE.to_owned(),
        iat: now_s,
        exp: now_s + TOKEN_S,
        jti: uuid_v4(&mut rng).to_string(),
        roles: vec![Role::Manager, Role::CryptoUnitAdministrator, Role::KeyPurge],
        instances: vec!["*".to_owned()],
    })?;
    write_private(&folder.join("token"), &token)?;
    let jwks = issuer.jwks();
    fs::write(folder.join("jwks.json"), &jwks)?;
    Ok(Verifier::from_jwks(&jwks)?)
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut open = fs::OpenOptions::new();
    let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes()).with_context(|| format!("{}", path.display()))
}
