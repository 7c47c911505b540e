//! Following one rotation: what was told before, then what is told, each once and in order.
//!
//! A client that does not read holds nothing but its place in the one ring of events: when the ring
//! has gone round, it is told to come back, and reads what it missed from the past.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;

use futures_util::Stream;
use futures_util::stream::unfold;
use protocol::RotationId;
use protocol::api::RotationEvent;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// What a follower is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The next event.
    Event(Box<RotationEvent>),
    /// It has been too slow, and is followed no more.
    Lagging,
}

/// Follows one rotation.
pub(crate) struct Follow {
    rotation: RotationId,
    last_seq: u64,
    past: VecDeque<RotationEvent>,
    live: Option<broadcast::Receiver<RotationEvent>>,
}

type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Follow {
    /// After an event; without `live` the rotation has ended, and the past is all there is.
    pub(crate) fn new(
        rotation: RotationId,
        after: u64,
        past: Vec<RotationEvent>,
        live: Option<broadcast::Receiver<RotationEvent>>,
    ) -> Self {
        Self { rotation, last_seq: after, past: past.into(), live }
    }

    /// What is told until the rotation has ended, or until `stop`.
    pub(crate) fn until(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> impl Stream<Item = Told> + Send {
        let stop: Stop = Box::pin(stop);
        unfold((self, stop), |(mut follow, mut stop)| async move {
            let told = follow.next(&mut stop).await?;
            Some((told, (follow, stop)))
        })
    }

    async fn next(&mut self, stop: &mut Stop) -> Option<Told> {
        if let Some(event) = self.past.pop_front() {
            return Some(self.tell(event));
        }
        loop {
            let live = self.live.as_mut()?;
            let received = tokio::select! {
                biased;
                received = live.recv() => received,
                () = &mut *stop => return None,
            };
            match received {
                Ok(event) if self.is_next(&event) => return Some(self.tell(event)),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => {
                    self.live = None;
                    return Some(Told::Lagging);
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Not of another rotation, and not told before.
    fn is_next(&self, event: &RotationEvent) -> bool {
        event.rotation.rotation == self.rotation && event.seq > self.last_seq
    }

    fn tell(&mut self, event: RotationEvent) -> Told {
        self.last_seq = event.seq;
        if event.rotation.phase.is_ended() {
            self.live = None;
        }
        Told::Event(Box::new(event))
    }
}
