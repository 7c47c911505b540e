//! The work of a job: every step of a page has its own bound, and none of them waits for another
//! page's. Rows are read while earlier pages are with the units, still earlier ones are looked at by a
//! second unit, and the earliest are written.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bus::Outgoing;
use crypto::random::{ProcessRng, process_rng};
use keystore::{NewChunk, WrittenChunk};
use machines::rewrap::{self, DoneChunk, KeystoreRefusal, PageFault};
use protocol::codec;
use protocol::keystore::Generation;
use protocol::page::{ChunkRange, PageAnswer, RewrapPage, UnopenedRow, WrappedRow};
use protocol::{MessageId, ProcessId};
use telemetry::metric;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::cross::{Cross, Seen, Shown};
use super::page::{self, PageOut, ReadPage, Reading};
use super::{JobAnswer, JobEvent, JobSetting};
use crate::asking::{PAGE_PAUSE, PAGE_TIMEOUT, new_id};
use crate::commands::refusal_of;

/// Pages whose rows are read at the same time.
const PAGES_READ: usize = 3;
/// Most chunks in one transaction.
const CHUNKS_A_WRITE: usize = 8;
/// Chunks that wait to be written, before no more pages are asked for.
const MAX_UNWRITTEN: usize = 24;
/// Least time between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// A transaction that writes chunks.
type Writing = JoinHandle<Result<(), KeystoreRefusal>>;

pub(super) struct Work {
    setting: JobSetting,
    open: Generation,
    active: Option<Generation>,
    answers: mpsc::Receiver<(MessageId, ProcessId, JobAnswer)>,
    todo: VecDeque<ChunkRange>,
    reading: JoinSet<Result<ReadPage, KeystoreRefusal>>,
    sending: JoinSet<()>,
    out: HashMap<MessageId, PageOut>,
    cross: Cross,
    /// Rows that no unit opens, of chunks that are not written yet.
    quarantined: BTreeMap<ChunkRange, Vec<(WrappedRow, String)>>,
    done: Vec<DoneChunk>,
    writing: Option<Writing>,
    rng: ProcessRng,
    told_at: Instant,
    pause_until: Instant,
    /// Pages in all, and how many have been asked for.
    pages: usize,
    asked: usize,
}

impl Work {
    pub(super) fn new(
        setting: JobSetting,
        open: Generation,
        active: Option<Generation>,
        answers: mpsc::Receiver<(MessageId, ProcessId, JobAnswer)>,
    ) -> Self {
        let now = Instant::now();
        let cross = Cross::new(setting.verify_all, setting.cross_check_every);
        Self {
            setting,
            open,
            active,
            answers,
            todo: VecDeque::new(),
            reading: JoinSet::new(),
            sending: JoinSet::new(),
            out: HashMap::new(),
            cross,
            quarantined: BTreeMap::new(),
            done: Vec::new(),
            writing: None,
            rng: process_rng(),
            told_at: now,
            pause_until: now,
            pages: 0,
            asked: 0,
        }
    }

    pub(super) async fn run(mut self) -> Result<(), KeystoreRefusal> {
        let (instance, number) = (self.setting.instance, self.open.number);
        let chunks = self.setting.store.chunks(instance, number).await.map_err(refusal_of)?;
        let lacking = chunks.iter().filter(|chunk| chunk.done.is_none());
        self.todo = lacking.map(|chunk| chunk.range).collect();
        self.pages = self.todo.len();
        match self.active.clone() {
            None => self.write_empty().await?,
            Some(active) => self.fill(&active).await?,
        }
        let order = self.setting.order;
        self.setting.store.complete(instance, order).await.map_err(refusal_of)?;
        Ok(())
    }

    /// A new keystore's one empty chunk needs no unit.
    async fn write_empty(&mut self) -> Result<(), KeystoreRefusal> {
        let new_digest = rewrap::chunk_digest(&[]);
        let (count, quarantined_count) = (0, 0);
        let written = WrittenChunk { count, quarantined_count, new_digest, receipt: Vec::new() };
        let empty = |range| {
            let (rows, quarantined) = (Vec::new(), Vec::new());
            NewChunk { range, written: written.clone(), rows, quarantined }
        };
        let (instance, number) = (self.setting.instance, self.open.number);
        let chunks = self.todo.drain(..).map(empty).collect();
        self.setting.store.write_chunks(instance, number, chunks).await.map_err(refusal_of)
    }

