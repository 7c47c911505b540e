//! The hash chain of the audit log, pure. Each entry's hash covers the one before it, and the head
//! (number and hash of the last entry) is kept beside the log, so that a lost end is seen too.

use crypto::{digest, domain};
use protocol::api::AuditView;
use protocol::{Digest, RotationId, UnixMillis};

use super::{RecordsError, malformed};

/// Which entries of an audit log are wanted; the default is all. However long the log is, no more of it
/// than these is in memory at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only those after the entry of this number.
    pub after: u64,
    /// At most so many, the oldest first; none for as many as there are.
    pub limit: Option<usize>,
    /// Only those whose details name this rotation.
    pub rotation: Option<RotationId>,
}

/// What is appended.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) at: UnixMillis,
    pub(super) actor: String,
    pub(super) action: String,
    /// JSON, kept as the text that was hashed.
    pub(super) details: String,
}

/// An entry as saved.
#[derive(Clone, Debug)]
pub(super) struct AuditRow {
    pub(super) seq: u64,
    pub(super) entry: Entry,
    pub(super) hash: [u8; 32],
}

impl AuditRow {
    /// The end of the chain, if this is its last entry.
    pub(super) const fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }
}

/// The end of the chain; the default is that of an empty log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) hash: [u8; 32],
}

impl Head {
    /// The entry after this end.
    pub(super) fn next(&self, entry: Entry) -> AuditRow {
        let seq = self.seq + 1;
        let hash = hash(&self.hash, seq, &entry).0;
        AuditRow { seq, entry, hash }
    }
}

/// Reads a log from its beginning and verifies each entry; it keeps those that are wanted.
#[derive(Debug)]
pub(super) struct Reader {
    end: Head,
    query: AuditQuery,
    entries: Vec<AuditView>,
}

impl Reader {
    pub(super) fn new(query: AuditQuery) -> Self {
        Self { end: Head::default(), query, entries: Vec::new() }
    }

    /// Takes the next entry, in the order of their numbers.
    pub(super) fn take(&mut self, row: AuditRow) -> Result<(), RecordsError> {
        let expected = self.end.next(row.entry);
        if row.seq != expected.seq || row.hash != expected.hash {
            return Err(RecordsError::AuditBroken(expected.seq));
        }
        self.end = expected.head();
        let is_full = self.query.limit.is_some_and(|limit| self.entries.len() >= limit);
        if expected.seq > self.query.after && !is_full {
            self.keep(expected)?;
        }
        Ok(())
    }

    /// Keeps an entry, if it is of the rotation that is asked for.
    fn keep(&mut self, row: AuditRow) -> Result<(), RecordsError> {
        let Some(rotation) = self.query.rotation.map(|rotation| rotation.to_string()) else {
            self.entries.push(view(row)?);
            return Ok(());
        };
        // Few entries are of it: the others need not be read as JSON.
        if row.entry.details.contains(&rotation) {
            let view = view(row)?;
            let named = view.details.get("rotation").and_then(serde_json::Value::as_str);
            if named == Some(&rotation) {
                self.entries.push(view);
            }
        }
        Ok(())
    }

    /// The entries, if the log ends where it did when it was last written.
    pub(super) fn finish(self, head: Head) -> Result<Vec<AuditView>, RecordsError> {
        if self.end == head {
            return Ok(self.entries);
        }
        let first_wrong = match self.end.seq == head.seq {
            true => head.seq,
            false => self.end.seq.min(head.seq) + 1,
        };
        Err(RecordsError::AuditBroken(first_wrong))
    }
}

/// An entry as people see it.
pub(super) fn view(row: AuditRow) -> Result<AuditView, RecordsError> {
    let AuditRow { seq, entry: Entry { at, actor, action, details }, hash } = row;
    let details =
        serde_json::from_str(&details).map_err(|error| malformed("audit entry", &error))?;
    Ok(AuditView { seq, at, actor, action, details, hash: Digest(hash) })
}

fn hash(before: &[u8; 32], seq: u64, entry: &Entry) -> Digest {
    let Entry { at, actor, action, details } = entry;
    let (seq, at) = (seq.to_le_bytes(), at.0.to_le_bytes());
    let parts: [&[u8]; 6] =
        [before, &seq, &at, actor.as_bytes(), action.as_bytes(), details.as_bytes()];
    digest::sha256(domain::AUDIT, &parts)
}
