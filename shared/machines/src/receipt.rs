//! Whether a rotation's receipt holds, for whoever has the manifests and nothing else.
//!
//! Nothing is believed that units, reencryptors and administrators have not signed themselves, but
//! what only the coordinator can say: the times, the end of the audit log, the former receipt.

use crypto::{digest, domain, identity};
use protocol::audit::Phase;
use protocol::certificate::Certificate;
use protocol::codec;
use protocol::keystore::KeystoreRow;
use protocol::manifest::{Manifest, SignedManifest};
use protocol::order::{Authority, OrderRef};
use protocol::receipt::{self, KeystoreProof, RotationReceipt};
use protocol::report::{KeystoreReport, UnitReport};
use protocol::{Digest, Role};

use crate::certificate::{self, Judge, Reached};
use crate::trust::{Trust, manifest_digest};
use crate::{envelope, leave};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub subject: &'static str,
    /// What was found, or what is wrong and with whom; each a sentence without its full stop.
    pub found: Result<String, String>,
}

/// What a former receipt is named by.
pub fn receipt_hash(receipt: &RotationReceipt) -> Digest {
    digest::sha256(domain::ROTATION_RECEIPT, &[&receipt.canonical_bytes()])
}

/// Checks all that can be checked, and goes on after what fails as far as that makes sense. The
/// receipt holds if no check has failed. `previous` is the former receipt, if it is at hand.
pub fn verify(
    receipt: &RotationReceipt,
    chain: &[SignedManifest],
    previous: Option<&RotationReceipt>,
) -> Vec<Check> {
    let check = |subject, found| Check { subject, found };
    let trust = match trust_at(receipt, chain) {
        Ok(trust) => trust,
        Err(text) => return vec![check("manifests", Err(text))],
    };
    let Some(manifest) = trust.newest() else { return Vec::new() };
    let shown = format!("manifest {} of {}, signed all the way", manifest.serial, chain.len());
    let mut checks = vec![check("manifests", Ok(shown))];
    let order = judge_order(receipt, &trust);
    let reference = order.as_ref().ok().map(|(reference, _)| *reference);
    checks.push(check("order", order.map(|(_, shown)| shown)));
    // Every report names the order.
    let Some(reference) = reference else { return checks };
    checks.push(check("crypto units", judge_units(receipt, &reference, manifest, &trust)));
    checks.push(check("keystores", judge_keystores(receipt, &reference, manifest, &trust)));
    checks.push(check("keys", judge_keys(receipt)));
    checks.push(check("times", judge_times(receipt)));
    checks.push(check("audit log", judge_audit(receipt)));
    checks.push(check("backups", judge_note(receipt)));
    checks.push(check("former receipt", judge_previous(receipt, previous)));
    checks.push(check("coordinator", judge_coordinator(receipt, manifest)));
    checks
}

/// Whether no check has failed.
pub fn holds(checks: &[Check]) -> bool {
    !checks.is_empty() && checks.iter().all(|check| check.found.is_ok())
}

/// The manifests up to the one that the rotation ran under; the later ones must follow too.
fn trust_at(receipt: &RotationReceipt, chain: &[SignedManifest]) -> Result<Trust, String> {
    let taken = |chain: &[SignedManifest]| {
        let mut trust = Trust::imprint(receipt.instance);
        trust.take(chain, None, &[]).map_err(|error| error.to_string())?;
        Ok::<_, String>(trust)
    };
    taken(chain)?;
    let serial = receipt.manifest.serial;
    let named = usize::try_from(serial).ok().filter(|at| (1..=chain.len()).contains(at));
    let Some(named) = named else {
        let count = chain.len();
        return Err(format!("the receipt names manifest {serial}, the file has {count} of them"));
    };
    if manifest_digest(&chain[named - 1].bytes) != receipt.manifest.digest {
        return Err(format!("manifest {serial} is another one than the receipt names"));
    }
    let trust = taken(&chain[..named])?;
    match trust.newest() {
        Some(manifest) if manifest.serial != serial => {
            Err(format!("manifest {serial} does not stand at its place in the file"))
        }
        Some(manifest) if manifest.name != receipt.instance_name => {
            let (named, name) = (&receipt.instance_name, &manifest.name);
            Err(format!("the receipt calls the instance {named}, the manifest calls it {name}"))
        }
        Some(_) => Ok(trust),
        None => Err("the file has no manifest".to_owned()),
    }
}

