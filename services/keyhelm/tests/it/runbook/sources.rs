//! Every code that the program can show, out of its own sources: wherever one is written down, it is
//! an argument of one of a few constructors, or what a function named for it gives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::tokens::{self, Token};

/// Functions that give nothing but codes.
const FUNCTIONS: [&str; 3] = ["code", "reason", "to_report"];

/// Calls, and which of their arguments is a code where it is written down.
const CALLS: [(&str, usize); 18] = [
    (". unmet", 0),
    (". warn", 0),
    ("refused", 0),
    ("refuse", 0),
    ("dead", 0),
    ("dead : Some", 0),
    ("Err", 0),
    (". ok_or", 0),
    ("decoded", 2),
    (". bury", 1),
    ("count_refused", 1),
    ("Failure : : new", 1),
    ("Self : : new", 1),
    ("ApiError : : new", 1),
    ("bad_request", 0),
    ("not_found", 0),
    ("unavailable", 0),
    (". map_err", 0),
];

/// Places behind which codes stand.
const PLACES: [&str; 2] = ["code :", "let code ="];

/// Each code, and a file that has it.
pub fn codes() -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for path in sources() {
        let tokens = tokens::of(&std::fs::read_to_string(&path).unwrap());
        for code in codes_of(&tokens) {
            found.entry(code).or_insert_with(|| path.clone());
        }
    }
    found
}

/// Constructors that no source uses any more: what they were renamed to would not be looked at.
pub fn idle() -> Vec<&'static str> {
    let all: Vec<_> =
        sources().iter().map(|path| tokens::of(&std::fs::read_to_string(path).unwrap())).collect();
    let is_idle = |(call, at): &&(&'static str, usize)| {
        all.iter().all(|tokens| arguments(tokens, call, *at).is_empty())
    };
    let calls = CALLS.iter().filter(is_idle).map(|(call, _)| *call);
    let is_idle = |name: &&&'static str| {
        all.iter()
            .all(|tokens| tokens::bodies(tokens, name).into_iter().all(|it| given(it).is_empty()))
    };
    let functions = FUNCTIONS.iter().filter(is_idle).copied();
    let is_idle = |place: &&&'static str| {
        all.iter()
            .all(|tokens| tokens::behind(tokens, place).into_iter().all(|it| given(it).is_empty()))
    };
    calls.chain(functions).chain(PLACES.iter().filter(is_idle).copied()).collect()
}

fn codes_of(tokens: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    for (call, at) in CALLS {
        found.extend(arguments(tokens, call, at));
    }
    for name in FUNCTIONS {
        found.extend(tokens::bodies(tokens, name).into_iter().flat_map(given));
    }
    for place in PLACES {
        found.extend(tokens::behind(tokens, place).into_iter().flat_map(given));
    }
    found
}

/// The codes that stand at this argument of a call.
fn arguments(tokens: &[Token], call: &str, at: usize) -> Vec<String> {
    let calls = tokens::calls(tokens, call);
    calls.into_iter().filter_map(|given| given.get(at).copied()).flat_map(written).collect()
}

/// The argument is a code, perhaps made an owned one, or given by a closure.
fn written(argument: &[Token]) -> Vec<String> {
    let argument = match argument {
        [Token::Sign('|'), Token::Word(_), Token::Sign('|'), rest @ ..] => rest,
        other => other,
    };
    match argument {
        [Token::Text(text)] if is_code(text) => vec![text.clone()],
        [Token::Text(text), Token::Sign('.'), ..] if is_code(text) => vec![text.clone()],
        _ => Vec::new(),
    }
}

fn given(tokens: &[Token]) -> Vec<String> {
    tokens::texts(tokens).filter(|text| is_code(text)).map(str::to_owned).collect()
}

/// `stale-epoch`, `busy` or `KEY_NOT_FOUND_ERR`.
fn is_code(text: &str) -> bool {
    let parts = |sign: char, is_letter: fn(&u8) -> bool| {
        text.split(sign).all(|part| !part.is_empty() && part.bytes().all(|byte| is_letter(&byte)))
    };
    let is_ours = parts('-', u8::is_ascii_lowercase) && text.len() > 1;
    is_ours || (text.ends_with("_ERR") && parts('_', u8::is_ascii_uppercase))
}

/// Product sources of the whole workspace, but the table of codes itself.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    for group in ["services", "shared"] {
        for entry in std::fs::read_dir(root.join(group)).unwrap() {
            walk(&entry.unwrap().path().join("src"), &mut found);
        }
    }
    let table = Path::new("protocol/src/codes");
    found.retain(|path| !path.parent().unwrap().ends_with(table));
    assert!(found.len() > 100, "the sources are not where they were: {found:?}");
    found
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => walk(&path, found),
            false if path.extension().is_some_and(|it| it == "rs") => found.push(path),
            false => {}
        }
    }
}
