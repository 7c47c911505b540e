//! Goal: administrators sign nothing that rests on what a coordinator, or somebody on the way to it, has
//! made up. Method: a real cluster, and answers that are altered between it and the program.

use protocol::api::{AnnouncedMember, ManifestView};
use protocol::manifest::Member;
use protocol::{InstanceId, PublicKey, Role, RotationId};
use serde_json::Value;

use crate::between::{Between, Deed};
use crate::binary::{Ran, text};
use crate::cluster::Dev;
use crate::with_cluster::objects;

/// In front of the cluster's coordinator: answers to these requests are altered.
fn altering(dev: &Dev, which: &'static str, alter: fn(&mut Value)) -> Between {
    Between::new(&dev.server(), move |line, _| match line.ends_with(which) {
        true if line.starts_with("GET ") => Deed::Alter(alter),
        _ => Deed::Pass,
    })
}

/// Runs a verb by way of somebody, with passphrases at hand.
fn signed_by_way_of(dev: &Dev, way: &Between, args: &[&str]) -> Ran {
    let token = dev.home.path("dev/token");
    dev.signed(&[args, &["--server", way.url(), "--token-file", text(&token)]].concat())
}

/// Its own recovery unit, no keystores, one signature.
fn forge(view: &mut Value) {
    let mut found: ManifestView = serde_json::from_value(view.take()).unwrap();
    let manifest = &mut found.manifest;
    let identity = PublicKey([9; 32]);
    let id = crypto::identity::process_id(&identity);
    let (name, location) = ("rec-9".to_owned(), "[local].[AZ1]".to_owned());
    manifest.members.push(Member { id, name, role: Role::RecoveryUnit, identity, location });
    manifest.keystores.clear();
    *view = serde_json::to_value(found).unwrap();
}

#[test]
fn a_forged_manifest_beside_a_true_chain_is_refused_and_nothing_is_signed() {
    let dev = Dev::ready(&["--standing-order", "0"]);
    dev.home.add_sigkey("Bob");
    let way = altering(&dev, "/manifest", forge);
    let file = dev.home.path("manifests.json");
    for verb in [
        &["cryptounit-retire", "op-3"][..],
        &["cryptounit-admin-add", "2"],
        &["cryptounit-thrhld-set", "--revocation-threshold", "1"],
        &["cryptounit-enroll", "op-1"],
        &["auto-mk-rotate", "--sign"],
        &["auto-mk-recover"],
        &["auto-init", "--trust-first-use", "--standing-order", "1h"],
        &["manifest"],
        &["manifest", "--out", text(&file)],
    ] {
        let ran = match verb[0] {
            "manifest" => {
                let token = dev.home.path("dev/token");
                dev.run(&[verb, &["--server", way.url(), "--token-file", text(&token)]].concat())
            }
            _ => signed_by_way_of(&dev, &way, verb),
        };
        assert_eq!(ran.code, 1, "{verb:?}: {ran:?}");
        for word in ["manifest-refused", "not the newest one that was signed", "nothing was signed"]
        {
            assert!(ran.err.contains(word), "{verb:?}: {word}: {ran:?}");
        }
    }
    assert_eq!(way.seen("POST "), Vec::<String>::new());
    assert!(!file.exists());
    let view = &objects(&dev.good(&["manifest", "--json"]))[0];
    assert_eq!(view["manifest"]["serial"], 1);
}

#[test]
fn what_a_manifest_changes_is_shown_before_anybody_signs() {
    let dev = Dev::start();
    dev.home.add_sigkey("Alice");
    let unsigned = dev.run(&["auto-init", "--trust-first-use"]);
    assert_eq!((unsigned.code, unsigned.err.contains("MANIFEST 1 of embedded (")), (2, true));
    for words in ["added administrator Alice", "set signature threshold 1", "added keystore"] {
        assert!(words_of(&unsigned.err).contains(words), "{words}: {unsigned:?}");
    }
    let done = dev.signed(&["auto-init", "--trust-first-use", "--standing-order", "1h"]);
    assert_eq!(done.code, 0, "{done:?}");
    dev.home.add_sigkey("Bob");
    for (args, words) in [
        (&["cryptounit-retire", "op-3"][..], "removed operational-unit op-3"),
        (&["cryptounit-admin-add", "2"], "added administrator Bob"),
        (&["cryptounit-retire", "--nobody"], "Nothing is changed but its serial."),
        (
            &["cryptounit-admin-add", "2", "--keep-standing-order"],
            "the standing order: coordinators may rotate at most once in 1 h, until ",
        ),
    ] {
        let unsigned = dev.run(args);
        assert_eq!(unsigned.code, 2, "{args:?}: {unsigned:?}");
        assert!(words_of(&unsigned.err).contains(words), "{args:?}: {words}: {unsigned:?}");
    }
}

