//! Tokens: believed, refused, and by whom.

#![allow(clippy::unwrap_used)]

use crypto::random::process_rng;
use identity::{AUDIENCE, Claims, Issuer, Role, TokenRefusal, Verifier};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use protocol::{InstanceId, UnixMillis};
use serde_json::{Value, json};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn claims() -> Claims {
    Claims {
        iss: "test".to_owned(),
        sub: "alice".to_owned(),
        aud: AUDIENCE.to_owned(),
        iat: NOW.0 / 1000,
        exp: NOW.0 / 1000 + 60,
        jti: "one".to_owned(),
        roles: vec![Role::Writer],
        instances: vec!["prod".to_owned()],
    }
}

fn issuer(folder: &std::path::Path, name: &str) -> Issuer {
    Issuer::create(&folder.join(name), &mut process_rng()).unwrap()
}

#[test]
fn a_token_is_believed_until_it_expires() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = issuer(folder.path(), "key.pem");
    let verifier = Verifier::from_jwks(&issuer.jwks()).unwrap();
    let token = issuer.issue(&claims()).unwrap();
    assert_eq!(verifier.verify(&token, NOW).unwrap(), claims());
    assert_eq!(verifier.verify(&token, NOW.plus_ms(60_000)), Err(TokenRefusal::Expired));
    let early = UnixMillis(NOW.0 - 31_000);
    assert_eq!(verifier.verify(&token, early), Err(TokenRefusal::TooEarly));
    assert_eq!(verifier.verify("", NOW), Err(TokenRefusal::Absent));
}

/// A token of the issuer whose key is in `file`, with one claim that our own issuer never makes.
fn with_claim(file: &std::path::Path, name: &str, value: Value) -> String {
    let jwks: Value = serde_json::from_str(&Issuer::from_file(file).unwrap().jwks()).unwrap();
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(jwks["keys"][0]["kid"].as_str().unwrap().to_owned());
    let mut said = serde_json::to_value(claims()).unwrap();
    said[name] = value;
    let key = EncodingKey::from_ed_pem(&std::fs::read(file).unwrap()).unwrap();
    jsonwebtoken::encode(&header, &said, &key).unwrap()
}

#[test]
fn a_token_that_is_valid_only_later_is_not_believed_yet() {
    let folder = tempfile::tempdir().unwrap();
    let verifier = Verifier::from_jwks(&issuer(folder.path(), "key.pem").jwks()).unwrap();
    let judged = |nbf: Value| {
        let token = with_claim(&folder.path().join("key.pem"), "nbf", nbf);
        verifier.verify(&token, NOW)
    };
    let now_s = NOW.0 / 1000;
    // The issuer's clock may be ahead by half a minute, as for the time of issue.
    for nbf in [json!(now_s), json!(now_s + 30), json!(now_s as f64 - 0.5), Value::Null] {
        assert_eq!(judged(nbf.clone()), Ok(claims()), "{nbf}");
    }
    for nbf in [json!(now_s + 31), json!(now_s as f64 + 30.5), json!(u64::MAX)] {
        assert_eq!(judged(nbf.clone()), Err(TokenRefusal::TooEarly), "{nbf}");
    }
    let refused = judged(json!("tomorrow"));
    assert!(matches!(refused, Err(TokenRefusal::Invalid(_))), "{refused:?}");
}

#[test]
fn changed_foreign_and_unsigned_tokens_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (own, foreign) = (issuer(folder.path(), "own"), issuer(folder.path(), "foreign"));
    let verifier = Verifier::from_jwks(&own.jwks()).unwrap();
    let token = own.issue(&claims()).unwrap();
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        // The last letter of a part has bits that mean nothing; the decoder refuses them all.
        assert!(verifier.verify(&changed, NOW).is_err(), "letter {at} changed");
    }
    let foreign = foreign.issue(&claims()).unwrap();
    assert!(matches!(verifier.verify(&foreign, NOW), Err(TokenRefusal::UnknownKey(_))));
    let body = token.split('.').nth(1).unwrap();
    // {"alg":"none"}
    let unsigned = format!("eyJhbGciOiJub25lIn0.{body}.");
    assert!(matches!(verifier.verify(&unsigned, NOW), Err(TokenRefusal::Invalid(_))));
    let other = own.issue(&Claims { aud: "else".to_owned(), ..claims() }).unwrap();
    assert!(matches!(verifier.verify(&other, NOW), Err(TokenRefusal::Invalid(_))));
}

