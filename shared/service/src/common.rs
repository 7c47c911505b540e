//! What every process is told alike: who it is, where its folder is, how it reaches the broker, and
//! how it is looked into. Also opens what these settings name.

use std::path::Path;

use anyhow::Context;
use bus::{BrokerUrl, Bus, Topology};
use ledger::Folder;
use protocol::PublicKey;
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use telemetry::log;
use tls::Authority;
use zeroize::Zeroizing;

use crate::settings::{self, Entry, SettingsError};
use crate::{SecretText, Shutdown, wait};

/// In front of the URL of a broker that is spoken to over TLS.
const AMQPS: &str = "amqps://";

/// Settings of every process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Common {
    /// Its name in tables and manifests.
    pub name: String,
    /// Where it stands.
    pub location: String,
    /// Its own folder.
    pub data_dir: String,
    /// The file of the key that seals its folder; empty for one in the folder.
    pub storage_key_file: String,
    /// The broker.
    pub amqp_url: SecretText,
    /// A file with the broker's URL.
    pub amqp_url_file: String,
    /// The certificate authority that broker and database are believed by.
    pub ca_file: String,
    /// Whether exchanges and queues are there already, so that none are made.
    pub topology_given: bool,
    /// Where health, readiness and metrics are served; empty for nowhere.
    pub observe_listen: String,
    /// Where traces go; empty for nowhere.
    pub otlp_endpoint: String,
    /// How the log is written.
    pub log_format: String,
}

impl Default for Common {
    fn default() -> Self {
        Self::named("")
    }
}

impl Common {
    /// A line about each field, in their order.
    pub const ENTRIES: &'static [Entry] = &[
        Entry { key: "name", text: "Its name in tables and in the manifest." },
        Entry { key: "location", text: "Where it stands, as `cryptounits` shows it." },
        Entry {
            key: "data_dir",
            text: "Its own folder, mode 0700: identity and sealed state. Must be given.",
        },
        Entry {
            key: "storage_key_file",
            text: "The key that seals its folder: 64 hex digits. Without it one is made in `data_dir`; `cryptounits` shows a unit's as local.",
        },
        Entry {
            key: "amqp_url",
            text: "The broker: `amqp://...`, or `amqps://...` with `ca_file`.",
        },
        Entry {
            key: "amqp_url_file",
            text: "A file with the broker's URL, read instead of `amqp_url`; user and password in it are read anew at each connection.",
        },
        Entry {
            key: "ca_file",
            text: "Certificates (PEM) of the authority that broker and database are believed by. With it both are spoken to over TLS only.",
        },
        Entry {
            key: "topology_given",
            text: "`true` where an administrator has made exchanges, queues and bindings (`keyhelm setup` does): none are made, and no right to make any is needed.",
        },
        Entry {
            key: "observe_listen",
            text: "Address and port of `/healthz`, `/readyz` and `/metrics`, which need no token and show no secret; the verb `health` asks there. Nowhere if not given.",
        },
        Entry {
            key: "otlp_endpoint",
            text: "Receiver of traces (OTLP over gRPC), as `http://127.0.0.1:4317`. None are sent if not given.",
        },
        Entry {
            key: "log_format",
            text: "`text`, `json`, or `auto`: text where standard error is a terminal, else JSON.",
        },
    ];

    /// The defaults, under a name.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            location: "[local]".to_owned(),
            data_dir: String::new(),
            storage_key_file: String::new(),
            amqp_url: "amqp://127.0.0.1:5672/%2f".into(),
            amqp_url_file: String::new(),
            ca_file: String::new(),
            topology_given: false,
            observe_listen: String::new(),
            otlp_endpoint: String::new(),
            log_format: "auto".to_owned(),
        }
    }

    /// What is wrong with these values, naming the setting.
    pub(crate) fn check(&self) -> Result<(), String> {
        must_be_given(&[("name", &self.name), ("data_dir", &self.data_dir)])?;
        self.log_format
            .parse::<log::Format>()
            .map(|_| ())
            .map_err(|error| format!("log_format: {error}"))?;
        let is_clear = self.otlp_endpoint.is_empty() || self.otlp_endpoint.starts_with("http://");
        match is_clear {
            true => Ok(()),
            false => Err("otlp_endpoint is a URL with http://".to_owned()),
        }
    }

    /// Opens its folder, and locks it. Its fingerprint is told, which people compare when the process
    /// is enrolled.
    pub fn folder<R: CryptoRng>(&self, rng: &mut R) -> anyhow::Result<Folder> {
        let given = Path::new(&self.storage_key_file);
        let storage_key = (!self.storage_key_file.is_empty()).then_some(given);
        let folder = Folder::open(Path::new(&self.data_dir), storage_key, rng)?;
        let fingerprint = crypto::identity::fingerprint(&folder.identity(rng)?.public_key());
        tracing::info!(name = self.name, %fingerprint, "its folder is open");
        Ok(folder)
    }

    /// The authority of `ca_file`, if it is given. A broker that would be spoken to in clear all the
    /// same is refused.
    pub fn authority(&self) -> anyhow::Result<Option<Authority>> {
        if self.ca_file.is_empty() {
            return Ok(None);
        }
        let url = self.broker_url()?;
        let is_over_tls = url.expose().get(..AMQPS.len());
        if !is_over_tls.is_some_and(|scheme| scheme.eq_ignore_ascii_case(AMQPS)) {
            anyhow::bail!(
                "ca_file is given, and the broker's URL is {}: its traffic would be in clear. \
                 Nothing has been sent. Give an {AMQPS} URL as amqp_url (or in amqp_url_file), or no \
                 ca_file",
                url.shown()
            );
        }
        Authority::from_file(Path::new(&self.ca_file)).map(Some).context("ca_file")
    }

    fn broker_url(&self) -> Result<SecretText, SettingsError> {
        settings::secret(&self.amqp_url, "amqp_url_file", &self.amqp_url_file)
    }

    /// Connects to the broker, which is waited for; none if the process is to stop first.
    pub async fn broker(&self, shutdown: &Shutdown) -> anyhow::Result<Option<Bus>> {
        let url = self.broker_url()?;
        let authority = self.authority()?;
        let stop = shutdown.requested();
        let how = if self.topology_given { Topology::Given } else { Topology::Made };
        let settings = self.clone();
        let read = BrokerUrl::read_by(move || {
            let url = settings.broker_url().map_err(|error| error.to_string())?;
            Ok(Zeroizing::new(url.expose().to_owned()))
        });
        Bus::connect(read, &self.name, authority.as_ref(), how, stop)
            .await
            .with_context(|| format!("the broker at {}", url.shown()))
    }
}

