//! Goal: `setup` can be run before every start, and never makes a second authority or issuer beside
//! folders that believe the first. Method: folders are taken away and put back between runs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::binary::{Home, Ran, text};

/// A folder that `setup` has written.
struct Place {
    home: Home,
    folder: PathBuf,
}

impl Place {
    fn new() -> Self {
        let home = Home::new();
        let folder = home.path("cluster");
        let place = Self { home, folder };
        let made = place.set_up();
        assert_eq!(made.code, 0, "{made:?}");
        place
    }

    fn set_up(&self) -> Ran {
        let owner = fs::metadata(self.home.path("")).unwrap().uid().to_string();
        let args = ["setup", text(&self.folder), "--owner", &owner, "--server-owner", &owner];
        self.home.run(&args)
    }

    fn secret(&self, name: &str) -> PathBuf {
        self.folder.join("secrets").join(name)
    }

    /// Everything that is there, by path.
    fn content(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        walk(&self.folder, &mut found);
        found
    }
}

fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
            found.insert(path, None);
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, Some(bytes));
        }
    }
}

#[test]
fn a_second_run_writes_nothing() {
    let place = Place::new();
    let before = place.content();
    let again = place.set_up();
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.out.contains("was set up before"), "{}", again.out);
    assert_eq!(place.content(), before);
}

#[test]
fn no_second_authority_or_issuer_is_made_beside_folders_that_believe_the_first() {
    let place = Place::new();
    let elsewhere = place.home.path("offline");
    for taken in ["issuer", "issuer/ca.key", "issuer/issuer.pem"] {
        let whole = place.content();
        fs::rename(place.secret(taken), &elsewhere).unwrap();
        let before = place.content();
        let refused = place.set_up();
        assert_eq!(refused.code, 3, "{taken}: {refused:?}");
        for said in [
            " is gone: no process would believe a new one",
            "safe: nothing was written",
            "put the issuer folder back",
        ] {
            assert!(refused.err.contains(said), "{taken}: {}", refused.err);
        }
        assert_eq!(place.content(), before, "{taken}: something was written");
        fs::rename(&elsewhere, place.secret(taken)).unwrap();
        let again = place.set_up();
        assert!(again.out.contains("was set up before"), "{taken}: {again:?}");
        assert_eq!(place.content(), whole, "{taken}");
    }
}

#[test]
fn a_first_run_that_was_interrupted_is_gone_on_with() {
    let place = Place::new();
    // As it stands before the issuer of tokens is made.
    for later in ["issuer/issuer.pem", "coordinator/jwks.json", "gateway/jwks.json", "cli/token"] {
        fs::remove_file(place.secret(later)).unwrap();
    }
    let authority = fs::read(place.secret("issuer/ca.key")).unwrap();
    let again = place.set_up();
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.out.contains("3 files are written"), "{}", again.out);
    assert_eq!(fs::read(place.secret("issuer/ca.key")).unwrap(), authority);
}
