//! The verbs against a running cluster.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::binary::text;
use crate::cluster::{Dev, ended, signal};

/// What a verb writes for programs, a value a line.
pub fn objects(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_instance_is_founded_filled_rotated_and_checked() {
    let dev = Dev::ready(&["--standing-order", "0"]);
    let again = dev.run(&["auto-init", "--trust-first-use", "--standing-order", "0"]);
    assert_eq!((again.code, again.out.contains("was ready before")), (0, true), "{again:?}");

    let units = dev.good(&["cryptounits"]);
    for word in ["API endpoint:", "SERVICE INSTANCE:", "OPERATIONAL", "RECOVERY", "[local].[AZ1]"] {
        assert!(units.contains(word), "{word}: {units}");
    }
    assert!(dev.good(&["cryptounit-admins"]).contains("Alice"));
    assert!(dev.good(&["cryptounit-compare"]).contains("A master key rotation could start now."));
    assert!(dev.good(&["manifest"]).contains("signature threshold    1"));

    let made = dev.good(&["keys", "create", "--count", "2500", "--name-prefix", "app"]);
    assert!(made.contains("2,500 keys made"), "{made}");
    let before = pattern(&dev);
    let rotated = dev.good(&["auto-mk-rotate"]);
    assert!(
        rotated.starts_with("OK  Master key rotated: 2,500 keys, 0 failed, 5 of 5"),
        "{rotated}"
    );
    assert_ne!(pattern(&dev), before);
    assert!(dev.good(&["keys", "check"]).contains("2,500 key versions checked, all of them open"));
    let list = objects(&dev.good(&["rotations", "--json"]));
    let phases: Vec<_> = list.iter().map(|view| view["phase"].as_str().unwrap()).collect();
    assert_eq!(phases, vec!["done", "done"]);
    assert_eq!(list[0]["purpose"], "rotate");
    let shown = dev.good(&["rotations", list[0]["rotation"].as_str().unwrap()]);
    assert!(shown.contains("reencrypt") && shown.contains("key creation refused for"), "{shown}");
}

/// The one pattern of all current registers.
fn pattern(dev: &Dev) -> String {
    let view = &objects(&dev.good(&["cryptounit-mks", "--json"]))[0];
    let units = view["units"].as_array().unwrap();
    let of = |unit: &Value| unit["state"]["registers"]["current"].as_str().unwrap().to_owned();
    let patterns: std::collections::BTreeSet<_> = units.iter().map(of).collect();
    assert_eq!((units.len(), patterns.len()), (5, 1), "{view}");
    patterns.into_iter().next().unwrap()
}

#[test]
fn keys_are_imported_shown_deleted_and_purged() {
    let dev = Dev::ready(&[]);
    let payload = "MDEyMzQ1Njc4OWFiY2RlZg==";
    let id = "7d3c1b52-6b0f-4c7e-9a55-1c9b7b1c2f10";
    let lines = format!(
        "{{\"name\":\"root\",\"payload\":\"{payload}\"}}\n{{\"name\":\"std\",\"payload\":\
         \"{payload}\",\"extractable\":true,\"id\":\"{id}\"}}\nnonsense\n"
    );
    let file = dev.home.write("keys.jsonl", &lines);
    let refused = dev.run(&["keys", "import", text(&file)]);
    assert_eq!((refused.code, refused.err.contains("line 3")), (2, true), "{refused:?}");
    assert_eq!(dev.good(&["keys", "list"]), "No keys.\n");
    let imported = dev.run(&["keys", "import", text(&file), "--skip-bad"]);
    assert_eq!(imported.code, 0, "{imported:?}");
    assert!(imported.out.contains("2 keys imported") && imported.err.contains("line 3"));

    assert_eq!(objects(&dev.good(&["keys", "list", "--json"])).len(), 2);
    let shown = objects(&dev.good(&["keys", "show", id, "--payload", "--json"]));
    assert_eq!(shown[0]["payload"], payload);
    assert!(!dev.good(&["keys", "show", id]).contains(payload));
    let unasked = dev.run(&["keys", "delete", id]);
    assert_eq!((unasked.code, unasked.err.contains("--yes")), (2, true), "{unasked:?}");
    dev.good(&["keys", "delete", id, "--yes"]);
    dev.good(&["keys", "purge", id, "--yes"]);
    let gone = dev.run(&["keys", "purge", id, "--yes"]);
    assert_eq!((gone.code, gone.err.contains(id)), (1, true), "{gone:?}");
    assert!(dev.good(&["keys", "check"]).contains("1 key version checked"));
}

#[test]
fn without_a_standing_order_the_administrators_sign() {
    let dev = Dev::ready(&[]);
    let unasked = dev.run(&["auto-mk-rotate"]);
    assert_eq!((unasked.code, unasked.err.contains("--passphrase-file")), (2, true), "{unasked:?}");
    let done = dev.signed(&["auto-mk-rotate"]);
    assert_eq!((done.code, done.out.starts_with("OK  Master key rotated")), (0, true), "{done:?}");

    let wrong = dev.home.write("wrong", "not the passphrase\n");
    let refused = dev.run(&["auto-mk-rotate", "--passphrase-file", text(&wrong)]);
    assert_eq!((refused.code, refused.err.contains("does not open")), (5, true), "{refused:?}");
    dev.good(&["sigkey-sel", "--none"]);
    let refused = dev.signed(&["auto-mk-rotate"]);
    assert_eq!(
        (refused.code, refused.err.contains("keyhelm sigkey-sel")),
        (5, true),
        "{refused:?}"
    );
}

#[test]
fn an_unmet_condition_is_shown_with_its_mend_and_nothing_changes() {
    let dev = Dev::start();
    let early = dev.run(&["auto-mk-rotate"]);
    assert_eq!((early.code, early.err.contains("keyhelm auto-init")), (3, true), "{early:?}");
    drop(dev);
    let dev = Dev::ready(&["--standing-order", "0"]);
    let before = pattern(&dev);
    let other = "ab".repeat(32);
    let refused = dev.run(&["auto-mk-rotate", "--expect-current-pattern", &other]);
    assert_eq!(refused.code, 3, "{refused:?}");
    let mend = format!("keyhelm auto-mk-rotate --expect-current-pattern {before}");
    for word in ["SUBJECT", "MEND", &mend, "safe: "] {
        assert!(refused.err.contains(word), "{word}: {}", refused.err);
    }
    let dry = dev.good(&["auto-mk-rotate", "--dry-run", "--expect-current-pattern", &before]);
    assert!(dry.contains("PLAN") && dry.contains("nothing has changed"), "{dry}");
    assert_eq!(pattern(&dev), before);
}

#[test]
fn programs_get_an_object_a_line_and_nothing_else() {
    let dev = Dev::ready(&["--standing-order", "0"]);
    let done = dev.run(&["auto-mk-rotate", "--json"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    let lines = objects(&done.out);
    let last = lines.last().unwrap();
    assert_eq!((&last["type"], &last["rotation"]["phase"]), (&"done".into(), &"done".into()));
    assert!(lines.iter().rev().skip(1).all(|line| line["type"] == "progress"), "{}", done.out);
    let other = "ab".repeat(32);
    let refused = dev.run(&["auto-mk-rotate", "--json", "--expect-current-pattern", &other]);
    let failure: Value = serde_json::from_str(&refused.err).unwrap();
    assert_eq!((refused.code, refused.out.as_str()), (3, ""));
    assert_eq!(failure["failure"]["unmet"][0]["code"], "unexpected-pattern");
}

#[test]
fn manifests_follow_one_another_and_end_the_standing_order_unless_it_is_kept() {
    let dev = Dev::ready(&["--standing-order", "0"]);
    dev.home.add_sigkey("Bob");
    let added = dev.signed(&["cryptounit-admin-add", "2", "--keep-standing-order"]);
    assert_eq!(added.code, 0, "{added:?}");
    let view = &objects(&dev.good(&["manifest", "--json"]))[0];
    assert_eq!(
        (&view["manifest"]["serial"], &view["standing_order"]["manifest_serial"]),
        (&2.into(), &2.into())
    );
    let raised = dev.signed(&["cryptounit-thrhld-set", "--signature-threshold", "2"]);
    assert_eq!(
        (raised.code, raised.err.contains("ends the standing order")),
        (0, true),
        "{raised:?}"
    );
    dev.good(&["sigkey-sel", "1"]);
    let few = dev.signed(&["cryptounit-retire", "op-3"]);
    assert_eq!((few.code, few.err.contains("2 administrators must sign")), (5, true), "{few:?}");
    dev.good(&["sigkey-sel", "1", "2"]);
    let retired = dev.signed(&["cryptounit-retire", "op-3"]);
    assert_eq!(retired.code, 0, "{retired:?}");
    let stays = dev.signed(&["cryptounit-admin-rm", "Bob"]);
    assert_eq!((stays.code, stays.err.contains("thrhld-set")), (2, true), "{stays:?}");
    let again = dev.signed(&["cryptounit-enroll", "op-1"]);
    assert_eq!(
        (again.code, again.out.contains("Manifest 4 is sent again")),
        (0, true),
        "{again:?}"
    );
    let done = dev.signed(&["auto-mk-rotate"]);
    assert_eq!((done.code, done.out.contains("4 of 4 crypto units")), (0, true), "{done:?}");
}

#[test]
fn a_token_of_a_reader_sees_rotations_and_starts_none() {
    let dev = Dev::ready(&["--standing-order", "0"]);
    let (key, token) = (dev.home.path("dev/issuer.pem"), dev.home.path("reader"));
    dev.good(&[
        "token",
        "issue",
        "--key",
        text(&key),
        "--subject",
        "reader",
        "--role",
        "Reader",
        "--instances",
        "*",
        "--out",
        text(&token),
    ]);
    let with = |args: &[&str]| dev.run(&[args, &["--token-file", text(&token)]].concat());
    assert_eq!(with(&["rotations"]).code, 0);
    assert_eq!(with(&["explain"]).code, 0);
    for verb in
        [vec!["auto-mk-rotate"], vec!["cryptounit-mks"], vec!["watch"], vec!["keys", "create"]]
    {
        let refused = with(&verb);
        assert_eq!(refused.code, 5, "{verb:?}: {refused:?}");
    }
    let nobody = dev.home.write("nobody", "x.y.z\n");
    assert_eq!(dev.run(&["instances", "--token-file", text(&nobody)]).code, 5);
}

#[test]
fn fingerprints_that_are_not_listed_stop_the_founding() {
    let dev = Dev::start();
    dev.home.add_sigkey("Alice");
    let nobody = dev.signed(&["auto-init"]);
    assert_eq!((nobody.code, nobody.err.contains("--expect")), (2, true), "{nobody:?}");
    let digits: Vec<_> = nobody.err.split_whitespace().filter(|word| word.len() == 64).collect();
    assert_eq!(digits.len(), 8, "{}", nobody.err);
    let short = dev.home.write("short", &digits[1..].join("\n"));
    let refused = dev.signed(&["auto-init", "--expect", text(&short)]);
    assert_eq!((refused.code, refused.err.contains(digits[0])), (3, true), "{refused:?}");
    let list = dev.home.write("list", &digits.join("\n"));
    assert_eq!(dev.signed(&["auto-init", "--expect", text(&list)]).code, 0);
}

#[test]
fn two_commands_at_once_share_one_rotation() {
    let dev = Dev::ready(&["--standing-order", "0"]);
    dev.good(&["keys", "create", "--count", "5000"]);
    let both = [(); 2].map(|()| dev.begin(&["auto-mk-rotate", "--json"]));
    let last = both.map(|process| {
        let done = ended(process);
        assert_eq!(done.code, 0, "{done:?}");
        objects(&done.out).pop().unwrap()
    });
    let rotations = dev.good(&["rotations", "--json"]).lines().count();
    // Either they met, or one came when the other had ended: never a failure.
    let is_one = last[0]["rotation"]["rotation"] == last[1]["rotation"]["rotation"];
    assert_eq!(rotations, if is_one { 2 } else { 3 });
    assert!(dev.good(&["keys", "check"]).contains("5,000 key versions checked, all"));
}

/// Begins a rotation and gives it when the first thing is known of it.
pub fn under_way(dev: &Dev, extra: &[&str]) -> (std::process::Child, String) {
    let mut command = dev.begin(&[&["auto-mk-rotate", "--json"], extra].concat());
    let mut reader = BufReader::new(command.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let first: Value = serde_json::from_str(&line).unwrap();
    // Whatever else it writes is read, so that it never waits for a reader.
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    (command, first["rotation"]["rotation"].as_str().unwrap().to_owned())
}

#[test]
fn ctrl_c_leaves_the_rotation_going() {
    let dev = Dev::ready(&["--standing-order", "0"]);
    dev.good(&["keys", "create", "--count", "20000"]);
    let (command, rotation) = under_way(&dev, &[]);
    dev.signal("-STOP");
    signal(&command, "-INT");
    let stopped = ended(command);
    dev.signal("-CONT");
    assert_eq!((stopped.code, stopped.err.contains("goes on")), (130, true), "{stopped:?}");
    let done = dev.run(&["rotations", &rotation, "--follow"]);
    assert_eq!((done.code, done.out.starts_with("OK")), (0, true), "{done:?}");
}

#[test]
fn a_cluster_that_dies_midway_is_unknown_and_the_same_command_goes_on() {
    let mut dev = Dev::ready(&["--standing-order", "0"]);
    dev.good(&["keys", "create", "--count", "20000"]);
    let (command, _) = under_way(&dev, &["--patience", "1s"]);
    dev.crash();
    let lost = ended(command);
    assert_eq!((lost.code, lost.err.contains("state-unknown")), (6, true), "{lost:?}");
    dev.restart();
    let done = dev.run(&["auto-mk-rotate"]);
    assert_eq!((done.code, done.out.starts_with("OK")), (0, true), "{done:?}");
    pattern(&dev);
    assert!(dev.good(&["keys", "check"]).contains("20,000 key versions checked, all"));
}

#[test]
fn a_command_whose_time_is_up_ends_with_4_and_the_next_one_joins() {
    let dev = Dev::ready(&["--standing-order", "0"]);
    dev.good(&["keys", "create", "--count", "20000"]);
    let left = dev.run(&["auto-mk-rotate", "--timeout", "0"]);
    assert_eq!((left.code, left.err.contains("has not ended")), (4, true), "{left:?}");
    let view = &objects(&dev.good(&["rotations", "--json"]))[0];
    let rotation = view["rotation"].as_str().unwrap();
    let done = dev.run(&["rotations", rotation, "--follow"]);
    assert_eq!((done.code, done.out.starts_with("OK")), (0, true), "{done:?}");
}

#[test]
fn an_abort_comes_before_the_decision_or_not_at_all() {
    let dev = Dev::ready(&["--standing-order", "0"]);
    let none = dev.run(&["abort", "--yes"]);
    assert_eq!((none.code, none.err.contains("no rotation is running")), (1, true), "{none:?}");
    dev.good(&["keys", "create", "--count", "20000"]);
    let before = pattern(&dev);
    let (command, rotation) = under_way(&dev, &[]);
    let abort = dev.run(&["abort", &rotation, "--because", "the window is over"]);
    let rotated = ended(command);
    let shown = dev.good(&["rotations", &rotation]);
    // Whichever came first, both commands and the units say the same.
    match abort.code {
        0 => {
            assert!(abort.out.contains("nothing has changed"), "{abort:?}");
            assert!(rotated.code == 1 && rotated.err.contains("window is over"), "{rotated:?}");
            assert!(shown.contains("aborted     the window is over"), "{shown}");
            assert_eq!(pattern(&dev), before);
        }
        _ => {
            assert_eq!((abort.code, rotated.code), (1, 0), "{abort:?} {rotated:?}");
            assert_ne!(pattern(&dev), before);
        }
    }
    assert!(dev.good(&["keys", "check"]).contains("20,000 key versions checked, all"));
}
