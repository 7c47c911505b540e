//! Settings: what the process was built with, then its file (TOML), then the environment. Each
//! process defines a struct and a line about each field; the documentation is made of both.

use std::collections::HashMap;
use std::path::Path;

use config::{Config, Environment, File, FileFormat};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::common::Common;
use crate::secret_text::SecretText;

/// What is said about one setting in the documentation.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its key in the file; in the environment it is `KEYHELM_` and the key in capitals.
    pub key: &'static str,
    /// What it does, with its unit.
    pub text: &'static str,
}

/// The settings of one kind of process: groups that others have too, and its own.
pub trait Settings: Serialize + DeserializeOwned + Default {
    /// Name of the process.
    const PROCESS: &'static str;
    /// A line about each field, in the order of the fields, group by group.
    const ENTRIES: &'static [&'static [Entry]];
    /// Fields that are lists; in the environment their items are separated by commas.
    const LISTS: &'static [&'static str] = &[];

    /// What every process is told.
    fn common(&self) -> &Common;

    /// Reads the groups; the fields of its own are there already.
    fn take_groups(&mut self, all: &All) -> Result<(), SettingsError>;

    /// What is wrong with its own values, naming the setting.
    fn check(&self) -> Result<(), String>;

    /// All lines.
    fn entries() -> impl Iterator<Item = &'static Entry> {
        Self::ENTRIES.iter().copied().flatten()
    }
}

/// Everything that is set, of which each group takes its own.
#[derive(Debug)]
pub struct All(Config);

impl All {
    /// A group's fields.
    pub fn group<G: DeserializeOwned>(&self) -> Result<G, SettingsError> {
        self.0.clone().try_deserialize().map_err(malformed)
    }
}

fn malformed(error: config::ConfigError) -> SettingsError {
    SettingsError::Malformed(error.to_string())
}

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file or a variable is not understood.
    #[error("settings: {0}")]
    Malformed(String),
    /// A value cannot be used.
    #[error("settings: {0}")]
    Refused(String),
    /// A file that a setting names cannot be read.
    #[error("settings: {setting} names {path}: {source}")]
    File {
        /// Which setting.
        setting: &'static str,
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Loads settings from a file, if one is named, and from variables of the environment. Variables
/// that are no setting of this process are none of its business; unknown keys in the file are
/// refused.
pub fn load<S: Settings>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<S, SettingsError> {
    let known = |name: &str| S::entries().any(|entry| variable(entry.key) == name);
    let ours: HashMap<_, _> = environment.into_iter().filter(|(name, _)| known(name)).collect();
    let mut source = Environment::with_prefix("KEYHELM").prefix_separator("_").try_parsing(true);
    if !S::LISTS.is_empty() {
        source = source.list_separator(",");
        for key in S::LISTS {
            source = source.with_list_parse_key(key);
        }
    }
    let defaults = Config::try_from(&S::default()).map_err(malformed)?;
    let mut builder = Config::builder().add_source(defaults);
    if let Some(file) = file {
        builder = builder.add_source(File::from(file).format(FileFormat::Toml));
    }
    let all = builder.add_source(source.source(Some(ours))).build().map_err(malformed)?;
    let given: HashMap<String, config::Value> = all.clone().try_deserialize().map_err(malformed)?;
    let mut strange = given.keys().filter(|key| !S::entries().any(|entry| entry.key == **key));
    if let Some(key) = strange.next() {
        let text = format!("{} has no setting {key}", S::PROCESS);
        return Err(SettingsError::Malformed(text));
    }
    let all = All(all);
    let mut settings: S = all.group()?;
    settings.take_groups(&all)?;
    settings.common().check().and_then(|()| settings.check()).map_err(SettingsError::Refused)?;
    Ok(settings)
}

/// Name of a setting in the environment.
pub fn variable(key: &str) -> String {
    format!("KEYHELM_{}", key.to_uppercase())
}

/// A secret that stands in the settings, or in a file that they name: the file wins.
pub fn secret(
    value: &SecretText,
    setting: &'static str,
    file: &str,
) -> Result<SecretText, SettingsError> {
    if file.is_empty() {
        return Ok(value.clone());
    }
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(text.trim().into()),
        Err(source) => Err(SettingsError::File { setting, path: file.to_owned(), source }),
    }
}

/// A chapter of `docs/CONFIGURATION.md`.
pub fn document<S: Settings>() -> String {
    let defaults = serde_json::to_value(S::default()).unwrap_or_default();
    let mut text = format!(
        "## {}\n\n| setting | variable | default | meaning |\n|---|---|---|---|\n",
        S::PROCESS
    );
    for Entry { key, text: meaning } in S::entries() {
        let default = match defaults.get(key) {
            Some(serde_json::Value::String(value)) if value.is_empty() => "none".to_owned(),
            Some(serde_json::Value::Array(items)) if items.is_empty() => "none".to_owned(),
            Some(serde_json::Value::String(value)) => format!("`{value}`"),
            Some(value) => format!("`{value}`"),
            None => "?".to_owned(),
        };
        text.push_str(&format!("| `{key}` | `{}` | {default} | {meaning} |\n", variable(key)));
    }
    text
}
