//! Manifests that follow one another, judged as every process judges them.

use crypto::identity::{Identity, fingerprint, process_id};
use crypto::random::process_rng;
use crypto::{domain, quorum};
use keyhelm::manifests::{
    self, Expected, Founding, compare_fingerprints, judge, lacking, read_fingerprints, received,
};
use machines::trust::manifest_digest;
use protocol::api::{AnnouncedMember, ManifestView};
use protocol::codec;
use protocol::manifest::{AdminSignature, Administrator, Manifest, Member, SignedManifest};
use protocol::{InstanceId, KeystoreId, Role, UnixMillis};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn announced(name: &str, role: Role) -> AnnouncedMember {
    let identity = Identity::generate(&mut process_rng()).public_key();
    let member = Member {
        id: process_id(&identity),
        name: name.to_owned(),
        role,
        identity,
        location: "[local]".to_owned(),
    };
    let keystore = (role == Role::Reencryptor).then(|| KeystoreId::from_bytes([7; 16]));
    let fingerprint = fingerprint(&identity);
    AnnouncedMember { member, fingerprint, keystore, manifest_serial: 0, announced_at: NOW }
}

fn everybody() -> Vec<AnnouncedMember> {
    vec![
        announced("rec-1", Role::RecoveryUnit),
        announced("rec-2", Role::RecoveryUnit),
        announced("op-1", Role::OperationalUnit),
        announced("coordinator", Role::Coordinator),
        announced("reencryptor", Role::Reencryptor),
        announced("gateway", Role::Gateway),
    ]
}

/// An instance with administrators whose keys are at hand.
struct World {
    admins: Vec<Identity>,
    chain: Vec<SignedManifest>,
    newest: Manifest,
}

impl World {
    fn found(admins: usize) -> Self {
        let admins: Vec<_> = (0..admins).map(|_| Identity::generate(&mut process_rng())).collect();
        let administrators =
            admins.iter().enumerate().map(|(index, key)| admin(&format!("admin-{index}"), key));
        let members = everybody();
        let founding = Founding {
            instance: InstanceId::named("prod"),
            name: "prod",
            announced: &members,
            administrators: administrators.collect(),
            signature_threshold: None,
            revocation_threshold: None,
        };
        let newest = manifests::first(founding, NOW).unwrap();
        let mut world = Self { admins, chain: Vec::new(), newest: newest.clone() };
        let signed = world.sign(&newest, &[0, 1, 2][..world.admins.len().min(3)]);
        judge(newest.instance, &[], &signed).unwrap();
        world.chain.push(signed);
        world
    }

    fn view(&self) -> ManifestView {
        ManifestView {
            manifest: self.newest.clone(),
            digest: manifest_digest(&self.chain.last().unwrap().bytes),
            chain: self.chain.clone(),
            standing_order: None,
        }
    }

    fn next(&self) -> Manifest {
        manifests::next(&self.view(), NOW)
    }

    fn sign(&self, manifest: &Manifest, who: &[usize]) -> SignedManifest {
        let bytes = codec::encode(manifest);
        let sign = |index: &usize| {
            let key = &self.admins[*index];
            let signature = key.sign(domain::MANIFEST, &bytes);
            AdminSignature { ski: quorum::ski(&key.public_key()), signature }
        };
        SignedManifest { signatures: who.iter().map(sign).collect(), bytes: bytes.clone() }
    }

    fn judge(&self, manifest: &Manifest, who: &[usize]) -> Result<(), String> {
        judge(manifest.instance, &self.chain, &self.sign(manifest, who))
    }
}

fn admin(name: &str, key: &Identity) -> Administrator {
    Administrator { name: name.to_owned(), key: key.public_key() }
}

#[test]
fn thresholds_default_to_more_than_half() {
    let thresholds: Vec<_> = (1..=8).map(manifests::default_threshold).collect();
    assert_eq!(thresholds, vec![1, 2, 2, 3, 3, 4, 4, 5]);
    let newest = World::found(3).newest;
    assert_eq!((newest.signature_threshold, newest.revocation_threshold), (2, 2));
    assert_eq!((newest.serial, newest.keystores.len(), newest.members.len()), (1, 1, 6));
}

#[test]
fn what_is_lacking_is_said_all_at_once() {
    assert_eq!(lacking(&everybody()), Vec::<String>::new());
    assert_eq!(lacking(&[]).len(), 4);
    let without: Vec<_> =
        everybody().into_iter().filter(|found| found.member.role != Role::RecoveryUnit).collect();
    assert!(lacking(&without)[0].contains("recovery-unit"));
}

#[test]
fn a_new_unit_is_taken_in_under_the_signature_threshold() {
    let world = World::found(3);
    let new = announced("op-2", Role::OperationalUnit);
    let next = manifests::enroll(world.next(), &new, false).unwrap();
    assert_eq!((next.serial, next.members.len()), (2, 7));
    assert!(world.judge(&next, &[0]).unwrap_err().contains("1 of 2"));
    world.judge(&next, &[0, 2]).unwrap();
}

#[test]
fn a_lost_unit_is_replaced_only_if_that_is_said() {
    let world = World::found(1);
    let new = announced("op-1", Role::OperationalUnit);
    let refused = manifests::enroll(world.next(), &new, false).unwrap_err();
    assert!(refused.contains("--replace"), "{refused}");
    let next = manifests::enroll(world.next(), &new, true).unwrap();
    assert_eq!(next.members.len(), 6);
    assert!(next.member(new.member.id).is_some());
    assert!(manifests::enroll(next, &new, true).unwrap_err().contains("already"));
}

