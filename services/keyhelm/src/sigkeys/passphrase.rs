//! Passphrases: by prompt or out of files, never an argument.

use std::path::{Path, PathBuf};

use crypto::sigkey_file::MIN_PASSPHRASE;
use zeroize::Zeroizing;

use crate::failure::{Failure, Outcome};

/// A passphrase, wiped when it goes.
pub type Passphrase = Zeroizing<String>;

/// Longest passphrase file.
const MAX_BYTES: u64 = 4096;

/// The first line of a file.
pub fn from_file(path: &Path) -> Outcome<Passphrase> {
    let shown = path.display();
    let refused =
        |why: &dyn std::fmt::Display| Failure::usage(format!("passphrase file {shown}: {why}"));
    let size = std::fs::metadata(path).map_err(|error| refused(&error))?.len();
    if size > MAX_BYTES {
        return Err(refused(&format!("it has more than {MAX_BYTES} bytes")));
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|error| refused(&error))?);
    let line = text.lines().next().unwrap_or_default();
    match line.is_empty() {
        false => Ok(Zeroizing::new(line.to_owned())),
        true => Err(refused(&"its first line is empty")),
    }
}

/// The file for the key at this place: one for all, or one each.
pub fn file_for(files: &[PathBuf], index: usize, count: usize) -> Outcome<Option<&Path>> {
    match files {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        files if files.len() == count => Ok(files.get(index).map(PathBuf::as_path)),
        files => {
            let what = format!(
                "{} passphrase files for {count} signature keys: give one for all, or one each",
                files.len()
            );
            Err(Failure::usage(what))
        }
    }
}

/// Asks at the terminal.
pub fn prompt(question: &str) -> Outcome<Passphrase> {
    if !crate::ask::is_terminal() {
        let what = "a passphrase is needed and there is no terminal to ask at";
        return Err(Failure::usage(what).next("the same command with --passphrase-file FILE"));
    }
    Ok(Zeroizing::new(rpassword::prompt_password(format!("{question} "))?))
}

/// Asks for a new one, twice.
pub fn prompt_new(question: &str) -> Outcome<Passphrase> {
    let first = prompt(&format!("{question} (at least {MIN_PASSPHRASE} characters):"))?;
    let second = prompt("The same again:")?;
    match *first == *second {
        true => Ok(first),
        false => Err(Failure::usage("the two are not the same")),
    }
}
