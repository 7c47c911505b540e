//! Manifests, pure: the first one of an instance, and what changes from one to the next.

pub mod received;

use crypto::identity::fingerprint;
use crypto::quorum;
use machines::amendment::{self, Binding};
use machines::certificate::reached;
use machines::envelope;
use machines::trust::{self, Trust};
use protocol::api::{AnnouncedMember, ManifestView, UnitEnvelope};
use protocol::manifest::{Administrator, Manifest, Member, SignedManifest};
use protocol::report::UnitReport;
use protocol::{Digest, InstanceId, KeystoreId, ProcessId, Role, RotationId, UnixMillis};

/// What an instance begins with.
#[derive(Clone, Debug)]
pub struct Founding<'a> {
    /// The instance.
    pub instance: InstanceId,
    /// Its name.
    pub name: &'a str,
    /// Who has announced itself and is accepted.
    pub announced: &'a [AnnouncedMember],
    /// Whose signatures rule it.
    pub administrators: Vec<Administrator>,
    /// Signature threshold; more than half of the administrators if absent.
    pub signature_threshold: Option<u32>,
    /// Revocation threshold; the signature threshold if absent.
    pub revocation_threshold: Option<u32>,
}

/// More than half of them.
pub const fn default_threshold(administrators: usize) -> u32 {
    administrators as u32 / 2 + 1
}

/// What is lacking before an instance can be founded, all at once; empty if nothing is.
pub fn lacking(announced: &[AnnouncedMember]) -> Vec<String> {
    let count = |role| announced.iter().filter(|found| found.member.role == role).count();
    [
        (Role::RecoveryUnit, "nothing could make a master key"),
        (Role::OperationalUnit, "nothing could serve keys"),
        (Role::Coordinator, "nothing could drive a rotation"),
        (Role::Reencryptor, "there is no key storage"),
    ]
    .into_iter()
    .filter(|(role, _)| count(*role) == 0)
    .map(|(role, why)| format!("no {role} has announced itself: {why}"))
    .collect()
}

/// The first manifest.
pub fn first(founding: Founding<'_>, now: UnixMillis) -> Result<Manifest, String> {
    let Founding { instance, name, announced, administrators, .. } = founding;
    let mut members: Vec<Member> = announced.iter().map(|found| found.member.clone()).collect();
    members.sort_by(|one, other| one.name.cmp(&other.name).then(one.id.cmp(&other.id)));
    let signature_threshold =
        founding.signature_threshold.unwrap_or_else(|| default_threshold(administrators.len()));
    let mut keystores: Vec<_> = announced.iter().filter_map(|found| found.keystore).collect();
    keystores.sort();
    keystores.dedup();
    let manifest = Manifest {
        instance,
        name: name.to_owned(),
        serial: 1,
        previous: None,
        members,
        keystores,
        administrators,
        signature_threshold,
        revocation_threshold: founding.revocation_threshold.unwrap_or(signature_threshold),
        created_at: now,
        amendment: None,
    };
    checked(manifest)
}

/// The next manifest, with nothing changed yet.
pub fn next(view: &ManifestView, now: UnixMillis) -> Manifest {
    Manifest {
        serial: view.manifest.serial + 1,
        previous: Some(view.digest),
        created_at: now,
        amendment: None,
        ..view.manifest.clone()
    }
}

/// Takes a process in. With `is_replacing` the member of the same name and role goes.
pub fn enroll(
    mut manifest: Manifest,
    found: &AnnouncedMember,
    is_replacing: bool,
) -> Result<Manifest, String> {
    let new = &found.member;
    let name = &new.name;
    if manifest.member(new.id).is_some() {
        return Err(format!("{name} is a member already"));
    }
    let is_namesake = |member: &Member| member.name == *name && member.role == new.role;
    match (manifest.members.iter().any(is_namesake), is_replacing) {
        (true, true) => manifest.members.retain(|member| !is_namesake(member)),
        (true, false) => {
            return Err(format!(
                "there is a {} {name} with another identity already: --replace removes that one",
                new.role
            ));
        }
        _ => {}
    }
    manifest.members.push(new.clone());
    let is_known = |keystore: &KeystoreId| manifest.keystores.contains(keystore);
    if let Some(keystore) = found.keystore.filter(|keystore| !is_known(keystore)) {
        manifest.keystores.push(keystore);
    }
    checked(manifest)
}

