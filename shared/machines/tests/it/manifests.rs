//! Goal: what every manifest must keep, and whose signatures a new one needs. Method: a process's trust, and
//! manifests that break one rule each.

use crypto::domain;
use machines::rewrap;
use machines::trust::{ManifestRefusal, Trust};
use machines::unit::keyring::Keyring;
use protocol::Role;
use protocol::codec;
use protocol::manifest::{AdminSignature, Administrator, Manifest, SignedManifest};

use crate::world::{
    ALL, KEYSTORE, OP_1, World, admins, id_of, reencryptor, signatures, stranger, unit_id,
};

/// The next manifest, which a change was made to.
fn next(change: impl FnOnce(&mut Manifest)) -> (Trust, SignedManifest) {
    let mut world = World::new();
    let trust = world.units[OP_1].state().trust.clone();
    world.sign_manifest(&ALL, change);
    (trust, world.manifests[1].clone())
}

fn taken(mut trust: Trust, signed: SignedManifest) -> Result<bool, ManifestRefusal> {
    trust.take(&[signed], None, &[])
}

#[test]
fn a_manifest_without_a_keystore_would_let_units_clear_unasked() {
    let (trust, signed) = next(|manifest| manifest.keystores.clear());
    let refusal = taken(trust, signed).unwrap_err();
    assert!(refusal.to_string().contains("no keystore"), "{refusal}");
}

/// A terminal would do what they say: administrators compare names and fingerprints on one.
#[test]
fn names_and_locations_hide_nothing_on_a_screen() {
    for text in ["rec-3\x1b[8m", "rec-3\r", "\u{9b}8m", &"x".repeat(101)] {
        for is_name in [true, false] {
            let (trust, signed) = next(|manifest| {
                let member = &mut manifest.members[0];
                let place = if is_name { &mut member.name } else { &mut member.location };
                *place = text.to_owned();
            });
            let refusal = taken(trust, signed).unwrap_err();
            assert!(matches!(refusal, ManifestRefusal::NotSound { .. }), "{text:?}: {refusal}");
        }
    }
}

/// Two signatures take a member in; all three take one out, and so does another role.
#[test]
fn another_role_is_a_removal() {
    let world = World::new();
    let mut first = world.manifests[0].unverified().unwrap();
    first.revocation_threshold = 3;
    let bytes = codec::encode(&first);
    let signed = SignedManifest { signatures: signatures(domain::MANIFEST, &bytes), bytes };
    let mut trust = Trust::imprint(world.instance);
    trust.take(std::slice::from_ref(&signed), None, &[]).unwrap();
    let second = |role: Role| {
        let mut next = first.clone();
        next.serial = 2;
        next.previous = Some(machines::trust::manifest_digest(&signed.bytes));
        let member = next.members.iter_mut().find(|it| it.id == unit_id(OP_1)).unwrap();
        member.role = role;
        let bytes = codec::encode(&next);
        SignedManifest { signatures: signatures(domain::MANIFEST, &bytes), bytes }
    };
    assert_eq!(taken(trust.clone(), second(Role::OperationalUnit)), Ok(true));
    let refusal = taken(trust, second(Role::Gateway)).unwrap_err();
    assert!(matches!(refusal, ManifestRefusal::NotSigned { .. }), "{refusal}");
}

/// Whoever was given another role is no crypto unit any more: it serves nothing and takes no order.
#[test]
fn a_unit_with_another_role_is_removed() {
    let mut world = World::initialised();
    world.sign_manifest(&ALL, |manifest| {
        let member = manifest.members.iter_mut().find(|it| it.id == unit_id(OP_1)).unwrap();
        member.role = Role::Gateway;
    });
    world.take_manifests(OP_1);
    let run = world.signed(world.order(protocol::order::Purpose::Rotate, 1));
    assert_eq!(world.inspect(OP_1, &run).code(), "removed");
    let keyring = world.units[OP_1].keyring(&Keyring::default());
    assert_eq!(keyring.not_serving, Some("removed from the manifest"));
}

/// Public keys are no secret: a manifest that lists the pinned ones beside its author's is not theirs.
#[test]
fn who_is_pinned_must_have_signed_the_first_manifest() {
    let world = World::new();
    let pinned = admins().map(|admin| admin.public_key());
    let mallory = stranger();
    let mut forged = world.manifests[0].unverified().unwrap();
    let own = Administrator { name: "mallory".to_owned(), key: mallory.public_key() };
    forged.administrators.push(own);
    forged.signature_threshold = 1;
    let bytes = codec::encode(&forged);
    let ski = crypto::quorum::ski(&mallory.public_key());
    let signature = mallory.sign(domain::MANIFEST, &bytes);
    let forged = SignedManifest { bytes, signatures: vec![AdminSignature { ski, signature }] };
    let take = |signed: &SignedManifest, pinned: &[_]| {
        Trust::imprint(world.instance).take(std::slice::from_ref(signed), None, pinned)
    };
    assert_eq!(take(&forged, &[]), Ok(true), "nobody is pinned: trust on first use");
    let refused = ManifestRefusal::PinnedAdministratorMissing(pinned[0]);
    assert_eq!(take(&forged, &pinned[..1]), Err(refused.clone()));
    // A reencryptor moves all keys to where the manifest says.
    let row = machines::gate::new_row(world.instance, KEYSTORE);
    let who = (id_of(&reencryptor()), &pinned[..1]);
    let mut trust = Trust::imprint(world.instance);
    let taken = rewrap::take_manifests(&mut trust, std::slice::from_ref(&forged), &row, who);
    assert_eq!(taken, Err(refused.into()));
    assert_eq!(rewrap::take_manifests(&mut trust, &world.manifests, &row, who), Ok(true));
    // Two of the three have signed the genuine one.
    assert_eq!(take(&world.manifests[0], &pinned[..2]), Ok(true));
    let refused = ManifestRefusal::PinnedAdministratorMissing(pinned[2]);
    assert_eq!(take(&world.manifests[0], &pinned), Err(refused));
}
