//! One re-encryption under way: a bounded number of pages out, their answers judged and written.
//! A crash forgets it; what was written stays, and the next command goes on from there.

mod asker;
mod cross;
mod judging;
mod page;
mod share;
mod work;

use std::num::NonZeroU32;
use std::sync::Arc;

use bus::Bus;
use crypto::identity::Identity;
use keystore::Keystore;
use machines::gate::GateRefusal;
use machines::rewrap::KeystoreRefusal;
use machines::trust::Trust;
use protocol::envelope::Header;
use protocol::keystore::KeystoreRow;
use protocol::order::OrderRef;
use protocol::page::{CheckAnswer, PageAnswer};
use protocol::{Epoch, GenerationId, InstanceId, KeyId, MessageId, ProcessId};
use telemetry::trace::Context;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(crate) use self::asker::Asker;
pub(crate) use self::share::Share;
use self::work::Work;
use crate::asking::Asking;

const NOT_OPEN: KeystoreRefusal = KeystoreRefusal::Gate(GateRefusal::NotOpen);

/// What a job or a key check tells the reencryptor.
#[derive(Debug)]
pub(crate) enum JobEvent {
    /// The job has come further.
    Progress(Header),
    /// It is complete, or cannot be done.
    Ended(Header, Option<KeystoreRefusal>),
    /// A key check has come further, or to its end.
    Checked(Header),
}

/// A unit's answer to something that a job asked it.
#[derive(Debug)]
pub(crate) enum JobAnswer {
    /// To a page.
    Page(PageAnswer),
    /// To a second look.
    Look(CheckAnswer),
}

/// Everything a job works with.
pub(crate) struct JobSetting {
    pub(crate) instance: InstanceId,
    pub(crate) identity: Arc<Identity>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) store: Keystore,
    pub(crate) bus: Bus,
    pub(crate) order: OrderRef,
    /// Keys that the order carries in quarantine, where they do not open.
    pub(crate) quarantined: Vec<KeyId>,
    pub(crate) asker: Asker,
    /// The place in a trace under which pages are.
    pub(crate) place: Option<Context>,
    pub(crate) rows_per_page: u32,
    pub(crate) pages_in_flight: usize,
    /// Most keys that are sent to units in a second; none for as many as they take.
    pub(crate) keys_per_second_max: Option<NonZeroU32>,
    /// Every page is looked at by another unit, rather than one of so many.
    pub(crate) verify_all: bool,
    pub(crate) cross_check_every: u32,
    pub(crate) events: mpsc::Sender<JobEvent>,
    /// What it does before what the others have left.
    pub(crate) share: Share,
}

impl JobSetting {
    /// In whose name units are asked, and what for.
    fn asking(&self) -> Asking {
        Asking {
            identity: self.identity.clone(),
            instance: self.instance,
            manifest_serial: self.trust.serial(),
            rotation: Some(self.order.rotation),
        }
    }
}

/// A job's handle; dropped, the job ends.
pub(crate) struct Job {
    order: OrderRef,
    generation: Option<GenerationId>,
    asker: Asker,
    answers: mpsc::Sender<(MessageId, ProcessId, JobAnswer)>,
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
        let (order, asker) = (setting.order, setting.asker.clone());
        let generation = row.open.as_ref().map(|open| open.id);
        let told = asker.clone();
        let task = tokio::spawn(async move {
            let events = setting.events.clone();
            let refusal = match row.open.clone() {
                Some(open) => {
                    let ended = Work::new(setting, open, row.active, receiver).run().await;
                    // Another reencryptor has come to the end first, the order has been aborted, or the
                    // database was set back behind the opening: how the row stands says what is next.
                    ended.err().filter(|refusal| *refusal != NOT_OPEN)
                }
                None => None,
            };
            if let Some(refusal) = &refusal {
                tracing::error!(%refusal, "re-encryption cannot go on");
            }
            // The reencryptor is gone only if the process stops.
            let _ = events.send(JobEvent::Ended(told.newest(), refusal)).await;
        });
        Self { order, generation, asker, answers, task }
    }

    /// Whether it runs for this order.
    pub(crate) fn is_of(&self, order: &OrderRef) -> bool {
        self.order == *order && !self.task.is_finished()
    }

    /// Whether it fills the generation that is open.
    pub(crate) fn fills(&self, row: &KeystoreRow) -> bool {
        self.generation == row.open.as_ref().map(|open| open.id)
    }

    /// Whether it runs for this order, and nothing about it is new in this epoch.
    pub(crate) fn is_for(&self, order: &OrderRef, epoch: Epoch) -> bool {
        self.is_of(order) && self.asker.epoch() == epoch
    }

    /// Takes a command that wants the same: its sender is told from now on.
    pub(crate) fn heed(&self, header: &Header) {
        self.asker.heed(header);
    }

    /// Hands a unit's answer in; one that comes too late is dropped.
    pub(crate) async fn take_answer(&self, asked: MessageId, unit: ProcessId, answer: JobAnswer) {
        let _ = self.answers.send((asked, unit, answer)).await;
    }
}
