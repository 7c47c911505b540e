//! Signing with the selected keys.

use crypto::quorum;
use crypto::sigkey_file::{self, AdminKey, SigkeyError};
use protocol::PublicKey;
use protocol::manifest::{AdminSignature, Administrator, Manifest};

use super::{Folder, Sigkey, passphrase};
use crate::app::App;
use crate::cli::local::PassphraseArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::out;

/// How often a passphrase may be mistyped.
const TRIES: usize = 3;

/// Opened keys.
pub struct Signer {
    keys: Vec<AdminKey>,
}

impl Signer {
    /// Opens keys with passphrases out of files, or asks for each.
    pub fn open(keys: &[Sigkey], passphrases: &PassphraseArgs) -> Outcome<Self> {
        let mut opened = Vec::with_capacity(keys.len());
        for (index, key) in keys.iter().enumerate() {
            let file = passphrase::file_for(&passphrases.passphrase_file, index, keys.len())?;
            let bytes = key.read()?;
            opened.push(match file {
                Some(file) => sigkey_file::open(&bytes, &passphrase::from_file(file)?)
                    .map_err(|error| refused(key, &error))?,
                None => ask_and_unseal(key, &bytes)?,
            });
        }
        Ok(Self { keys: opened })
    }

    /// Every opened key's signature over a message.
    pub fn sign(&self, signing_domain: &str, message: &[u8]) -> Vec<AdminSignature> {
        let sign = |key: &AdminKey| {
            let (ski, signature) = key.sign(signing_domain, message);
            AdminSignature { ski, signature }
        };
        self.keys.iter().map(sign).collect()
    }
}

/// The selected keys; at least one.
pub fn selected(app: &App) -> Outcome<Vec<Sigkey>> {
    let folder = Folder::find(app.sigkeys())?;
    let mut keys = folder.list()?;
    let is_empty = keys.is_empty();
    keys.retain(|key| key.is_selected);
    if keys.is_empty() {
        let folder = folder.path().display();
        let next = match is_empty {
            true => "keyhelm sigkey-add NAME --select",
            false => "keyhelm sigkey-sel KEYNUM...",
        };
        let what = format!("no signature key is selected in {folder}");
        return Err(Failure::new(Exit::NotPermitted, "no-signature-key", what).next(next));
    }
    Ok(keys)
}

/// Opens those of the selected keys that are administrators of a manifest; they must reach the
/// threshold, before anybody types a passphrase.
pub fn open_quorum(
    app: &App,
    manifest: &Manifest,
    threshold: u32,
    passphrases: &PassphraseArgs,
) -> Outcome<Signer> {
    let is_admin = |key: &PublicKey| manifest.administrators.iter().any(|admin| admin.key == *key);
    let mut keys = selected(app)?;
    keys.retain(|key| is_admin(&key.info.public_key));
    if (keys.len() as u32) < threshold {
        let names: Vec<_> = manifest.administrators.iter().map(shown).collect();
        let what = format!(
            "{threshold} administrators must sign, {} of the selected signature keys are \
             administrators of {} (they are: {})",
            keys.len(),
            manifest.name,
            names.join(", ")
        );
        return Err(Failure::new(Exit::NotPermitted, "too-few-signatures", what)
            .next("keyhelm sigkey-sel KEYNUM..."));
    }
    Signer::open(&keys, passphrases)
}

fn shown(admin: &Administrator) -> String {
    format!("{} {}", admin.name, quorum::ski(&admin.key).shown())
}

fn ask_and_unseal(key: &Sigkey, bytes: &[u8]) -> Outcome<AdminKey> {
    let Sigkey { number, info, .. } = key;
    let question = format!("Passphrase of signature key {number} ({}):", info.description);
    for _ in 1..TRIES {
        match sigkey_file::open(bytes, &passphrase::prompt(&question)?) {
            Err(SigkeyError::WrongPassphrase) => out::tell("it does not open the key"),
            other => return other.map_err(|error| refused(key, &error)),
        }
    }
    sigkey_file::open(bytes, &passphrase::prompt(&question)?).map_err(|error| refused(key, &error))
}

fn refused(key: &Sigkey, error: &SigkeyError) -> Failure {
    let Sigkey { number, info, .. } = key;
    let what = format!("signature key {number} ({}): {error}", info.description);
    let exit = match error {
        SigkeyError::WrongPassphrase => Exit::NotPermitted,
        _ => Exit::Failed,
    };
    Failure::new(exit, "signature-key", what).safe("nothing was signed")
}
