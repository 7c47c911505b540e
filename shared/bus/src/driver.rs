//! THE loop of every process: receive, handle, **save, publish (confirmed), acknowledge**, in this
//! order and nowhere else. A crash anywhere before the last step means redelivery. A message whose
//! answer takes longer than its handling stays unacknowledged until the answer is out.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{join_all, select_all};
use telemetry::metric;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::{Bus, Consumer, Delivery, Outgoing, PublishError, Received};

/// The state could not be made durable: the process ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the state could not be saved, so nothing was answered: {0}")]
pub struct SaveError(pub String);

/// A deferred message that is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its number.
    pub number: u64,
    /// It was refused: the reason for the dead queue.
    pub refused: Option<String>,
}

/// What handling something came to.
#[derive(Default)]
pub struct Outcome {
    /// Something must be saved before anything is published.
    pub is_changed: bool,
    /// To be published after the save.
    pub publish: Vec<Outgoing>,
    /// The message cannot be taken: the reason for the dead queue.
    pub dead: Option<&'static str>,
    /// Local requests that are answered after the save.
    pub after_save: Vec<Box<dyn FnOnce() + Send>>,
    /// Until this number is settled, by this outcome or a later one, the message is not acknowledged.
    pub defer: Option<u64>,
    /// Deferred messages that are answered by this.
    pub settle: Vec<Settled>,
}

/// What a process does with its messages.
#[async_trait::async_trait]
pub trait Handler: Send {
    /// A request from inside the process (an HTTP handler); `()` where there are none.
    type Ask: Send;

    /// Verifies, decodes, validates and decides.
    async fn handle(&mut self, received: &Received) -> Outcome;

    /// Does a local request.
    async fn ask(&mut self, ask: Self::Ask) -> Outcome;

    /// Does what time has brought.
    async fn tick(&mut self) -> Outcome;

    /// In how long [`Self::tick`] wants to be called.
    fn next_tick(&self) -> Option<Duration>;

    /// Makes durable what was decided.
    async fn save(&mut self) -> Result<(), SaveError>;
}

/// Messages that are answered later, by their number.
type Deferred = BTreeMap<u64, Delivery>;

/// Runs a process's handler over its queues (at least one) until `shutdown`; what is in hand then is
/// finished. However many messages wait, time and those who ask within the process have their turn.
pub async fn run<H: Handler>(
    bus: &Bus,
    consumers: &mut [Consumer],
    asks: &mut mpsc::Receiver<H::Ask>,
    handler: &mut H,
    shutdown: impl Future<Output = ()>,
) -> Result<(), SaveError> {
    tokio::pin!(shutdown);
    let mut has_asks = true;
    let mut deferred = Deferred::new();
    let mut due = None;
    loop {
        due = sooner(due, handler.next_tick());
        if due.is_some_and(|at| at <= Instant::now()) {
            if (&mut shutdown).now_or_never().is_some() {
                return Ok(());
            }
            let outcome = handler.tick().await;
            conclude(bus, handler, outcome, &mut deferred).await?;
            due = sooner(None, handler.next_tick());
        }
        tokio::select! {
            biased;
            () = &mut shutdown => return Ok(()),
            delivery = receive_any(consumers) => {
                let Some(delivery) = delivery else {
                    return Err(SaveError("a queue was taken away: start the process again".into()));
                };
                take(bus, handler, delivery, &mut deferred).await?;
                if let Ok(ask) = asks.try_recv() {
                    let outcome = handler.ask(ask).await;
                    conclude(bus, handler, outcome, &mut deferred).await?;
                }
            }
            ask = asks.recv(), if has_asks => match ask {
                Some(ask) => {
                    let outcome = handler.ask(ask).await;
                    conclude(bus, handler, outcome, &mut deferred).await?;
                }
                None => has_asks = false,
            },
            () = until(due) => {}
        }
    }
}

/// When the next tick is due. One that was promised earlier is not put off by what came in between:
/// a handler says from when it is asked how long there is to wait.
fn sooner(due: Option<Instant>, wait: Option<Duration>) -> Option<Instant> {
    let at = Instant::now() + wait?;
    Some(due.map_or(at, |before| before.min(at)))
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Handles a message, and acknowledges it once all is out, unless it is answered later.
async fn take<H: Handler>(
    bus: &Bus,
    handler: &mut H,
    delivery: Delivery,
    deferred: &mut Deferred,
) -> Result<(), SaveError> {
    let outcome = handler.handle(delivery.received()).await;
    let (dead, defer) = (outcome.dead, outcome.defer);
    fail_points::reach(fail_points::Place::Handled);
    let delivery = match (dead, defer) {
        (None, Some(number)) => {
            deferred.insert(number, delivery);
            None
        }
        _ => Some(delivery),
    };
    conclude(bus, handler, outcome, deferred).await?;
    fail_points::reach(fail_points::Place::Published);
    match (delivery, dead) {
        (Some(delivery), Some(reason)) => delivery.bury(bus, reason).await,
        (Some(delivery), None) => delivery.ack().await,
        (None, _) => {}
    }
    fail_points::reach(fail_points::Place::Acked);
    Ok(())
}

/// Saves, publishes, and is done with the deferred messages that are answered by it.
async fn conclude<H: Handler>(
    bus: &Bus,
    handler: &mut H,
    mut outcome: Outcome,
    deferred: &mut Deferred,
) -> Result<(), SaveError> {
    let settled = std::mem::take(&mut outcome.settle);
    finish(bus, handler, outcome).await?;
    for Settled { number, refused } in settled {
        let Some(delivery) = deferred.remove(&number) else { continue };
        match refused {
            Some(reason) => delivery.bury(bus, &reason).await,
            None => delivery.ack().await,
        }
    }
    Ok(())
}

/// The next message of any queue; none when one of them is closed for good.
async fn receive_any(consumers: &mut [Consumer]) -> Option<Delivery> {
    let waiting = consumers.iter_mut().map(|consumer| Box::pin(consumer.receive()));
    select_all(waiting).await.0
}

/// Saves, then publishes and answers, what a handler has decided.
pub async fn finish<H: Handler>(
    bus: &Bus,
    handler: &mut H,
    outcome: Outcome,
) -> Result<(), SaveError> {
    if outcome.is_changed {
        handler.save().await?;
        metric::count(metric::STATE_SAVES, &[]);
        fail_points::reach(fail_points::Place::Saved);
    }
    for answer in outcome.after_save {
        answer();
    }
    // All of them are on their way before the first confirm is awaited.
    let published = join_all(outcome.publish.iter().map(|message| bus.publish(message))).await;
    for published in published {
        match published {
            Ok(()) => {}
            // Everything can be asked again, so what is lost here is healed by a repeat.
            Err(PublishError::Unroutable(queue)) => {
                tracing::debug!(queue, "nobody is there to take a message");
            }
            Err(error) => tracing::warn!(%error, "a message was not confirmed"),
        }
    }
    Ok(())
}