    /// Pages are read, go out, come back and are written at the same time; how many of them are in
    /// hand is bounded at each step.
    async fn fill(&mut self, active: &Generation) -> Result<(), KeystoreRefusal> {
        loop {
            while self.has_room() && Instant::now() >= self.pause_until {
                let Some(range) = self.todo.pop_front() else { break };
                self.begin_read(active, range);
            }
            while self.sending.try_join_next().is_some() {}
            let are_out = !self.out.is_empty() || !self.reading.is_empty() || self.cross.len() > 0;
            if self.writing.is_none() && (self.done.len() >= CHUNKS_A_WRITE || !are_out) {
                self.begin_write();
            }
            if !are_out && self.todo.is_empty() && self.writing.is_none() {
                return Ok(());
            }
            let due = self.out.values().map(|out| out.until).min();
            let is_paused = !self.todo.is_empty() && self.has_room();
            let due = due.into_iter().chain(is_paused.then_some(self.pause_until));
            let due = due.chain(self.cross.due()).min();
            tokio::select! {
                Some(read) = self.reading.join_next() => {
                    let read = read.map_err(|error| KeystoreRefusal::Busy(error.to_string()))??;
                    self.send(read);
                }
                answer = self.answers.recv() => {
                    let Some((id, unit, answer)) = answer else { return Ok(()) };
                    match answer {
                        JobAnswer::Page(answer) => self.take(id, unit, answer)?,
                        JobAnswer::Look(answer) => {
                            let seen = self.cross.take(&self.setting.trust, id, unit, answer)?;
                            self.seen(seen);
                        }
                    }
                }
                written = written(&mut self.writing) => {
                    written?;
                    self.tell_progress();
                }
                () = until(due) => self.ask_late_ones_again(),
            }
        }
    }

    /// Whether another page may be read and asked for.
    fn has_room(&self) -> bool {
        self.reading.len() < PAGES_READ
            && self.out.len() + self.reading.len() < self.setting.pages_in_flight
            && self.done.len() + self.cross.len() < MAX_UNWRITTEN
    }

    fn begin_read(&mut self, active: &Generation, range: ChunkRange) {
        let id = new_id(&mut self.rng);
        let place = self.setting.place.map(|place| place.child(&id.to_string()));
        let is_end = self.asked == 0 || self.todo.is_empty();
        let place = page::traced(place, is_end, self.pages);
        self.asked += 1;
        let reading = Reading {
            store: self.setting.store.clone(),
            asking: self.setting.asking(),
            order: self.setting.order,
            active: active.clone(),
            open: self.open.clone(),
        };
        self.reading.spawn(reading.read(id, range, place));
    }

    /// A page is awaited before the broker has it, so that no answer comes too early.
    fn send(&mut self, read: ReadPage) {
        self.out.insert(read.id, PageOut::now(read.page, read.place, PAGE_TIMEOUT));
        self.publish(read.message);
    }

    fn publish(&mut self, message: Outgoing) {
        let bus = self.setting.bus.clone();
        self.sending.spawn(async move {
            if let Err(error) = bus.publish(&message).await {
                // It is asked again when its time is up.
                tracing::warn!(%error, "a page was not taken by the broker");
            }
        });
    }

