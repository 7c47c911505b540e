//! Making and importing many keys, a page at a time. A page is written whole or not at all, and its
//! keys have ids of ours, so that after a lost answer the gateway can be asked whether it was.

use std::collections::VecDeque;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;
use protocol::key_api::{BatchKey, BatchRequest, BatchWritten, MAX_BATCH};
use tokio::time::Instant;
use zeroize::{Zeroize, Zeroizing};

use super::import::{self, BadLine};
use super::page::Page;
use crate::app::App;
use crate::cli::keys::{CreateArgs, ImportArgs};
use crate::client::CallError;
use crate::client::gateway::Gateway;
use crate::failure::{Exit, Failure, Outcome};
use crate::interrupt::Handling;
use crate::show::progress;
use crate::show::time::{count, counted};

/// Longest pause between two tries of a page.
const MAX_PAUSE_S: u64 = 5;
/// What a gateway answers before it writes anything.
const NEVER_WRITTEN: [&str; 3] =
    ["NOT_INITIALISED_ERR", "MASTER_KEY_ROTATION_IN_PROGRESS_ERR", "TOO_BUSY_ERR"];

/// `keys create`.
pub async fn create(app: &App, args: &CreateArgs) -> Outcome {
    let gateway = app.gateway(&args.bulk.instance).await?;
    let key = |number: u64| BatchKey {
        name: format!("{}-{number:06}", args.name_prefix),
        extractable: args.extractable,
        payload: None,
        id: None,
    };
    let mut work = Bulk::new(app, &gateway, args.count, args.bulk.patience);
    let numbers = args.first..args.first.saturating_add(args.count);
    let written = work.write(numbers.map(key)).await;
    written.map_err(|failure| {
        let done = work.done;
        let rest = format!(
            "keyhelm keys create --count {} --first {} --name-prefix {}{}",
            args.count - done,
            args.first + done,
            args.name_prefix,
            if args.extractable { " --extractable" } else { "" }
        );
        work.name_rest(failure, "made", &rest)
    })?;
    app.ok(format!("{} made.", counted(args.count, "key")))?;
    Ok(())
}

/// `keys import`.
pub async fn import(app: &App, args: &ImportArgs) -> Outcome {
    let text = read(&args.file)?;
    let file = import::parse(&text);
    if !file.bad.is_empty() {
        let failure = bad_lines(&args.file, &file.bad);
        if !args.skip_bad {
            return Err(failure);
        }
        app.warn(format!("{}; they are skipped", failure.what()));
    }
    if file.keys.is_empty() {
        let what = format!("{} has no key to import", args.file.display());
        return Err(Failure::usage(what));
    }
    let gateway = app.gateway(&args.bulk.instance).await?;
    let total = file.keys.len() as u64;
    let mut work = Bulk::new(app, &gateway, total, args.bulk.patience);
    let written = work.write(file.keys.into_iter()).await;
    written.map_err(|failure| {
        let next = "import the lines that are not yet there (keyhelm keys list)";
        work.name_rest(failure, "imported", next)
    })?;
    app.ok(format!("{} imported.", counted(total, "key")))?;
    Ok(())
}

fn read(path: &Path) -> Outcome<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let done = match path.to_str() {
        Some("-") => std::io::stdin().lock().read_to_string(&mut text),
        _ => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)),
    };
    match done {
        Ok(_) => Ok(text),
        Err(error) => {
            let what = format!("{} cannot be read: {error}", path.display());
            Err(Failure::usage(what))
        }
    }
}

fn bad_lines(path: &Path, bad: &[BadLine]) -> Failure {
    let lines: Vec<_> =
        bad.iter().map(|line| format!("  line {}: {}", line.number, line.reason)).collect();
    let count = counted(bad.len() as u64, "bad line");
    let what = format!("{} has {count}\n{}", path.display(), lines.join("\n"));
    Failure::new(Exit::Usage, "bad-lines", what)
        .safe("nothing was sent, no key was imported")
        .next("mend these lines, or give --skip-bad to import the others")
}

/// Pages of keys on their way.
struct Bulk<'a> {
    app: &'a App,
    gateway: &'a Gateway,
    bar: ProgressBar,
    patience: Duration,
    done: u64,
    total: u64,
    /// Whether the page after `done` may have been written.
    is_unknown: bool,
    is_told: bool,
}

impl<'a> Bulk<'a> {
    fn new(app: &'a App, gateway: &'a Gateway, total: u64, patience_s: u32) -> Self {
        let is_shown = !app.is_json() && total > MAX_BATCH as u64;
        let bar = if is_shown { ProgressBar::new(total) } else { ProgressBar::hidden() };
        bar.set_style(progress::style("  {bar:40} {pos}/{len} keys {rate} {eta}"));
        let patience = Duration::from_secs(u64::from(patience_s));
        Self { app, gateway, bar, patience, done: 0, total, is_unknown: false, is_told: false }
    }

