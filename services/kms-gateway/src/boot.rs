//! The gateway's process: settings, broker, database, HTTP.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use crypto::random::process_rng;
use identity::Verifier;
use keystore::Keystore;
use serde::{Deserialize, Serialize};
use service::process::About;
use service::settings::{All, Entry, Settings, SettingsError};
use service::{Common, Database, Pinned, SecretText, Served, Shutdown, Status};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::GatewayConfig;
use crate::http::{self, HttpConfig, HttpState, Instances};

/// Settings of a gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct GatewaySettings {
    #[serde(flatten, skip_deserializing)]
    common: Common,
    #[serde(flatten, skip_deserializing)]
    database: Database,
    #[serde(flatten, skip_deserializing)]
    served: Served,
    #[serde(flatten, skip_deserializing)]
    pinned: Pinned,
    instance: String,
    max_requests_in_flight: usize,
    purge_wait_s: u64,
    stall_s: u64,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            common: Common::named("gateway"),
            database: Database::default(),
            served: Served::at("127.0.0.1:7601"),
            pinned: Pinned::default(),
            instance: "default".to_owned(),
            max_requests_in_flight: HttpConfig::default().max_in_flight,
            purge_wait_s: HttpConfig::default().purge_wait_ms / 1000,
            stall_s: crate::STALL_AFTER.as_secs(),
        }
    }
}

impl Settings for GatewaySettings {
    const PROCESS: &'static str = "kms-gateway";
    const ENTRIES: &'static [&'static [Entry]] = &[
        Common::ENTRIES,
        Database::ENTRIES,
        Served::ENTRIES,
        Pinned::ENTRIES,
        &[
            Entry { key: "instance", text: "Name of the instance whose keys it serves." },
            Entry {
                key: "max_requests_in_flight",
                text: "Requests served at once; the next one is answered 503.",
            },
            Entry {
                key: "purge_wait_s",
                text: "Seconds between a key's deletion and the first moment at which it may be purged.",
            },
            Entry {
                key: "stall_s",
                text: "Seconds that a rotation may stand still, with no chunk written, before keys are used again; 0: never.",
            },
        ],
    ];

    const LISTS: &'static [&'static str] = Pinned::LISTS;

    fn common(&self) -> &Common {
        &self.common
    }

    fn take_groups(&mut self, all: &All) -> Result<(), SettingsError> {
        self.common = all.group()?;
        self.database = all.group()?;
        self.served = all.group()?;
        self.pinned = all.group()?;
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        self.served.check()?;
        self.pinned.keys()?;
        match self.max_requests_in_flight {
            0 => Err("max_requests_in_flight is at least 1".to_owned()),
            _ => Ok(()),
        }
    }
}

/// The main function.
pub fn main() -> ExitCode {
    let about = About {
        name: "kms-gateway",
        about: "The HTTP door for keys; what clients exchange is sealed to the crypto units.",
        version: fail_points::VERSION,
    };
    service::process::run(about, start)
}

async fn start(
    settings: GatewaySettings,
    status: Status,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let GatewaySettings { common, database, served, pinned, .. } = settings;
    let verifier = Verifier::from_file(Path::new(&served.jwks_file))?;
    let folder = common.folder(&mut process_rng())?;
    let authority = common.authority()?;
    let listener = service::http::listen(&served.listen).await?;
    let open = |url: SecretText| {
        let authority = authority.clone();
        async move { Keystore::open(url.expose(), authority.as_ref()).await }
    };
    let Some(store) = database.open("the keystore's database", &shutdown, open).await? else {
        return Ok(());
    };
    let Some(bus) = common.broker(&shutdown).await? else { return Ok(()) };
    let config = GatewayConfig {
        name: common.name,
        location: common.location,
        instance_name: settings.instance,
        pinned_administrators: pinned.keys().map_err(anyhow::Error::msg)?,
        stall_after: (settings.stall_s > 0).then(|| Duration::from_secs(settings.stall_s)),
    };
    let http_config = HttpConfig {
        max_in_flight: settings.max_requests_in_flight,
        purge_wait_ms: settings.purge_wait_s * 1000,
    };
    let (told, own) = (status.clone(), bus.clone());
    let work = |stop| async move {
        let answers = Shutdown::new();
        let started = crate::start(own, folder, store, config, told, answers.clone());
        let (keys, task) = started.await?;
        let router = http::router(HttpState::new(Instances::one(keys), verifier, http_config));
        tracing::info!(address = %service::http::address(&listener)?, "serving HTTP");
        serve(listener, router, task, answers, stop).await
    };
    // While the broker is away no key can be used, whatever else the gateway has.
    service::outage::through(bus, status, shutdown, work).await
}

/// Serves HTTP until `shutdown`, or until the gateway's task ends. Requests in hand still need what
/// units answer: only after them is the task told, by `answers`, to end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    task: JoinHandle<anyhow::Result<()>>,
    answers: Shutdown,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let stop = shutdown.clone();
    let ended = tokio::spawn(async move {
        let ended = task.await;
        stop.trigger();
        ended
    });
    let served = service::http::serve(listener, router, shutdown).await;
    answers.trigger();
    ended.await.context("the gateway's task")???;
    served
}
