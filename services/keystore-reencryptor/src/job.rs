//! One re-encryption under way: a bounded number of pages out, their answers judged and written.
//! A crash forgets it; what was written stays, and the next command goes on from there.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bus::{Bus, Outgoing};
use crypto::identity::Identity;
use crypto::random::{ProcessRng, process_rng};
use keystore::{Keystore, WrittenChunk};
use machines::envelope::{self, Outgoing as Sealing};
use machines::rewrap::{self, DoneChunk, KeystoreRefusal, PageFault};
use machines::trust::Trust;
use protocol::codec;
use protocol::envelope::{Header, Kind, Recipient};
use protocol::keystore::{Generation, KeystoreRow};
use protocol::order::OrderRef;
use protocol::page::{ChunkRange, PageAnswer, RewrapPage};
use protocol::{Epoch, InstanceId, MessageId, Role, topology};
use telemetry::metric;
use telemetry::trace::{Context, Span};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::commands::refusal_of;

/// A page not answered for so long is asked again.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// After a page that no unit took: how long until the next try.
const PAGE_PAUSE: Duration = Duration::from_millis(100);
/// Up to so many pages each has a span; of more only the first and the last, and those that are slow
/// or fail.
const MAX_TRACED: usize = 200;
/// A page that takes so long is slow.
const SLOW: Duration = Duration::from_secs(1);
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

struct PageOut {
    page: RewrapPage,
    asked: SystemTime,
    until: Instant,
    /// The page's own place in the trace, and whether the unit was told of it.
    place: Option<Context>,
}

struct Work {
    setting: JobSetting,
    open: Generation,
    active: Option<Generation>,
    answers: mpsc::Receiver<(MessageId, PageAnswer)>,
    todo: VecDeque<ChunkRange>,
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

    /// Pages go out, come back and are written at the same time; how many of them are in hand is
    /// bounded at each step.
    async fn fill(&mut self, active: &Generation) -> Result<(), KeystoreRefusal> {
        loop {
            let now = Instant::now();
            while self.has_room() && now >= self.pause_until {
                let Some(range) = self.todo.pop_front() else { break };
                self.ask(active, range).await?;
            }
            let is_worth_it = self.done.len() >= CHUNKS_A_WRITE || self.out.is_empty();
            if self.writing.is_none() && is_worth_it {
                self.begin_write();
            }
            let is_waiting = !self.out.is_empty() || !self.todo.is_empty();
            if !is_waiting && self.writing.is_none() {
                return Ok(());
            }
            let due = self.out.values().map(|out| out.until).min();
            let due = due.unwrap_or(self.pause_until);
            let has_time = !self.out.is_empty() || (is_waiting && self.has_room());
            tokio::select! {
                answer = self.answers.recv() => {
                    let Some((id, answer)) = answer else { return Ok(()) };
                    self.take(id, answer)?;
                }
                written = written(&mut self.writing) => {
                    written?;
                    self.tell_progress();
                }
                () = tokio::time::sleep_until(due), if has_time => self.ask_late_ones_again(),
            }
        }
    }

    /// Whether another page may be asked for.
    fn has_room(&self) -> bool {
        self.out.len() < self.setting.pages_in_flight && self.done.len() < MAX_UNWRITTEN
    }

    async fn ask(&mut self, active: &Generation, range: ChunkRange) -> Result<(), KeystoreRefusal> {
        let setting = &self.setting;
        let rows = setting
            .store
            .rows(setting.instance, active.number, range, self.open.number)
            .await
            .map_err(refusal_of)?;
        let page = RewrapPage {
            order_digest: setting.order.digest,
            number: setting.order.number,
            generation: self.open.id,
            range,
            from: active.pattern,
            to: self.open.pattern,
            rows,
        };
        let id = MessageId::from_uuid(crypto::random::uuid_v7(service::now(), &mut self.rng));
        let sealing = Sealing {
            id,
            in_answer_to: None,
            instance: setting.instance,
            recipient: Recipient::Role(Role::OperationalUnit),
            manifest_serial: setting.trust.serial(),
            rotation: Some(setting.order.rotation),
            epoch: Epoch::default(),
            kind: Kind::RewrapPage,
        };
        let sealed = envelope::seal(&setting.identity, &sealing, &codec::encode(&page));
        let address = topology::page_address(setting.instance);
        let place = setting.place.map(|place| place.child(&id.to_string()));
        let place = match self.asked == 0 || self.todo.is_empty() || self.pages <= MAX_TRACED {
            true => place,
            false => place.map(Context::unsampled),
        };
        self.asked += 1;
        let message = Outgoing::to(address, sealed).traced(place);
        if let Err(error) = setting.bus.publish(&message).await {
            tracing::warn!(%error, "a page was not taken by the broker");
        }
        let (asked, until) = (SystemTime::now(), Instant::now() + PAGE_TIMEOUT);
        self.out.insert(id, PageOut { page, asked, until, place });
        Ok(())
    }

    fn take(&mut self, id: MessageId, answer: PageAnswer) -> Result<(), KeystoreRefusal> {
        let Some(out) = self.out.remove(&id) else { return Ok(()) };
        let (range, asked, place) = (out.page.range, out.asked, out.place);
        let judged = rewrap::judge_answer(out.page, answer, &self.setting.trust);
        self.tell_page(asked, place, judged.as_ref().map_err(ToString::to_string));
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

    /// A metric of every page; a span of those that are traced, were slow, or failed.
    fn tell_page(
        &self,
        asked: SystemTime,
        place: Option<Context>,
        judged: Result<&DoneChunk, String>,
    ) {
        let took = asked.elapsed().unwrap_or_default();
        let outcome = if judged.is_ok() { "done" } else { "again" };
        metric::count(metric::PAGES, &[("outcome", outcome.to_owned())]);
        metric::took(metric::PAGE_SECONDS, &[], took);
        let (Some(parent), Some(place)) = (self.setting.place, place) else { return };
        let is_told = place.is_sampled() || took >= SLOW || judged.is_err();
        if !is_told {
            return;
        }
        let place = place.sampled_as(&parent);
        let span = Span::begin("page", place, Some(parent)).since(asked);
        match judged {
            Ok(done) => span.with("keyhelm.keys", done.receipt.count as i64).end(),
            Err(fault) => span.failed(fault).end(),
        }
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
                self.tell_page(out.asked, out.place, Err("it was not answered".to_owned()));
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
