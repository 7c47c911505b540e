//! A process's folder: what was saved opens again, and only there; what does not open is left as it
//! is and named; a crash leaves the old state or the new one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crypto::random::process_rng;
use crypto::sealed_state::{StateError, StorageKey};
use ledger::{Folder, FolderError};
use tempfile::TempDir;

const NAME: &str = "state.sealed";
const AAD: &[u8] = b"unit and instance";

fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    home
}

fn open(path: &Path) -> Folder {
    Folder::open(path, None, &mut process_rng()).unwrap()
}

fn refused(path: &Path, key: Option<&Path>) -> FolderError {
    Folder::open(path, key, &mut process_rng()).unwrap_err()
}

/// Asserts that a load fails as it must, names the file and changes nothing in it.
fn does_not_open(folder: &Folder, path: &Path, aad: &[u8], what: &str) {
    let before = fs::read(path).unwrap();
    let error = folder.load(NAME, aad).unwrap_err();
    assert!(matches!(&error, FolderError::Sealed { path: named, .. } if named == path), "{what}");
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()), "{what}: {text}");
    assert!(text.contains("nothing was written"), "{what}: {text}");
    assert_eq!(fs::read(path).unwrap(), before, "{what}");
}

#[test]
fn a_state_opens_again_as_it_was_saved() {
    let home = home();
    let path = home.path().join("deep").join("unit");
    let folder = open(&path);
    assert!(folder.load(NAME, AAD).unwrap().is_none());
    for state in [&b"first"[..], b"", &[0xa5; 100_000], b"last"] {
        folder.save(NAME, AAD, state, &mut process_rng()).unwrap();
        assert_eq!(folder.load(NAME, AAD).unwrap().unwrap().as_slice(), state);
    }
    drop(folder);
    assert_eq!(open(&path).load(NAME, AAD).unwrap().unwrap().as_slice(), b"last");
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_state_opens_only_for_the_process_that_saved_it() {
    let home = home();
    let (one, two) = (home.path().join("one"), home.path().join("two"));
    let (folder, other) = (open(&one), open(&two));
    folder.save(NAME, AAD, b"registers", &mut process_rng()).unwrap();
    does_not_open(&folder, &one.join(NAME), b"another unit", "wrong AAD");
    fs::copy(one.join(NAME), two.join(NAME)).unwrap();
    does_not_open(&other, &two.join(NAME), AAD, "wrong storage key");
    assert!(folder.load(NAME, AAD).unwrap().is_some());
}

#[test]
fn a_changed_or_short_file_does_not_open() {
    let home = home();
    let folder = open(home.path());
    folder.save(NAME, AAD, b"registers", &mut process_rng()).unwrap();
    let path = home.path().join(NAME);
    let sealed = fs::read(&path).unwrap();
    for index in 0..sealed.len() {
        for bit in [0x01, 0x80] {
            let mut changed = sealed.clone();
            changed[index] ^= bit;
            fs::write(&path, changed).unwrap();
            does_not_open(&folder, &path, AAD, &format!("byte {index}, bit {bit:#x}"));
        }
        fs::write(&path, &sealed[..index]).unwrap();
        does_not_open(&folder, &path, AAD, &format!("cut to {index} bytes"));
    }
    fs::write(&path, [&sealed[..], b"x"].concat()).unwrap();
    does_not_open(&folder, &path, AAD, "a byte too many");
    fs::write(&path, &sealed).unwrap();
    assert_eq!(folder.load(NAME, AAD).unwrap().unwrap().as_slice(), b"registers");
}

#[test]
fn a_state_of_a_newer_program_is_refused() {
    let home = home();
    let folder = open(home.path());
    folder.save(NAME, AAD, b"registers", &mut process_rng()).unwrap();
    let path = home.path().join(NAME);
    let mut sealed = fs::read(&path).unwrap();
    sealed[0] = 2;
    fs::write(&path, sealed).unwrap();
    let error = folder.load(NAME, AAD).unwrap_err();
    let is_newer = matches!(error, FolderError::Sealed { source: StateError::NewerFormat(2), .. });
    assert!(is_newer, "{error}");
}

#[test]
fn what_a_crash_left_in_the_temporary_file_does_not_matter() {
    let home = home();
    let temporary = home.path().join(format!("{NAME}.tmp"));
    {
        let folder = open(home.path());
        folder.save(NAME, AAD, b"old", &mut process_rng()).unwrap();
    }
    // Cut off in the midst of a write: longer than what comes next, so that a rest would show.
    fs::write(&temporary, [0x5a; 4_096]).unwrap();
    let folder = open(home.path());
    assert_eq!(folder.load(NAME, AAD).unwrap().unwrap().as_slice(), b"old");
    folder.save(NAME, AAD, b"new", &mut process_rng()).unwrap();
    assert_eq!(folder.load(NAME, AAD).unwrap().unwrap().as_slice(), b"new");
    assert!(!temporary.exists());
}

/// Whoever reads beside the writer sees one state or the next, whole: so does a crash.
#[test]
fn a_save_is_all_or_nothing_to_whoever_reads() {
    let home = home();
    let folder = open(home.path());
    let state = |number: u8| vec![number; 20_000 + usize::from(number)];
    folder.save(NAME, AAD, &state(0), &mut process_rng()).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 1..=60 {
                folder.save(NAME, AAD, &state(number), &mut process_rng()).unwrap();
            }
        });
        let mut newest = 0;
        while !writer.is_finished() {
            let found = folder.load(NAME, AAD).unwrap().unwrap();
            assert_eq!(*found, state(found[0]));
            assert!(found[0] >= newest, "never an older one again");
            newest = found[0];
        }
        writer.join().unwrap();
    });
    assert_eq!(*folder.load(NAME, AAD).unwrap().unwrap(), state(60));
}

