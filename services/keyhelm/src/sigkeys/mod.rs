//! Administrators' signature keys on this workstation: a folder of sealed files, and which of them
//! sign.

pub mod passphrase;
pub mod signer;

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crypto::sigkey_file::{self, SigkeyInfo};
use protocol::Ski;
use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure, Outcome};

/// How the name of a key's file ends; KEYNUM stands before it.
const SUFFIX: &str = ".sigkey";
/// Says which keys sign.
const SELECTION: &str = "selection.json";

/// A key in the folder.
#[derive(Clone, Debug)]
pub struct Sigkey {
    /// IBM's KEYNUM.
    pub number: u32,
    /// What its file says without the passphrase.
    pub info: SigkeyInfo,
    /// Whether it signs.
    pub is_selected: bool,
    path: PathBuf,
}

impl Sigkey {
    /// The bytes of its file.
    pub fn read(&self) -> Outcome<Vec<u8>> {
        std::fs::read(&self.path).map_err(|error| failed(&self.path, &error))
    }
}

/// The folder.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
struct Selection {
    selected: Vec<Ski>,
}

impl Folder {
    /// `CLOUDTKEFILES`, else `KEYHELM_FILES`, else the context's, else `~/.keyhelm/sigkeys`.
    pub fn find(of_context: Option<&Path>) -> Outcome<Self> {
        let set = |name| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let home = || std::env::home_dir().map(|home| home.join(".keyhelm").join("sigkeys"));
        set("CLOUDTKEFILES")
            .or_else(|| set("KEYHELM_FILES"))
            .or_else(|| of_context.map(Path::to_owned))
            .or_else(home)
            .map(Self::at)
            .ok_or_else(|| Failure::usage("there is no home folder: set CLOUDTKEFILES"))
    }

    /// A folder that need not exist yet.
    pub const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All keys, by number.
    pub fn list(&self) -> Outcome<Vec<Sigkey>> {
        let selected = self.selection()?.selected;
        let mut keys = Vec::new();
        for (number, path) in self.files()? {
            let bytes = std::fs::read(&path).map_err(|error| failed(&path, &error))?;
            let info = sigkey_file::describe(&bytes).map_err(|error| failed(&path, &error))?;
            let is_selected = selected.contains(&info.ski);
            keys.push(Sigkey { number, info, is_selected, path });
        }
        Ok(keys)
    }

    /// The keys with these numbers, in the order of numbers.
    pub fn numbered(&self, numbers: &[u32]) -> Outcome<Vec<Sigkey>> {
        let keys = self.list()?;
        let is_there = |number: &&u32| keys.iter().any(|key| key.number == **number);
        let missing: Vec<_> =
            numbers.iter().filter(|number| !is_there(number)).map(u32::to_string).collect();
        if !missing.is_empty() {
            let (missing, folder) = (missing.join(", "), self.path.display());
            let what = format!("there is no signature key {missing} in {folder}");
            return Err(Failure::usage(what).next("keyhelm sigkeys"));
        }
        Ok(keys.into_iter().filter(|key| numbers.contains(&key.number)).collect())
    }

    /// Writes the file of a new key under the next number. A number is taken once only, even if two
    /// commands run at the same time.
    pub fn add(&self, bytes: &[u8]) -> Outcome<Sigkey> {
        self.make()?;
        let info = sigkey_file::describe(bytes).map_err(|error| failed(&self.path, &error))?;
        let mut number = self.files()?.last().map_or(1, |(last, _)| last + 1);
        loop {
            let path = self.path.join(format!("{number}{SUFFIX}"));
            let mut open = std::fs::OpenOptions::new();
            match open.write(true).create_new(true).mode(0o600).open(&path) {
                Ok(mut file) => {
                    let written = file.write_all(bytes).and_then(|()| file.sync_all());
                    written.map_err(|error| failed(&path, &error))?;
                    return Ok(Sigkey { number, info, is_selected: false, path });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(failed(&path, &error)),
            }
        }
    }

    /// Removes a key's file, for good, and its selection.
    pub fn remove(&self, key: &Sigkey) -> Outcome {
        std::fs::remove_file(&key.path).map_err(|error| failed(&key.path, &error))?;
        let mut selection = self.selection()?;
        selection.selected.retain(|ski| *ski != key.info.ski);
        self.save(&selection)
    }

    /// These keys sign from now on, and no others.
    pub fn select(&self, keys: &[Sigkey]) -> Outcome {
        self.make()?;
        self.save(&Selection { selected: keys.iter().map(|key| key.info.ski).collect() })
    }

    fn files(&self) -> Outcome<Vec<(u32, PathBuf)>> {
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(&self.path, &error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| failed(&self.path, &error))?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            if let Some(number) = number.and_then(|number| number.parse().ok()) {
                files.push((number, entry.path()));
            }
        }
        files.sort();
        Ok(files)
    }

    fn selection(&self) -> Outcome<Selection> {
        let path = self.path.join(SELECTION);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(&path, &error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Selection::default()),
            Err(error) => Err(failed(&path, &error)),
        }
    }

    fn save(&self, selection: &Selection) -> Outcome {
        let path = self.path.join(SELECTION);
        let write = || -> Result<(), Box<dyn std::error::Error>> {
            let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
            serde_json::to_writer_pretty(&mut file, selection)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(|error| failed(&path, &*error))
    }

    fn make(&self) -> Outcome {
        let is_new = !self.path.exists();
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&self.path);
        made.map_err(|error| failed(&self.path, &error))?;
        if is_new {
            let mode = std::fs::Permissions::from_mode(0o700);
            std::fs::set_permissions(&self.path, mode)
                .map_err(|error| failed(&self.path, &error))?;
        }
        Ok(())
    }
}

fn failed(path: &Path, error: &(impl std::fmt::Display + ?Sized)) -> Failure {
    let what = format!("{}: {error}", path.display());
    Failure::new(Exit::Failed, "signature-key", what)
}
