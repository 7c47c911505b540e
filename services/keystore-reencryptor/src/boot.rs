//! The reencryptor's process: settings, broker, database.

use std::num::NonZeroU32;
use std::process::ExitCode;

use crypto::random::process_rng;
use keystore::Keystore;
use serde::{Deserialize, Serialize};
use service::process::About;
use service::settings::{All, Entry, Settings, SettingsError};
use service::{Common, Database, Pinned, SecretText, Shutdown, Status};

use crate::ReencryptorConfig;

/// Settings of a reencryptor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ReencryptorSettings {
    #[serde(flatten, skip_deserializing)]
    common: Common,
    #[serde(flatten, skip_deserializing)]
    database: Database,
    #[serde(flatten, skip_deserializing)]
    pinned: Pinned,
    instance: String,
    rows_per_page: u32,
    pages_in_flight: usize,
    rewrap_keys_per_second_max: u32,
    cross_check_every: u32,
}

impl Default for ReencryptorSettings {
    fn default() -> Self {
        Self {
            common: Common::named("reencryptor"),
            database: Database::default(),
            pinned: Pinned::default(),
            instance: "default".to_owned(),
            rows_per_page: 2000,
            pages_in_flight: 6,
            rewrap_keys_per_second_max: 0,
            cross_check_every: 16,
        }
    }
}

impl Settings for ReencryptorSettings {
    const PROCESS: &'static str = "keystore-reencryptor";
    const ENTRIES: &'static [&'static [Entry]] = &[
        Common::ENTRIES,
        Database::ENTRIES,
        Pinned::ENTRIES,
        &[
            Entry { key: "instance", text: "Name of the instance whose keystore it re-encrypts." },
            Entry {
                key: "rows_per_page",
                text: "Key versions in a page of re-encryption, 1 to 10000; fewer where they are long.",
            },
            Entry { key: "pages_in_flight", text: "Pages that are out at once, 1 to 64." },
            Entry {
                key: "rewrap_keys_per_second_max",
                text: "Most key versions that this reencryptor has re-encrypted in a second, so that clients keep the database for themselves; 0 for no limit.",
            },
            Entry {
                key: "cross_check_every",
                text: "Of so many pages one is opened by another unit before it is written, 1 to 10000.",
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
        self.pinned = all.group()?;
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        if !(1..=10_000).contains(&self.rows_per_page) {
            return Err("rows_per_page is 1 to 10000".to_owned());
        }
        if !(1..=64).contains(&self.pages_in_flight) {
            return Err("pages_in_flight is 1 to 64".to_owned());
        }
        if !(1..=10_000).contains(&self.cross_check_every) {
            return Err("cross_check_every is 1 to 10000".to_owned());
        }
        self.pinned.keys().map(|_| ())
    }
}

/// The main function.
pub fn main() -> ExitCode {
    let about = About {
        name: "keystore-reencryptor",
        about: "Streams the wrapped keys of a keystore through operational units into a new generation.",
        version: fail_points::VERSION,
    };
    service::process::run(about, start)
}

async fn start(
    settings: ReencryptorSettings,
    status: Status,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let ReencryptorSettings { common, database, pinned, .. } = settings;
    let folder = common.folder(&mut process_rng())?;
    let authority = common.authority()?;
    let open = |url: SecretText| {
        let authority = authority.clone();
        async move { Keystore::open(url.expose(), authority.as_ref()).await }
    };
    let Some(store) = database.open("the keystore's database", &shutdown, open).await? else {
        return Ok(());
    };
    let Some(bus) = common.broker(&shutdown).await? else { return Ok(()) };
    let config = ReencryptorConfig {
        name: common.name,
        location: common.location,
        instance_name: settings.instance,
        pinned_administrators: pinned.keys().map_err(anyhow::Error::msg)?,
        rows_per_page: settings.rows_per_page,
        pages_in_flight: settings.pages_in_flight,
        keys_per_second_max: NonZeroU32::new(settings.rewrap_keys_per_second_max),
        cross_check_every: settings.cross_check_every,
    };
    let (told, own) = (status.clone(), bus.clone());
    let work = |stop| crate::run(own, folder, store, config, told, stop);
    service::outage::through(bus, status, shutdown, work).await
}