#[test]
fn a_new_key_in_the_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (issuer(folder.path(), "first"), issuer(folder.path(), "second"));
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, first.jwks()).unwrap();
    let verifier = Verifier::from_file(&path).unwrap();
    let token = second.issue(&claims()).unwrap();
    assert!(matches!(verifier.verify(&token, NOW), Err(TokenRefusal::UnknownKey(_))));
    std::fs::write(&path, second.jwks()).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    assert_eq!(verifier.verify(&token, NOW).unwrap(), claims());
}

/// Writes the key set, so that it shows even on a file system with a coarse clock.
fn replace(path: &std::path::Path, text: &str, seconds: u64) {
    std::fs::write(path, text).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(seconds);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
}

/// A file with the first of two issuers' keys, who believes it, and a token of that issuer.
struct Rotated {
    path: std::path::PathBuf,
    second: Issuer,
    verifier: Verifier,
    token: String,
}

impl Rotated {
    fn in_folder(folder: &std::path::Path) -> Self {
        let (first, second) = (issuer(folder, "first"), issuer(folder, "second"));
        let path = folder.join("jwks.json");
        replace(&path, &first.jwks(), 0);
        let verifier = Verifier::from_file(&path).unwrap();
        let token = first.issue(&claims()).unwrap();
        Self { path, second, verifier, token }
    }
}

#[test]
fn a_key_that_was_taken_out_of_the_file_is_believed_for_seconds_only() {
    let folder = tempfile::tempdir().unwrap();
    let Rotated { path, second, verifier, token } = Rotated::in_folder(folder.path());
    assert!(verifier.verify(&token, NOW).is_ok());
    replace(&path, &second.jwks(), 5);
    assert!(verifier.verify(&token, NOW.plus_ms(1_000)).is_ok(), "the file is not read each time");
    let refused = verifier.verify(&token, NOW.plus_ms(2_000));
    assert!(matches!(refused, Err(TokenRefusal::UnknownKey(_))), "{refused:?}");
}

#[test]
fn a_file_that_is_broken_or_gone_leaves_the_keys_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let Rotated { path, second, verifier, token } = Rotated::in_folder(folder.path());
    let at = |seconds: u64| NOW.plus_ms(seconds * 1_000);
    replace(&path, "{\"keys\": [", 5);
    assert!(verifier.verify(&token, at(5)).is_ok());
    std::fs::remove_file(&path).unwrap();
    assert!(verifier.verify(&token, at(10)).is_ok());
    replace(&path, &" ".repeat(1024 * 1024 + 1), 15);
    assert!(verifier.verify(&token, at(15)).is_ok());
    replace(&path, &second.jwks(), 20);
    assert!(verifier.verify(&token, at(20)).is_err());
    assert!(verifier.verify(&second.issue(&claims()).unwrap(), at(20)).is_ok());
}

#[test]
fn roles_include_one_another_as_documented() {
    let may = |role: Role| Claims { roles: vec![role], ..claims() };
    assert!(may(Role::Manager).has_any(&[Role::Reader]));
    assert!(may(Role::Writer).has_any(&[Role::ReaderPlus]));
    assert!(!may(Role::Reader).has_any(&[Role::ReaderPlus]));
    assert!(!may(Role::Manager).has_any(&[Role::KeyPurge, Role::CryptoUnitAdministrator]));
    assert!(!may(Role::KeyPurge).has_any(&[Role::Reader]));
    assert!(!may(Role::CryptoUnitAdministrator).has_any(&[Role::Reader, Role::Manager]));
}

#[test]
fn a_token_covers_its_instances_by_name_by_id_or_all() {
    let prod = InstanceId::named("prod");
    assert!(claims().covers(prod));
    assert!(!claims().covers(InstanceId::named("test")));
    let of = |entry: &str| Claims { instances: vec![entry.to_owned()], ..claims() };
    assert!(of("*").covers(prod));
    assert!(of(&prod.to_string()).covers(prod));
}

#[test]
fn the_private_key_is_for_its_owner_alone_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let issuer = Issuer::create(&path, &mut process_rng()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(Issuer::create(&path, &mut process_rng()).is_err());
    assert_eq!(Issuer::from_file(&path).unwrap().jwks(), issuer.jwks());
    std::fs::write(&path, "no key").unwrap();
    assert!(Issuer::from_file(&path).is_err());
}
