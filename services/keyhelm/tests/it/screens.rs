//! Screens that need no server.

use std::collections::BTreeMap;

use keyhelm::cli::command;
use keyhelm::show::units;
use protocol::api::{UnitStateView, UnitView, UnitsView, Unmet};
use protocol::manifest::Member;
use protocol::report::{NewRegister, Registers};
use protocol::{InstanceId, Pattern, ProcessId, PublicKey, Role, UnixMillis};

use crate::binary::{Home, text};

#[test]
fn every_verb_explains_itself_and_its_exit_codes() {
    fn walk(command: &clap::Command, path: &str, seen: &mut BTreeMap<String, usize>) {
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let path = format!("{path} {}", verb.get_name());
            assert!(verb.get_about().is_some(), "{path} says nothing");
            assert!(verb.get_after_help().unwrap().to_string().contains("Exit codes"), "{path}");
            for arg in verb.get_arguments() {
                let id = arg.get_id();
                assert!(arg.get_help().is_some(), "{path}: {id} says nothing");
            }
            seen.insert(path.clone(), verb.get_arguments().count());
            walk(verb, &path, seen);
        }
    }
    let mut seen = BTreeMap::new();
    command().debug_assert();
    walk(&command(), "keyhelm", &mut seen);
    for verb in ["auto-init", "auto-mk-rotate", "cryptounit-mks", "keys import", "token issue"] {
        assert!(seen.contains_key(&format!("keyhelm {verb}")), "{verb} is missing");
    }
}

#[test]
fn help_goes_to_standard_output_with_0_and_a_wrong_word_ends_with_2() {
    let home = Home::new();
    let help = home.run(&["auto-mk-rotate", "--help"]);
    assert_eq!(help.code, 0);
    for word in ["--dry-run", "--expect-current-pattern", "--verify", "Exit codes:"] {
        assert!(help.out.contains(word), "{word}: {}", help.out);
    }
    assert_eq!(home.run(&["auto-mk-rotat"]).code, 2);
    assert_eq!(home.run(&["auto-mk-rotate", "--mode", "fast"]).code, 2);
    assert_eq!(home.run(&["cryptounit-thrhld-set"]).code, 2);
}

#[test]
fn completions_and_man_pages_are_made_of_the_same_definition() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = home.run(&["completions", shell]);
        assert_eq!(script.code, 0);
        assert!(script.out.contains("auto-mk-rotate"), "{shell}");
    }
    let folder = home.path("man");
    assert_eq!(home.run(&["man", text(&folder)]).code, 0);
    let page = std::fs::read_to_string(folder.join("keyhelm-auto-mk-rotate.1")).unwrap();
    assert!(page.contains("expect\\-current\\-pattern"), "{page}");
    assert!(folder.join("keyhelm-keys-import.1").exists());
}

#[test]
fn ibms_selecting_verbs_say_why_there_is_nothing_to_select() {
    let home = Home::new();
    for verb in ["cryptounit-add", "cryptounit-rm"] {
        let ran = home.run(&[verb, "1", "2"]);
        assert_eq!(ran.code, 0);
        assert!(ran.out.starts_with("OK") && ran.out.contains("always selected"), "{}", ran.out);
    }
}

