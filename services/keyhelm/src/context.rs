//! Contexts: which cluster the commands talk to, in `$XDG_CONFIG_HOME/keyhelm/config.toml` (else
//! `~/.config/keyhelm/config.toml`).

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure, Outcome};

/// Where one cluster is, and what to show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// URL of the coordinator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// URL of the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// File with a bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// File with the certificates to trust.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Folder of signature keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigkeys: Option<PathBuf>,
}

/// All contexts of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contexts {
    /// The one that is used where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// All of them, by name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

impl Contexts {
    /// Reads a file; one that is not there has no contexts.
    pub fn read(path: &Path) -> Outcome<Self> {
        let shown = path.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => {
                return Err(Failure::usage(format!("{shown} cannot be read: {error}")));
            }
        };
        toml::from_str(&text).map_err(|error| {
            Failure::usage(format!("{shown} is not understood: {}", error.message()))
                .next(format!("mend {shown}, or move it away"))
        })
    }

    /// Writes a file that only its owner reads: beside it first, then over it.
    pub fn write(&self, path: &Path) -> Outcome {
        let failed = |error: &dyn std::fmt::Display| {
            let what = format!("{} cannot be written: {error}", path.display());
            Failure::new(Exit::Failed, "context-file", what)
        };
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder).map_err(|error| failed(&error))?;
        let text = toml::to_string_pretty(self).map_err(|error| failed(&error))?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o600))
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| file.as_file().sync_all())
            .map_err(|error| failed(&error))?;
        file.persist(path).map_err(|error| failed(&error.error))?;
        Ok(())
    }

    /// The context of this name, or the current one; none if nothing is named.
    pub fn choose(&self, name: Option<&str>) -> Outcome<Option<(String, Context)>> {
        let Some(name) = name.or(self.current.as_deref()) else { return Ok(None) };
        match self.contexts.get(name) {
            Some(found) => Ok(Some((name.to_owned(), found.clone()))),
            None => {
                let known: Vec<_> = self.contexts.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(Failure::usage(format!("there is no context {name}; known: {known}")))
            }
        }
    }
}

/// Where the contexts are kept.
pub fn path() -> Outcome<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::home_dir().map(|home| home.join(".config"));
    let folder = set("XDG_CONFIG_HOME").or_else(home).ok_or_else(|| {
        Failure::usage("there is no home folder: set XDG_CONFIG_HOME, or give --server URL")
    })?;
    Ok(folder.join("keyhelm").join("config.toml"))
}

/// Reads all contexts.
pub fn load() -> Outcome<Contexts> {
    Contexts::read(&path()?)
}

/// Saves a context under a name and makes it the current one. The others stay.
pub fn save(name: &str, context: Context) -> Outcome<PathBuf> {
    let path = path()?;
    let mut contexts = Contexts::read(&path)?;
    contexts.contexts.insert(name.to_owned(), context);
    contexts.current = Some(name.to_owned());
    contexts.write(&path)?;
    Ok(path)
}
