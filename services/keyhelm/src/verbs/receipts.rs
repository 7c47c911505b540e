//! Receipts of rotations: fetched from a coordinator, verified without one.

use std::io::Write;
use std::path::Path;

use machines::receipt::{Check, holds, receipt_hash, verify as judged};
use protocol::api::InstanceView;
use protocol::receipt::{MANIFESTS_TYPE, ManifestFile, RotationReceipt, VERSION};
use serde_json::json;

use crate::app::App;
use crate::cli::InstanceArg;
use crate::cli::rotation::{ReceiptArgs, VerifyReceiptArgs};
use crate::client::coordinator::Coordinator;
use crate::failure::{Exit, Failure, Outcome};
use crate::show::receipts as shown;

/// Longest file of manifests that is read, in bytes.
const MAX_MANIFEST_BYTES: u64 = 64 * 1024 * 1024;

/// `receipt`.
pub async fn fetch(app: &App, args: &ReceiptArgs) -> Outcome {
    let text = app.coordinator()?.receipt(args.id).await?;
    let receipt = RotationReceipt::read(text.as_bytes()).map_err(|error| {
        let what = format!("what the coordinator gives as receipt of {}: {error}", args.id);
        Failure::new(Exit::Failed, "unreadable", what).next("keyhelm rotations")
    })?;
    let hash = receipt_hash(&receipt);
    let Some(out) = &args.out else {
        app.object(&receipt)?;
        app.line(text.trim_end())?;
        return Ok(());
    };
    write_new(out, &text)?;
    let file = out.display().to_string();
    app.object(&json!({ "receipt_file": file, "receipt": hash, "rotation": args.id }))?;
    let short = hash.short();
    app.ok(format!("Receipt {short}... of rotation {} in {file}; not verified.", args.id))?;
    Ok(())
}

/// `manifest --out`.
pub async fn write_manifests(
    app: &App,
    coordinator: &Coordinator,
    wanted: &InstanceArg,
    out: &Path,
) -> Outcome {
    let instance = app.one_instance(coordinator, wanted).await?;
    let found = coordinator.manifest(instance.id).await?;
    let view = found.ok_or_else(|| no_manifest(&instance))?;
    let count = view.chain.len();
    let plural = if count == 1 { "" } else { "s" };
    let kind = MANIFESTS_TYPE.to_owned();
    let file = ManifestFile { kind, version: VERSION, chain: view.chain };
    let text = serde_json::to_string_pretty(&file)
        .map_err(|error| Failure::new(Exit::Failed, "json", error.to_string()))?;
    write_new(out, &text)?;
    let file = out.display().to_string();
    app.object(&json!({ "manifest_file": file, "digest": view.digest, "manifests": count }))?;
    app.ok(format!(
        "{count} manifest{plural} of {} in {file}; the newest has the digest {}.",
        instance.name, view.digest
    ))?;
    Ok(())
}

/// Nobody has founded it.
pub(super) fn no_manifest(instance: &InstanceView) -> Failure {
    let what = format!("instance {} has no manifest yet", instance.name);
    Failure::new(Exit::Failed, "not-initialised", what).next("keyhelm auto-init")
}

/// `verify-receipt`.
pub fn verify(app: &App, args: &VerifyReceiptArgs) -> Outcome {
    let receipt = read_receipt(&args.file)?;
    let previous = args.previous.as_deref().map(read_receipt).transpose()?;
    let manifests = read_manifests(&args.manifest)?;
    let checks = judged(&receipt, &manifests.chain, previous.as_ref());
    let of_program = |check: &Check| match &check.found {
        Ok(found) => json!({ "check": check.subject, "ok": true, "found": found }),
        Err(wrong) => json!({ "check": check.subject, "ok": false, "found": wrong }),
    };
    let listed: Vec<_> = checks.iter().map(of_program).collect();
    let hash = receipt_hash(&receipt);
    app.object(&json!({
        "type": "receipt-check", "receipt": hash, "rotation": receipt.rotation,
        "holds": holds(&checks), "checks": listed,
    }))?;
    app.line(format!("{}\n\n{}\n", shown::head(&receipt), shown::checks(&checks)))?;
    if holds(&checks) {
        app.ok(format!("Receipt {}... holds.", hash.short()))?;
        return Ok(());
    }
    let wrong =
        checks.iter().filter_map(|check| Some((check.subject, check.found.as_ref().err()?)));
    let wrong: Vec<_> = wrong.map(|(subject, text)| format!("{subject}: {text}")).collect();
    Err(refused(&args.file, &wrong.join("; ")))
}

fn read_receipt(path: &Path) -> Outcome<RotationReceipt> {
    let limit = protocol::receipt::MAX_BYTES as u64;
    RotationReceipt::read(&read(path, limit)?).map_err(|error| refused(path, &error.to_string()))
}

fn read_manifests(path: &Path) -> Outcome<ManifestFile> {
    let bytes = read(path, MAX_MANIFEST_BYTES)?;
    let not_one = |reason: &str| {
        let what = format!("{} holds no manifests: {reason}", path.display());
        Failure::usage(what).next("keyhelm manifest --out FILE")
    };
    let file: ManifestFile =
        serde_json::from_slice(&bytes).map_err(|error| not_one(&error.to_string()))?;
    match (file.kind.as_str(), file.version) {
        (MANIFESTS_TYPE, VERSION) => Ok(file),
        (MANIFESTS_TYPE, _) => Err(not_one("its version is not one that this program reads")),
        _ => Err(not_one("its type is another one")),
    }
}

/// A file; of one that is too long, one byte more than is allowed.
fn read(path: &Path, limit: u64) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| {
        std::io::Read::read_to_end(&mut std::io::Read::take(file, limit + 1), &mut bytes)
    });
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::usage(format!("{} cannot be read: {error}", path.display()))),
    }
}

fn refused(path: &Path, wrong: &str) -> Failure {
    let what = format!("the receipt in {} does not hold: {wrong}", path.display());
    Failure::new(Exit::Failed, "receipt-refused", what)
        .safe("nothing has changed: a receipt tells of a rotation and decides nothing")
        .next("keyhelm receipt ROTATION --out FILE, to fetch it once more, and keyhelm cryptounit-compare")
}

/// What is there already may be what somebody relies on.
fn write_new(path: &Path, text: &str) -> Outcome {
    let mut open = std::fs::OpenOptions::new();
    let write = |mut file: std::fs::File| {
        writeln!(file, "{}", text.trim_end()).and_then(|()| file.sync_all())
    };
    open.write(true).create_new(true).open(path).and_then(write).map_err(|error| {
        let what = format!("{}: {error}", path.display());
        Failure::new(Exit::Failed, "io", what).safe("no file was overwritten")
    })
}
