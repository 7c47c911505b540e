//! Invariant 7: what waits to happen stays within bounds, however often everybody asks again.

use super::Violation;

/// Most messages, ticks and steps of clients that wait at once: far more than nine processes have ever
/// had under way, far fewer than one retry too many would pile up.
const MOST: usize = 1_000;

/// Looks at how many events wait.
pub(super) fn check(waiting: usize) -> Result<(), Violation> {
    match waiting <= MOST {
        true => Ok(()),
        false => {
            let text = format!("{waiting} events wait at once");
            Err(Violation { checker: "bounded", text })
        }
    }
}
