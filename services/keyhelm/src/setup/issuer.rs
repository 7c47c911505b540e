//! The issuer's folder: what signs all certificates and tokens. The other folders hold what these are
//! verified with, so a second authority or issuer beside them would be believed by no process.

use std::path::{Path, PathBuf};

use super::plan::Plan;
use crate::failure::{Exit, Failure, Outcome};
use crate::show::time::counted;

/// Its name below `secrets`.
pub(super) const FOLDER: &str = "issuer";
/// The authority's key.
pub(super) const AUTHORITY_KEY: &str = "ca.key";
/// The key of tokens.
pub(super) const TOKEN_KEY: &str = "issuer.pem";
/// Each key, and what others are given of it, after it was made.
const GIVEN: [(&str, &str); 2] = [(AUTHORITY_KEY, "ca.pem"), (TOKEN_KEY, "jwks.json")];

/// Refuses, before anything is written, where a key is gone and others have been given what is
/// verified by it.
pub(super) fn must_be_whole(plan: &Plan) -> Outcome {
    let secrets = plan.root.join("secrets");
    let own = secrets.join(FOLDER);
    for (key, given) in GIVEN {
        let is_there = own.join(key).try_exists().map_err(|error| unreadable(&own, &error))?;
        if is_there {
            continue;
        }
        let believers = believers(&secrets, given).map_err(|error| unreadable(&secrets, &error))?;
        if let Some(one) = believers.first() {
            return Err(gone(&own.join(key), one, believers.len()));
        }
    }
    Ok(())
}

/// Files that others have been given, in order of their folders.
fn believers(secrets: &Path, given: &str) -> std::io::Result<Vec<PathBuf>> {
    if !secrets.try_exists()? {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(secrets)? {
        let entry = entry?;
        let file = entry.path().join(given);
        if entry.file_name() != FOLDER && file.try_exists()? {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

fn gone(key: &Path, one: &Path, count: usize) -> Failure {
    let others = match count {
        1 => String::new(),
        _ => format!(" and {}", counted(count as u64 - 1, "other file")),
    };
    let (key, one) = (key.display(), one.display());
    let what = format!("{key} is gone: no process would believe a new one beside {one}{others}");
    Failure::new(Exit::Unmet, "setup", what).safe("nothing was written").next(
        "put the issuer folder back, or remove all secrets and data to begin anew, without any key",
    )
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let what = format!("{}: {error}", path.display());
    Failure::new(Exit::Failed, "setup", what).safe("nothing was written")
}
