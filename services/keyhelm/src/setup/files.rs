//! Writing files where they are absent, each for one reader.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use crypto::random::process_rng;
use rand::Rng;
use zeroize::Zeroizing;

use super::plan::Plan;

/// Where files go.
pub(super) struct Place {
    root: PathBuf,
    owner: u32,
    server_owner: u32,
    written: usize,
}

/// Whose folder it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reader<'a> {
    /// A process of keyhelm, or the command line.
    Own(&'a str),
    /// The broker or the database.
    Server(&'a str),
    /// Nobody but a later run of this program.
    Nobody(&'a str),
}

impl Place {
    pub(super) fn new(plan: &Plan) -> Self {
        let (owner, server_owner) = (plan.owner, plan.server_owner);
        Self { root: plan.root.clone(), owner, server_owner, written: 0 }
    }

    /// How many files have been written.
    pub(super) const fn written(&self) -> usize {
        self.written
    }

    /// The folder of a reader's secrets, made and given to it.
    pub(super) fn secrets(&self, reader: Reader<'_>) -> anyhow::Result<PathBuf> {
        self.folder("secrets", reader)
    }

    /// The folder of a reader's data, made and given to it.
    pub(super) fn data(&self, reader: Reader<'_>) -> anyhow::Result<PathBuf> {
        self.folder("data", reader)
    }

    fn folder(&self, kind: &str, reader: Reader<'_>) -> anyhow::Result<PathBuf> {
        let (name, owner) = self.of(reader);
        let path = self.root.join(kind).join(name);
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        self.give(&path, owner)?;
        Ok(path)
    }

    const fn of<'a>(&self, reader: Reader<'a>) -> (&'a str, Option<u32>) {
        match reader {
            Reader::Own(name) => (name, Some(self.owner)),
            Reader::Server(name) => (name, Some(self.server_owner)),
            Reader::Nobody(name) => (name, None),
        }
    }

    /// What stands in a reader's file.
    pub(super) fn read(
        &self,
        reader: Reader<'_>,
        name: &str,
    ) -> anyhow::Result<Option<Zeroizing<String>>> {
        let path = self.secrets(reader)?.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Writes a reader's file if it is absent; answers what stands in it then.
    pub(super) fn keep(
        &mut self,
        reader: Reader<'_>,
        name: &str,
        make: impl FnOnce() -> anyhow::Result<Zeroizing<String>>,
    ) -> anyhow::Result<Zeroizing<String>> {
        if let Some(text) = self.read(reader, name)? {
            return Ok(text);
        }
        let text = make()?;
        self.put(reader, name, &text)?;
        Ok(text)
    }

    /// Writes a reader's file anew, whole or not at all.
    pub(super) fn put(&mut self, reader: Reader<'_>, name: &str, text: &str) -> anyhow::Result<()> {
        let folder = self.secrets(reader)?;
        let (path, temporary) = (folder.join(name), folder.join(format!("{name}.tmp")));
        let write = || -> std::io::Result<()> {
            let mut file = private(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            self.give(&temporary, self.of(reader).1)?;
            fs::rename(&temporary, &path)?;
            File::open(&folder)?.sync_all()
        };
        write().with_context(|| path.display().to_string())?;
        self.written += 1;
        Ok(())
    }

    /// Gives everything in a folder to its reader.
    pub(super) fn give_all(&self, folder: &Path, reader: Reader<'_>) -> anyhow::Result<()> {
        for entry in fs::read_dir(folder)? {
            self.give(&entry?.path(), self.of(reader).1)?;
        }
        Ok(())
    }

    /// Only root can give files away; anybody else keeps what is its own.
    fn give(&self, path: &Path, owner: Option<u32>) -> std::io::Result<()> {
        match owner.filter(|_| rustix::process::getuid().is_root()) {
            Some(owner) => chown(path, Some(owner), Some(owner)),
            None => Ok(()),
        }
    }
}

fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// A password that nobody has to remember: 256 random bits in hex.
pub(super) fn password() -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    process_rng().fill_bytes(bytes.as_mut());
    hex::encode(bytes.as_ref()).into()
}