#[test]
fn a_folder_has_one_process() {
    let home = home();
    let path = home.path().join("unit");
    let folder = open(&path);
    folder.save(NAME, AAD, b"registers", &mut process_rng()).unwrap();
    let error = refused(&path, None);
    assert!(matches!(&error, FolderError::InUse(named) if *named == path), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()));
    drop(folder);
    assert!(open(&path).load(NAME, AAD).unwrap().is_some());
}

#[test]
fn a_folder_that_others_can_look_into_is_refused() {
    let home = home();
    for mode in [0o755, 0o750, 0o701, 0o777] {
        let path = home.path().join(format!("{mode:o}"));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = refused(&path, None);
        assert!(matches!(error, FolderError::Open(_)), "{mode:o}: {error}");
        assert!(error.to_string().contains("chmod 700"), "{error}");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "nothing was written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        open(&path);
    }
}

#[test]
fn the_identity_stays_and_is_never_made_twice() {
    let home = home();
    let folder = open(home.path());
    let first = folder.identity(&mut process_rng()).unwrap().public_key();
    assert_eq!(folder.identity(&mut process_rng()).unwrap().public_key(), first);
    drop(folder);
    let folder = open(home.path());
    assert_eq!(folder.identity(&mut process_rng()).unwrap().public_key(), first);

    let path = home.path().join("identity.sealed");
    let mut broken = fs::read(&path).unwrap();
    broken[30] ^= 1;
    fs::write(&path, &broken).unwrap();
    let error = folder.identity(&mut process_rng()).unwrap_err();
    assert!(matches!(error, FolderError::Sealed { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), broken, "no new one in its place");
}

#[test]
fn a_storage_key_from_outside_is_not_kept_in_the_folder() {
    let home = home();
    let (path, key_file) = (home.path().join("unit"), home.path().join("key"));
    let digits = StorageKey::generate(&mut process_rng()).danger_hex();
    fs::write(&key_file, format!("{}\n", digits.as_str())).unwrap();
    let folder = Folder::open(&path, Some(&key_file), &mut process_rng()).unwrap();
    assert!(!folder.is_key_local());
    folder.save(NAME, AAD, b"registers", &mut process_rng()).unwrap();
    folder.identity(&mut process_rng()).unwrap();
    assert!(!path.join("storage.key").exists());
    drop(folder);
    let folder = Folder::open(&path, Some(&key_file), &mut process_rng()).unwrap();
    assert_eq!(folder.load(NAME, AAD).unwrap().unwrap().as_slice(), b"registers");
    drop(folder);

    let error = refused(&path, None);
    assert!(matches!(error, FolderError::NoStorageKey(_)), "{error}");
    assert!(!path.join("storage.key").exists(), "none is made beside what another one sealed");
    for bad in ["", "12", &"zz".repeat(32), &"00".repeat(33)] {
        fs::write(&key_file, bad).unwrap();
        let error = refused(&path, Some(&key_file));
        assert!(matches!(error, FolderError::StorageKey(_)), "{error}");
        assert!(error.to_string().contains(key_file.to_str().unwrap()), "{error}");
    }
    fs::remove_file(&key_file).unwrap();
    assert!(matches!(refused(&path, Some(&key_file)), FolderError::StorageKey(_)));
}

#[test]
fn a_local_storage_key_is_made_once_and_never_replaced() {
    let home = home();
    let folder = open(home.path());
    assert!(folder.is_key_local());
    folder.identity(&mut process_rng()).unwrap();
    drop(folder);
    let path = home.path().join("storage.key");
    let key = fs::read(&path).unwrap();
    assert_eq!(key.len(), 64);
    drop(open(home.path()));
    assert_eq!(fs::read(&path).unwrap(), key);

    fs::remove_file(&path).unwrap();
    let error = refused(home.path(), None);
    assert!(matches!(error, FolderError::NoStorageKey(_)), "{error}");
    assert!(error.to_string().contains("put storage.key back"), "{error}");
    assert!(!path.exists());
    fs::write(&path, key).unwrap();
    open(home.path()).identity(&mut process_rng()).unwrap();
}

#[test]
fn no_file_holds_a_secret_in_the_clear() {
    let home = home();
    let (path, key_file) = (home.path().join("unit"), home.path().join("key"));
    let digits = StorageKey::generate(&mut process_rng()).danger_hex();
    fs::write(&key_file, digits.as_bytes()).unwrap();
    let folder = Folder::open(&path, Some(&key_file), &mut process_rng()).unwrap();
    let identity = folder.identity(&mut process_rng()).unwrap();
    let state = b"a master key would be in here, 32";
    folder.save(NAME, AAD, state, &mut process_rng()).unwrap();
    let seed = identity.danger_seed().expose();
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    }
    let secrets = [&seed[..], &state[..], digits.as_bytes(), &key[..]];
    let mut files = 0;
    for entry in fs::read_dir(&path).unwrap() {
        let (path, bytes) = (entry.as_ref().unwrap().path(), fs::read(entry.unwrap().path()));
        files += 1;
        let bytes = bytes.unwrap();
        for secret in secrets {
            // Half of it would be too much too.
            for part in secret.chunks_exact(8) {
                let is_found = bytes.windows(8).any(|window| window == part);
                assert!(!is_found, "{} holds a secret", path.display());
            }
        }
    }
    assert_eq!(files, 3, "the lock, the identity, the state");
    assert!(!format!("{folder:?}").contains(digits.as_str()));
}