/// By whose leave the rotation ran, and that the receipt says of the order what is in it.
fn judge_order(receipt: &RotationReceipt, trust: &Trust) -> Result<(OrderRef, String), String> {
    let (order, reference) =
        leave::verify(&receipt.order, trust).map_err(|error| error.to_string())?;
    let other = |what: &str| Err(format!("the receipt has another {what} than the order"));
    if reference.digest != receipt.order_digest {
        return other("digest of the order");
    }
    if order.rotation != receipt.rotation {
        return other("rotation");
    }
    if order.purpose != receipt.purpose {
        return other("purpose");
    }
    if order.from != receipt.from {
        return other("pattern before");
    }
    let by = match &receipt.order.authority {
        Authority::Quorum(signatures) => {
            let needed = trust.newest().map_or(0, |manifest| manifest.signature_threshold);
            format!("signed by {} administrators, needed {needed}", signatures.len())
        }
        Authority::Standing { .. } => "given under the administrators' standing order".to_owned(),
    };
    Ok((reference, format!("order {}, {by}", reference.number)))
}

/// Exactly one report of each crypto unit, by itself, cleared in this order with the new pattern.
fn judge_units(
    receipt: &RotationReceipt,
    reference: &OrderRef,
    manifest: &Manifest,
    trust: &Trust,
) -> Result<String, String> {
    let named = receipt.units.iter().map(|proof| (proof.unit, proof.name.as_str()));
    let members = manifest.crypto_units().map(|unit| (unit.id, unit.name.as_str()));
    if !named.eq(members) {
        return Err("the receipt's units are not those of the manifest, in its order".to_owned());
    }
    for proof in &receipt.units {
        let name = &proof.name;
        let opened = envelope::open_evidence(&proof.report, trust)
            .map_err(|error| format!("the report of {name}: {error}"))?;
        let report: UnitReport = codec::decode(opened.body)
            .map_err(|error| format!("the report of {name} cannot be read: {error}"))?;
        if opened.header.sender != proof.unit {
            return Err(format!("the report of {name} is signed by somebody else"));
        }
        if report.registers.current != Some(receipt.to) {
            let to = receipt.to.short();
            return Err(format!(
                "the current master key of {name} has another pattern than {to}..."
            ));
        }
        if report.registers.new.is_some() || report.registers.retiring.is_some() {
            return Err(format!("{name} holds another master key beside the current one"));
        }
    }
    let certificate = evidence(receipt.units.iter().map(|proof| &proof.report));
    let judge = Judge::by(trust);
    certificate::verify_units(&certificate, reference, receipt.to, Reached::Cleared, judge)
        .map_err(|error| error.to_string())?;
    let names: Vec<_> = receipt.units.iter().map(|proof| proof.name.as_str()).collect();
    let (count, to) = (names.len(), receipt.to.short());
    Ok(format!("{count} of {count} hold {to}... and nothing else: {}", names.join(", ")))
}

/// Exactly one report of each keystore, by a reencryptor, flipped in this order.
fn judge_keystores(
    receipt: &RotationReceipt,
    reference: &OrderRef,
    manifest: &Manifest,
    trust: &Trust,
) -> Result<String, String> {
    let named = receipt.keystores.iter().map(|proof| &proof.keystore);
    if !named.eq(&manifest.keystores) {
        let text = "the receipt's keystores are not those of the manifest, in its order";
        return Err(text.to_owned());
    }
    let certificate = evidence(receipt.keystores.iter().map(|proof| &proof.report));
    certificate::verify_flipped(&certificate, reference, receipt.to, trust)
        .map_err(|error| error.to_string())?;
    for proof in &receipt.keystores {
        let keystore = proof.keystore;
        let row = row_of(proof)
            .filter(|row| row.keystore == keystore)
            .ok_or_else(|| format!("the report of keystore {keystore} is of another one"))?;
        let taken = row.rotation.as_ref();
        if taken.and_then(|taken| taken.from) != receipt.from {
            return Err(format!("keystore {keystore} was under another pattern before"));
        }
        if taken.and_then(|taken| taken.key_root) != Some(proof.key_root) {
            return Err(format!("keystore {keystore} was read back with another root of its keys"));
        }
        let counted = row
            .active
            .as_ref()
            .map(|active| (active.set_count, active.done_count, active.quarantined_count));
        let count = proof.key_versions;
        if counted != Some((count, count, proof.quarantined_count)) {
            return Err(format!("keystore {keystore} counts other key versions"));
        }
    }
    let count = receipt.keystores.len();
    Ok(format!("{count} of {count} flipped to {}... and read back", receipt.to.short()))
}

