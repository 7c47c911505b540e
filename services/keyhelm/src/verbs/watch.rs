//! `watch`: the live screen, one frame of it as text, or its changes for programs.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use protocol::api::InstanceView;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;
use crate::cli::screen::ScreenArgs;
use crate::client::coordinator::Coordinator;
use crate::failure::{Exit, Failure, Outcome};
use crate::interrupt::Handling;
use crate::watch::board::{Board, Subject};
use crate::watch::feed::Feed;
use crate::watch::input::Input;
use crate::watch::journal::Journal;
use crate::watch::model::{Leave, Model};
use crate::watch::screen;
use crate::watch::terminal::{self, Screen, Signals};

/// How often the times on the screen go on.
const TICK: Duration = Duration::from_millis(250);
/// Most news that wait to be shown.
const MAX_WAITING: usize = 256;
/// Columns of a frame as text where nothing says how many there are.
const COLUMNS: u16 = 80;

/// `watch`.
pub async fn run(app: &App, args: &ScreenArgs) -> Outcome {
    let coordinator = app.coordinator()?;
    let instance = app.one_instance(&coordinator, &args.instance).await?;
    let subject = Subject {
        server: coordinator.http.url().to_owned(),
        instance: instance.name.clone(),
        every: args.every,
    };
    match (args.once, app.is_json()) {
        (false, true) => changes(feed_of(coordinator, &instance, args)).await,
        (false, false) if terminal::is_usable() => {
            live(subject, feed_of(coordinator, &instance, args)).await
        }
        _ => once(app, &coordinator, &instance, subject).await,
    }
}

type Fed = (Feed, mpsc::Receiver<Input>);

fn feed_of(coordinator: Coordinator, instance: &InstanceView, args: &ScreenArgs) -> Fed {
    let (to, news) = mpsc::channel(MAX_WAITING);
    let (instance, every, phase_began) = (instance.id, args.every, Notify::new());
    (Feed { coordinator, instance, every, to, phase_began }, news)
}

/// One frame as text, or one object.
async fn once(
    app: &App,
    coordinator: &Coordinator,
    instance: &InstanceView,
    subject: Subject,
) -> Outcome {
    let units = coordinator.units(instance.id).await?;
    let newest = coordinator.rotations(instance.id, 1).await?.into_iter().next();
    let server = &subject.server;
    app.object(&json!({
        "type": "frame", "at": service::now(), "server": server, "instance": instance,
        "units": units, "rotation": newest,
    }))?;
    let now = service::now();
    let mut board = Board::new(subject, now);
    board.take(Input::Units(Box::new(units)), now);
    board.take(Input::Rotation(newest.map(Box::new)), now);
    board.tell_phases();
    app.line(screen::plain(&board, columns()).trim_end())?;
    Ok(())
}

fn columns() -> u16 {
    let said = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal::columns().or_else(said).unwrap_or(COLUMNS).max(screen::LEAST.0)
}

/// An object for every change, until whoever reads has gone.
async fn changes((feed, mut news): Fed) -> Outcome {
    let _handling = Handling::begin();
    let mut signals = Signals::take()?;
    let mut journal = Journal::default();
    let mut feed = std::pin::pin!(feed.run());
    loop {
        let input = tokio::select! {
            failure = &mut feed => return Err(failure),
            () = signals.any() => return Err(interrupted()),
            input = news.recv() => input,
        };
        let Some(input) = input else { continue };
        if !written(&journal.take(input, service::now()))? {
            return Ok(());
        }
    }
}

/// Writes objects, a line each; whether anybody reads them.
fn written(objects: &[Value]) -> Outcome<bool> {
    let mut out = std::io::stdout().lock();
    let mut write = || {
        objects.iter().try_for_each(|object| writeln!(out, "{object}"))?;
        out.flush()
    };
    match write() {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The screen, until the person has seen enough.
async fn live(subject: Subject, (feed, mut news): Fed) -> Outcome {
    let _handling = Handling::begin();
    let mut signals = Signals::take()?;
    let mut screen = Screen::take(terminal::palette())?;
    let mut model = Model::new(subject, service::now(), screen.size()?);
    let mut person = terminal::inputs();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut feed = std::pin::pin!(feed.run());
    loop {
        screen.show(&model)?;
        let input = tokio::select! {
            failure = &mut feed => return Err(failure),
            () = signals.any() => return Err(interrupted()),
            input = person.recv() => match input {
                Some(input) => input,
                // The terminal is gone.
                None => return Err(interrupted()),
            },
            Some(input) = news.recv() => input,
            _ = ticks.tick() => Input::Tick,
        };
        model.take(input, service::now());
        // All that is there is taken before the next frame, so that a slow terminal lags nothing.
        while let Ok(input) = person.try_recv().or_else(|_| news.try_recv()) {
            model.take(input, service::now());
        }
        match model.leave() {
            None => {}
            Some(Leave::Quit) => return Ok(()),
            Some(Leave::Interrupted) => return Err(interrupted()),
        }
    }
}

fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted", "you have stopped watching")
        .safe("nothing has changed; a rotation goes on without this command")
        .next("keyhelm watch")
}
