//! Signature keys on this workstation.

use crypto::random::process_rng;
use crypto::sigkey_file;
use protocol::manifest::MAX_ADMINISTRATOR_NAME;
use serde_json::json;

use crate::app::App;
use crate::ask;
use crate::cli::local::{PassphraseArgs, SigkeyAddArgs, SigkeyRmArgs, SigkeySelArgs};
use crate::failure::{Failure, Outcome};
use crate::show::table;
use crate::sigkeys::{Folder, Sigkey, passphrase};

/// `sigkeys`.
pub fn list(app: &App) -> Outcome {
    let folder = Folder::find(app.sigkeys())?;
    show(app, &folder)
}

/// `sigkey-add`.
pub fn add(app: &App, args: &SigkeyAddArgs) -> Outcome {
    let folder = Folder::find(app.sigkeys())?;
    let description = match &args.description {
        Some(description) => description.clone(),
        None if app.is_interactive() => ask::line("Description of the signature key:")?,
        None => return Err(Failure::usage("the signature key needs a DESCRIPTION")),
    };
    let length = description.chars().count();
    if length == 0 || length > MAX_ADMINISTRATOR_NAME || description.contains(char::is_control) {
        let what = format!("a description has 1 to {MAX_ADMINISTRATOR_NAME} characters");
        return Err(Failure::usage(what));
    }
    let key = made(&folder, &description, args.select, &args.passphrases)?;
    let Sigkey { number, info, .. } = &key;
    app.ok(format!("Signature key {number} ({description}) is made: {}", info.ski.shown()))?;
    app.warn(format!(
        "keep a copy of {} and its passphrase somewhere else: there is no other way to sign",
        folder.path().display()
    ));
    show(app, &folder)
}

/// Makes a key; the first one in a folder is always selected.
fn made(
    folder: &Folder,
    description: &str,
    is_selected: bool,
    passphrases: &PassphraseArgs,
) -> Outcome<Sigkey> {
    let secret = match passphrase::file_for(&passphrases.passphrase_file, 0, 1)? {
        Some(file) => passphrase::from_file(file)?,
        None => passphrase::prompt_new("Passphrase of the new signature key")?,
    };
    let bytes = sigkey_file::create(description, &secret, &mut process_rng())
        .map_err(|error| Failure::usage(error.to_string()))?;
    let is_first = folder.list()?.is_empty();
    let key = folder.add(&bytes)?;
    if is_selected || is_first {
        let mut keys = folder.list()?;
        keys.retain(|found| found.is_selected || found.number == key.number);
        folder.select(&keys)?;
    }
    Ok(key)
}

/// Whoever founds an instance and has no signature key yet gets one, and is told.
pub fn first_if_none(app: &App, passphrases: &PassphraseArgs) -> Outcome {
    let folder = Folder::find(app.sigkeys())?;
    if !folder.list()?.is_empty() {
        return Ok(());
    }
    app.note("There is no signature key here yet: one is made, by the name of administrator.");
    let key = made(&folder, "administrator", true, passphrases)?;
    app.warn(format!(
        "signature key {} lies in {}: keep a copy of it and its passphrase somewhere else",
        key.number,
        folder.path().display()
    ));
    Ok(())
}

/// `sigkey-rm`.
pub fn remove(app: &App, args: &SigkeyRmArgs) -> Outcome {
    let folder = Folder::find(app.sigkeys())?;
    let keys = folder.numbered(&args.numbers)?;
    for key in &keys {
        app.note(format!("{}  {}  {}", key.number, key.info.description, key.info.ski.shown()));
    }
    app.confirm("Remove these signature keys for good? Nothing brings them back.", args.yes)?;
    for key in &keys {
        folder.remove(key)?;
    }
    app.ok(format!("{} removed.", keys.len()))?;
    show(app, &folder)
}

/// `sigkey-sel`.
pub fn select(app: &App, args: &SigkeySelArgs) -> Outcome {
    let folder = Folder::find(app.sigkeys())?;
    let numbers = match (args.numbers.is_empty(), args.none) {
        (false, _) | (true, true) => args.numbers.clone(),
        (true, false) if app.is_interactive() => {
            show(app, &folder)?;
            numbers_in(&ask::line("KEYNUM of the keys that shall sign, separated by spaces:")?)?
        }
        _ => return Err(Failure::usage("give the KEYNUM of the keys that shall sign, or --none")),
    };
    let keys = folder.numbered(&numbers)?;
    folder.select(&keys)?;
    app.ok(format!("{} selected.", keys.len()))?;
    show(app, &folder)
}

fn numbers_in(text: &str) -> Outcome<Vec<u32>> {
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let numbers: Result<_, _> = words.map(str::parse).collect();
    numbers.map_err(|_| Failure::usage("a KEYNUM is a number"))
}

fn show(app: &App, folder: &Folder) -> Outcome {
    let keys = folder.list()?;
    let mut shown = table::plain(["KEYNUM", "DESCRIPTION", "SUBJECT KEY IDENTIFIER"]);
    for Sigkey { number, info, is_selected, .. } in &keys {
        app.object(&json!({
            "keynum": number, "description": info.description, "selected": is_selected,
            "subject_key_identifier": info.ski, "public_key": info.public_key,
        }))?;
        shown.add_row([number.to_string(), info.description.clone(), info.ski.shown()]);
    }
    if keys.is_empty() {
        app.line(format!("No signature keys in {}.", folder.path().display()))?;
        return Ok(());
    }
    let selected: Vec<_> =
        keys.iter().filter(|key| key.is_selected).map(|key| key.number.to_string()).collect();
    app.line(format!("\n{}\n", table::text(&shown)))?;
    app.line(match selected.is_empty() {
        true => "None is selected to sign.".to_owned(),
        false => format!("Selected to sign: {}.", selected.join(", ")),
    })?;
    Ok(())
}
