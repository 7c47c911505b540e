//! A check of keys: the versions that ought to be there are read in order and opened by whichever
//! operational unit takes the page. Nothing is written, and a crash forgets it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bus::Bus;
use crypto::identity::Identity;
use crypto::merkle::KeyTree;
use crypto::random::{ProcessRng, process_rng};
use keystore::{Keystore, KeystoreError, ScanRow, Scanned};
use machines::rewrap::{self, PageFault};
use machines::trust::Trust;
use protocol::envelope::{Header, Kind};
use protocol::keystore::Generation;
use protocol::page::{
    CheckAnswer, CheckPage, ChunkRange, KeyCheck, KeyCheckEnd, MAX_NAMED, UnopenedRow,
};
use protocol::{Blobs, CheckId, InstanceId, KeystoreId, MessageId, RowRef, Rows};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::asking::{Asking, PAGE_PAUSE, PAGE_TIMEOUT, new_id};
use crate::job::JobEvent;

/// Least time between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// Most rows of a page: however long their blobs are, it fits into a message.
const MOST_ROWS: u32 = 900;
/// A version with metadata and no blob.
const MISSING: &str = "its wrapped key is missing";

/// Everything a check works with.
pub(crate) struct CheckSetting {
    pub(crate) check: CheckId,
    pub(crate) which: Scanned,
    pub(crate) instance: InstanceId,
    pub(crate) identity: Arc<Identity>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) store: Keystore,
    pub(crate) bus: Bus,
    /// Of the command that began it.
    pub(crate) header: Header,
    pub(crate) rows_per_page: u32,
    pub(crate) pages_in_flight: usize,
    pub(crate) events: mpsc::Sender<JobEvent>,
}

/// A check's handle; dropped, the check ends.
pub(crate) struct Check {
    pub(crate) id: CheckId,
    said: Arc<Mutex<Option<KeyCheck>>>,
    answers: mpsc::Sender<(MessageId, CheckAnswer)>,
    task: JoinHandle<()>,
}

impl Drop for Check {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Check {
    pub(crate) fn start(setting: CheckSetting) -> Self {
        let (answers, receiver) = mpsc::channel(64);
        let said = Arc::new(Mutex::new(None));
        let (id, told) = (setting.check, said.clone());
        let task = tokio::spawn(async move {
            let (events, header) = (setting.events.clone(), setting.header.clone());
            run(setting, receiver, told).await;
            // The reencryptor is gone only if the process stops.
            let _ = events.send(JobEvent::Checked(header)).await;
        });
        Self { id, said, answers, task }
    }

    /// How far it has come; none before it has looked at the keystore.
    pub(crate) fn said(&self) -> Option<KeyCheck> {
        locked(&self.said).clone()
    }

    /// Whether it runs, or has come to its end.
    pub(crate) fn is_of_use(&self) -> bool {
        let is_ended = self.said().is_some_and(|said| said.end.is_some());
        is_ended || !self.task.is_finished()
    }

    /// Hands a unit's answer in; one that comes too late is dropped.
    pub(crate) async fn take_answer(&self, page: MessageId, answer: CheckAnswer) {
        let _ = self.answers.send((page, answer)).await;
    }
}

fn locked(said: &Mutex<Option<KeyCheck>>) -> MutexGuard<'_, Option<KeyCheck>> {
    match said.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

async fn run(
    setting: CheckSetting,
    answers: mpsc::Receiver<(MessageId, CheckAnswer)>,
    said: Arc<Mutex<Option<KeyCheck>>>,
) {
    let row = match setting.which {
        Scanned::All => setting.store.row(setting.instance).await,
        // Nobody counts them for the progress.
        Scanned::Born(_) => setting.store.saved_row(setting.instance).await,
    };
    let Ok(Some((keystore, active, total))) =
        row.map(|row| row.and_then(|row| Some((row.keystore, row.active?, row.version_count))))
    else {
        // The coordinator asks again.
        return;
    };
    let begun = Instant::now();
    let mut work = Work::new(setting, &active, keystore, total, answers, said);
    let end = match work.check().await {
        Ok(()) => work.ended(&active).await,
        Err(error) => KeyCheckEnd::Failed(error.to_string()),
    };
    work.state.took_ms = begun.elapsed().as_millis() as u64;
    work.state.end = Some(end);
    work.tell();
}

/// A page that a unit has.
struct Out {
    rows: Rows,
    until: Instant,
}

struct Work {
    setting: CheckSetting,
    state: KeyCheck,
    said: Arc<Mutex<Option<KeyCheck>>>,
    keys: KeyTree,
    answers: mpsc::Receiver<(MessageId, CheckAnswer)>,
    out: HashMap<MessageId, Out>,
    again: Vec<Rows>,
    pause_until: Instant,
    begun: Instant,
    told_at: Instant,
    rng: ProcessRng,
}

impl Work {
    fn new(
        setting: CheckSetting,
        active: &Generation,
        keystore: KeystoreId,
        total_count: u64,
        answers: mpsc::Receiver<(MessageId, CheckAnswer)>,
        said: Arc<Mutex<Option<KeyCheck>>>,
    ) -> Self {
        let state = KeyCheck {
            check: setting.check,
            keystore,
            generation: active.id,
            pattern: active.pattern,
            checked_count: 0,
            total_count,
            unopened_count: 0,
            unopened: Vec::new(),
            took_ms: 0,
            end: None,
        };
        let (now, rng) = (Instant::now(), process_rng());
        let (out, again) = (HashMap::new(), Vec::new());
        let (keys, pause_until, begun, told_at) = (KeyTree::new(), now, now, now);
        Self { setting, state, said, keys, answers, out, again, pause_until, begun, told_at, rng }
    }

