//! The coordinator's database in memory: a row a rotation under the rules of the SQL stores, and copies of
//! the whole of it that a backup may bring back.

use std::collections::BTreeMap;
use std::rc::Rc;

use machines::rotation::record::{Record, Verdict};
use protocol::RotationId;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Most copies that a backup may be out of.
const COPIES: usize = 12;

type Rows = BTreeMap<RotationId, Rc<Record>>;

/// The database.
#[derive(Default)]
pub(crate) struct RecordTable {
    rows: Rows,
    /// Whose record was saved last.
    last: Option<RotationId>,
    copies: Vec<(Rows, Option<RotationId>)>,
}

impl RecordTable {
    /// Saves records in one transaction, or none of them and says which rule refuses it. Whether the last
    /// one was written: what has ended stays as it ended.
    pub(crate) fn save<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Record>,
    ) -> Result<bool, &'static str> {
        let (mut rows, mut last, mut is_written) = (self.rows.clone(), self.last, true);
        for record in records {
            let Ok((_, order)) = record.order() else { continue };
            is_written = store(&mut rows, order.rotation, record)?;
            if is_written {
                last = Some(order.rotation);
            }
        }
        if rows != self.rows {
            let before = (std::mem::replace(&mut self.rows, rows), self.last);
            self.copies.push(before);
            if self.copies.len() > COPIES {
                self.copies.remove(0);
            }
        }
        self.last = last;
        Ok(is_written)
    }

    /// The record that has no end.
    pub(crate) fn open(&self) -> Option<&Record> {
        self.rows.values().map(Rc::as_ref).find(|record| is_open(record))
    }

    /// That, else the one that was saved last.
    pub(crate) fn current(&self) -> Option<&Record> {
        self.open().or_else(|| Some(self.rows.get(&self.last?)?.as_ref()))
    }

    /// The record of the newest rotation, as its id says.
    pub(crate) fn newest(&self) -> Option<&Record> {
        self.rows.values().next_back().map(Rc::as_ref)
    }

    /// The database is gone, or comes back as it was some saves ago.
    pub(crate) fn forget(&mut self, rng: &mut ChaCha8Rng) -> &'static str {
        if self.copies.is_empty() || rng.random_bool(0.3) {
            (self.rows, self.last) = (Rows::new(), None);
            return "its record is gone";
        }
        let index = rng.random_range(0..self.copies.len());
        (self.rows, self.last) = self.copies.swap_remove(index);
        "its record is an old one"
    }
}

const fn is_open(record: &Record) -> bool {
    record.finished_at.is_none()
}

/// Whether it was written: what has ended stays as it ended.
fn store(rows: &mut Rows, rotation: RotationId, record: &Record) -> Result<bool, &'static str> {
    if let Some(before) = rows.get(&rotation) {
        let is_same = sides(before) == sides(record);
        if !is_open(before) && !is_same {
            return Ok(false);
        }
        let is_under_newer =
            record.verdict_under.unwrap_or_default() > before.verdict_under.unwrap_or_default();
        let is_turned = sides(record) != (false, false) && is_under_newer;
        if sides(before) != (false, false) && !is_same && !is_turned {
            return Err("a verdict is never taken back");
        }
    }
    let is_another = |(id, other): (&RotationId, &Rc<Record>)| *id != rotation && is_open(other);
    if is_open(record) && rows.iter().any(is_another) {
        return Err("another rotation has no end yet");
    }
    rows.insert(rotation, Rc::new(record.clone()));
    Ok(true)
}

/// Whether it is decided, and whether it is aborted.
const fn sides(record: &Record) -> (bool, bool) {
    (matches!(record.verdict, Verdict::Decided), matches!(record.verdict, Verdict::Aborted { .. }))
}
