//! Signature keys in their folder, through the program.

use std::os::unix::fs::PermissionsExt;

use keyhelm::sigkeys::Folder;

use crate::binary::{Home, text};

#[test]
fn keys_are_made_listed_selected_and_removed() {
    let home = Home::new();
    home.add_sigkey("Alice");
    home.add_sigkey("Bob");
    let folder = Folder::at(home.path(".keyhelm/sigkeys"));
    let keys = folder.list().unwrap();
    let numbers: Vec<_> = keys
        .iter()
        .map(|key| (key.number, key.info.description.as_str(), key.is_selected))
        .collect();
    assert_eq!(numbers, vec![(1, "Alice", true), (2, "Bob", true)]);
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.path()), 0o700);
    assert_eq!(mode(&folder.path().join("1.sigkey")), 0o600);

    let listed = home.run(&["sigkeys"]);
    assert_eq!(listed.code, 0);
    for word in
        ["KEYNUM", "DESCRIPTION", "SUBJECT KEY IDENTIFIER", "Alice", "Selected to sign: 1, 2."]
    {
        assert!(listed.out.contains(word), "{word}: {}", listed.out);
    }
    let ski = keys[0].info.ski.shown();
    assert_eq!(ski.len(), 33);
    assert!(listed.out.contains(&ski), "{}", listed.out);

    assert!(home.run(&["sigkey-sel", "2"]).out.contains("Selected to sign: 2."));
    let missing = home.run(&["sigkey-sel", "2", "7"]);
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(missing.err.contains("no signature key 7"), "{}", missing.err);

    let unasked = home.run(&["sigkey-rm", "2"]);
    assert_eq!((unasked.code, unasked.err.contains("--yes")), (2, true), "{unasked:?}");
    assert_eq!(folder.list().unwrap().len(), 2);
    assert_eq!(home.run(&["sigkey-rm", "2", "--yes"]).code, 0);
    let left = folder.list().unwrap();
    assert_eq!((left.len(), left[0].is_selected), (1, false));
}

#[test]
fn the_folder_is_that_of_ibms_variable_first() {
    let home = Home::new();
    let pass = home.write("pass", "correct horse\n");
    let mut command = home.command(&["sigkey-add", "Carol", "--passphrase-file", text(&pass)]);
    command.env("CLOUDTKEFILES", home.path("ibm")).env("KEYHELM_FILES", home.path("ours"));
    assert!(command.output().unwrap().status.success());
    assert_eq!(Folder::at(home.path("ibm")).list().unwrap().len(), 1);
    assert_eq!(Folder::at(home.path("ours")).list().unwrap().len(), 0);
}

#[test]
fn passphrases_come_from_nowhere_but_prompt_and_file() {
    let home = Home::new();
    let unasked = home.run(&["sigkey-add", "Dave"]);
    assert_eq!(unasked.code, 2, "{unasked:?}");
    assert!(unasked.err.contains("--passphrase-file"), "{}", unasked.err);
    let short = home.write("short", "seven77\n");
    let refused = home.run(&["sigkey-add", "Dave", "--passphrase-file", text(&short)]);
    assert_eq!((refused.code, refused.err.contains("at least 8")), (2, true), "{refused:?}");
    assert_eq!(home.run(&["sigkey-add", "Dave", "--passphrase", "x"]).code, 2);
    assert_eq!(Folder::at(home.path(".keyhelm/sigkeys")).list().unwrap().len(), 0);
}

#[test]
fn a_selection_outlives_the_numbers() {
    let home = Home::new();
    for name in ["One", "Two", "Three"] {
        home.add_sigkey(name);
    }
    assert_eq!(home.run(&["sigkey-sel", "3"]).code, 0);
    assert_eq!(home.run(&["sigkey-rm", "1", "--yes"]).code, 0);
    let keys = Folder::at(home.path(".keyhelm/sigkeys")).list().unwrap();
    let found: Vec<_> = keys.iter().map(|key| (key.number, key.is_selected)).collect();
    assert_eq!(found, vec![(2, false), (3, true)]);
}
