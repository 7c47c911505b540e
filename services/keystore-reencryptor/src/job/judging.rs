//! What comes back for a page, and what of it may be written: judged, looked at by a second unit, sent
//! once more without what no unit opens, or asked again.

use machines::rewrap::{self, KeystoreRefusal, PageFault};
use protocol::page::{PageAnswer, RewrapPage, UnopenedRow};
use protocol::{MessageId, ProcessId, RowRef};
use tokio::time::Instant;

use super::cross::{Seen, Shown};
use super::page;
use super::work::Work;
use crate::asking::{PAGE_PAUSE, new_id};

impl Work {
    pub(super) fn take(
        &mut self,
        id: MessageId,
        unit: ProcessId,
        answer: PageAnswer,
    ) -> Result<(), KeystoreRefusal> {
        let Some(out) = self.out.remove(&id) else { return Ok(()) };
        let (page, asked, place) = (out.page, out.asked, out.place);
        let range = page.range;
        if let PageAnswer::Unopened(rows) = &answer
            && rewrap::may_quarantine(&self.setting.quarantined, &page.rows, rows)
        {
            let because = Err("key versions do not open".to_owned());
            page::tell(self.setting.place, asked, place, because);
            self.show(unit, Shown::Unopened(page, rows.clone()));
            return Ok(());
        }
        let wants_look = self.cross.wants(unit);
        let judged = rewrap::judge_answer(&page, answer, &self.setting.trust);
        page::tell(self.setting.place, asked, place, judged.as_ref().map_err(ToString::to_string));
        match (judged, wants_look) {
            (Ok(done), true) => self.show(unit, Shown::Rewrapped(page.rows, Box::new(done))),
            (Ok(done), false) => self.done.push(done),
            (Err(PageFault::Unopened(rows)), _) => {
                let count = rows.len() as u64;
                let Some(first) = rows.into_iter().next() else { return Ok(()) };
                return Err(KeystoreRefusal::Unopened { count, first });
            }
            (Err(fault), _) => {
                tracing::warn!(%fault, "a page is asked again");
                self.todo.push_back(range);
                self.pause_until = Instant::now() + PAGE_PAUSE;
            }
        }
        Ok(())
    }

    /// Shows it to another unit. Where there is none, one unit's word has to do.
    fn show(&mut self, by: ProcessId, shown: Shown) {
        let id = new_id(&mut self.rng);
        let kept = match self.cross.show(&self.setting, id, by, shown) {
            Ok(message) => return self.publish(message),
            Err(kept) => *kept,
        };
        self.seen(Some(match kept {
            Shown::Rewrapped(_, done) => Seen::Same(*done),
            Shown::Unopened(page, rows) => Seen::DoNotOpen(page, rows),
        }));
    }

    pub(super) fn seen(&mut self, seen: Option<Seen>) {
        match seen {
            None => {}
            Some(Seen::Same(done)) => self.done.push(done),
            Some(Seen::DoNotOpen(page, unopened)) => self.go_on_without(page, unopened),
        }
    }

    /// Sends the page once more without the rows that no unit opens, which are kept as they are.
    fn go_on_without(&mut self, mut page: RewrapPage, unopened: Vec<UnopenedRow>) {
        let reason_of = |row: RowRef<'_>| {
            unopened.iter().find(|found| found.version == row.version).map(|it| it.reason.clone())
        };
        let (range, rows) = (page.range, std::mem::take(&mut page.rows));
        let mut kept = Vec::new();
        for row in rows.iter() {
            match reason_of(row) {
                Some(reason) => kept.push((row.to_owned(), reason)),
                None => page.rows.push(row),
            }
        }
        tracing::warn!(count = kept.len(), "key versions that no unit opens go into quarantine");
        self.quarantined.insert(range, kept);
        let id = new_id(&mut self.rng);
        self.send(page::again(&self.setting, id, page));
    }

    pub(super) fn ask_late_ones_again(&mut self) {
        let now = Instant::now();
        let late: Vec<_> = self
            .out
            .iter()
            .filter(|(_, out)| out.until <= now)
            .map(|(id, out)| (*id, out.page.range))
            .collect();
        for (id, range) in late {
            tracing::warn!("a page was not answered and is asked again");
            if let Some(out) = self.out.remove(&id) {
                let because = Err("it was not answered".to_owned());
                page::tell(self.setting.place, out.asked, out.place, because);
            }
            self.todo.push_back(range);
        }
        let rng = &mut self.rng;
        for message in self.cross.show_late_ones_again(&self.setting, || new_id(rng)) {
            self.publish(message);
        }
    }
}
