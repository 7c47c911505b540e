//! One re-encryption under way: a bounded number of pages out, their answers judged and written.
//! A crash forgets it; what was written stays, and the next command goes on from there.
//!
//! Every step of a page has its own bound, and none of them waits for another page's: rows are read
//! while earlier pages are with the units and still earlier ones are written.

mod page;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use crypto::identity::Identity;
use crypto::random::{ProcessRng, process_rng};
use keystore::{Keystore, WrittenChunk};
use machines::rewrap::{self, DoneChunk, KeystoreRefusal, PageFault};
use machines::trust::Trust;
use protocol::codec;
use protocol::envelope::Header;
use protocol::keystore::{Generation, KeystoreRow};
use protocol::order::OrderRef;
use protocol::page::{ChunkRange, PageAnswer};
use protocol::{InstanceId, MessageId};
use telemetry::metric;
use telemetry::trace::Context;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use self::page::{PageOut, ReadPage, Reading};
use crate::commands::refusal_of;

/// A page not answered for so long is asked again.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// After a page that no unit took: how long until the next try.
const PAGE_PAUSE: Duration = Duration::from_millis(100);
/// Pages whose rows are read at the same time.
const PAGES_READ: usize = 3;
/// Most chunks in one transaction.
const CHUNKS_A_WRITE: usize = 8;
/// Chunks that wait to be written, before no more pages are asked for.
const MAX_UNWRITTEN: usize = 24;
/// Least time between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What a job tells the reencryptor.
#[derive(Debug)]
pub(crate) enum JobEvent {
    /// It has come further.
    Progress(Header),
    /// It is complete, or cannot be done.
    Ended(Header, Option<KeystoreRefusal>),
}

/// Everything a job works with.
pub(crate) struct JobSetting {
    pub(crate) instance: InstanceId,
    pub(crate) identity: Arc<Identity>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) store: Keystore,
    pub(crate) bus: Bus,
    pub(crate) order: OrderRef,
    pub(crate) header: Header,
    /// The place in a trace under which pages are.
    pub(crate) place: Option<Context>,
    pub(crate) pages_in_flight: usize,
    pub(crate) events: mpsc::Sender<JobEvent>,
}

/// A job's handle; dropped, the job ends.
pub(crate) struct Job {
    order: OrderRef,
    answers: mpsc::Sender<(MessageId, PageAnswer)>,
    task: JoinHandle<()>,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Job {
    /// Starts filling the open generation of `row`.
    pub(crate) fn start(setting: JobSetting, row: KeystoreRow) -> Self {
        let (answers, receiver) = mpsc::channel(64);
        let order = setting.order;
        let task = tokio::spawn(async move {
            let (events, header) = (setting.events.clone(), setting.header.clone());
            let refusal = match row.open.clone() {
                Some(open) => Work::new(setting, open, row.active, receiver).run().await.err(),
                None => None,
            };
            if let Some(refusal) = &refusal {
                tracing::error!(%refusal, "re-encryption cannot go on");
            }
            // The reencryptor is gone only if the process stops.
            let _ = events.send(JobEvent::Ended(header, refusal)).await;
        });
        Self { order, answers, task }
    }

    /// Whether it runs for this order.
    pub(crate) fn is_for(&self, order: &OrderRef) -> bool {
        self.order == *order && !self.task.is_finished()
    }

    /// Hands a unit's answer in; one that comes too late is dropped.
    pub(crate) async fn take_answer(&self, page: MessageId, answer: PageAnswer) {
        let _ = self.answers.send((page, answer)).await;
    }
}

/// A transaction that writes chunks.
type Writing = JoinHandle<Result<(), KeystoreRefusal>>;

struct Work {
    setting: JobSetting,
    open: Generation,
    active: Option<Generation>,
    answers: mpsc::Receiver<(MessageId, PageAnswer)>,
    todo: VecDeque<ChunkRange>,
    reading: JoinSet<Result<ReadPage, KeystoreRefusal>>,
    sending: JoinSet<()>,
    out: HashMap<MessageId, PageOut>,
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
    fn new(
        setting: JobSetting,
        open: Generation,
        active: Option<Generation>,
        answers: mpsc::Receiver<(MessageId, PageAnswer)>,
    ) -> Self {
        let now = Instant::now();
        Self {
            setting,
            open,
            active,
            answers,
            todo: VecDeque::new(),
            reading: JoinSet::new(),
            sending: JoinSet::new(),
            out: HashMap::new(),
            done: Vec::new(),
            writing: None,
            rng: process_rng(),
            told_at: now,
            pause_until: now,
            pages: 0,
            asked: 0,
        }
    }