/// Removes a member, named by name or id.
pub fn retire(mut manifest: Manifest, name: &str) -> Result<Manifest, String> {
    let is_it = |member: &Member| member.name == name || member.id.to_string() == name;
    match manifest.members.iter().filter(|member| is_it(member)).count() {
        0 => return Err(format!("{name} is no member")),
        1 => manifest.members.retain(|member| !is_it(member)),
        _ => return Err(format!("several members are named {name}: give the id of one")),
    }
    checked(manifest)
}

/// The report that an amendment carries: of a unit that stays and holds the master keys that are still
/// needed, judged as every unit will; of those, a recovery unit that has come furthest.
pub fn holder_report(
    chain: &[SignedManifest],
    next: &Manifest,
    rotation: RotationId,
    reports: &[UnitEnvelope],
) -> Result<Vec<u8>, String> {
    let before = Trust::from_saved(next.instance, chain.to_vec()).map_err(|it| it.to_string())?;
    let read: Vec<UnitReport> =
        reports.iter().filter_map(|it| envelope::unverified(&it.envelope)).collect();
    let in_it = || {
        let taken = read.iter().filter_map(|report| Some((report, report.rotation.as_ref()?)));
        taken.filter(|(_, taken)| taken.order.rotation == rotation)
    };
    let none = "no crypto unit that would stay has said that it is in the rotation";
    let Some(order) = in_it().next().map(|(_, taken)| taken.order) else {
        return Err(none.to_owned());
    };
    let from = in_it().find_map(|(_, taken)| taken.signed_order.unverified().ok()?.from);
    let to = in_it().find_map(|(report, _)| reached(report, &order)?.1);
    let heard = |unit| read.iter().find(|report| report.unit == unit);
    // Nobody in particular judges: all who stay must take it.
    let binding = Binding::of_units(order, (from, to), ProcessId::from_bytes([0; 16]), next, heard);
    let rank = |found: &&UnitEnvelope| {
        let role = next.member(found.unit).map(|unit| unit.role);
        (role == Some(Role::RecoveryUnit), found.standing)
    };
    let is_of_member = |found: &&UnitEnvelope| next.member(found.unit).is_some();
    let mut staying: Vec<_> = reports.iter().filter(is_of_member).collect();
    staying.sort_by_key(|found| std::cmp::Reverse(rank(found)));
    let mut refused = none;
    for found in staying {
        match amendment::holds(&before, next, &found.envelope, &binding) {
            Ok(()) => return Ok(found.envelope.clone()),
            Err(reason) if refused == none => refused = reason,
            Err(_) => {}
        }
    }
    Err(refused.to_owned())
}

/// The crypto unit of this name or id.
pub fn crypto_unit(manifest: &Manifest, name: &str) -> Result<ProcessId, String> {
    let is_it = |member: &&Member| member.name == name || member.id.to_string() == name;
    match manifest.crypto_units().filter(is_it).collect::<Vec<_>>().as_slice() {
        [] => Err(format!("{name} is no crypto unit of the manifest")),
        [unit] => Ok(unit.id),
        _ => Err(format!("several crypto units are named {name}: give the id of one")),
    }
}

/// Adds an administrator.
pub fn add_administrator(mut manifest: Manifest, new: Administrator) -> Result<Manifest, String> {
    manifest.administrators.push(new);
    checked(manifest)
}

