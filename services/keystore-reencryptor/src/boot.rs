//! The reencryptor's process: settings, broker, database.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use bus::Bus;
use crypto::random::process_rng;
use keystore::Keystore;
use ledger::Folder;
use serde::{Deserialize, Serialize};
use service::process::About;
use service::settings::{self, Entry, Settings};
use service::{SecretText, Shutdown};

use crate::ReencryptorConfig;

/// Settings of a reencryptor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReencryptorSettings {
    name: String,
    location: String,
    instance: String,
    data_dir: String,
    storage_key_file: String,
    amqp_url: SecretText,
    amqp_url_file: String,
    database_url: SecretText,
    database_url_file: String,
    rows_per_page: u32,
    pages_in_flight: usize,
}

impl Default for ReencryptorSettings {
    fn default() -> Self {
        Self {
            name: "reencryptor".to_owned(),
            location: "[local]".to_owned(),
            instance: "default".to_owned(),
            data_dir: String::new(),
            storage_key_file: String::new(),
            amqp_url: "amqp://127.0.0.1:5672/%2f".into(),
            amqp_url_file: String::new(),
            database_url: "postgres://127.0.0.1:5432/keyhelm".into(),
            database_url_file: String::new(),
            rows_per_page: 1000,
            pages_in_flight: 12,
        }
    }
}

impl Settings for ReencryptorSettings {
    const PROCESS: &'static str = "keystore-reencryptor";
    const ENTRIES: &'static [Entry] = &[
        Entry { key: "name", text: "Its name in tables and in the manifest." },
        Entry { key: "location", text: "Where it stands." },
        Entry { key: "instance", text: "Name of the instance whose keystore it re-encrypts." },
        Entry {
            key: "data_dir",
            text: "Its own folder, mode 0700: identity and manifest. Must be given.",
        },
        Entry {
            key: "storage_key_file",
            text: "The key that seals its folder: 64 hex digits. Without it one is made in `data_dir`.",
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
        Entry { key: "rows_per_page", text: "Key versions in a page of re-encryption, 1 to 1000." },
        Entry { key: "pages_in_flight", text: "Pages that are out at once, 1 to 64." },
    ];

    fn check(&self) -> Result<(), String> {
        if self.data_dir.is_empty() {
            return Err("data_dir must be given (or KEYHELM_DATA_DIR)".to_owned());
        }
        if !(1..=1000).contains(&self.rows_per_page) {
            return Err("rows_per_page is 1 to 1000".to_owned());
        }
        if !(1..=64).contains(&self.pages_in_flight) {
            return Err("pages_in_flight is 1 to 64".to_owned());
        }
        Ok(())
    }
}

/// The main function.
pub fn main() -> ExitCode {
    let about = About {
        name: "keystore-reencryptor",
        about: "Streams the wrapped keys of a keystore through operational units into a new generation.",
        version: env!("CARGO_PKG_VERSION"),
    };
    service::process::run(about, start)
}

async fn start(settings: ReencryptorSettings, shutdown: Shutdown) -> anyhow::Result<()> {
    let given = Path::new(&settings.storage_key_file);
    let storage_key = (!settings.storage_key_file.is_empty()).then_some(given);
    let folder = Folder::open(Path::new(&settings.data_dir), storage_key, &mut process_rng())?;
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
    let config = ReencryptorConfig {
        name: settings.name,
        location: settings.location,
        instance_name: settings.instance,
        rows_per_page: settings.rows_per_page,
        pages_in_flight: settings.pages_in_flight,
    };
    crate::run(bus, folder, store, config, shutdown).await
}