#[test]
fn a_removal_takes_the_revocation_threshold() {
    let mut world = World::found(3);
    let next = manifests::set_thresholds(world.next(), Some(1), Some(3)).unwrap();
    let signed = world.sign(&next, &[0, 1]);
    judge(next.instance, &world.chain, &signed).unwrap();
    world.chain.push(signed);
    world.newest = next;

    let next = manifests::retire(world.next(), "rec-2").unwrap();
    assert!(world.judge(&next, &[0, 1]).unwrap_err().contains("2 of 3"));
    world.judge(&next, &[0, 1, 2]).unwrap();
    // An addition needs the other threshold.
    let new = announced("op-2", Role::OperationalUnit);
    let next = manifests::enroll(world.next(), &new, false).unwrap();
    world.judge(&next, &[1]).unwrap();
}

#[test]
fn the_last_recovery_unit_stays() {
    let world = World::found(1);
    let next = manifests::retire(world.next(), "rec-1").unwrap();
    let refused = manifests::retire(next.clone(), "rec-2").unwrap_err();
    assert!(refused.contains("no recovery unit"), "{refused}");
    assert!(manifests::retire(next, "rec-9").unwrap_err().contains("no member"));
}

#[test]
fn the_last_reencryptor_stays() {
    let world = World::found(1);
    let refused = manifests::retire(world.next(), "reencryptor").unwrap_err();
    assert!(refused.contains("no reencryptor"), "{refused}");
    let other = announced("another", Role::Reencryptor);
    let next = manifests::enroll(world.next(), &other, false).unwrap();
    manifests::retire(next, "reencryptor").unwrap();
}

#[test]
fn administrators_come_and_go_and_thresholds_are_kept_reachable() {
    let world = World::found(2);
    let new = Identity::generate(&mut process_rng());
    let next = manifests::add_administrator(world.next(), admin("new", &new)).unwrap();
    world.judge(&next, &[0, 1]).unwrap();
    let twice = manifests::add_administrator(next.clone(), admin("again", &new)).unwrap_err();
    assert!(twice.contains("twice"), "{twice}");
    let ski = quorum::ski(&new.public_key()).shown();
    assert_eq!(manifests::remove_administrator(next, &ski).unwrap().administrators.len(), 2);
    let refused = manifests::remove_administrator(world.next(), "admin-0").unwrap_err();
    assert!(refused.contains("cryptounit-thrhld-set"), "{refused}");
    assert!(manifests::set_thresholds(world.next(), Some(3), None).is_err());
}

#[test]
fn a_manifest_that_follows_another_one_is_refused() {
    let world = World::found(1);
    let mut next = manifests::set_thresholds(world.next(), None, Some(1)).unwrap();
    next.previous = None;
    assert!(world.judge(&next, &[0]).unwrap_err().contains("does not follow"));
}

#[test]
fn fingerprints_are_those_of_the_keys_whatever_the_answer_says() {
    let mut found = everybody();
    let text: String = found
        .iter()
        .map(|one| format!("{} {} # noted by hand\n", one.fingerprint, one.member.name))
        .collect();
    let listed = read_fingerprints(&format!("# prod\n\n{text}")).unwrap();
    assert_eq!(compare_fingerprints(&found, &listed), Expected::default());

    // A coordinator that lies: another key under the listed fingerprint.
    let honest = found[2].fingerprint;
    found[2] = AnnouncedMember { fingerprint: honest, ..announced("op-1", Role::OperationalUnit) };
    let Expected { strangers, missing } = compare_fingerprints(&found, &listed);
    assert_eq!((strangers.len(), missing.len()), (1, 1));
    assert!(strangers[0].starts_with("op-1 ") && missing[0].starts_with(&honest.to_string()));
}

#[test]
fn a_list_that_is_not_understood_is_refused() {
    assert!(read_fingerprints("").unwrap_err().contains("no fingerprint"));
    assert!(read_fingerprints("op-1\n# ok\nabcd").unwrap_err().contains("line 1, 3"));
}

#[test]
fn a_view_is_believed_only_as_far_as_it_is_signed() {
    let mut world = World::found(1);
    let next = manifests::retire(world.next(), "rec-2").unwrap();
    let signed = world.sign(&next, &[0]);
    world.chain.push(signed);
    world.newest = next;
    let instance = world.newest.instance;
    assert_eq!(received::judge(instance, &world.view()), Ok(()));

    let refused = |instance, alter: &dyn Fn(&mut ManifestView)| {
        let mut view = world.view();
        alter(&mut view);
        received::judge(instance, &view).unwrap_err()
    };
    let no_keystores = |view: &mut ManifestView| view.manifest.keystores.clear();
    assert!(refused(instance, &no_keystores).contains("not the newest one that was signed"));
    let own_digest = |view: &mut ManifestView| {
        view.manifest.signature_threshold = 1;
        view.digest = manifest_digest(&codec::encode(&view.manifest));
        view.manifest.members.pop();
    };
    assert!(refused(instance, &own_digest).contains("not the newest"));
    let digest = |view: &mut ManifestView| view.digest = protocol::Digest([1; 32]);
    assert!(refused(instance, &digest).contains("digest"));
    let older = |view: &mut ManifestView| view.manifest = view.chain[0].unverified().unwrap();
    assert!(refused(instance, &older).contains("not the newest"));
    assert!(refused(instance, &|view| view.chain.clear()).contains("no signed manifest"));
    assert!(refused(instance, &|view| drop(view.chain.remove(0))).contains("does not follow"));
    assert!(refused(instance, &|view| view.chain.push(view.chain[1].clone())).contains("twice"));
    assert!(refused(instance, &|view| view.chain[1].signatures.clear()).contains("0 of 1"));
    assert!(refused(InstanceId::named("other"), &|_| ()).contains("of instance"));
}