/// Settings of a process that holds keys, or moves them, and takes its first manifest from the bus.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pinned {
    /// Public keys of administrators, in hex.
    pub pinned_administrators: Vec<String>,
}

impl Pinned {
    /// A line about each field, in their order.
    pub const ENTRIES: &'static [Entry] = &[Entry {
        key: "pinned_administrators",
        text: "Public keys in hex of administrators who must all have signed the first manifest. Without any the first one that names the process is believed.",
    }];
    /// Fields that are lists.
    pub const LISTS: &'static [&'static str] = &["pinned_administrators"];

    /// The keys.
    pub fn keys(&self) -> Result<Vec<PublicKey>, String> {
        let parse = |text: &String| {
            text.parse().map_err(|_| format!("pinned_administrators: {text} is no public key"))
        };
        self.pinned_administrators.iter().map(parse).collect()
    }
}

/// Settings of a process with a database.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Database {
    /// The database.
    pub database_url: SecretText,
    /// A file with its URL.
    pub database_url_file: String,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            database_url: "postgres://127.0.0.1:5432/keyhelm".into(),
            database_url_file: String::new(),
        }
    }
}

impl Database {
    /// A line about each field, in their order.
    pub const ENTRIES: &'static [Entry] = &[
        Entry {
            key: "database_url",
            text: "Its database: `postgres://user:password@host:port/name` or `sqlite:PATH`.",
        },
        Entry {
            key: "database_url_file",
            text: "A file with the database's URL, read instead of `database_url`.",
        },
    ];

    /// Opens the database by `open`, which is given its URL; one that is not there yet is waited
    /// for. None if the process is to stop first.
    pub async fn open<T, E, F>(
        &self,
        what: &str,
        shutdown: &Shutdown,
        open: impl Fn(SecretText) -> F,
    ) -> anyhow::Result<Option<T>>
    where
        E: std::fmt::Display,
        F: Future<Output = Result<T, E>>,
    {
        let url = &self.database_url;
        let url = settings::secret(url, "database_url_file", &self.database_url_file)?;
        Ok(wait::until_there(what, shutdown, || open(url.clone())).await)
    }
}

/// Settings of a process that serves people and programs over HTTP.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Served {
    /// Where it listens.
    pub listen: String,
    /// The keys that tokens are verified with.
    pub jwks_file: String,
}

impl Default for Served {
    fn default() -> Self {
        Self::at("")
    }
}

impl Served {
    /// A line about each field, in their order.
    pub const ENTRIES: &'static [Entry] = &[
        Entry { key: "listen", text: "Address and port of its HTTP interface." },
        Entry {
            key: "jwks_file",
            text: "Keys that tokens are verified with (JWKS). Must be given.",
        },
    ];

    /// The defaults, at an address.
    pub fn at(listen: &str) -> Self {
        Self { listen: listen.to_owned(), jwks_file: String::new() }
    }

    /// What is wrong with these values, naming the setting.
    pub fn check(&self) -> Result<(), String> {
        must_be_given(&[("jwks_file", &self.jwks_file)])
    }
}

/// Names the first setting that is empty.
pub fn must_be_given(needed: &[(&str, &str)]) -> Result<(), String> {
    match needed.iter().find(|(_, value)| value.is_empty()) {
        Some((key, _)) => Err(format!("{key} must be given (or {})", settings::variable(key))),
        None => Ok(()),
    }
}