#[test]
fn a_token_is_issued_into_a_new_file_only() {
    let home = Home::new();
    let (key, out) = (home.path("issuer.pem"), home.path("token"));
    let made = home.run(&["token", "make-key", text(&key)]);
    assert_eq!(made.code, 0, "{made:?}");
    let issue = [
        "token",
        "issue",
        "--key",
        text(&key),
        "--subject",
        "alice",
        "--role",
        "Manager",
        "Writer",
        "--instances",
        "prod,test",
        "--valid-for",
        "90d",
        "--out",
        text(&out),
    ];
    assert_eq!(home.run(&issue).code, 0);
    let verifier = identity::Verifier::from_jwks(&made.out).unwrap();
    let token = std::fs::read_to_string(&out).unwrap();
    let claims = verifier.verify(token.trim(), service::now()).unwrap();
    assert_eq!(claims.roles, vec![identity::Role::Manager, identity::Role::Writer]);
    assert_eq!(claims.instances, vec!["prod", "test"]);
    assert_eq!(claims.exp - claims.iat, 90 * 86_400);
    let again = home.run(&issue);
    assert_eq!(again.code, 1, "{again:?}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), token);
    assert_eq!(
        home.run(&[
            "token",
            "issue",
            "--key",
            text(&key),
            "--subject",
            "x",
            "--role",
            "King",
            "--instances",
            "prod"
        ])
        .code,
        2
    );
}

fn unit(number: u32, name: &str, role: Role, registers: Option<Registers>) -> UnitView {
    let member = Member {
        id: ProcessId::from_bytes([number as u8; 16]),
        name: name.to_owned(),
        role,
        identity: PublicKey([0; 32]),
        location: "[local].[AZ1]".to_owned(),
    };
    let state = registers.map(|registers| UnitStateView {
        registers,
        state_counter: 1,
        is_imprint: number == 2,
        manifest_serial: 1,
        signature_threshold: u32::from(number != 2),
        revocation_threshold: u32::from(number != 2),
        administrators: Vec::new(),
        last_number: Default::default(),
        rotation: None,
        epoch: Default::default(),
        is_storage_key_local: true,
        clock_ahead_ms: 0,
        reported_at: UnixMillis(0),
    });
    UnitView { number, member, state }
}

fn compared() -> UnitsView {
    let current = Some(Pattern([0xA5; 32]));
    let new = Some(NewRegister { pattern: Pattern([0x1B; 32]), is_committed: true });
    UnitsView {
        instance: InstanceId::named("prod"),
        name: "prod".to_owned(),
        units: vec![
            unit(
                1,
                "op-1",
                Role::OperationalUnit,
                Some(Registers { current, ..Default::default() }),
            ),
            unit(2, "rec-1", Role::RecoveryUnit, Some(Registers { current, new, retiring: None })),
            unit(3, "rec-2", Role::RecoveryUnit, None),
        ],
        keystores: Vec::new(),
        unmet: vec![Unmet {
            code: "imprint-mode".to_owned(),
            subject: "rec-1".to_owned(),
            text: "rec-1 is in imprint mode".to_owned(),
            mend: "keyhelm cryptounit-enroll rec-1".to_owned(),
        }],
        warnings: Vec::new(),
    }
}

#[test]
fn compare_has_ibms_sections_in_ibms_order() {
    let text = units::compare(&compared());
    let titles = [
        "SIGNATURE THRESHOLDS",
        "==> Crypto units with a signature threshold of 0 are in IMPRINT MODE. <==",
        "CRYPTO UNIT ADMINISTRATORS",
        "No administrators",
        "NEW MASTER KEY REGISTER",
        "Full Committed",
        "CURRENT MASTER KEY REGISTER",
        "CONTROL POINTS",
        "keyhelm cryptounit-enroll rec-1",
        "==> WARNING: Crypto units are configured differently. <==",
    ];
    let mut rest = text.as_str();
    for title in titles {
        let at = rest.find(title).unwrap_or_else(|| panic!("{title} is missing in:\n{text}"));
        rest = &rest[at + title.len()..];
    }
    assert!(text.ends_with("configured differently. <=="));
}

#[test]
fn patterns_stand_on_two_lines_of_32_digits() {
    let text = keyhelm::show::compare::unit_registers(&compared().units);
    let digits = |line: &str| {
        let word = line.split_whitespace().next_back().unwrap_or_default();
        (word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .then(|| word.to_owned())
    };
    let lines: Vec<_> = text.lines().filter_map(digits).collect();
    let (a5, zero) = ("a5".repeat(16), "0".repeat(32));
    let new = "1b".repeat(16);
    let expected = [&zero, &zero, &new, &new, &zero, &zero, &a5, &a5, &a5, &a5, &zero, &zero];
    assert_eq!(lines.iter().collect::<Vec<_>>(), expected);
    assert!(text.contains("does not answer") && text.contains("Valid"));
    assert!(!text.contains("RETIRING"), "nothing retires");
}

#[test]
fn what_cannot_be_seen_is_shown_as_a_number() {
    use keyhelm::show::visible::{has_hidden, line, lines};
    for text in ["op-1", "[local].[AZ1]", "Ωμέγα", "名前", "é"] {
        assert!(line(text) == text && lines(text) == text && !has_hidden(text), "{text}");
    }
    assert_eq!(line("a\u{1b}[8mb\nc\td"), "a\\u{1b}[8mb\\u{a}c\\u{9}d");
    assert_eq!(lines("a\r\nb\u{9b}1A"), "a\\u{d}\nb\\u{9b}1A");
    assert_eq!(line("x\u{202e}y\u{200b}"), "x\\u{202e}y\\u{200b}");
    assert!(["\n", "\u{7f}", "\u{2066}"].iter().all(|text| has_hidden(text)));
}
