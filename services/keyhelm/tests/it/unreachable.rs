//! Servers that are not there, not usable, or not permitted.

use crate::binary::Home;

const NOBODY: &str = "http://127.0.0.1:1";

#[test]
fn nobody_there_ends_with_6_and_says_what_to_do() {
    let home = Home::new();
    for verb in [
        vec!["instances"],
        vec!["cryptounits"],
        vec!["cryptounit-compare"],
        vec!["cryptounit-mk"],
        vec!["auto-mk-rotate", "--yes"],
        vec!["auto-init", "--trust-first-use", "--patience", "0"],
        vec!["rotations"],
        vec!["watch"],
        vec!["explain"],
        vec!["abort", "--yes"],
        vec!["keys", "list", "--instance", "prod"],
        vec!["keys", "check", "--instance", "prod"],
        vec!["keys", "create", "--instance", "prod", "--patience", "0"],
    ] {
        let ran = home.run(&[verb.as_slice(), &["--server", NOBODY, "--gateway", NOBODY]].concat());
        assert_eq!(ran.code, 6, "{verb:?}: {ran:?}");
        assert!(ran.err.contains("does not answer"), "{verb:?}: {}", ran.err);
        assert!(ran.err.contains("  safe: "), "{verb:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{verb:?}");
    }
}

#[test]
fn explain_without_a_coordinator_says_what_is_safe_and_what_to_do() {
    let home = Home::new();
    let ran = home.run(&["explain", "--server", NOBODY]);
    assert_eq!((ran.code, ran.out.as_str()), (6, ""), "{ran:?}");
    for line in [
        "  safe: No key is lost: what was started goes on by itself",
        "  next: start the coordinator, then run keyhelm explain",
        "  more: keyhelm explain unreachable",
    ] {
        assert!(ran.err.contains(line), "{line}: {}", ran.err);
    }
}

#[test]
fn a_failure_is_one_json_object_for_programs() {
    let home = Home::new();
    let ran = home.run(&["instances", "--json", "--server", NOBODY]);
    assert_eq!((ran.code, ran.out.as_str()), (6, ""));
    let told: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(told["failure"]["exit"], 6);
    assert_eq!(told["failure"]["code"], "unreachable");
}

#[test]
fn a_url_that_is_not_usable_ends_with_2() {
    let home = Home::new();
    for (url, word) in [
        ("https://keyhelm.example", "plain http only"),
        ("ftp://keyhelm.example", "http://"),
        ("keyhelm.example", "not usable"),
        ("http://me:secret@localhost:1", "--token-file"),
    ] {
        let ran = home.run(&["instances", "--server", url]);
        assert_eq!(ran.code, 2, "{url}: {ran:?}");
        assert!(ran.err.contains(word), "{url}: {}", ran.err);
    }
}

#[test]
fn the_gateway_is_beside_a_coordinator_that_is_named() {
    let home = Home::new();
    let ran = home.run(&["keys", "list", "--instance", "prod", "--server", NOBODY]);
    assert!(ran.err.contains("the gateway at http://127.0.0.1:7601"), "{}", ran.err);
}

#[test]
fn creating_keys_says_how_many_are_there_and_what_is_left() {
    let home = Home::new();
    let create =
        ["keys", "create", "--count", "2500", "--instance", "prod", "--patience", "0", "--gateway"];
    let ran = home.run(&[create.as_slice(), &[NOBODY]].concat());
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(ran.err.contains("0 of 2,500 keys were made"), "{}", ran.err);
    assert!(ran.err.contains("keyhelm keys create --count 2500 --first 1"), "{}", ran.err);
}