    async fn run(mut self) -> Result<(), KeystoreRefusal> {
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
        let written = WrittenChunk { count: 0, new_digest, receipt: Vec::new() };
        let chunks = self.todo.drain(..).map(|range| (range, written.clone(), Vec::new()));
        let (instance, number) = (self.setting.instance, self.open.number);
        let chunks = chunks.collect();
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
            let are_out = !self.out.is_empty() || !self.reading.is_empty();
            if self.writing.is_none() && (self.done.len() >= CHUNKS_A_WRITE || !are_out) {
                self.begin_write();
            }
            if !are_out && self.todo.is_empty() && self.writing.is_none() {
                return Ok(());
            }
            let due = self.out.values().map(|out| out.until).min();
            let is_paused = !self.todo.is_empty() && self.has_room();
            let due = due.into_iter().chain(is_paused.then_some(self.pause_until)).min();
            tokio::select! {
                Some(read) = self.reading.join_next() => {
                    let read = read.map_err(|error| KeystoreRefusal::Busy(error.to_string()))??;
                    self.send(read);
                }
                answer = self.answers.recv() => {
                    let Some((id, answer)) = answer else { return Ok(()) };
                    self.take(id, answer)?;
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
            && self.done.len() < MAX_UNWRITTEN
    }

    fn begin_read(&mut self, active: &Generation, range: ChunkRange) {
        let id = MessageId::from_uuid(crypto::random::uuid_v7(service::now(), &mut self.rng));
        let place = self.setting.place.map(|place| place.child(&id.to_string()));
        let is_end = self.asked == 0 || self.todo.is_empty();
        let place = page::traced(place, is_end, self.pages);
        self.asked += 1;
        let reading = Reading {
            store: self.setting.store.clone(),
            identity: self.setting.identity.clone(),
            instance: self.setting.instance,
            manifest_serial: self.setting.trust.serial(),
            order: self.setting.order,
            active: active.clone(),
            open: self.open.clone(),
        };
        self.reading.spawn(reading.read(id, range, place));
    }

    /// A page is awaited before the broker has it, so that no answer comes too early.
    fn send(&mut self, read: ReadPage) {
        let (bus, message) = (self.setting.bus.clone(), read.message);
        self.out.insert(read.id, PageOut::now(read.page, read.place, PAGE_TIMEOUT));
        self.sending.spawn(async move {
            if let Err(error) = bus.publish(&message).await {
                // It is asked again when its time is up.
                tracing::warn!(%error, "a page was not taken by the broker");
            }
        });
    }

    fn take(&mut self, id: MessageId, answer: PageAnswer) -> Result<(), KeystoreRefusal> {
        let Some(out) = self.out.remove(&id) else { return Ok(()) };
        let (range, asked, place) = (out.page.range, out.asked, out.place);
        let judged = rewrap::judge_answer(out.page, answer, &self.setting.trust);
        page::tell(self.setting.place, asked, place, judged.as_ref().map_err(ToString::to_string));
        match judged {
            Ok(done) => self.done.push(done),
            Err(PageFault::Unopened(rows)) => {
                let count = rows.len() as u64;
                let Some(first) = rows.into_iter().next() else { return Ok(()) };
                return Err(KeystoreRefusal::Unopened { count, first });
            }
            Err(fault) => {
                tracing::warn!(%fault, "a page is asked again");
                self.todo.push_back(range);
                self.pause_until = Instant::now() + PAGE_PAUSE;
            }
        }
        Ok(())
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
    }

    fn begin_write(&mut self) {
        if self.done.is_empty() {
            return;
        }
        let chunks: Vec<_> = self
            .done
            .drain(..)
            .map(|done| {
                let written = WrittenChunk {
                    count: done.receipt.count,
                    new_digest: done.receipt.new_digest,
                    receipt: codec::encode(&done.signed),
                };
                (done.receipt.range, written, done.rows)
            })
            .collect();
        let (store, instance) = (self.setting.store.clone(), self.setting.instance);
        let number = self.open.number;
        let keys = chunks.iter().map(|(_, written, _): &(_, WrittenChunk, _)| written.count).sum();
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