    fn take(
        &mut self,
        id: MessageId,
        unit: ProcessId,
        answer: PageAnswer,
    ) -> Result<(), KeystoreRefusal> {
        let Some(out) = self.out.remove(&id) else { return Ok(()) };
        let (page, asked, place) = (out.page, out.asked, out.place);
        let range = page.range;
        if let PageAnswer::Unopened(rows) = &answer
            && self.may_quarantine(&page, rows)
        {
            let because = Err("key versions do not open".to_owned());
            page::tell(self.setting.place, asked, place, because);
            self.show(unit, Shown::Unopened(page, rows.clone()));
            return Ok(());
        }
        let old_rows = self.cross.wants(unit).then(|| page.rows.clone());
        let judged = rewrap::judge_answer(page, answer, &self.setting.trust);
        page::tell(self.setting.place, asked, place, judged.as_ref().map_err(ToString::to_string));
        match (judged, old_rows) {
            (Ok(done), Some(old_rows)) => self.show(unit, Shown::Rewrapped(old_rows, done)),
            (Ok(done), None) => self.done.push(done),
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

    /// Whether the order carries every row that does not open, and they are rows of the page.
    fn may_quarantine(&self, page: &RewrapPage, rows: &[UnopenedRow]) -> bool {
        let is_carried = |row: &UnopenedRow| {
            self.setting.quarantined.contains(&row.key)
                && page.rows.iter().any(|sent| sent.version == row.version && sent.key == row.key)
        };
        !rows.is_empty() && rows.len() <= page.rows.len() && rows.iter().all(is_carried)
    }

    /// Shows it to another unit. Where there is none, one unit's word has to do.
    fn show(&mut self, by: ProcessId, shown: Shown) {
        let id = new_id(&mut self.rng);
        let kept = match self.cross.show(&self.setting, id, by, shown) {
            Ok(message) => return self.publish(message),
            Err(kept) => *kept,
        };
        self.seen(Some(match kept {
            Shown::Rewrapped(_, done) => Seen::Same(done),
            Shown::Unopened(page, rows) => Seen::DoNotOpen(page, rows),
        }));
    }

    fn seen(&mut self, seen: Option<Seen>) {
        match seen {
            None => {}
            Some(Seen::Same(done)) => self.done.push(done),
            Some(Seen::DoNotOpen(page, unopened)) => self.go_on_without(page, unopened),
        }
    }

    /// Sends the page once more without the rows that no unit opens, which are kept as they are.
    fn go_on_without(&mut self, mut page: RewrapPage, unopened: Vec<UnopenedRow>) {
        let reason_of = |row: &WrappedRow| {
            unopened.iter().find(|found| found.version == row.version).map(|it| it.reason.clone())
        };
        let (range, rows) = (page.range, std::mem::take(&mut page.rows));
        let mut kept = Vec::new();
        for row in rows {
            match reason_of(&row) {
                Some(reason) => kept.push((row, reason)),
                None => page.rows.push(row),
            }
        }
        tracing::warn!(count = kept.len(), "key versions that no unit opens go into quarantine");
        self.quarantined.insert(range, kept);
        let id = new_id(&mut self.rng);
        self.send(page::again(&self.setting, id, page));
    }

    fn ask_late_ones_again(&mut self) {
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

    fn begin_write(&mut self) {
        if self.done.is_empty() {
            return;
        }
        let quarantined = &mut self.quarantined;
        let chunks: Vec<_> = self
            .done
            .drain(..)
            .map(|done| {
                let range = done.receipt.range;
                let quarantined = quarantined.remove(&range).unwrap_or_default();
                let written = WrittenChunk {
                    count: done.receipt.count,
                    quarantined_count: quarantined.len() as u64,
                    new_digest: done.receipt.new_digest,
                    receipt: codec::encode(&done.signed),
                };
                NewChunk { range, written, rows: done.rows, quarantined }
            })
            .collect();
        let (store, instance) = (self.setting.store.clone(), self.setting.instance);
        let number = self.open.number;
        let keys = chunks.iter().map(|chunk| chunk.written.count).sum();
        self.writing = Some(tokio::spawn(async move {
            store.write_chunks(instance, number, chunks).await.map_err(refusal_of)?;
            metric::count_many(metric::KEYS_REWRAPPED, &[], keys);
            Ok(())
        }));
    }

    fn tell_progress(&mut self) {
        if self.told_at.elapsed() >= PROGRESS_EVERY {
            self.told_at = Instant::now();
            let told = JobEvent::Progress(self.setting.header.clone());
            // A full channel only means that a report is on its way already.
            let _ = self.setting.events.try_send(told);
        }
    }
}

/// The end of the write that is under way; never, if there is none.
async fn written(writing: &mut Option<Writing>) -> Result<(), KeystoreRefusal> {
    let Some(task) = writing else { return std::future::pending().await };
    let ended = task.await;
    *writing = None;
    ended.unwrap_or_else(|error| Err(KeystoreRefusal::Busy(error.to_string())))
}

/// Until then; for ever, if there is no such time.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
