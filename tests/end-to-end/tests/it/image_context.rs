//! The image that `docker compose up` compiles is given every file that its crates are made of: what
//! `.dockerignore` leaves out is not there.

use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

const MACROS: [&str; 2] = ["include_str!", "include_bytes!"];

#[test]
fn every_file_that_is_compiled_into_a_program_is_in_the_context_of_its_image() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let rules = read_to_string(root.join(".dockerignore")).unwrap();
    let mut included = Vec::new();
    for crates in ["services", "shared"] {
        for folder in entries(&root.join(crates)) {
            for source in sources(&folder) {
                included.extend(includes(&folder, &source));
            }
        }
    }
    let included = included.iter().map(|path| {
        let path = path.canonicalize().unwrap_or_else(|error| panic!("{path:?}: {error}"));
        path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()
    });
    let mut needed: Vec<_> = included.collect();
    for known in ["docs/RUNBOOK.md", "services/coordinator/console/index.html"] {
        assert!(needed.iter().any(|path| path == known), "{known} is not found any more");
    }
    // Cargo reads these before anything else, those of members that are not compiled too.
    needed.extend(["Cargo.toml", "Cargo.lock", ".cargo/config.toml"].map(str::to_owned));
    needed.extend(members(&root).iter().map(|member| format!("{member}/Cargo.toml")));
    let missing: Vec<_> = needed.iter().filter(|path| !is_admitted(&rules, path)).collect();
    assert!(missing.is_empty(), ".dockerignore keeps these out of the image: {missing:?}");
    for path in ["docs/INSTALL.md", "target/release/keyhelm", "tests/fuzz/target/x", ".git/HEAD"] {
        assert!(!is_admitted(&rules, path), "{path} is sent to the engine");
    }
}

/// The last rule that speaks of a path, or of a folder that it lies in, decides.
fn is_admitted(rules: &str, path: &str) -> bool {
    let rules = rules.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with('#'));
    let mut is_admitted = true;
    for rule in rules {
        let exception = rule.strip_prefix('!');
        if speaks_of(exception.unwrap_or(rule), path) {
            is_admitted = exception.is_some();
        }
    }
    is_admitted
}

fn speaks_of(rule: &str, path: &str) -> bool {
    let mut names = path.split('/');
    rule.trim_matches('/').split('/').all(|part| {
        assert!(part == "*" || !part.contains(['*', '?', '[', '\\']), "{rule}: not known here");
        names.next().is_some_and(|name| part == "*" || part == name)
    })
}

/// The folders of the workspace's members.
fn members(root: &Path) -> Vec<String> {
    let manifest = read_to_string(root.join("Cargo.toml")).unwrap();
    let (_, list) = manifest.split_once("members = [").unwrap();
    let (list, _) = list.split_once("\n]").unwrap();
    let names = list.lines().filter_map(|line| line.split('"').nth(1));
    names.map(str::to_owned).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The Rust files of a crate but for its tests', which are not in the image.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in entries(folder) {
        if path.is_dir() && !path.ends_with("tests") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    found
}

/// The files that a source includes. Where a part of the name is only known to the compiler: all files
/// of the folder that is known.
fn includes(package: &Path, source: &Path) -> Vec<PathBuf> {
    let text = read_to_string(source).unwrap();
    let mut found = Vec::new();
    for (at, name) in MACROS.iter().flat_map(|name| text.match_indices(name)) {
        let arguments = text[at + name.len()..].strip_prefix('(');
        let arguments = arguments.unwrap_or_else(|| panic!("{source:?}: {name} without ("));
        let (path, is_whole) = path_in(arguments, package);
        // What begins with the package's folder stays as it is.
        let path = source.parent().unwrap().join(path);
        match is_whole {
            true => found.push(path),
            false => found.extend(entries(&path).into_iter().filter(|path| path.is_file())),
        }
    }
    found
}

/// The path that the arguments of a macro spell, and whether it is the whole of it, else the folder
/// that they begin with.
fn path_in(arguments: &str, package: &Path) -> (String, bool) {
    const PACKAGE: &str = "env!(\"CARGO_MANIFEST_DIR\")";
    let (mut path, mut rest, mut depth) = (String::new(), arguments, 1);
    while depth > 0 {
        rest = rest.trim_start_matches([' ', '\n', ',']);
        if let Some(after) = rest.strip_prefix("concat!(") {
            (rest, depth) = (after, depth + 1);
        } else if let Some(after) = rest.strip_prefix(')') {
            (rest, depth) = (after, depth - 1);
        } else if let Some(after) = rest.strip_prefix(PACKAGE) {
            path.push_str(package.to_str().unwrap());
            rest = after;
        } else if let Some((literal, after)) =
            rest.strip_prefix('"').and_then(|it| it.split_once('"'))
        {
            path.push_str(literal);
            rest = after;
        } else {
            let (folder, _) = path.rsplit_once('/').unwrap_or((".", ""));
            return (folder.to_owned(), false);
        }
    }
    (path, true)
}

#[test]
fn names_are_read_in_every_form() {
    let package = Path::new("/p");
    for (arguments, expected) in [
        (r#""../a.md");"#, ("../a.md", true)),
        (r#"concat!("../b/", "c.md"),);"#, ("../b/c.md", true)),
        ("\n    concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/d.md\"),\n)", ("/p/d.md", true)),
        (r#"concat!("../e/", $name))"#, ("../e", false)),
    ] {
        let (path, is_whole) = path_in(arguments, package);
        assert_eq!((path.as_str(), is_whole), expected, "{arguments}");
    }
}
