//! The gateway's process: settings, broker, database, HTTP.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use bus::Bus;
use crypto::random::process_rng;
use identity::Verifier;
use keystore::Keystore;
use ledger::Folder;
use serde::{Deserialize, Serialize};
use service::process::About;
use service::settings::{self, Entry, Settings};
use service::{SecretText, Shutdown};

use crate::GatewayConfig;
use crate::http::{self, HttpConfig, HttpState, Instances};

/// Settings of a gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewaySettings {
    name: String,
    location: String,
    instance: String,
    data_dir: String,
    storage_key_file: String,
    listen: String,
    jwks_file: String,
    amqp_url: SecretText,
    amqp_url_file: String,
    database_url: SecretText,
    database_url_file: String,
    max_requests_in_flight: usize,
    purge_wait_s: u64,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            name: "gateway".to_owned(),
            location: "[local]".to_owned(),
            instance: "default".to_owned(),
            data_dir: String::new(),
            storage_key_file: String::new(),
            listen: "127.0.0.1:7601".to_owned(),
            jwks_file: String::new(),
            amqp_url: "amqp://127.0.0.1:5672/%2f".into(),
            amqp_url_file: String::new(),
            database_url: "postgres://127.0.0.1:5432/keyhelm".into(),
            database_url_file: String::new(),
            max_requests_in_flight: HttpConfig::default().max_in_flight,
            purge_wait_s: HttpConfig::default().purge_wait_ms / 1000,
        }
    }
}

impl Settings for GatewaySettings {
    const PROCESS: &'static str = "kms-gateway";
    const ENTRIES: &'static [Entry] = &[
        Entry { key: "name", text: "Its name in tables and in the manifest." },
        Entry { key: "location", text: "Where it stands." },
        Entry { key: "instance", text: "Name of the instance whose keys it serves." },
        Entry {
            key: "data_dir",
            text: "Its own folder, mode 0700: identity and manifest. Must be given.",
        },
        Entry {
            key: "storage_key_file",
            text: "The key that seals its folder: 64 hex digits. Without it one is made in `data_dir`.",
        },
        Entry { key: "listen", text: "Address and port of its HTTP interface." },
        Entry {
            key: "jwks_file",
            text: "Keys that tokens are verified with (JWKS). Must be given.",
        },
        Entry { key: "amqp_url", text: "The broker." },
        Entry {
            key: "amqp_url_file",
            text: "A file with the broker's URL, read instead of `amqp_url`.",
        },
        Entry {
            key: "database_url",
            text: "The keystore's database: `postgres://...` or `sqlite:PATH`.",
        },
        Entry {
            key: "database_url_file",
            text: "A file with the database's URL, read instead of `database_url`.",
        },
        Entry {
            key: "max_requests_in_flight",
            text: "Requests served at once; the next one is answered 503.",
        },
        Entry {
            key: "purge_wait_s",
            text: "Seconds between a key's deletion and the first moment at which it may be purged.",
        },
    ];

    fn check(&self) -> Result<(), String> {
        let needed = [("data_dir", &self.data_dir), ("jwks_file", &self.jwks_file)];
        if let Some((key, _)) = needed.iter().find(|(_, value)| value.is_empty()) {
            return Err(format!("{key} must be given (or {})", settings::variable(key)));
        }
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
        version: env!("CARGO_PKG_VERSION"),
    };
    service::process::run(about, start)
}

async fn start(settings: GatewaySettings, shutdown: Shutdown) -> anyhow::Result<()> {
    let verifier = Verifier::from_file(Path::new(&settings.jwks_file))?;
    let given = Path::new(&settings.storage_key_file);
    let storage_key = (!settings.storage_key_file.is_empty()).then_some(given);
    let folder = Folder::open(Path::new(&settings.data_dir), storage_key, &mut process_rng())?;
    let listener = service::http::listen(&settings.listen).await?;
    let database = &settings.database_url;
    let database = settings::secret(database, "database_url_file", &settings.database_url_file)?;
    let open = || Keystore::open(database.expose());
    let Some(store) = service::wait::until_there("the keystore's database", &shutdown, open).await
    else {
        return Ok(());
    };
    let url = settings::secret(&settings.amqp_url, "amqp_url_file", &settings.amqp_url_file)?;
    let Some(bus) = Bus::connect(url.expose(), &settings.name, shutdown.requested())
        .await
        .with_context(|| format!("the broker at {}", url.shown()))?
    else {
        return Ok(());
    };
    let config = GatewayConfig {
        name: settings.name,
        location: settings.location,
        instance_name: settings.instance,
    };
    let (keys, task) = crate::start(bus, folder, store, config, shutdown.clone()).await?;
    let http_config = HttpConfig {
        max_in_flight: settings.max_requests_in_flight,
        purge_wait_ms: settings.purge_wait_s * 1000,
    };
    let router = http::router(HttpState::new(Instances::one(keys), verifier, http_config));
    tracing::info!(address = %service::http::address(&listener)?, "serving HTTP");
    let stop = shutdown.clone();
    let ended = tokio::spawn(async move {
        let ended = task.await;
        stop.trigger();
        ended
    });
    let served = service::http::serve(listener, router, shutdown.clone()).await;
    shutdown.trigger();
    ended.await.context("the gateway's task")???;
    served
}
