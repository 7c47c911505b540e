//! Goal: whatever code a person meets, the runbook has a section for it, in the words of the one
//! table. Method: the codes are read out of the sources of the whole workspace.

mod sources;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};

use keyhelm::cli::command;
use keyhelm::runbook;
use machines::explain::Situation;
use protocol::codes::{self, CHAPTERS, Entry};

use crate::binary::Home;

#[test]
fn every_code_that_the_program_can_show_is_in_the_table() {
    assert_eq!(sources::idle(), Vec::<&str>::new(), "no source is written like this any more");
    let found = sources::codes();
    let lacking: BTreeMap<_, _> =
        found.iter().filter(|(code, _)| codes::find(code).is_none()).collect();
    assert!(lacking.is_empty(), "codes without an entry and a section: {lacking:#?}");
    let unused: Vec<_> =
        codes::all().map(|it| it.code).filter(|code| !found.contains_key(*code)).collect();
    assert!(unused.is_empty(), "entries of codes that nothing shows: {unused:?}");
    for situation in Situation::ALL {
        assert!(found.contains_key(situation.code()), "{situation:?}");
    }
}

#[test]
fn the_table_has_each_code_once_in_whole_sentences() {
    let mut seen = BTreeSet::new();
    for Entry { code, sentence, safe, next } in codes::all() {
        assert!(seen.insert(code), "{code} is in it twice");
        for text in [sentence, safe] {
            assert!(text.ends_with('.') && !text.contains("  "), "{code}: {text}");
            assert!(text.starts_with(char::is_uppercase), "{code}: {text}");
        }
        let is_one_line = |text: &&str| !text.contains('\n') && !text.ends_with('.');
        assert!(next.is_none_or(|next| is_one_line(&next) || next.ends_with("...")), "{code}");
    }
    assert!(seen.len() > 100);
}

#[test]
fn the_runbook_has_a_section_for_each_code_and_no_other_in_the_same_words() {
    let known: Vec<_> = codes::all().map(|entry| entry.code).collect();
    assert_eq!(runbook::codes().collect::<Vec<_>>(), known, "headings and table differ");
    for Entry { code, sentence, safe, next } in codes::all() {
        let section = one_line(&runbook::section(code).unwrap());
        let next = match next {
            None => "nothing, just wait.".to_owned(),
            Some(next) if next.starts_with("keyhelm ") => format!("`{next}`"),
            Some(next) => format!("{next}."),
        };
        assert!(section.starts_with(&format!("## {code} {sentence}")), "{section}");
        assert!(section.contains(&format!("**Safe:** {safe}")), "{section}");
        assert!(section.ends_with(&format!("**Next:** {next}")), "{section}");
        assert_eq!(section.matches("**Next:**").count(), 1, "{section}");
    }
    let titles: Vec<_> = runbook::TEXT.lines().filter_map(|line| line.strip_prefix("# ")).collect();
    let chapters: Vec<_> = CHAPTERS.iter().map(|chapter| chapter.title).collect();
    assert_eq!(titles[0], "Runbook");
    assert_eq!(titles[1..], chapters);
}

/// Without the ends of lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_command_that_the_table_names_exists() {
    let program = command();
    for Entry { code, next, .. } in codes::all() {
        let Some(words) = next.and_then(|next| next.strip_prefix("keyhelm ")) else { continue };
        let mut at = &program;
        for word in words.split(' ') {
            let is_verb = word.starts_with(|letter: char| letter.is_ascii_lowercase());
            if let Some(option) = word.strip_prefix("--") {
                let is_it = |arg: &clap::Arg| arg.get_long() == Some(option);
                let is_global = matches!(option, "version" | "help");
                assert!(is_global || at.get_arguments().any(is_it), "{code}: {words}");
            } else if is_verb {
                let found = at.get_subcommands().find(|verb| verb.get_name() == word);
                at = found.unwrap_or_else(|| panic!("{code}: {words} has no {word}"));
            }
        }
    }
}

#[test]
fn a_section_is_printed_without_any_server() {
    let home = Home::new();
    let nobody = ["--server", "http://127.0.0.1:1"];
    let told = home.run(&[&["explain", "stale-epoch"], &nobody[..]].concat());
    assert_eq!((told.code, told.err.as_str()), (0, ""), "{told:?}");
    assert!(told.out.starts_with("## stale-epoch\n"), "{}", told.out);
    assert!(told.out.contains("**Safe:**") && !told.out.contains("## bound-to-another"));
    let json = home.run(&["explain", "KEY_NOT_FOUND_ERR", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(found["code"], "KEY_NOT_FOUND_ERR");
    let unknown = home.run(&["explain", "stale"]);
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(unknown.err.contains("alike: stale-epoch"), "{}", unknown.err);
}
