//! The file of contexts.

use std::os::unix::fs::PermissionsExt;

use keyhelm::context::{Context, Contexts};

use crate::binary::Home;

fn dev() -> Context {
    Context {
        server: Some("http://127.0.0.1:7600".to_owned()),
        gateway: Some("http://127.0.0.1:7601".to_owned()),
        token_file: Some("/somewhere/token".into()),
        ..Context::default()
    }
}

#[test]
fn a_context_is_written_for_its_owner_alone_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep").join("config.toml");
    assert_eq!(Contexts::read(&path).unwrap(), Contexts::default());
    let mut contexts = Contexts { current: Some("dev".to_owned()), ..Contexts::default() };
    contexts.contexts.insert("dev".to_owned(), dev());
    contexts.contexts.insert("prod".to_owned(), Context::default());
    contexts.write(&path).unwrap();
    assert_eq!(Contexts::read(&path).unwrap(), contexts);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(contexts.choose(None).unwrap(), Some(("dev".to_owned(), dev())));
    let refused = contexts.choose(Some("tset")).unwrap_err();
    assert!(refused.what().contains("known: dev, prod"), "{refused}");
}

#[test]
fn the_program_takes_the_current_context_and_a_flag_goes_before_it() {
    let home = Home::new();
    home.write(
        ".config/keyhelm/config.toml",
        "current = \"dev\"\n[contexts.dev]\nserver = \"http://127.0.0.1:1\"\n\
         [contexts.other]\nserver = \"http://127.0.0.1:2\"\n",
    );
    let of = |args: &[&str]| home.run(&[&["instances"], args].concat()).err;
    assert!(of(&[]).contains("http://127.0.0.1:1 does not answer"), "{}", of(&[]));
    assert!(of(&["--context", "other"]).contains("http://127.0.0.1:2"));
    assert!(of(&["--server", "http://127.0.0.1:3"]).contains("http://127.0.0.1:3"));
}

#[test]
fn a_token_of_a_context_is_for_its_own_servers_only() {
    let home = Home::new();
    home.write(
        ".config/keyhelm/config.toml",
        "current = \"dev\"\n[contexts.dev]\nserver = \"http://127.0.0.1:1\"\n\
         token_file = \"/nowhere/token\"\n",
    );
    let own = home.run(&["instances"]);
    assert_eq!((own.code, own.err.contains("/nowhere/token")), (2, true), "{own:?}");
    let elsewhere = home.run(&["instances", "--server", "http://127.0.0.1:2"]);
    assert_eq!(elsewhere.code, 6, "{elsewhere:?}");
}

#[test]
fn a_broken_file_is_named() {
    let home = Home::new();
    home.write(".config/keyhelm/config.toml", "current = dev\n");
    let ran = home.run(&["instances"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("config.toml is not understood"), "{}", ran.err);
}