    /// Pages are read one after the other, while others are with the units.
    async fn check(&mut self) -> Result<(), KeystoreError> {
        let (instance, which) = (self.setting.instance, self.setting.which);
        let limit = self.setting.rows_per_page.min(MOST_ROWS);
        let mut after = ChunkRange::WHOLE.after;
        let mut is_read = false;
        self.tell();
        loop {
            let has_room =
                self.out.len() < self.setting.pages_in_flight && Instant::now() >= self.pause_until;
            if let Some(rows) = self.again.pop_if(|_| has_room) {
                self.send(rows).await;
                continue;
            }
            if has_room && !is_read {
                let found = self.setting.store.scan(instance, which, after, limit).await?;
                match found.last() {
                    Some(last) => after = last.version,
                    None => is_read = true,
                }
                let rows = self.sort_out(found);
                if !rows.is_empty() {
                    self.send(rows).await;
                }
                continue;
            }
            if is_read && self.out.is_empty() && self.again.is_empty() {
                return Ok(());
            }
            self.wait().await;
        }
    }

    /// The rows that a unit shall open. What is missing is named, what is in quarantine known.
    fn sort_out(&mut self, found: Vec<ScanRow>) -> Rows {
        let mut rows = Rows::default();
        for row in found {
            let ScanRow { version, key, attributes, .. } = row;
            match (row.blob, row.quarantined) {
                (Some(blob), _) => {
                    self.keys.push(key, version);
                    rows.push(RowRef { version, key, attributes, blob: &blob });
                }
                (None, Some(_)) => self.state.checked_count += 1,
                (None, None) => {
                    self.state.checked_count += 1;
                    self.name(UnopenedRow { version, key, reason: MISSING.to_owned() });
                }
            }
        }
        rows
    }

    fn name(&mut self, row: UnopenedRow) {
        self.state.unopened_count += 1;
        if self.state.unopened.len() < MAX_NAMED {
            self.state.unopened.push(row);
        }
    }

    /// A page is awaited before the broker has it, so that no answer comes too early.
    async fn send(&mut self, rows: Rows) {
        let id = new_id(&mut self.rng);
        let page = CheckPage { rows, new_blobs: Blobs::default() };
        let asking = Asking {
            identity: self.setting.identity.clone(),
            instance: self.setting.instance,
            manifest_serial: self.setting.trust.serial(),
            rotation: None,
        };
        let message = asking.any_unit(id, Kind::CheckPage, &page);
        self.out.insert(id, Out { rows: page.rows, until: Instant::now() + PAGE_TIMEOUT });
        if let Err(error) = self.setting.bus.publish(&message).await {
            // It is asked again when its time is up.
            tracing::warn!(%error, "a page of a key check was not taken by the broker");
        }
    }

    /// Waits for an answer, or until a page is late or the pause is over.
    async fn wait(&mut self) {
        let late = self.out.values().map(|out| out.until).min();
        let paused = (!self.again.is_empty() || self.out.is_empty()).then_some(self.pause_until);
        let due = late.into_iter().chain(paused).min().unwrap_or_else(Instant::now);
        let due = due.max(Instant::now() + Duration::from_millis(1));
        tokio::select! {
            answer = self.answers.recv() => match answer {
                Some((id, answer)) => self.take(id, answer),
                // Only if the process stops.
                None => tokio::time::sleep_until(due).await,
            },
            () = tokio::time::sleep_until(due) => self.ask_late_ones_again(),
        }
    }

    fn take(&mut self, id: MessageId, answer: CheckAnswer) {
        let Some(out) = self.out.remove(&id) else { return };
        match rewrap::judge_check(&out.rows, answer) {
            Ok(looked) => {
                self.state.checked_count += out.rows.len() as u64;
                looked.unopened.into_iter().for_each(|row| self.name(row));
            }
            Err(fault @ (PageFault::Refused(_) | PageFault::Mismatch(_))) => {
                tracing::warn!(%fault, "a page of a key check is asked again");
                self.again.push(out.rows);
                self.pause_until = Instant::now() + PAGE_PAUSE;
            }
            Err(_) => {}
        }
        if self.told_at.elapsed() >= PROGRESS_EVERY {
            self.tell();
            let told = JobEvent::Checked(self.setting.header.clone());
            // A full channel only means that a report is on its way already.
            let _ = self.setting.events.try_send(told);
        }
    }

    fn ask_late_ones_again(&mut self) {
        let now = Instant::now();
        let late: Vec<_> =
            self.out.iter().filter(|(_, out)| out.until <= now).map(|(id, _)| *id).collect();
        for id in late {
            tracing::warn!("a page of a key check was not answered and is asked again");
            self.again.extend(self.out.remove(&id).map(|out| out.rows));
        }
    }

    fn tell(&mut self) {
        self.told_at = Instant::now();
        if self.state.end.is_none() {
            self.state.took_ms = self.begun.elapsed().as_millis() as u64;
        }
        *locked(&self.said) = Some(self.state.clone());
    }

    /// The keys belong together only if they are of one generation.
    async fn ended(&self, active: &Generation) -> KeyCheckEnd {
        let row = self.setting.store.saved_row(self.setting.instance).await;
        let is_same = row.is_ok_and(|row| {
            row.and_then(|row| row.active).is_some_and(|found| found.id == active.id)
        });
        match is_same {
            true => KeyCheckEnd::Done { key_root: self.keys.root() },
            false => {
                let why = "the master key was rotated meanwhile: check the keys again";
                KeyCheckEnd::Failed(why.to_owned())
            }
        }
    }
}
