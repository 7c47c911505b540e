//! Looking for the point at which a test wants the process to end.

use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::Point;

/// Names the file that says where to end.
const FILE: &str = "KEYHELM_TESTING_CRASH_FILE";

static PATH: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os(FILE).map(Into::into));
/// What the file said when it was looked at last, and how often its point was passed since.
static PASSED: Mutex<(String, u32)> = Mutex::new((String::new(), 0));

/// Counts a pass; ends the process at the one that the file names.
pub(crate) fn pass(point: Point) {
    let Some(path) = &*PATH else { return };
    let wanted = std::fs::read_to_string(path).unwrap_or_default();
    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    if passed.0 != wanted {
        *passed = (wanted, 0);
    }
    let Some((name, pass)) = passed.0.split_once(' ') else { return };
    if name != point.name() {
        return;
    }
    let pass: u32 = pass.trim().parse().unwrap_or(1);
    passed.1 += 1;
    if passed.1 == pass {
        // Once: the process that is started after this one goes past it.
        let _ = std::fs::remove_file(path);
        eprintln!("{} is reached for the {pass}. time: the process ends here", point.name());
        std::process::abort();
    }
}
