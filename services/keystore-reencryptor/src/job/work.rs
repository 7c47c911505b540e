//! The work of a job: every step of a page has its own bound, and none of them waits for another
//! page's. Rows are read as one stream while earlier pages are with the units, still earlier ones are
//! looked at by a second unit, and the earliest are written by two transactions in turn.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bus::Outgoing;
use crypto::random::{ProcessRng, process_rng};
use keystore::{Cut, NewChunk, WrittenChunk};
use machines::rewrap::{self, DoneChunk, KeystoreRefusal};
use protocol::codec;
use protocol::keystore::Generation;
use protocol::page::{ChunkRange, WrappedRow};
use protocol::{MessageId, ProcessId, Rows};
use telemetry::metric;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::cross::Cross;
use super::page::{PageOut, ReadPage, Reading};
use super::{JobAnswer, JobEvent, JobSetting};
use crate::asking::PAGE_TIMEOUT;
use crate::commands::refusal_of;

/// Pages that are read and sealed before they can be sent.
const PAGES_READY: usize = 2;
/// Transactions that write at the same time: while one commits, the other copies.
const WRITERS: usize = 2;
/// Least and most chunks in one transaction, while more are on their way.
const FEWEST_A_WRITE: usize = 2;
const MOST_A_WRITE: usize = 4;
/// Chunks that wait to be written, before no more pages are asked for.
const MAX_UNWRITTEN: usize = 8;
/// Least time between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Pages that are read and sealed.
type ReadPages = mpsc::Receiver<Result<ReadPage, KeystoreRefusal>>;