    async fn write(&mut self, keys: impl Iterator<Item = BatchKey>) -> Outcome {
        let handling = Handling::begin();
        let written = tokio::select! {
            written = self.pages(keys) => written,
            () = handling.caught() => {
                self.is_unknown = true;
                Err(Failure::new(Exit::Interrupted, "interrupted", "interrupted"))
            }
        };
        self.bar.finish_and_clear();
        written
    }

    async fn pages(&mut self, keys: impl Iterator<Item = BatchKey>) -> Outcome {
        let mut keys = keys.peekable();
        while keys.peek().is_some() {
            let mut page = Page::next(&mut keys);
            let written = self.page(&page).await;
            for key in &mut page.request.keys {
                key.payload.zeroize();
            }
            let written = written?;
            self.done += written.len() as u64;
            self.bar.set_position(self.done);
            for key in &written {
                self.app.object(key)?;
            }
        }
        Ok(())
    }

    /// Writes a page, however often it takes within patience.
    async fn page(&mut self, page: &Page) -> Outcome<VecDeque<BatchWritten>> {
        let begun = Instant::now();
        loop {
            let mut error = match self.gateway.write_batch(&page.request).await {
                Ok(answer) => {
                    self.is_unknown = false;
                    return Ok(answer.keys.into());
                }
                Err(error) => error,
            };
            // A page whose answer was lost may be there: then nothing is to be done again.
            if self.is_unknown && is_duplicate(&error) {
                match page.is_there(self.gateway).await {
                    Ok(is_there) => {
                        self.is_unknown = false;
                        if is_there {
                            return Ok(as_written(&page.request));
                        }
                    }
                    Err(unanswered) => error = unanswered,
                }
            }
            self.is_unknown |= is_answer_lost(&error);
            let Some(pause) = pause_after(&error) else { return Err(stopped(error)) };
            if begun.elapsed() + pause > self.patience {
                return Err(stopped(error));
            }
            if !std::mem::replace(&mut self.is_told, true) {
                self.app.note(format!("Waiting: {}", reason(&error)));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// How far it came, in place of what only says that it stopped.
    fn name_rest(&self, failure: Failure, verb: &str, next: &str) -> Failure {
        if failure.exit() == Exit::ReaderGone {
            return failure;
        }
        let (done, total) = (count(self.done), count(self.total));
        let unknown = match self.is_unknown {
            true => "; whether the page after them was is not known",
            false => "",
        };
        let what = format!("{done} of {total} keys were {verb}{unknown}: {}", failure.what());
        let safe = "what is there stays; a page is written whole or not at all";
        Failure::new(failure.exit(), "bulk-stopped", what).safe(safe).next(next)
    }
}

/// A gateway that names a time to come again has refused for now only: not finished, rather than
/// failed.
fn stopped(error: CallError) -> Failure {
    match error {
        CallError::Refused(refused) if refused.retry_after_s.is_some() => {
            Failure::new(Exit::Unfinished, &refused.code, refused.detail)
        }
        other => other.into(),
    }
}

/// Whether the gateway has a key of the page already.
fn is_duplicate(error: &CallError) -> bool {
    matches!(error, CallError::Refused(refused) if refused.code == "KEY_ALREADY_EXISTS_ERR")
}

/// Whether the page may have been written all the same: a connection that broke, or a gateway that lost its
/// key storage while that was committing.
fn is_answer_lost(error: &CallError) -> bool {
    match error {
        CallError::Refused(refused) => {
            refused.status >= 500 && !NEVER_WRITTEN.contains(&refused.code.as_str())
        }
        CallError::Unreachable(_) | CallError::Unreadable(_) => true,
    }
}

fn as_written(page: &BatchRequest) -> VecDeque<BatchWritten> {
    let written = |key: &BatchKey| Some(BatchWritten { id: key.id?, name: key.name.clone() });
    page.keys.iter().filter_map(written).collect()
}

/// How long to wait before the same page once more; none if that would not help. A gateway that
/// names a time (a rotation closes the gate) is asked again after it.
fn pause_after(error: &CallError) -> Option<Duration> {
    match error {
        CallError::Refused(refused) => {
            refused.retry_after_s.map(|seconds| Duration::from_secs(seconds.clamp(1, MAX_PAUSE_S)))
        }
        CallError::Unreachable(_) => Some(Duration::from_secs(1)),
        CallError::Unreadable(_) => None,
    }
}

fn reason(error: &CallError) -> String {
    match error {
        CallError::Refused(refused) => refused.detail.clone(),
        CallError::Unreachable(text) | CallError::Unreadable(text) => text.clone(),
    }
}
