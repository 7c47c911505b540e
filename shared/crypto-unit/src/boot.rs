//! The process of a crypto unit, recovery or operational.

use std::process::ExitCode;

use crypto::random::process_rng;
use machines::unit::UnitConfig;
use protocol::Role;
use serde::{Deserialize, Serialize};
use service::common::must_be_given;
use service::process::About;
use service::settings::{All, Entry, Settings, SettingsError};
use service::{Common, Pinned, Shutdown, Status};

/// Version, and whether this build draws from a source that tests know.
const VERSION: &str = if cfg!(feature = "testing") {
    concat!(env!("CARGO_PKG_VERSION"), " TESTING: its master keys can be known, never use it")
} else {
    env!("CARGO_PKG_VERSION")
};

/// Settings of a crypto unit.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitSettings {
    #[serde(flatten, skip_deserializing)]
    common: Common,
    instance: String,
    require_external_key: bool,
    #[serde(flatten, skip_deserializing)]
    pinned: Pinned,
}

impl Default for UnitSettings {
    fn default() -> Self {
        Self {
            common: Common::default(),
            instance: "default".to_owned(),
            require_external_key: false,
            pinned: Pinned::default(),
        }
    }
}

impl Settings for UnitSettings {
    const PROCESS: &'static str = "recovery-unit, operational-unit";
    const ENTRIES: &'static [&'static [Entry]] = &[
        Common::ENTRIES,
        &[
            Entry { key: "instance", text: "Name of the instance that it belongs to." },
            Entry {
                key: "require_external_key",
                text: "Refuses to start without `storage_key_file`.",
            },
        ],
        Pinned::ENTRIES,
    ];
    const LISTS: &'static [&'static str] = Pinned::LISTS;

    fn common(&self) -> &Common {
        &self.common
    }

    fn take_groups(&mut self, all: &All) -> Result<(), SettingsError> {
        self.common = all.group()?;
        self.pinned = all.group()?;
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        must_be_given(&[("instance", &self.instance)])?;
        if self.require_external_key && self.common.storage_key_file.is_empty() {
            return Err("require_external_key is set and storage_key_file is not given".to_owned());
        }
        self.pinned.keys().map(|_| ())
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
    service::process::run(about, move |settings, status, shutdown| {
        run(role, settings, status, shutdown)
    })
}

/// The version of the protocol that this program speaks.
fn spoken_version() -> u32 {
    let version = protocol::topology::PROTOCOL_VERSION;
    #[cfg(feature = "testing")]
    let version = crate::testing::claimed(version);
    version
}

async fn run(
    role: Role,
    settings: UnitSettings,
    status: Status,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    if cfg!(feature = "testing") {
        tracing::warn!("{VERSION}");
    }
    let folder = crypto::wiping_stack(|| settings.common.folder(&mut process_rng()))?;
    let config = UnitConfig {
        name: settings.common.name.clone(),
        location: settings.common.location.clone(),
        role,
        instance_name: settings.instance.clone(),
        pinned_administrators: settings.pinned.keys().map_err(anyhow::Error::msg)?,
        is_storage_key_local: folder.is_key_local(),
        protocol_version: spoken_version(),
    };
    let Some(bus) = settings.common.broker(&shutdown).await? else { return Ok(()) };
    let (told, own) = (status.clone(), bus.clone());
    let work = |stop| crate::run(own, folder, config, told, stop);
    service::outage::through(bus, status, shutdown, work).await
}