pub(super) struct Work {
    pub(super) setting: JobSetting,
    open: Generation,
    active: Option<Generation>,
    answers: mpsc::Receiver<(MessageId, ProcessId, JobAnswer)>,
    pub(super) todo: VecDeque<ChunkRange>,
    /// What is read at the moment; none between two streams.
    reading: Option<ReadPages>,
    sending: JoinSet<()>,
    pub(super) out: HashMap<MessageId, PageOut>,
    pub(super) cross: Cross,
    /// Rows that no unit opens, of chunks that are not written yet.
    pub(super) quarantined: BTreeMap<ChunkRange, Vec<(WrappedRow, String)>>,
    pub(super) done: Vec<DoneChunk>,
    writing: JoinSet<Result<(), KeystoreRefusal>>,
    pub(super) rng: ProcessRng,
    told_at: Instant,
    pub(super) pause_until: Instant,
    /// Until then no page is sent, so that there are no more keys in a second than there may be.
    pace_until: Instant,
    /// Pages in all, about.
    pages: usize,
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
            reading: None,
            sending: JoinSet::new(),
            out: HashMap::new(),
            cross,
            quarantined: BTreeMap::new(),
            done: Vec::new(),
            writing: JoinSet::new(),
            rng: process_rng(),
            told_at: now,
            pause_until: now,
            pace_until: now,
            pages: 0,
        }
    }

    pub(super) async fn run(mut self) -> Result<(), KeystoreRefusal> {
        let lacking = self.lacking().await?;
        self.pages = self.open.set_count.div_ceil(u64::from(self.setting.rows_per_page)) as usize;
        match self.active.clone() {
            None => {
                self.todo = lacking.into();
                self.write_empty().await?;
            }
            Some(active) => {
                let share = self.setting.share;
                self.todo = share.within(&lacking).into();
                self.fill(&active).await?;
                if !share.is_whole() {
                    self.todo = self.lacking().await?.into();
                    self.fill(&active).await?;
                }
            }
        }
        let (instance, order) = (self.setting.instance, self.setting.order);
        let filled = self.open.id;
        self.setting.store.complete(instance, order, filled).await.map_err(refusal_of)?;
        Ok(())
    }

    /// What is not written, by anybody, in ascending order.
    async fn lacking(&self) -> Result<Vec<ChunkRange>, KeystoreRefusal> {
        let (instance, number) = (self.setting.instance, self.open.number);
        let chunks = self.setting.store.chunks(instance, number).await.map_err(refusal_of)?;
        Ok(chunks.into_iter().filter(|it| it.done.is_none()).map(|it| it.range).collect())
    }

    /// A new keystore's one empty chunk needs no unit.
    async fn write_empty(&mut self) -> Result<(), KeystoreRefusal> {
        let new_digest = rewrap::chunk_digest(&Rows::default());
        let (count, quarantined_count) = (0, 0);
        let written = WrittenChunk { count, quarantined_count, new_digest, receipt: Vec::new() };
        let empty = |range| {
            let (rows, quarantined) = (Rows::default(), Vec::new());
            NewChunk { range, written: written.clone(), rows, quarantined }
        };
        let (store, instance) = (&self.setting.store, self.setting.instance);
        let chunks = self.todo.drain(..).map(empty).collect();
        store.write_chunks(instance, &self.open, chunks).await.map_err(refusal_of)
    }

    /// Pages are read, go out, come back and are written at the same time; how many of them are in
    /// hand is bounded at each step.
    async fn fill(&mut self, active: &Generation) -> Result<(), KeystoreRefusal> {
        loop {
            let is_due = Instant::now() >= self.pause_until;
            if self.reading.is_none() && !self.todo.is_empty() && is_due {
                self.begin_reading(active);
            }
            while self.sending.try_join_next().is_some() {}
            let are_out = !self.out.is_empty() || self.reading.is_some() || self.cross.len() > 0;
            let is_enough = self.done.len() >= FEWEST_A_WRITE || !are_out;
            if self.writing.len() < WRITERS && is_enough {
                self.begin_write();
            }
            if !are_out && self.todo.is_empty() && self.writing.is_empty() {
                return Ok(());
            }
            let late = self.out.values().map(|out| out.until).min();
            let is_paused = !self.todo.is_empty() && self.reading.is_none();
            let paused = is_paused.then_some(self.pause_until);
            let (has_room, now) = (self.has_room(), Instant::now());
            let is_paced = has_room && self.reading.is_some() && now < self.pace_until;
            let paced = is_paced.then_some(self.pace_until);
            let due = [late, paused, self.cross.due(), paced].into_iter().flatten().min();
            tokio::select! {
                read = next(&mut self.reading), if has_room && !is_paced => match read {
                    Some(read) => {
                        let read = read?;
                        self.keep_pace(read.page.rows.len());
                        self.send(read);
                    }
                    None => self.reading = None,
                },
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
                Some(written) = self.writing.join_next() => {
                    written.map_err(|error| KeystoreRefusal::Busy(error.to_string()))??;
                    self.tell_progress();
                }
                () = until(due) => self.ask_late_ones_again(),
            }
        }
    }

    /// Whether another page may be asked for.
    fn has_room(&self) -> bool {
        self.out.len() < self.setting.pages_in_flight
            && self.done.len() + self.cross.len() < MAX_UNWRITTEN
    }

    /// Where there is a most in a second, the next page waits for its turn.
    fn keep_pace(&mut self, keys: usize) {
        if let Some(most) = self.setting.keys_per_second_max {
            let turn = Duration::from_secs_f64(keys as f64 / f64::from(most.get()));
            self.pace_until = self.pace_until.max(Instant::now()) + turn;
        }
    }

    /// Reads all that is to be done as one stream, as fast as pages are taken off it.
    fn begin_reading(&mut self, active: &Generation) {
        let ranges: Vec<_> = self.todo.drain(..).collect();
        let (instance, born) = (self.setting.instance, self.open.number);
        let cut = Cut::Every(self.setting.rows_per_page);
        let stream = self.setting.store.pages(instance, active.number, ranges, born, cut);
        let reading = Reading {
            asking: self.setting.asking(),
            order: self.setting.order,
            active: active.clone(),
            open: self.open.clone(),
            place: self.setting.place,
            pages: self.pages,
            rng: process_rng(),
        };
        let (ready, pages) = mpsc::channel(PAGES_READY);
        tokio::spawn(reading.run(stream, ready));
        self.reading = Some(pages);
    }

    /// A page is awaited before the broker has it, so that no answer comes too early.
    pub(super) fn send(&mut self, read: ReadPage) {
        self.out.insert(read.id, PageOut::now(read.page, read.place, PAGE_TIMEOUT));
        self.publish(read.message);
    }

    pub(super) fn publish(&mut self, message: Outgoing) {
        let bus = self.setting.bus.clone();
        self.sending.spawn(async move {
            if let Err(error) = bus.publish(&message).await {
                // It is asked again when its time is up.
                tracing::warn!(%error, "a page was not taken by the broker");
            }
        });
    }

    fn begin_write(&mut self) {
        if self.done.is_empty() {
            return;
        }
        let quarantined = &mut self.quarantined;
        let chunks: Vec<_> = self
            .done
            .drain(..self.done.len().min(MOST_A_WRITE))
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
        let open = self.open.clone();
        let keys = chunks.iter().map(|chunk| chunk.written.count).sum();
        self.writing.spawn(async move {
            store.write_chunks(instance, &open, chunks).await.map_err(refusal_of)?;
            metric::count_many(metric::KEYS_REWRAPPED, &[], keys);
            Ok(())
        });
    }

    fn tell_progress(&mut self) {
        if self.told_at.elapsed() >= PROGRESS_EVERY {
            self.told_at = Instant::now();
            let told = JobEvent::Progress(self.setting.asker.newest());
            // A full channel only means that a report is on its way already.
            let _ = self.setting.events.try_send(told);
        }
    }
}

/// The next page that is read; none at the end of the stream. Never, if nothing is being read.
async fn next(reading: &mut Option<ReadPages>) -> Option<Result<ReadPage, KeystoreRefusal>> {
    match reading {
        Some(pages) => pages.recv().await,
        None => std::future::pending().await,
    }
}

/// Until then; for ever, if there is no such time.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
