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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::StreamExt;
    use protocol::audit::Phase;
    use protocol::order::Purpose;
    use protocol::{InstanceId, OrderNumber, UnixMillis};

    use super::*;

    fn event(rotation: RotationId, seq: u64, phase: Phase) -> RotationEvent {
        let view = protocol::api::RotationView {
            rotation,
            instance: InstanceId::named("test"),
            number: OrderNumber::default(),
            purpose: Purpose::Rotate,
            phase,
            is_decided: false,
            from: None,
            to: None,
            started_at: UnixMillis(0),
            finished_at: None,
            phases: Vec::new(),
            keys_done: 0,
            keys_total: 0,
            keys_quarantined: 0,
            verify_all: false,
            units_done: 0,
            units_total: 0,
            gate_closed_ms: None,
            waiting_for: Vec::new(),
            aborted_because: None,
            trace_id: None,
            receipt: None,
            hold_until: None,
        };
        RotationEvent { seq, at: UnixMillis(seq), rotation: view, text: String::new() }
    }

    fn numbers(told: &[Told]) -> Vec<u64> {
        let number = |told: &Told| match told {
            Told::Event(event) => event.seq,
            Told::Lagging => 0,
        };
        told.iter().map(number).collect()
    }

    const ONE: RotationId = RotationId::from_bytes([1; 16]);
    const OTHER: RotationId = RotationId::from_bytes([2; 16]);

    #[tokio::test]
    async fn what_lies_in_the_past_and_comes_live_too_is_told_once() {
        let (sender, live) = broadcast::channel(16);
        let past: Vec<_> = (1..=3).map(|seq| event(ONE, seq, Phase::Generate)).collect();
        for seq in 2..=4 {
            sender.send(event(ONE, seq, Phase::Generate)).unwrap();
            sender.send(event(OTHER, seq + 10, Phase::Done)).unwrap();
        }
        sender.send(event(ONE, 5, Phase::Done)).unwrap();
        sender.send(event(ONE, 6, Phase::Done)).unwrap();
        let follow = Follow::new(ONE, 0, past, Some(live));
        let told: Vec<_> = follow.until(std::future::pending()).collect().await;
        assert_eq!(numbers(&told), [1, 2, 3, 4, 5]);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_told_to_come_back_and_let_go() {
        let (sender, live) = broadcast::channel(4);
        for seq in 1..=9 {
            sender.send(event(ONE, seq, Phase::Generate)).unwrap();
        }
        let follow = Follow::new(ONE, 0, Vec::new(), Some(live));
        let told: Vec<_> = follow.until(std::future::pending()).collect().await;
        assert_eq!(told, [Told::Lagging]);
    }

    #[tokio::test]
    async fn what_was_told_before_a_stop_is_still_heard() {
        let (sender, live) = broadcast::channel(4);
        sender.send(event(ONE, 1, Phase::Generate)).unwrap();
        let follow = Follow::new(ONE, 0, Vec::new(), Some(live));
        let told: Vec<_> = follow.until(std::future::ready(())).collect().await;
        assert_eq!(numbers(&told), [1]);
    }
}