/// One blank between words.
fn words_of(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_standing_order_of_another_manifest_is_not_signed_again() {
    let dev = Dev::ready(&["--standing-order", "1h"]);
    dev.home.add_sigkey("Bob");
    let way = altering(&dev, "/manifest", |view| {
        view["standing_order"]["manifest_serial"] = 7.into();
    });
    let args = ["cryptounit-admin-add", "2", "--keep-standing-order"];
    let ran = signed_by_way_of(&dev, &way, &args);
    assert_eq!((ran.code, ran.err.contains("draft-differs")), (1, true), "{ran:?}");
    assert_eq!(way.seen("POST "), Vec::<String>::new());
}

#[test]
fn the_end_of_another_hold_than_the_one_asked_for_is_not_signed() {
    let dev = Dev::ready(&[]);
    assert_eq!(dev.signed(&["auto-mk-rotate", "--hold-before-clear", "1h"]).code, 0);
    let list = objects(&dev.good(&["rotations", "--json"]));
    let rotation: &'static str = list[0]["rotation"].as_str().unwrap().to_owned().leak();
    let other = altering(&dev, rotation, |view| {
        view["rotation"] = RotationId::from_bytes([7; 16]).to_string().into();
    });
    let elsewhere = altering(&dev, rotation, |view| {
        view["instance"] = InstanceId::named("other").to_string().into();
    });
    for (way, extra) in [(&other, &[][..]), (&elsewhere, &["--instance", "embedded"])] {
        let ran = signed_by_way_of(&dev, way, &[&["hold-end", rotation, "--yes"], extra].concat());
        assert_eq!((ran.code, ran.err.contains("other-rotation")), (1, true), "{ran:?}");
        assert_eq!(way.seen("POST "), Vec::<String>::new());
    }
}

/// The first announced process gets another location.
fn relocated(members: &mut Value, location: &str) {
    let mut found: Vec<AnnouncedMember> = serde_json::from_value(members.take()).unwrap();
    found[0].member.location = location.to_owned();
    *members = serde_json::to_value(found).unwrap();
}

#[test]
fn a_process_whose_place_would_hide_its_row_is_refused_before_it_is_shown() {
    let dev = Dev::start();
    dev.home.add_sigkey("Alice");
    let alters: [fn(&mut Value); 4] = [
        |members| relocated(members, "\u{1b}[8m"),
        |members| relocated(members, "AZ1\u{1b}[1A\r"),
        |members| relocated(members, "AZ1\u{202e}"),
        |members| relocated(members, &" ".repeat(101)),
    ];
    for alter in alters {
        let way = altering(&dev, "/members", alter);
        let ran = signed_by_way_of(&dev, &way, &["auto-init", "--trust-first-use"]);
        assert_eq!((ran.code, ran.err.contains("odd-member")), (1, true), "{ran:?}");
        assert!(!ran.err.contains('\u{1b}') && !ran.err.contains("FINGERPRINT"), "{ran:?}");
        assert_eq!(way.seen("POST "), Vec::<String>::new());
    }
}

#[test]
fn what_a_server_says_moves_no_cursor() {
    let dev = Dev::ready(&["--standing-order", "0"]);
    let detail = "no\u{1b}[2K\u{7}\nnext";
    let problem = serde_json::json!({
        "type": "about:blank", "title": "Conflict", "status": 409, "code": "busy",
        "detail": detail, "safe": "\u{1b}[8m", "next_command": "rm\u{8}", "unmet": [],
    });
    let way = Between::alone(move |_, _| Deed::Answer(409, "X-Made: up", problem.to_string()));
    let ran = dev.run(&["instances", "--server", way.url()]);
    assert!(ran.err.contains("no\\u{1b}[2K\\u{7}\nnext"), "{ran:?}");
    assert!(ran.err.contains("safe: \\u{1b}[8m") && ran.err.contains("rm\\u{8}"), "{ran:?}");

    let way = altering(&dev, "/units", |view| {
        view["units"][0]["member"]["name"] = "op\u{1b}[1A\n9  false".into();
        view["name"] = "prod\u{1b}[8m".into();
    });
    let token = dev.home.path("dev/token");
    let by_way =
        |verb: &'static str| dev.run(&[verb, "--server", way.url(), "--token-file", text(&token)]);
    for verb in ["cryptounits", "cryptounit-mks", "cryptounit-admins", "cryptounit-thrhlds"] {
        let (honest, ran) = (dev.good(&[verb]), by_way(verb));
        assert!(ran.out.contains("op\\u{1b}[1A\\u{a}9  false"), "{verb}: {ran:?}");
        assert!(ran.out.contains("(prod\\u{1b}[8m)"), "{verb}: {ran:?}");
        assert_eq!(ran.out.lines().count(), honest.lines().count(), "{verb}: {ran:?}");
    }
}
