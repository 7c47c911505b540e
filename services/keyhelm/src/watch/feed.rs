//! Asks the coordinator, again and again, and passes on what it says. One that is away is asked less
//! and less often until it is there again.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use protocol::api::{RotationEvent, RotationView};
use protocol::{InstanceId, RotationId};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::input::{Asked, Input, Lost};
use crate::client::CallError;
use crate::client::coordinator::Coordinator;
use crate::client::sse::SseParser;
use crate::failure::Failure;

/// How often a rotation that runs is asked for: events tell its phases, not how many keys are done.
const RUNNING: Duration = Duration::from_millis(500);
/// How often the newest rotation is asked for while none runs, at most.
const IDLE: Duration = Duration::from_secs(1);
/// Units are asked out of turn when a phase has begun, but not sooner than this after the last time.
const OUT_OF_TURN: Duration = Duration::from_millis(500);
/// First and longest pause before an answer that did not come is asked for again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// Longest wait for an answer. A survey of silent units takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// A stream that is silent for longer is dead: a living one says something every 15 s.
const SILENCE: Duration = Duration::from_secs(40);

/// Asks about one instance.
#[derive(Debug)]
pub struct Feed {
    /// Who is asked.
    pub coordinator: Coordinator,
    /// About what.
    pub instance: InstanceId,
    /// How often units are asked.
    pub every: Duration,
    /// Who is told.
    pub to: mpsc::Sender<Input>,
    /// Says that a phase has begun.
    pub phase_began: Notify,
}

impl Feed {
    /// Asks until that is not permitted any more.
    pub async fn run(self) -> Failure {
        let (newest, follower) = watch::channel(None);
        tokio::select! {
            failure = self.units() => failure,
            failure = self.rotations(&newest) => failure,
            () = self.events(follower) => Failure::from(anyhow::anyhow!("the watch has ended")),
        }
    }

    async fn units(&self) -> Failure {
        let mut pause = PAUSE.0;
        loop {
            let found = self.ask(Asked::Units, &mut pause, self.coordinator.units(self.instance));
            match found.await {
                Ok(Some(view)) => {
                    self.tell(Input::Units(Box::new(view))).await;
                    let out_of_turn = async {
                        sleep(OUT_OF_TURN).await;
                        self.phase_began.notified().await;
                    };
                    tokio::select! {
                        () = sleep(self.every) => {}
                        () = out_of_turn => {}
                    }
                }
                Ok(None) => {}
                Err(failure) => return failure,
            }
        }
    }

    async fn rotations(&self, newest: &watch::Sender<Option<RotationId>>) -> Failure {
        let mut pause = PAUSE.0;
        let mut open = None;
        loop {
            match self.ask(Asked::Rotation, &mut pause, self.newest(open)).await {
                Ok(Some(view)) => {
                    open = view.as_ref().filter(|view| !view.phase.is_ended()).map(id);
                    newest.send_replace(view.as_ref().map(id));
                    self.tell(Input::Rotation(view.map(Box::new))).await;
                    sleep(if open.is_some() { RUNNING } else { IDLE.min(self.every) }).await;
                }
                Ok(None) => open = None,
                Err(failure) => return failure,
            }
        }
    }

    /// The rotation that runs, where one is known; else the last one of the instance.
    async fn newest(&self, open: Option<RotationId>) -> Result<Option<RotationView>, CallError> {
        match open {
            Some(id) => self.coordinator.rotation(id).await.map(Some),
            None => Ok(self.coordinator.rotations(self.instance, 1).await?.into_iter().next()),
        }
    }

    /// Waits for an answer. None came: it has been told, and the pause before the next try is over.
    async fn ask<T>(
        &self,
        asked: Asked,
        pause: &mut Duration,
        answer: impl Future<Output = Result<T, CallError>>,
    ) -> Result<Option<T>, Failure> {
        let because = match timeout(PATIENCE, answer).await {
            Ok(Ok(found)) => {
                *pause = PAUSE.0;
                return Ok(Some(found));
            }
            Ok(Err(error)) if is_for_good(&error) => return Err(error.into()),
            // Where it is stands on the screen already.
            Ok(Err(error)) => {
                let place = format!(" at {}", self.coordinator.http.url());
                Failure::from(error).what().replacen(&place, "", 1)
            }
            Err(_) => format!("the coordinator has not answered for {} s", PATIENCE.as_secs()),
        };
        let ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let again_at = service::now().plus_ms(ms);
        self.tell(Input::Lost(Lost { asked, because, again_at })).await;
        sleep(*pause).await;
        *pause = (*pause * 2).min(PAUSE.1);
        Ok(None)
    }

    /// Follows one rotation after the other, each to its end.
    async fn events(&self, mut newest: watch::Receiver<Option<RotationId>>) {
        loop {
            let id = *newest.borrow_and_update();
            if let Some(id) = id {
                self.follow(id).await;
            }
            // A rotation that is told of again and again is followed once.
            if newest.wait_for(|found| *found != id).await.is_err() {
                return;
            }
        }
    }

    /// Passes on all events of a rotation, over as many streams as it takes. Whether the coordinator
    /// is there is found by asking, so nothing is said of a stream that breaks.
    async fn follow(&self, rotation: RotationId) {
        let mut last = None;
        let mut pause = PAUSE.0;
        loop {
            match self.coordinator.events(rotation, last.as_deref()).await {
                Ok(response) if response.status() == reqwest::StatusCode::NO_CONTENT => return,
                Ok(response) => {
                    let before = last.clone();
                    if self.stream(response, &mut last).await {
                        return;
                    }
                    if last != before {
                        pause = PAUSE.0;
                    }
                }
                Err(error) if error.is_passing() => {}
                Err(_) => return,
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Passes on one stream; whether the rotation has ended by it.
    async fn stream(&self, response: reqwest::Response, last: &mut Option<String>) -> bool {
        let mut chunks = response.bytes_stream();
        let mut parser = SseParser::default();
        while let Ok(Some(Ok(chunk))) = timeout(SILENCE, chunks.next()).await {
            let Ok(events) = parser.feed(&chunk) else { return false };
            for event in events {
                let Ok(found) = serde_json::from_str::<RotationEvent>(&event.data) else {
                    continue;
                };
                *last = event.id.or_else(|| Some(found.seq.to_string()));
                let is_ended = found.rotation.phase.is_ended();
                self.tell(Input::Event(Box::new(found))).await;
                self.phase_began.notify_one();
                if is_ended {
                    return true;
                }
            }
        }
        false
    }

    /// Whoever listened may have gone; then this is stopped too.
    async fn tell(&self, input: Input) {
        let _ = self.to.send(input).await;
    }
}

const fn id(view: &RotationView) -> RotationId {
    view.rotation
}

/// Asking again is of no use: the token is not good for it.
fn is_for_good(error: &CallError) -> bool {
    matches!(error, CallError::Refused(refused) if matches!(refused.status, 401 | 403))
}
