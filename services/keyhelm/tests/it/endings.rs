//! Goal: a script can tell from the exit code what a command came to, whatever it ended by. Method: streams
//! that cannot be written, signals, and servers that do not answer, or answer with the rare.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::between::{Between, Deed};
use crate::binary::{Home, Ran, ran, text};
use crate::cluster::{Dev, ended, signal};
use crate::with_cluster::objects;

const NOBODY: &str = "http://127.0.0.1:1";
const PLAIN: &str = "X-Made: up";

#[test]
fn an_answer_that_cannot_be_written_is_a_failure_and_a_reader_who_has_gone_is_none() {
    let home = Home::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let verbs = [&["explain", "stale-epoch"][..], &["completions", "bash"], &["sigkeys"]];
    for verb in verbs {
        let told = home.command(verb).stdout(full.try_clone().unwrap()).output().unwrap();
        let told = ran(told);
        assert_eq!(told.code, 1, "{verb:?}: {told:?}");
        assert!(told.err.contains("standard output cannot be written"), "{verb:?}: {told:?}");

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let told = ran(home.command(verb).stdout(writer).output().unwrap());
        assert_eq!((told.code, told.err.as_str()), (0, ""), "{verb:?}");
    }
    // Nor is one who does not hear what went wrong.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let told = home.command(&["instances", "--server", NOBODY]).stderr(writer).output().unwrap();
    assert_eq!(ran(told).code, 6);
}