/// Every key is in a set that a reencryptor has signed for.
fn judge_keys(receipt: &RotationReceipt) -> Result<String, String> {
    let counts = receipt.keystores.iter().map(|proof| proof.key_versions);
    let sum = counts.fold(0_u64, u64::saturating_add);
    let said = receipt.key_versions;
    if sum != said {
        return Err(format!("the receipt says {said} key versions, the keystores say {sum}"));
    }
    let roots: Vec<_> = receipt.keystores.iter().map(|proof| proof.key_root.to_string()).collect();
    let plural = if said == 1 { "" } else { "s" };
    let kept: u64 = receipt.keystores.iter().map(|proof| proof.quarantined_count).sum();
    let kept = if kept == 0 { String::new() } else { format!(" ({kept} in quarantine)") };
    Ok(format!("{said} key version{plural}{kept}, Merkle root {}", roots.join(", ")))
}

/// The coordinator's word; but a receipt is of a rotation that has ended well.
fn judge_times(receipt: &RotationReceipt) -> Result<String, String> {
    let is_done = receipt.phases.last() == Some(&(Phase::Done, receipt.finished_at));
    let is_in_order = receipt.phases.is_sorted_by(|(one, _), (next, _)| one < next);
    let is_aborted = receipt.phases.iter().any(|(phase, _)| *phase > Phase::Done);
    match is_done && is_in_order && !is_aborted {
        true => Ok("by the coordinator's word, and in order".to_owned()),
        false => Err("the phases are not those of a rotation that has ended well".to_owned()),
    }
}

fn judge_audit(receipt: &RotationReceipt) -> Result<String, String> {
    let (seq, hash) = (receipt.audit.seq, receipt.audit.hash.short());
    Ok(format!("by the coordinator's word, entry {seq}, hash {hash}..."))
}

fn judge_note(receipt: &RotationReceipt) -> Result<String, String> {
    match receipt.note == receipt::note(receipt.from) {
        true => Ok(receipt.note.trim_end_matches('.').to_owned()),
        false => Err("the note is not the sentence that belongs to this rotation".to_owned()),
    }
}

/// The hash is the coordinator's word until the former receipt is shown.
fn judge_previous(
    receipt: &RotationReceipt,
    previous: Option<&RotationReceipt>,
) -> Result<String, String> {
    let Some(given) = previous else {
        return Ok(match receipt.previous {
            None => "none: the first of its instance, by the coordinator's word".to_owned(),
            Some(hash) => {
                format!("{}... by the coordinator's word, it was not shown", hash.short())
            }
        });
    };
    let hash = receipt_hash(given);
    if receipt.previous != Some(hash) {
        let named = receipt.previous.map_or_else(|| "none".to_owned(), |named| named.to_string());
        return Err(format!("the receipt names {named}, the one that was given is {hash}"));
    }
    if given.instance != receipt.instance {
        return Err("the one that was given is of another instance".to_owned());
    }
    if receipt.from != Some(given.to) {
        return Err(format!("the one that was given ends with another pattern, {}", given.to));
    }
    Ok(format!("{}..., rotation {}", hash.short(), given.rotation))
}

fn judge_coordinator(receipt: &RotationReceipt, manifest: &Manifest) -> Result<String, String> {
    let member = manifest
        .member(receipt.coordinator)
        .filter(|member| member.role == Role::Coordinator)
        .ok_or_else(|| format!("{} is no coordinator of the manifest", receipt.coordinator))?;
    let message = receipt.signed_bytes();
    let domain = domain::ROTATION_RECEIPT;
    match identity::verify(&member.identity, domain, &message, &receipt.signature) {
        true => Ok(format!("signed by {}", member.name)),
        false => Err(format!("the signature is not that of {} over this receipt", member.name)),
    }
}

fn row_of(proof: &KeystoreProof) -> Option<KeystoreRow> {
    envelope::unverified::<KeystoreReport>(&proof.report)?.row
}

fn evidence<'a>(envelopes: impl Iterator<Item = &'a Vec<u8>>) -> Certificate {
    Certificate { envelopes: envelopes.cloned().collect(), manifests: Vec::new() }
}
