//! A process's own folder: sealed files, each saved by a temporary file, fsync, rename and fsync
//! of the folder, so that after a crash there is the old one or the new one, whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crypto::identity::Identity;
use crypto::sealed_state::{self, StateError, StorageKey};
use crypto::secret::Secret;
use rand::CryptoRng;
use zeroize::Zeroizing;

/// Why a folder or a file in it is not used. What was there is left as it was.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system said no.
    #[error("{path}: {source}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others can look into it.
    #[error("{0} can be read by others: chmod 700 it")]
    Open(PathBuf),
    /// Another process has it.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// A sealed file does not open.
    #[error("{path} does not open: {source}; nothing was written to it")]
    Sealed {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: StateError,
    },
    /// It has been used before, and the storage key is gone or was not given.
    #[error(
        "{0} holds sealed files but no storage key: put storage.key back, or configure the file \
         that it was sealed with; nothing was written"
    )]
    NoStorageKey(PathBuf),
    /// The storage key's file.
    #[error(transparent)]
    StorageKey(#[from] StateError),
}

/// A process's folder, locked for as long as this lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    storage_key: StorageKey,
    is_key_local: bool,
    _lock: File,
}

const LOCK: &str = "lock";
const STORAGE_KEY: &str = "storage.key";
const IDENTITY: &str = "identity.sealed";

impl Folder {
    /// Opens the folder, or makes it. Without a storage key from elsewhere one is made in it.
    pub fn open<R: CryptoRng>(
        path: &Path,
        storage_key_file: Option<&Path>,
        rng: &mut R,
    ) -> Result<Self, FolderError> {
        match DirBuilder::new().mode(0o700).recursive(true).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(source) => return Err(io(path, source)),
        }
        let mode = fs::metadata(path).map_err(|source| io(path, source))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(FolderError::Open(path.to_owned()));
        }
        let lock_path = path.join(LOCK);
        let lock = private_file(&lock_path).map_err(|source| io(&lock_path, source))?;
        lock.try_lock().map_err(|_| FolderError::InUse(path.to_owned()))?;
        let local = path.join(STORAGE_KEY);
        let storage_key = match storage_key_file {
            Some(file) => StorageKey::from_file(file)?,
            // Where it cannot be seen whether there is one, none is made: that would replace it.
            None if local.try_exists().map_err(|source| io(&local, source))? => {
                StorageKey::from_file(&local)?
            }
            None => {
                let sealed = path.join(IDENTITY);
                if sealed.try_exists().map_err(|source| io(&sealed, source))? {
                    return Err(FolderError::NoStorageKey(path.to_owned()));
                }
                let key = StorageKey::generate(rng);
                write_durably(path, STORAGE_KEY, key.danger_hex().as_bytes())?;
                key
            }
        };
        let is_key_local = storage_key_file.is_none();
        Ok(Self { path: path.to_owned(), storage_key, is_key_local, _lock: lock })
    }

    /// Whether the storage key lies in the folder that it seals.
    pub const fn is_key_local(&self) -> bool {
        self.is_key_local
    }

    /// The process's identity, made at its first start.
    pub fn identity<R: CryptoRng>(&self, rng: &mut R) -> Result<Identity, FolderError> {
        if let Some(seed) = self.load(IDENTITY, b"identity")? {
            let path = self.path.join(IDENTITY);
            let seed: &[u8; 32] = seed
                .as_slice()
                .try_into()
                .map_err(|_| FolderError::Sealed { path, source: StateError::Malformed })?;
            return Ok(Identity::from_seed(Secret::copied_from(seed)));
        }
        let identity = Identity::generate(rng);
        self.save(IDENTITY, b"identity", identity.danger_seed().expose(), rng)?;
        Ok(identity)
    }

    /// Reads a sealed file; none if there is none. `aad` must be what it was saved with.
    pub fn load(&self, name: &str, aad: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, FolderError> {
        let path = self.path.join(name);
        let sealed = match fs::read(&path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io(&path, source)),
        };
        sealed_state::open_state(&self.storage_key, aad, &sealed)
            .map(Some)
            .map_err(|source| FolderError::Sealed { path, source })
    }

    /// Seals and saves a file. An error here must end the process without an answer: whether the
    /// disk holds the old or the new state is not known.
    pub fn save<R: CryptoRng>(
        &self,
        name: &str,
        aad: &[u8],
        state: &[u8],
        rng: &mut R,
    ) -> Result<(), FolderError> {
        let sealed = sealed_state::seal_state(&self.storage_key, aad, state, rng);
        write_durably(&self.path, name, &sealed)
    }
}

fn write_durably(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
    let temporary = folder.join(format!("{name}.tmp"));
    let write = || -> std::io::Result<()> {
        let mut file = private_file(&temporary)?;
        file.set_len(0)?;
        file.write_all(bytes)?;
        fail_points::reach(fail_points::Place::FileWritten);
        file.sync_all()
    };
    write().map_err(|source| io(&temporary, source))?;
    fail_points::reach(fail_points::Place::FileSynced);
    let path = folder.join(name);
    fs::rename(&temporary, &path).map_err(|source| io(&path, source))?;
    fail_points::reach(fail_points::Place::FileRenamed);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| io(folder, source))?;
    fail_points::reach(fail_points::Place::FileDurable);
    Ok(())
}

fn private_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn io(path: &Path, source: std::io::Error) -> FolderError {
    FolderError::Io { path: path.to_owned(), source }
}
