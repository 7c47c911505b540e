//! A rotation that stands still. While the gate is closed keys are not used, for a moment; where nothing
//! comes of the rotation any more (a unit is down, say, and is waited for) they are used again, and
//! refused once it goes on. It costs no key either way: what is used is the active generation, which
//! every unit opens until it clears.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keystore::{Keystore, KeystoreError};
use protocol::InstanceId;
use protocol::keystore::KeystoreRow;
use tokio::time::Instant;

/// Between two looks at the chunks, however many requests come.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Watches the rotations of an instance, as far as requests come while one has the gate closed.
#[derive(Debug)]
pub(super) struct Stall {
    /// How long a rotation may stand still; none for ever.
    after: Option<Duration>,
    seen: Mutex<Option<Seen>>,
}

/// How far a rotation had come.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    row: KeystoreRow,
    chunk_count: u64,
}

#[derive(Clone, Debug)]
struct Seen {
    mark: Mark,
    /// When it was seen first.
    since: Instant,
    looked_at: Instant,
    stands_still: bool,
}

impl Stall {
    pub(super) const fn new(after: Option<Duration>) -> Self {
        Self { after, seen: Mutex::new(None) }
    }

    /// Whether the rotation that has the gate of this row closed stands still.
    pub(super) async fn is_on(
        &self,
        store: &Keystore,
        instance: InstanceId,
        row: &KeystoreRow,
    ) -> Result<bool, KeystoreError> {
        let (Some(after), Some(open)) = (self.after, &row.open) else { return Ok(false) };
        if let Some(known) = self.known(row) {
            return Ok(known);
        }
        let chunk_count = store.chunk_count(instance, open.number).await?;
        Ok(self.note(Instant::now(), after, Mark { row: row.clone(), chunk_count }))
    }

    /// What the last look said, if it was just now and the row is still the same. Else the caller looks,
    /// and who asks meanwhile is told what was seen before.
    fn known(&self, row: &KeystoreRow) -> Option<bool> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.as_mut().filter(|seen| seen.mark.row == *row)?;
        if seen.looked_at.elapsed() < LOOK_EVERY {
            return Some(seen.stands_still);
        }
        seen.looked_at = Instant::now();
        None
    }

    fn note(&self, now: Instant, after: Duration, mark: Mark) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.take().filter(|before| before.mark == mark);
        let since = before.as_ref().map_or(now, |before| before.since);
        let is_on = now.duration_since(since) >= after;
        if is_on && !before.is_some_and(|before| before.stands_still) {
            let stood_s = after.as_secs();
            tracing::warn!(stood_s, "the rotation stands still: keys are used meanwhile");
        }
        *seen = Some(Seen { mark, since, looked_at: now, stands_still: is_on });
        is_on
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use machines::gate::new_row;
    use protocol::{Epoch, KeystoreId};

    use super::*;

    const AFTER: Duration = Duration::from_secs(10);

    fn mark(epoch: u64, chunk_count: u64) -> Mark {
        let mut row = new_row(InstanceId::from_bytes([1; 16]), KeystoreId::from_bytes([2; 16]));
        row.epoch = Epoch { manifest_serial: 1, number: epoch };
        Mark { row, chunk_count }
    }

    #[test]
    fn a_chunk_or_a_change_of_the_row_begins_it_anew() {
        let stall = Stall::new(Some(AFTER));
        let begun = Instant::now();
        let at = |s| begun + Duration::from_secs(s);
        assert!(!stall.note(at(0), AFTER, mark(1, 0)));
        assert!(!stall.note(at(9), AFTER, mark(1, 0)));
        assert!(stall.note(at(10), AFTER, mark(1, 0)));
        assert!(stall.note(at(11), AFTER, mark(1, 0)), "it goes on standing still");
        assert!(!stall.note(at(12), AFTER, mark(1, 1)), "a chunk");
        assert!(!stall.note(at(21), AFTER, mark(2, 1)), "another coordinator");
        assert!(!stall.note(at(30), AFTER, mark(2, 1)));
        assert!(stall.note(at(31), AFTER, mark(2, 1)));
    }

    #[test]
    fn what_was_seen_just_now_is_not_looked_at_again() {
        let stall = Stall::new(Some(AFTER));
        let now = Instant::now();
        stall.note(now - AFTER, AFTER, mark(1, 0));
        assert_eq!(stall.known(&mark(1, 0).row), None, "that was long ago");
        assert_eq!(stall.known(&mark(1, 0).row), Some(false), "somebody looks");
        assert!(stall.note(now, AFTER, mark(1, 0)));
        assert_eq!(stall.known(&mark(1, 0).row), Some(true));
        assert_eq!(stall.known(&mark(2, 0).row), None, "the row has changed");
    }
}
