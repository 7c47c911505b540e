//! Who waits for which answer. Whoever goes away, as when a client hangs up, waits no longer.

use std::collections::HashMap;
use std::sync::Mutex;

use protocol::{MessageId, ProcessId};
use tokio::sync::oneshot;

use super::{Reply, UnitsError, locked};

/// Most answers awaited at once.
const MAX_AWAITED: usize = 4_096;

#[derive(Default)]
pub(super) struct Awaited {
    waiting: Mutex<HashMap<MessageId, (ProcessId, oneshot::Sender<Reply>)>>,
}

/// One awaited answer, until this is dropped.
pub(super) struct Waiting<'a> {
    awaited: &'a Awaited,
    id: MessageId,
    answered: oneshot::Receiver<Reply>,
}

impl Awaited {
    /// Awaits the answer of a unit to a message.
    pub(super) fn begin(&self, id: MessageId, unit: ProcessId) -> Result<Waiting<'_>, UnitsError> {
        let (waiter, answered) = oneshot::channel();
        let mut waiting = locked(&self.waiting);
        if waiting.len() >= MAX_AWAITED {
            return Err(UnitsError::Busy);
        }
        waiting.insert(id, (unit, waiter));
        Ok(Waiting { awaited: self, id, answered })
    }

    /// Hands an answer to whoever awaits it; only from the unit that was asked.
    pub(super) fn answer(&self, answered: Option<MessageId>, from: ProcessId, reply: Reply) {
        let Some(id) = answered else { return };
        let mut waiting = locked(&self.waiting);
        if waiting.get(&id).is_some_and(|(unit, _)| *unit == from)
            && let Some((_, waiter)) = waiting.remove(&id)
        {
            // Whoever waited may have given up.
            let _ = waiter.send(reply);
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        locked(&self.waiting).len()
    }
}

impl Waiting<'_> {
    /// The answer; none if there cannot be one any more.
    pub(super) async fn answer(mut self) -> Option<Reply> {
        (&mut self.answered).await.ok()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        locked(&self.awaited.waiting).remove(&self.id);
    }
}
