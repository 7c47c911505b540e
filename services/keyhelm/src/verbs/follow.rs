//! Watching a rotation to its end: by events, else by asking; over lost connections, until patience
//! ends. A rotation goes on whether anybody watches or not.

use std::time::Duration;

use futures_util::StreamExt;
use protocol::api::{RotationEvent, RotationView};
use protocol::audit::Phase;
use protocol::{RotationId, UnixMillis};
use serde_json::json;
use tokio::time::Instant;

use crate::app::App;
use crate::cli::rotation::WatchArgs;
use crate::client::CallError;
use crate::client::coordinator::Coordinator;
use crate::client::sse::SseParser;
use crate::failure::{Exit, Failure, Outcome};
use crate::interrupt::Handling;
use crate::show::progress::Progress;

/// A stream that is silent for this long is looked after.
const SILENCE: Duration = Duration::from_secs(5);
/// First and longest pause between two tries.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How a watched rotation ended.
#[derive(Debug)]
pub enum End {
    /// Well, or by an abort: the view says which.
    Ended(RotationView),
    /// Everything is done but the clear, which is held until then.
    Held(RotationView, UnixMillis),
}

/// Watches one rotation.
pub struct Follow<'a> {
    app: &'a App,
    coordinator: &'a Coordinator,
    args: &'a WatchArgs,
    /// Whether a hold before the clear is an end: the new master key is in use then.
    ends_at_hold: bool,
    /// Whether events are left alone.
    is_asking_only: bool,
    progress: Progress,
    last_event: Option<String>,
    shown: Option<RotationView>,
}

impl<'a> Follow<'a> {
    /// Watches for whoever asked with these arguments.
    pub fn new(
        app: &'a App,
        coordinator: &'a Coordinator,
        args: &'a WatchArgs,
        ends_at_hold: bool,
    ) -> Self {
        let (progress, last_event, shown) = (Progress::new(), None, None);
        let is_asking_only = false;
        Self { app, coordinator, args, ends_at_hold, is_asking_only, progress, last_event, shown }
    }

    /// Asks how the rotation stands, and listens to no events: those of its past may tell of an end.
    pub const fn by_asking(mut self) -> Self {
        self.is_asking_only = true;
        self
    }

    /// Watches from this view on to the end.
    pub async fn to_end(mut self, start: RotationView) -> Outcome<End> {
        let id = start.rotation;
        let timeout = self.args.timeout.map(|seconds| Duration::from_secs(u64::from(seconds)));
        let deadline = async move {
            match timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        let handling = Handling::begin();
        let ended = tokio::select! {
            ended = self.watch(start) => ended,
            () = handling.caught() => Err(interrupted(id)),
            () = deadline => Err(unfinished(id)),
        };
        self.progress.end();
        ended
    }

    async fn watch(&mut self, start: RotationView) -> Outcome<End> {
        let id = start.rotation;
        if let Some(end) = self.take(start, None)? {
            return Ok(end);
        }
        let (mut pause, longest) = PAUSE;
        let mut lost_at: Option<Instant> = None;
        loop {
            // The event that says until when waits for every unit: it is asked for meanwhile.
            if !self.is_asking_only
                && !self.is_at_hold()
                && let Some(end) = self.stream(id).await?
            {
                return Ok(end);
            }
            match self.coordinator.rotation(id).await {
                Ok(view) => {
                    if lost_at.take().is_some() {
                        self.say("connected again");
                    }
                    pause = PAUSE.0;
                    if let Some(end) = self.take(view, None)? {
                        return Ok(end);
                    }
                }
                Err(error) if error.is_passing() => {
                    let since = *lost_at.get_or_insert_with(|| {
                        self.say("the coordinator does not answer; trying again");
                        Instant::now()
                    });
                    let patience = Duration::from_secs(u64::from(self.args.patience));
                    if since.elapsed() >= patience {
                        return Err(lost(id, error));
                    }
                    pause = (pause * 2).min(longest);
                }
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Reads events until the stream ends, breaks or falls silent; `None` then. A server without
    /// streams is asked in place of that.
    async fn stream(&mut self, id: RotationId) -> Outcome<Option<End>> {
        let after = self.last_event.clone();
        // The answer begins at once, or never: its coordinator may have died over it.
        let asked = self.coordinator.events(id, after.as_deref());
        let Ok(Ok(response)) = tokio::time::timeout(SILENCE, asked).await else {
            return Ok(None);
        };
        let mut chunks = response.bytes_stream();
        let mut parser = SseParser::default();
        while let Ok(Some(Ok(chunk))) = tokio::time::timeout(SILENCE, chunks.next()).await {
            let Ok(events) = parser.feed(&chunk) else { return Ok(None) };
            for event in events {
                let Ok(found) = serde_json::from_str::<RotationEvent>(&event.data) else {
                    continue;
                };
                self.last_event = event.id.or_else(|| Some(found.seq.to_string()));
                if let Some(end) = self.take(found.rotation, Some(&found.text))? {
                    return Ok(Some(end));
                }
                if self.is_at_hold() {
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// Shows how it stands; gives its end.
    fn take(&mut self, view: RotationView, text: Option<&str>) -> Outcome<Option<End>> {
        let is_news = text.is_some() || self.shown.as_ref() != Some(&view);
        match self.app.is_json() {
            true if is_news => {
                let line = json!({ "type": "progress", "text": text, "rotation": view });
                self.app.object(&line)?;
            }
            true => {}
            false => self.progress.show_at(&view, service::now()),
        }
        self.shown = Some(view.clone());
        Ok(match view.hold_until {
            _ if view.phase.is_ended() => Some(End::Ended(view)),
            Some(until) if self.is_at_hold() => Some(End::Held(view, until)),
            _ => None,
        })
    }

    fn is_at_hold(&self) -> bool {
        let phase = self.shown.as_ref().map(|view| view.phase);
        self.ends_at_hold && phase == Some(Phase::HoldBeforeClear)
    }

    fn say(&self, text: &str) {
        if !self.app.is_json() {
            self.progress.say(&format!("  {text}"));
        }
    }
}

fn interrupted(id: RotationId) -> Failure {
    let what = format!("you have stopped watching; rotation {id} goes on without this command");
    Failure::new(Exit::Interrupted, "interrupted", what)
        .safe(format!(
            "keys stay readable; before its decision `keyhelm abort {id}` ends it with nothing \
             changed"
        ))
        .next(format!("keyhelm rotations {id} --follow"))
}

fn unfinished(id: RotationId) -> Failure {
    let what = format!("rotation {id} has not ended in the time given; it goes on");
    Failure::new(Exit::Unfinished, "timeout", what).next(format!("keyhelm rotations {id}"))
}

fn lost(id: RotationId, error: CallError) -> Failure {
    let error = Failure::from(error);
    let what = format!("how rotation {id} stands is not known: {}", error.what());
    Failure::new(Exit::Unreachable, "state-unknown", what)
}
