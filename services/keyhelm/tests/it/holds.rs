//! Holds at the command line: asked for, shown, ended.

use std::path::PathBuf;

use serde_json::Value;

use crate::binary::{Home, text};
use crate::cluster::{Dev, ended, until};
use crate::with_cluster::objects;

/// The newest rotation.
fn newest(dev: &Dev) -> Value {
    objects(&dev.good(&["rotations", "--json"])).remove(0)
}

fn id(view: &Value) -> String {
    view["rotation"].as_str().unwrap().to_owned()
}

/// How each unit's old master key stands.
fn retiring(dev: &Dev) -> Vec<bool> {
    let view = &objects(&dev.good(&["cryptounit-mks", "--json"]))[0];
    let units = view["units"].as_array().unwrap().iter();
    units.map(|unit| !unit["state"]["registers"]["retiring"].is_null()).collect()
}

/// The help of a verb, letter by letter. With `KEYHELM_WRITE_GOLDEN=1` the files are written anew, to
/// be read before they are kept.
#[test]
fn the_help_of_the_verbs_that_take_an_order_is_as_it_was() {
    let home = Home::new();
    for verb in ["auto-mk-rotate", "auto-mk-recover", "hold-end"] {
        let name = format!("{verb}-help.txt");
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(&name);
        let help = home.run(&[verb, "--help"]);
        assert_eq!(help.code, 0, "{help:?}");
        if std::env::var_os("KEYHELM_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &help.out).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(golden == help.out, "{name} differs:\n{}", help.out);
    }
    for wrong in ["1h30", "-1s", ""] {
        let refused = home.run(&["auto-mk-rotate", "--hold-before-clear", wrong]);
        assert_eq!(refused.code, 2, "{wrong}: {refused:?}");
    }
}

#[test]
fn a_rotation_ends_well_while_the_old_key_is_kept_and_hold_end_has_it_wiped() {
    let dev = Dev::ready(&["--standing-order", "0"]);
    dev.good(&["keys", "create", "--count", "50"]);
    // A standing order names its own holds: another one is signed by hand.
    let unsigned = dev.run(&["auto-mk-rotate", "--hold-before-clear", "1h"]);
    assert_eq!((unsigned.code, unsigned.err.contains("--passphrase-file")), (2, true));
    let held = dev.signed(&["auto-mk-rotate", "--hold-before-clear", "1h"]);
    let start = "OK  Master key rotated and in use: 50 keys. The old one is kept until ";
    assert_eq!((held.code, held.out.starts_with(start)), (0, true), "{held:?}");
    let view = newest(&dev);
    let rotation = id(&view);
    assert!(held.out.contains(&format!("keyhelm hold-end {rotation}")), "{held:?}");
    assert_eq!((&view["phase"], &view["finished_at"]), (&"hold-before-clear".into(), &Value::Null));
    assert_eq!(retiring(&dev), [true; 5]);
    assert!(dev.good(&["keys", "check"]).contains("50 key versions checked, all of them open"));
    assert!(dev.good(&["rotations", &rotation]).contains("holds       until "));
    let explained = dev.run(&["explain"]);
    let says = |word: &str| explained.out.contains(word);
    assert!(says("holds, as its order says") && says("hold-end"), "{explained:?}");
    assert_eq!(explained.code, 0, "{explained:?}");

    // The same command again is told the same; what would start another one is told why it cannot.
    let again = dev.run(&["auto-mk-rotate", "--json"]);
    assert_eq!((again.code, again.err.as_str()), (0, ""), "{again:?}");
    let last = objects(&again.out).pop().unwrap();
    assert_eq!((&last["type"], &last["joined"]), (&"held".into(), &true.into()), "{last}");
    assert!(held.out.contains(last["kept_until"].as_str().unwrap().split_once(':').unwrap().0));
    let dry = dev.run(&["auto-mk-rotate", "--dry-run"]);
    assert_eq!((dry.code, dry.err.contains("done but for its hold")), (3, true), "{dry:?}");
    let abort = dev.run(&["abort", "--yes"]);
    assert_eq!((abort.code, abort.err.contains("only goes forward")), (1, true), "{abort:?}");
    let early = dev.run(&["receipt", &rotation]);
    assert_eq!((early.code, early.err.contains("receipt-not-yet")), (1, true), "{early:?}");

    let unasked = dev.signed(&["hold-end", &rotation]);
    assert_eq!((unasked.code, unasked.err.contains("--yes")), (2, true), "{unasked:?}");
    assert!(unasked.err.contains("cannot be brought back after that"), "{unasked:?}");
    let wrong = dev.home.write("wrong", "not the passphrase\n");
    let refused = dev.run(&["hold-end", "--yes", "--passphrase-file", text(&wrong)]);
    assert_eq!((refused.code, refused.err.contains("does not open")), (5, true), "{refused:?}");
    assert_eq!(retiring(&dev), [true; 5]);
    let done = dev.signed(&["hold-end", "--yes"]);
    assert_eq!((done.code, done.out.starts_with("OK  Master key rotated: 50 keys")), (0, true));
    assert!(done.err.contains("The hold before-clear of rotation"), "{done:?}");
    assert_eq!(retiring(&dev), [false; 5]);
    let late = dev.signed(&["hold-end", &rotation, "--yes"]);
    assert_eq!((late.code, late.err.contains("not-holding")), (1, true), "{late:?}");
    let none = dev.signed(&["hold-end", "--yes"]);
    assert_eq!((none.code, none.err.contains("no rotation is running")), (1, true), "{none:?}");
    dev.good(&["auto-mk-rotate"]);
    assert!(dev.good(&["keys", "check"]).contains("50 key versions checked, all of them open"));
}

#[test]
fn fewer_administrators_than_must_end_no_hold() {
    let dev = Dev::ready(&[]);
    dev.home.add_sigkey("Bob");
    assert_eq!(dev.signed(&["cryptounit-admin-add", "2"]).code, 0);
    assert_eq!(dev.signed(&["cryptounit-thrhld-set", "--signature-threshold", "2"]).code, 0);
    dev.good(&["sigkey-sel", "1", "2"]);
    let held = dev.signed(&["auto-mk-rotate", "--hold-before-clear", "1h"]);
    assert_eq!(held.code, 0, "{held:?}");
    dev.good(&["sigkey-sel", "2"]);
    let few = dev.signed(&["hold-end", "--yes"]);
    assert_eq!((few.code, few.err.contains("2 administrators must sign")), (5, true), "{few:?}");
    assert_eq!(retiring(&dev), [true; 5]);
    dev.good(&["sigkey-sel", "1", "2"]);
    let done = dev.signed(&["hold-end", "--yes", "--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(objects(&done.out).pop().unwrap()["rotation"]["phase"], "done");
    assert_eq!(retiring(&dev), [false; 5]);
}

#[test]
fn keys_are_made_and_used_in_a_hold_after_commit() {
    let dev = Dev::ready(&[]);
    dev.good(&["keys", "create", "--count", "10"]);
    let pass = dev.home.path("pass");
    let hold = ["auto-mk-rotate", "--hold-after-commit", "1h", "--passphrase-file", text(&pass)];
    let command = dev.begin(&hold);
    assert!(until(|| newest(&dev)["phase"] == "hold-after-commit"), "{}", newest(&dev));
    let made = dev.good(&["keys", "create", "--count", "7"]);
    assert!(made.contains("7 keys made"), "{made}");
    assert!(dev.good(&["keys", "check"]).contains("17 key versions checked, all of them open"));
    let unasked = dev.signed(&["hold-end"]);
    assert!(unasked.err.contains("re-wrapped by then"), "{unasked:?}");
    let ended_by_hand = dev.signed(&["hold-end", "--yes"]);
    assert_eq!(ended_by_hand.code, 0, "{ended_by_hand:?}");
    let watched = ended(command);
    let line = "OK  Master key rotated: 17 keys, 0 failed";
    for ran in [&ended_by_hand, &watched] {
        assert_eq!((ran.code, ran.out.starts_with(line)), (0, true), "{ran:?}");
    }
    assert!(watched.err.contains("the hold lasts until "), "{watched:?}");
    assert!(dev.good(&["keys", "check"]).contains("17 key versions checked, all of them open"));
}

#[test]
fn a_standing_order_brings_its_holds_and_a_unit_is_retired_while_one_lasts() {
    let dev = Dev::ready(&[]);
    let standing = |often: &str, hold: &str| {
        let named = ["auto-init", "--standing-order", often, "--hold-before-clear", hold];
        dev.signed(&[&named[..], &["--trust-first-use"]].concat())
    };
    let often = standing("1h", "1h");
    assert_eq!((often.code, often.err.contains("above its hold")), (2, true), "{often:?}");
    let given = standing("2h", "1h");
    assert_eq!(given.code, 0, "{given:?}");
    let words = "each held 1 h before the old key is wiped";
    assert!(given.err.contains(words), "{given:?}");
    assert!(dev.good(&["manifest"]).contains(words));
    dev.good(&["keys", "create", "--count", "5"]);
    let held = dev.good(&["auto-mk-rotate"]);
    assert!(held.contains("The old one is kept until"), "{held}");
    let nobody = dev.signed(&["cryptounit-retire", "--nobody"]);
    assert_eq!((nobody.code, nobody.err.contains("amends it")), (0, true), "{nobody:?}");
    let both = dev.signed(&["cryptounit-retire", "--nobody", "op-3"]);
    assert_eq!(both.code, 2, "{both:?}");
    let retired = dev.signed(&["cryptounit-retire", "op-3"]);
    assert_eq!((retired.code, retired.err.contains("amends it")), (0, true), "{retired:?}");
    assert_eq!(newest(&dev)["phase"], "hold-before-clear", "the amendment ends no hold");
    let done = dev.signed(&["hold-end", "--yes"]);
    assert_eq!((done.code, done.out.contains("4 of 4 crypto units")), (0, true), "{done:?}");
    assert!(dev.good(&["keys", "check"]).contains("5 key versions checked, all of them open"));
}

#[test]
fn a_rotation_that_was_asked_for_otherwise_is_not_joined() {
    let dev = Dev::ready(&["--standing-order", "0"]);
    let held = dev.signed(&["auto-mk-rotate", "--hold-before-clear", "1h"]);
    assert_eq!(held.code, 0, "{held:?}");
    let rotation = id(&newest(&dev));
    let key = "7d3c1b52-6b0f-4c7e-9a55-1c9b7b1c2f10";
    let plan = "ab".repeat(32);
    for (asked, named) in [
        (&["--hold-before-clear", "2h"][..], "--hold-before-clear 7200s"),
        (&["--hold-after-commit", "1h", "--hold-before-clear", "1h"], "--hold-after-commit 3600s"),
        (&["--join", "op-1"], "--join op-1"),
        (&["--quarantine", key], key),
        (&["--mode", "online"], "--mode online"),
        (&["--plan", &plan], "--plan"),
    ] {
        let ran = dev.signed(&[&["auto-mk-rotate"], asked].concat());
        assert_eq!(ran.code, 3, "{asked:?}: {ran:?}");
        let next = format!("next: keyhelm rotations {rotation} --follow, then the same command");
        for word in [named, "other-rotation", "nothing was started", &next] {
            assert!(ran.err.contains(word), "{asked:?}: {word}: {ran:?}");
        }
    }
    // The very same command, and one that asks for less, are told what the first one was told.
    for asked in [
        &["--hold-before-clear", "1h"][..],
        &["--hold-before-clear", "1h", "--mode", "strict"],
        &[],
    ] {
        let again = dev.signed(&[&["auto-mk-rotate"], asked].concat());
        let is_held = again.out.contains("The old one is kept until");
        assert_eq!((again.code, is_held), (0, true), "{asked:?}: {again:?}");
    }
    assert_eq!(objects(&dev.good(&["rotations", "--json"])).len(), 2, "the founding and one more");
}
