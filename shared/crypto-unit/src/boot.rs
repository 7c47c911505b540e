//! The process of a crypto unit, recovery or operational.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use bus::Bus;
use crypto::random::process_rng;
use ledger::Folder;
use machines::unit::UnitConfig;
use protocol::{PublicKey, Role};
use serde::{Deserialize, Serialize};
use service::process::About;
use service::settings::{self, Entry, Settings};
use service::{SecretText, Shutdown};

/// Version, and whether this build draws from a source that tests know.
const VERSION: &str = if cfg!(feature = "testing") {
    concat!(env!("CARGO_PKG_VERSION"), " TESTING: its master keys can be known, never use it")
} else {
    env!("CARGO_PKG_VERSION")
};

/// Settings of a crypto unit.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnitSettings {
    name: String,
    location: String,
    instance: String,
    data_dir: String,
    storage_key_file: String,
    require_external_key: bool,
    pinned_administrators: Vec<String>,
    amqp_url: SecretText,
    amqp_url_file: String,
}

impl Default for UnitSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            location: "[local]".to_owned(),
            instance: "default".to_owned(),
            data_dir: String::new(),
            storage_key_file: String::new(),
            require_external_key: false,
            pinned_administrators: Vec::new(),
            amqp_url: "amqp://127.0.0.1:5672/%2f".into(),
            amqp_url_file: String::new(),
        }
    }
}

impl Settings for UnitSettings {
    const PROCESS: &'static str = "recovery-unit, operational-unit";
    const ENTRIES: &'static [Entry] = &[
        Entry { key: "name", text: "Its name in tables and in the manifest. Must be given." },
        Entry { key: "location", text: "Where it stands, as `cryptounits` shows it." },
        Entry { key: "instance", text: "Name of the instance that it belongs to." },
        Entry {
            key: "data_dir",
            text: "Its own folder, mode 0700: identity and sealed state. Must be given.",
        },
        Entry {
            key: "storage_key_file",
            text: "The key that seals its state: 64 hex digits. Without it the unit makes one in `data_dir`, and `cryptounits` shows it as local.",
        },
        Entry { key: "require_external_key", text: "Refuses to start without `storage_key_file`." },
        Entry {
            key: "pinned_administrators",
            text: "Public keys in hex that the first manifest must name as administrators.",
        },
        Entry { key: "amqp_url", text: "The broker." },
        Entry {
            key: "amqp_url_file",
            text: "A file with the broker's URL, read instead of `amqp_url`.",
        },
    ];
    const LISTS: &'static [&'static str] = &["pinned_administrators"];

    fn check(&self) -> Result<(), String> {
        let needed =
            [("name", &self.name), ("data_dir", &self.data_dir), ("instance", &self.instance)];
        if let Some((key, _)) = needed.iter().find(|(_, value)| value.is_empty()) {
            return Err(format!("{key} must be given (or {})", settings::variable(key)));
        }
        if self.require_external_key && self.storage_key_file.is_empty() {
            return Err("require_external_key is set and storage_key_file is not given".to_owned());
        }
        self.pinned().map(|_| ()).map_err(|error| error.to_string())
    }
}

impl UnitSettings {
    fn pinned(&self) -> anyhow::Result<Vec<PublicKey>> {
        let parse = |text: &String| {
            text.parse::<PublicKey>()
                .map_err(|_| anyhow::anyhow!("pinned_administrators: {text} is no public key"))
        };
        self.pinned_administrators.iter().map(parse).collect()
    }
}

/// The main function of a unit of this role.
pub fn main(role: Role) -> ExitCode {
    let (name, about) = match role {
        Role::RecoveryUnit => (
            "recovery-unit",
            "A crypto unit that may make master keys and hand them, sealed, to the others.",
        ),
        _ => (
            "operational-unit",
            "A crypto unit that serves key operations and re-wraps pages of keys.",
        ),
    };
    let about = About { name, about, version: VERSION };
    service::process::run(about, move |settings, shutdown| run(role, settings, shutdown))
}

/// The version of the protocol that this program speaks.
fn spoken_version() -> u32 {
    let version = protocol::topology::PROTOCOL_VERSION;
    #[cfg(feature = "testing")]
    let version = crate::testing::claimed(version);
    version
}

async fn run(role: Role, settings: UnitSettings, shutdown: Shutdown) -> anyhow::Result<()> {
    if cfg!(feature = "testing") {
        tracing::warn!("{VERSION}");
    }
    let given = Path::new(&settings.storage_key_file);
    let storage_key = (!settings.storage_key_file.is_empty()).then_some(given);
    let folder = Folder::open(Path::new(&settings.data_dir), storage_key, &mut process_rng())?;
    let config = UnitConfig {
        name: settings.name.clone(),
        location: settings.location.clone(),
        role,
        instance_name: settings.instance.clone(),
        pinned_administrators: settings.pinned()?,
        is_storage_key_local: folder.is_key_local(),
        protocol_version: spoken_version(),
    };
    let url = settings::secret(&settings.amqp_url, "amqp_url_file", &settings.amqp_url_file)?;
    let stop = shutdown.requested();
    let Some(bus) = Bus::connect(url.expose(), &settings.name, stop)
        .await
        .with_context(|| format!("the broker at {}", url.shown()))?
    else {
        return Ok(());
    };
    crate::run(bus, folder, config, shutdown).await
}