#[test]
fn what_nobody_reads_any_more_is_not_gone_on_with() {
    let dev = Dev::ready(&[]);
    dev.good(&["keys", "create", "--count", "3"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let create = ["keys", "create", "--count", "5000", "--json"];
    let stopped = ran(dev.home.command(&create).stdout(writer).output().unwrap());
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert_eq!(dev.good(&["keys", "list", "--json"]).lines().count(), 1003, "one page was made");
}

/// Waits until a process has written this on standard error, and goes on reading.
fn heard(process: &mut Child, words: &str) {
    let mut reader = BufReader::new(process.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains(words) {
        assert_ne!(reader.read_line(&mut text).unwrap(), 0, "{words} is not in {text}");
    }
    std::thread::spawn(move || reader.read_to_end(&mut Vec::new()));
}

#[test]
fn the_founding_waits_for_a_coordinator_that_is_not_there_yet() {
    let mut dev = Dev::start();
    dev.home.add_sigkey("Alice");
    let (port, pass) = (dev.coordinator_port(), dev.home.path("pass"));
    dev.crash();
    let mut init = dev.begin(&["auto-init", "--trust-first-use", "--passphrase-file", text(&pass)]);
    heard(&mut init, "the coordinator does not answer");
    dev.restart_at(port);
    let done = ended(init);
    assert_eq!((done.code, done.out.contains("is ready")), (0, true), "{done:?}");
}

#[test]
fn the_founding_warns_where_nobody_would_serve_keys_over_http() {
    let dev = Dev::start();
    dev.home.add_sigkey("Alice");
    let way = Between::new(&dev.server(), |line, _| match line.ends_with("/members") {
        true => Deed::Alter(|members| {
            members.as_array_mut().unwrap().retain(|it| it["member"]["role"] != "gateway");
        }),
        false => Deed::Pass,
    });
    let token = dev.home.path("dev/token");
    let servers = ["--server", way.url(), "--token-file", text(&token)];
    let ran = dev.signed(&[&["auto-init", "--trust-first-use"][..], &servers].concat());
    assert_eq!(
        (ran.code, ran.err.contains("no gateway has announced itself")),
        (0, true),
        "{ran:?}"
    );
}

#[test]
fn a_cluster_that_is_not_founded_is_unmet_for_whoever_wants_keys_and_told_to_programs() {
    let dev = Dev::start();
    let made = dev.run(&["keys", "create"]);
    assert_eq!(
        (made.code, made.err.contains("0 of 1 keys were made: The instance has no")),
        (3, true),
        "{made:?}"
    );
    let told = dev.run(&["manifest", "--json"]);
    let failure: Value = serde_json::from_str(&told.err).unwrap();
    assert_eq!((told.code, told.out.as_str()), (1, ""));
    assert_eq!(failure["failure"]["code"], "not-initialised");
    assert!(dev.good(&["manifest"]).contains("No manifest yet"));
}

#[test]
fn explain_says_of_nobody_what_its_schema_says() {
    let home = Home::new();
    let way = Between::alone(|_, _| Deed::Answer(200, PLAIN, "[]".to_owned()));
    let told = home.run(&["explain", "--json", "--server", way.url()]);
    assert_eq!((told.code, told.err.as_str()), (3, ""), "{told:?}");
    let found = &objects(&told.out)[0];
    assert_eq!(found["code"], "nobody-announced");
    let whose = found.as_object().unwrap();
    assert_eq!(
        (whose.get("instance"), whose.get("name")),
        (Some(&Value::Null), Some(&Value::Null))
    );
    assert!(home.run(&["explain", "--server", way.url()]).out.contains("explain nobody-announced"));
}

#[test]
fn every_key_to_be_deleted_is_tried_and_each_that_is_not_is_named() {
    let dev = Dev::ready(&[]);
    let made = objects(&dev.good(&["keys", "create", "--count", "2", "--json"]));
    let id = |index: usize| made[index]["id"].as_str().unwrap();
    let unknown = "7d3c1b52-6b0f-4c7e-9a55-1c9b7b1c2f10";
    let second = id(0).to_owned();
    let way = Between::new(&dev.gateway(), move |line, _| match line.contains(&second) {
        true => Deed::Answer(500, PLAIN, json!({ "oh": "no" }).to_string()),
        false => Deed::Pass,
    });
    let token = dev.home.path("dev/token");
    let args = ["keys", "delete", unknown, id(0), id(1), "--yes", "--gateway", way.url()];
    let more = ["--instance", "embedded", "--token-file", text(&token)];
    let ran = dev.run(&[&args[..], &more].concat());
    assert_eq!((ran.code, ran.err.contains("2 of 3 were not deleted")), (1, true), "{ran:?}");
    assert!(ran.err.contains(unknown) && ran.err.contains(id(0)), "{ran:?}");
    assert!(ran.out.contains(&format!("{}  deleted", id(1))), "{ran:?}");
}

#[test]
fn keys_that_do_not_open_are_brought_back_as_the_runbook_says() {
    let home = Home::new();
    let id = "7d3c1b52-6b0f-4c7e-9a55-1c9b7b1c2f10";
    let failure = json!({ "id": id, "name": "a", "version": id, "reason": "it does not open" });
    let view = json!({ "checked": 1, "opened": 0, "quarantined": [], "failures": [failure] });
    let way = Between::alone(move |_, _| Deed::Answer(200, PLAIN, view.to_string()));
    let ran = home.run(&["keys", "check", "--instance", "prod", "--gateway", way.url()]);
    let next = "next: bring the rows named back from a backup of the key storage";
    assert_eq!((ran.code, ran.err.contains(next)), (1, true), "{ran:?}");
}

#[test]
fn ctrl_c_ends_a_command_that_only_waits() {
    let home = Home::new();
    let way = Between::alone(|_, _| Deed::Hang);
    let mut command = home.command(&["instances", "--json", "--server", way.url()]);
    let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(crate::cluster::until(|| !way.seen("GET ").is_empty()));
    signal(&process, "-INT");
    let stopped = ended(process);
    let failure: Value = serde_json::from_str(&stopped.err).unwrap();
    assert_eq!((stopped.code, &failure["failure"]["exit"]), (130, &130.into()));
}

#[test]
fn ctrl_c_ends_a_command_that_has_watched_something_before() {
    let dev = Dev::start();
    dev.home.add_sigkey("Alice");
    let way = Between::new(&dev.server(), |line, _| match line.ends_with("/standing-orders") {
        true => Deed::Hang,
        false => Deed::Pass,
    });
    let (token, pass) = (dev.home.path("dev/token"), dev.home.path("pass"));
    let init = ["auto-init", "--trust-first-use", "--standing-order", "0", "--server", way.url()];
    let more = ["--token-file", text(&token), "--passphrase-file", text(&pass)];
    let process = dev.begin(&[&init[..], &more].concat());
    assert!(crate::cluster::until(|| way.seen("POST ").iter().any(|it| it.ends_with("-orders"))));
    signal(&process, "-INT");
    assert_eq!(ended(process).code, 130);
}

#[test]
fn ctrl_c_while_a_start_is_not_answered_says_what_goes_on_without_the_command() {
    let dev = Dev::ready(&["--standing-order", "1h"]);
    let way = Between::new(&dev.server(), |line, _| match line.starts_with("POST ") {
        true => Deed::Hang,
        false => Deed::Pass,
    });
    let token = dev.home.path("dev/token");
    let servers = ["--server", way.url(), "--token-file", text(&token)];
    for extra in [&["--check-keys"][..], &[]] {
        let asked = way.seen("POST ").len();
        let process = dev.begin(&[&["auto-mk-rotate", "--yes"], extra, &servers].concat());
        assert!(crate::cluster::until(|| way.seen("POST ").len() > asked));
        signal(&process, "-INT");
        let stopped = ended(process);
        assert_eq!(stopped.code, 130, "{stopped:?}");
        for words in
            ["before the coordinator answered", "next: keyhelm explain --instance embedded"]
        {
            assert!(stopped.err.contains(words), "{words}: {stopped:?}");
        }
    }
}

/// A coordinator that dies over the request may leave a connection that nothing ever comes by.
#[test]
fn a_rotation_is_watched_to_its_end_though_its_events_are_never_answered() {
    let dev = Dev::ready(&["--standing-order", "0"]);
    let way = Between::new(&dev.server(), |line, _| match line.ends_with("/events") {
        true => Deed::Hang,
        false => Deed::Pass,
    });
    let token = dev.home.path("dev/token");
    let servers = ["--server", way.url(), "--token-file", text(&token)];
    let rotate = [&["auto-mk-rotate", "--yes", "--timeout", "60s"][..], &servers].concat();
    let rotated = dev.run(&rotate);
    assert_eq!(rotated.code, 0, "{rotated:?}");
    assert!(way.seen("GET ").iter().any(|line| line.ends_with("/events")), "{:?}", way.seen(""));
}

#[test]
fn ctrl_c_ends_the_demo_and_leaves_nothing() {
    let home = Home::new();
    let mut command = home.command(&["demo", "--keys", "100000"]);
    command.env("TMPDIR", home.path(""));
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("Initialised") {
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "{line}");
    }
    signal(&process, "-INT");
    std::thread::spawn(move || out.read_to_end(&mut Vec::new()));
    let stopped: Ran = ended(process);
    assert_eq!((stopped.code, stopped.err.contains("nothing was left behind")), (130, true));
    let left: Vec<_> = std::fs::read_dir(home.path("")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
