//! THE loop of every process: receive, handle, **save, publish (confirmed), acknowledge**, in this
//! order and nowhere else. A crash anywhere before the last step means redelivery. A message whose
//! answer takes longer than its handling stays unacknowledged until the answer is out.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use telemetry::metric;
use tokio::sync::mpsc;

use crate::{Bus, Consumer, Delivery, Outgoing, PublishError, Received};

/// The state could not be made durable: the process ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the state could not be saved, so nothing was answered: {0}")]
pub struct SaveError(pub String);

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
    /// The message is answered later: until its number is settled it is not acknowledged.
    pub defer: Option<u64>,
    /// Deferred messages that are answered by this.
    pub settle: Vec<u64>,
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

/// Runs a process's handler over its queues (at least one) until `shutdown`; what is in hand then is finished.
pub async fn run<H: Handler>(
    bus: &Bus,
    consumers: &mut [Consumer],
    asks: &mut mpsc::Receiver<H::Ask>,
    handler: &mut H,
    shutdown: impl Future<Output = ()>,
) -> Result<(), SaveError> {
    tokio::pin!(shutdown);
    let mut has_asks = true;
    let mut deferred = BTreeMap::new();
    loop {
        let timer = handler.next_tick();
        let wait = async {
            match timer {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = &mut shutdown => return Ok(()),
            delivery = receive_any(consumers) => {
                let Some(delivery) = delivery else {
                    return Err(SaveError("a queue was taken away: start the process again".into()));
                };
                let outcome = handler.handle(delivery.received()).await;
                let (dead, defer) = (outcome.dead, outcome.defer);
                fail_points::reach(fail_points::Place::Handled);
                conclude(bus, handler, outcome, &mut deferred).await?;
                fail_points::reach(fail_points::Place::Published);
                match (dead, defer) {
                    (Some(reason), _) => delivery.bury(bus, reason).await,
                    (None, Some(number)) => _ = deferred.insert(number, delivery),
                    (None, None) => delivery.ack().await,
                }
                fail_points::reach(fail_points::Place::Acked);
            }
            ask = asks.recv(), if has_asks => match ask {
                Some(ask) => {
                    let outcome = handler.ask(ask).await;
                    conclude(bus, handler, outcome, &mut deferred).await?;
                }
                None => has_asks = false,
            },
            () = wait => {
                let outcome = handler.tick().await;
                conclude(bus, handler, outcome, &mut deferred).await?;
            }
        }
    }
}

/// Saves, publishes, and acknowledges the deferred messages that are answered by it.
async fn conclude<H: Handler>(
    bus: &Bus,
    handler: &mut H,
    mut outcome: Outcome,
    deferred: &mut BTreeMap<u64, Delivery>,
) -> Result<(), SaveError> {
    let settled = std::mem::take(&mut outcome.settle);
    finish(bus, handler, outcome).await?;
    for delivery in settled.iter().filter_map(|number| deferred.remove(number)) {
        delivery.ack().await;
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
