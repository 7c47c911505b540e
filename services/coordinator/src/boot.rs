//! The coordinator's process: settings, broker, records, the lease, HTTP. It acts only while it
//! holds the lease and reaches the broker; when another has taken the lease, or the broker is away, it
//! stops acting and waits for its turn.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bus::{Bus, outage};
use crypto::random::process_rng;
use identity::Verifier;
use ledger::{Acquired, Records};
use machines::conductor::Times;
use protocol::ProcessId;
use serde::{Deserialize, Serialize};
use service::process::About;
use service::settings::{All, Entry, Settings, SettingsError};
use service::{Common, Database, SecretText, Served, Shutdown, Status};
use telemetry::metric;

use crate::CoordinatorConfig;
use crate::http::{self, HttpState};

/// Shortest lease: a store that hesitates must not cost it.
const MIN_LEASE_MS: u64 = 3_000;

/// Version, and whether this build lets a test hold rotations.
const VERSION: &str = if cfg!(feature = "testing") {
    concat!(env!("CARGO_PKG_VERSION"), " TESTING: anybody can hold its rotations, never use it")
} else {
    env!("CARGO_PKG_VERSION")
};

/// Before another try after one that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Settings of a coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct CoordinatorSettings {
    #[serde(flatten, skip_deserializing)]
    common: Common,
    #[serde(flatten, skip_deserializing)]
    database: Database,
    #[serde(flatten, skip_deserializing)]
    served: Served,
    survey_ms: u64,
    survey_every_s: u64,
    order_valid_s: u32,
    unit_silence_abort_s: u64,
    lease_ms: u64,
}

impl Default for CoordinatorSettings {
    fn default() -> Self {
        let times = Times::default();
        Self {
            common: Common::named("coordinator"),
            database: Database::default(),
            served: Served::at("127.0.0.1:7600"),
            survey_ms: times.survey_ms,
            survey_every_s: 60,
            order_valid_s: times.order_valid_s,
            unit_silence_abort_s: times.rotation.silence_abort_ms / 1000,
            lease_ms: 15_000,
        }
    }
}

impl Settings for CoordinatorSettings {
    const PROCESS: &'static str = "coordinator";
    const ENTRIES: &'static [&'static [Entry]] = &[
        Common::ENTRIES,
        Database::ENTRIES,
        Served::ENTRIES,
        &[
            Entry { key: "survey_ms", text: "Milliseconds that a survey waits for who is silent." },
            Entry {
                key: "survey_every_s",
                text: "Seconds between the surveys that its metrics are made of; 0 for none.",
            },
            Entry {
                key: "order_valid_s",
                text: "Seconds in which units may take an order that the coordinator writes.",
            },
            Entry {
                key: "unit_silence_abort_s",
                text: "Seconds after which a rotation is aborted because a unit is silent, before its decision; its end waits no longer for a unit.",
            },
            Entry {
                key: "lease_ms",
                text: "Milliseconds for which its lease on the records lasts if it dies; another coordinator takes over then. Never start one that is no member beside one that is. Back up `data_dir` with its storage key: a replacement is enrolled by `keyhelm cryptounit-enroll NAME --replace`, which needs the records database.",
            },
        ],
    ];

    fn common(&self) -> &Common {
        &self.common
    }

    fn take_groups(&mut self, all: &All) -> Result<(), SettingsError> {
        self.common = all.group()?;
        self.database = all.group()?;
        self.served = all.group()?;
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        self.served.check()?;
        if !(MIN_LEASE_MS..=ledger::records::MAX_LEASE_MS).contains(&self.lease_ms) {
            return Err(format!("lease_ms is {MIN_LEASE_MS} to {}", ledger::records::MAX_LEASE_MS));
        }
        Ok(())
    }
}

impl CoordinatorSettings {
    fn config(&self) -> CoordinatorConfig {
        let (survey_ms, order_valid_s) = (self.survey_ms, self.order_valid_s);
        let mut times = Times { survey_ms, order_valid_s, ..Times::default() };
        times.rotation.silence_abort_ms = self.unit_silence_abort_s * 1000;
        CoordinatorConfig {
            name: self.common.name.clone(),
            location: self.common.location.clone(),
            times,
            survey_every: Duration::from_secs(self.survey_every_s),
        }
    }
}

/// The main function.
pub fn main() -> ExitCode {
    let about = About {
        name: "coordinator",
        about: "Takes rotation requests and drives rotations; holds no key, and is trusted with none.",
        version: VERSION,
    };
    service::process::run(about, start)
}