/// Removes an administrator, named by name or by the beginning of the subject key identifier.
pub fn remove_administrator(mut manifest: Manifest, who: &str) -> Result<Manifest, String> {
    let wanted = who.trim_end_matches('.').to_ascii_lowercase();
    let is_ski = wanted.len() >= 8 && wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_it = |admin: &Administrator| {
        admin.name == who || (is_ski && quorum::ski(&admin.key).to_string().starts_with(&wanted))
    };
    match manifest.administrators.iter().filter(|admin| is_it(admin)).count() {
        0 => return Err(format!("{who} is no administrator")),
        1 => manifest.administrators.retain(|admin| !is_it(admin)),
        _ => return Err(format!("several administrators are {who}: give more of the identifier")),
    }
    checked(manifest).map_err(|reason| {
        format!("{reason}; lower the thresholds first with cryptounit-thrhld-set")
    })
}

/// Sets thresholds; an absent one stays.
pub fn set_thresholds(
    mut manifest: Manifest,
    signature: Option<u32>,
    revocation: Option<u32>,
) -> Result<Manifest, String> {
    manifest.signature_threshold = signature.unwrap_or(manifest.signature_threshold);
    manifest.revocation_threshold = revocation.unwrap_or(manifest.revocation_threshold);
    checked(manifest)
}

/// Judges a signed manifest as every process will: does it follow, has a quorum signed it?
pub fn judge(
    instance: InstanceId,
    chain: &[SignedManifest],
    signed: &SignedManifest,
) -> Result<(), String> {
    let take = || {
        let mut trust = Trust::from_saved(instance, chain.to_vec())?;
        trust.take(std::slice::from_ref(signed), None, &[])
    };
    take().map(|_| ()).map_err(|refusal| refusal.to_string())
}

/// Judges a manifest as every process will, but for its signatures.
fn checked(manifest: Manifest) -> Result<Manifest, String> {
    let judged = trust::sound(&manifest).and_then(|()| trust::served(&manifest));
    judged.map_err(|refusal| refusal.to_string())?;
    Ok(manifest)
}

/// How announced processes stand against a list of fingerprints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Announced, but not in the list.
    pub strangers: Vec<String>,
    /// In the list, but not announced.
    pub missing: Vec<String>,
}

/// Compares announced processes with a list. The fingerprint is computed of the key that would
/// stand in the manifest, not taken from the answer.
pub fn compare_fingerprints(
    announced: &[AnnouncedMember],
    listed: &[(Digest, String)],
) -> Expected {
    let of = |found: &AnnouncedMember| fingerprint(&found.member.identity);
    let is_listed =
        |found: &&AnnouncedMember| listed.iter().any(|(digest, _)| *digest == of(found));
    let is_announced = |digest: &Digest| announced.iter().any(|found| of(found) == *digest);
    let name = |found: &AnnouncedMember| format!("{} {}", found.member.name, of(found));
    Expected {
        strangers: announced.iter().filter(|found| !is_listed(found)).map(name).collect(),
        missing: listed
            .iter()
            .filter(|(digest, _)| !is_announced(digest))
            .map(|(digest, note)| format!("{digest} {note}").trim_end().to_owned())
            .collect(),
    }
}

/// Reads a list of fingerprints: 64 hex digits a line, then anything; `#` begins a remark.
pub fn read_fingerprints(text: &str) -> Result<Vec<(Digest, String)>, String> {
    let mut listed = Vec::new();
    let mut bad = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let (digits, note) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match digits.parse() {
            Ok(digest) => listed.push((digest, note.trim().to_owned())),
            Err(_) if line.is_empty() => {}
            Err(_) => bad.push((index + 1).to_string()),
        }
    }
    match (bad.is_empty(), listed.is_empty()) {
        (false, _) => Err(format!("line {} has no fingerprint of 64 hex digits", bad.join(", "))),
        (_, true) => Err("it has no fingerprint".to_owned()),
        _ => Ok(listed),
    }
}
