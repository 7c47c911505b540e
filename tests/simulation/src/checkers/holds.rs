//! The holds of section 4: no unit promotes before the one, none clears before the other, counted
//! from when it committed and from when the keystore was flipped.

use std::collections::{BTreeMap, BTreeSet};

use protocol::keystore::KeystoreStanding;
use protocol::report::Standing;
use protocol::{Digest, GenerationId, ProcessId, UnixMillis};

use super::{Saved, Violation};
use crate::store::Store;

/// What has been seen.
#[derive(Default)]
pub(super) struct Memory {
    committed_at: BTreeMap<(ProcessId, Digest), UnixMillis>,
    flipped_at: BTreeMap<GenerationId, UnixMillis>,
    promoted: BTreeSet<(ProcessId, Digest)>,
    cleared: BTreeSet<(ProcessId, Digest)>,
    ended: BTreeSet<Digest>,
}

impl Memory {
    /// The administrators have ended a hold of this order.
    pub(super) fn ended(&mut self, order: Digest) {
        self.ended.insert(order);
    }

    pub(super) fn check(
        &mut self,
        now: UnixMillis,
        saved: &[Saved<'_>],
        store: &Store,
    ) -> Result<(), Violation> {
        let standing = store.row.rotation.as_ref().map(|rotation| rotation.standing);
        if let (Some(KeystoreStanding::Flipped), Some(active)) = (standing, &store.row.active) {
            self.flipped_at.entry(active.id).or_insert(now);
        }
        for unit in saved {
            let Some(taken) = &unit.state.rotation else { continue };
            let digest = taken.reference.digest;
            if self.ended.contains(&digest) || unit.node.forgotten.contains(&digest) {
                continue;
            }
            let who = (unit.node.id, digest);
            let is_committed = unit.state.new.as_ref().is_some_and(|new| new.is_committed);
            if taken.standing == Standing::Bound && is_committed {
                self.committed_at.entry(who).or_insert(now);
            }
            let is_promoted = matches!(taken.standing, Standing::Promoted | Standing::Cleared);
            if is_promoted && self.promoted.insert(who) {
                let since = self.committed_at.get(&who).copied();
                kept(now, since, taken.order.hold_after_commit_s, unit, "promoted")?;
            }
            if taken.standing == Standing::Cleared && self.cleared.insert(who) {
                let active = store.row.active.as_ref();
                let since = active.and_then(|active| self.flipped_at.get(&active.id)).copied();
                kept(now, since, taken.order.hold_before_clear_s, unit, "cleared")?;
            }
        }
        Ok(())
    }
}

fn kept(
    now: UnixMillis,
    since: Option<UnixMillis>,
    hold_s: u32,
    unit: &Saved<'_>,
    what: &str,
) -> Result<(), Violation> {
    let hold_ms = u64::from(hold_s) * 1000;
    match since {
        Some(since) if hold_ms > 0 && now.since(since) < hold_ms => {
            let (name, after) = (&unit.node.name, now.since(since));
            let text = format!("{name} {what} {after} ms into a hold of {hold_ms} ms");
            Err(Violation { checker: "holds", text })
        }
        _ => Ok(()),
    }
}