async fn start(
    settings: CoordinatorSettings,
    status: Status,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let common = &settings.common;
    let verifier = Verifier::from_file(Path::new(&settings.served.jwks_file))?;
    let authority = common.authority()?;
    let open = |url: SecretText| {
        let authority = authority.clone();
        async move { Records::connect(url.expose(), authority.as_ref()).await }
    };
    let Some(records) = settings.database.open("the records' database", &shutdown, open).await?
    else {
        return Ok(());
    };
    let Some(bus) = common.broker(&shutdown).await? else { return Ok(()) };
    let (told, own) = (status.clone(), bus.clone());
    let work = |shutdown| async move {
        Terms { settings, bus: own, records, verifier, status: told, shutdown }.serve().await
    };
    service::outage::through(bus, status, shutdown, work).await
}

/// What every term needs.
struct Terms {
    settings: CoordinatorSettings,
    bus: Bus,
    records: Records,
    verifier: Verifier,
    status: Status,
    shutdown: Shutdown,
}

impl Terms {
    /// One term after the other, until the process stops.
    async fn serve(&self) -> anyhow::Result<()> {
        while !self.shutdown.is_requested() {
            self.serve_one().await?;
        }
        Ok(())
    }

    /// Waits for the lease, acts until the process stops or the lease is lost, and lets go of it.
    async fn serve_one(&self) -> anyhow::Result<()> {
        let Self { settings, bus, records, verifier, status, shutdown } = self;
        let mut rng = process_rng();
        let folder = settings.common.folder(&mut rng)?;
        metric::gauge(metric::LEASE_HELD, &[], 0.0);
        let own = crypto::identity::process_id(&folder.identity(&mut rng)?.public_key());
        let take = || self.take_lease(own);
        if service::wait::until_there("the lease", shutdown, take).await.is_none() {
            return Ok(());
        }
        metric::gauge(metric::LEASE_HELD, &[], 1.0);
        let listener = service::http::listen(&settings.served.listen).await?;
        let term = Shutdown::new();
        let config = settings.config();
        let begun = crate::start(
            bus.clone(),
            folder,
            records.clone(),
            config,
            status.clone(),
            term.clone(),
        )
        .await;
        let (handle, task) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                // Broker or database went away in between: the next term waits for them.
                tracing::warn!("the coordinator could not begin: {error:#}");
                self.let_go().await;
                tokio::select! {
                    () = shutdown.requested() => {}
                    () = tokio::time::sleep(PAUSE) => {}
                }
                return Ok(());
            }
        };
        let router = http::router(HttpState::new(handle, records.clone(), verifier.clone()));
        #[cfg(feature = "testing")]
        let router = router.merge(crate::testing::routes());
        tracing::info!(address = %service::http::address(&listener)?, "serving HTTP");
        let served = tokio::spawn(service::http::serve(listener, router, term.clone()));
        let stop = term.clone();
        let acted = tokio::spawn(async move {
            let ended = task.await;
            stop.trigger();
            ended
        });
        tokio::select! {
            () = shutdown.requested() => {}
            () = term.requested() => {}
            () = keep_lease(records, settings.lease_ms) => {}
            () = bus.cut_off() => {
                tracing::warn!("the broker is away: another coordinator may take over");
                status.not_ready(outage::BECAUSE);
            }
        }
        term.trigger();
        served.await.context("serving HTTP")??;
        if let Err(error) = acted.await.context("the coordinator's task")?? {
            // What was not saved was not answered either: it comes again in the next term.
            tracing::warn!("the coordinator stops acting: {error:#}");
        }
        self.let_go().await;
        Ok(())
    }

    async fn let_go(&self) {
        if let Err(error) = self.records.release().await {
            tracing::warn!(%error, "the lease could not be released: it ends by itself");
        }
    }

    /// Whoever cannot reach the broker leaves the lease to another who may.
    async fn take_lease(&self, own: ProcessId) -> Result<(), String> {
        if self.bus.away().is_some() {
            self.status.not_ready(outage::BECAUSE);
            return Err(outage::BECAUSE.to_owned());
        }
        self.status.not_ready("another coordinator holds the lease");
        match self.records.acquire(own, self.settings.lease_ms).await {
            Ok(Acquired::Ours(number)) => {
                tracing::info!(number, "holds the lease");
                Ok(())
            }
            Ok(Acquired::Theirs { holder, remaining_ms }) => {
                Err(format!("coordinator {holder} holds it for {remaining_ms} ms more"))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Renews the lease until it is lost. A store that is away for a moment costs nothing: whether
/// another one has taken it, the next renewal says.
async fn keep_lease(records: &Records, lease_ms: u64) {
    let mut renewal = tokio::time::interval(Duration::from_millis(lease_ms / 3));
    renewal.tick().await;
    loop {
        renewal.tick().await;
        match records.renew().await {
            Ok(()) => {}
            Err(error @ ledger::RecordsError::Fenced { .. }) => {
                tracing::warn!(%error, "the lease is lost");
                return;
            }
            Err(error) => tracing::warn!(%error, "the lease could not be renewed now"),
        }
    }
}

#[cfg(test)]
mod tests;
