//! A second look: what one unit re-wrapped is opened, old and new, by another before it is written;
//! and what one unit does not open is shown to another before it goes into quarantine.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bus::Outgoing;
use machines::rewrap::{self, DoneChunk, KeystoreRefusal};
use machines::trust::Trust;
use protocol::envelope::Kind;
use protocol::page::{CheckAnswer, CheckPage, RewrapPage, UnopenedRow};
use protocol::{Blobs, MessageId, ProcessId, Rows};
use tokio::time::Instant;

use super::JobSetting;

/// A unit that does not answer for so long is passed over.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// What is shown to another unit.
pub(super) enum Shown {
    /// Rows with their old blobs, and what a unit made of them.
    Rewrapped(Rows, Box<DoneChunk>),
    /// A page that a unit did not re-wrap, and the rows in it that did not open.
    Unopened(RewrapPage, Vec<UnopenedRow>),
}

/// What came of it.
pub(super) enum Seen {
    /// Both units agree: it may be written.
    Same(DoneChunk),
    /// Both units agree: these rows do not open.
    DoNotOpen(RewrapPage, Vec<UnopenedRow>),
}

struct Look {
    /// Whose work it is.
    by: ProcessId,
    at: ProcessId,
    shown: Shown,
    until: Instant,
    tries: usize,
}

/// What is with other units at the moment, and what has been.
pub(super) struct Cross {
    is_all: bool,
    every: u32,
    pages: u32,
    /// Units of which one page has been looked at.
    seen: BTreeSet<ProcessId>,
    out: HashMap<MessageId, Look>,
}

impl Cross {
    pub(super) fn new(is_all: bool, every: u32) -> Self {
        Self { is_all, every: every.max(1), pages: 0, seen: BTreeSet::new(), out: HashMap::new() }
    }

    /// How many pages are with other units.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// When the first of them is late.
    pub(super) fn due(&self) -> Option<Instant> {
        self.out.values().map(|look| look.until).min()
    }

    /// Whether the page of this unit is looked at by another: all, or the first of each unit and then
    /// one of so many.
    pub(super) fn wants(&mut self, by: ProcessId) -> bool {
        self.pages = self.pages.wrapping_add(1);
        self.is_all | self.seen.insert(by) | self.pages.is_multiple_of(self.every)
    }

    /// Shows it to another unit; none, and it is given back, where there is no other.
    pub(super) fn show(
        &mut self,
        setting: &JobSetting,
        id: MessageId,
        by: ProcessId,
        shown: Shown,
    ) -> Result<Outgoing, Box<Shown>> {
        self.show_again(setting, id, by, shown, 0)
    }

    fn show_again(
        &mut self,
        setting: &JobSetting,
        id: MessageId,
        by: ProcessId,
        shown: Shown,
        tries: usize,
    ) -> Result<Outgoing, Box<Shown>> {
        let others = rewrap::lookers(&setting.trust, by, self.pages as usize);
        let Some(other) = others.get(tries % others.len().max(1)).copied() else {
            return Err(Box::new(shown));
        };
        let page = match &shown {
            Shown::Rewrapped(rows, done) => CheckPage {
                rows: rows.clone(),
                new_blobs: done.rows.iter().map(|row| row.blob).collect(),
            },
            Shown::Unopened(page, _) => {
                CheckPage { rows: page.rows.clone(), new_blobs: Blobs::default() }
            }
        };
        let until = Instant::now() + LOOK_TIMEOUT;
        self.out.insert(id, Look { by, at: other.0, shown, until, tries });
        Ok(setting.asking().unit(other, id, Kind::CheckPage, &page))
    }

    /// What an answer comes to; none if it is not awaited, or of no use: then another is asked when
    /// its time is up.
    pub(super) fn take(
        &mut self,
        trust: &Trust,
        id: MessageId,
        sender: ProcessId,
        answer: CheckAnswer,
    ) -> Result<Option<Seen>, KeystoreRefusal> {
        let is_his = self.out.get(&id).is_some_and(|look| look.at == sender);
        let Some(mut look) = self.out.remove(&id).filter(|_| is_his) else { return Ok(None) };
        let judged = rewrap::judge_check(look.shown.rows(), answer);
        let unopened = match judged {
            Ok(looked) => looked.unopened,
            Err(fault) => {
                tracing::warn!(%fault, "a unit gave no second look");
                look.until = Instant::now();
                self.out.insert(id, look);
                return Ok(None);
            }
        };
        let (by, at) = (look.by, look.at);
        match look.shown {
            Shown::Rewrapped(_, done) => match unopened.first().cloned() {
                None => Ok(Some(Seen::Same(*done))),
                Some(first) => Err(differs(trust, by, at, unopened.len(), first)),
            },
            Shown::Unopened(page, said) => {
                let is_named = |rows: &[UnopenedRow], row: &UnopenedRow| {
                    rows.iter().any(|other| other.version == row.version)
                };
                let opened = said.iter().find(|row| !is_named(&unopened, row)).cloned();
                let more = || unopened.iter().find(|row| !is_named(&said, row)).cloned();
                match opened.or_else(more) {
                    None => Ok(Some(Seen::DoNotOpen(page, said))),
                    Some(first) => Err(differs(trust, by, at, 1, first)),
                }
            }
        }
    }

    /// Shows what is late to the next unit.
    pub(super) fn show_late_ones_again(
        &mut self,
        setting: &JobSetting,
        mut new_id: impl FnMut() -> MessageId,
    ) -> Vec<Outgoing> {
        let now = Instant::now();
        let late: Vec<_> =
            self.out.iter().filter(|(_, look)| look.until <= now).map(|(id, _)| *id).collect();
        let mut messages = Vec::with_capacity(late.len());
        for id in late {
            let Some(Look { by, shown, tries, .. }) = self.out.remove(&id) else { continue };
            messages.extend(self.show_again(setting, new_id(), by, shown, tries + 1).ok());
        }
        messages
    }
}

impl Shown {
    const fn rows(&self) -> &Rows {
        match self {
            Self::Rewrapped(rows, _) => rows,
            Self::Unopened(page, _) => &page.rows,
        }
    }
}

fn differs(
    trust: &Trust,
    by: ProcessId,
    at: ProcessId,
    count: usize,
    first: UnopenedRow,
) -> KeystoreRefusal {
    let name = |id| trust.member(id).map_or_else(String::new, |member| member.name.clone());
    let (rewrapped_by, checked_by) = (name(by), name(at));
    KeystoreRefusal::CrossCheck { rewrapped_by, checked_by, count: count as u64, first }
}
