//! Whom a rotation waits for, and for how long it does: for whoever explains it to a person.

use protocol::{ProcessId, UnixMillis};

use super::record::Verdict;
use super::{Asked, Rotation};
use protocol::report::Refusal;

/// Somebody whose answer is awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// Who.
    pub process: ProcessId,
    /// For what.
    pub command: &'static str,
    /// When it was asked first.
    pub since: UnixMillis,
    /// How often it has been asked.
    pub tries: u32,
    /// When it last said anything, if ever since it was asked.
    pub heard_at: Option<UnixMillis>,
    /// What it last refused with.
    pub refusal: Option<Refusal>,
    /// When the rotation ends by itself if it stays silent; none if it never does.
    pub ends_at: Option<UnixMillis>,
}

impl Rotation {
    /// Everybody whose answer is awaited.
    pub fn awaited(&self) -> Vec<Awaited> {
        let is_open = self.record.verdict == Verdict::Open && self.pending_abort.is_none();
        let awaited = |(who, asked): (&ProcessId, &Asked)| {
            let heard_at = self.last_heard.get(who).copied().filter(|at| *at >= asked.first_at);
            let quiet_since = heard_at.unwrap_or(asked.first_at);
            Awaited {
                process: *who,
                command: asked.name,
                since: asked.first_at,
                tries: asked.tries,
                heard_at,
                refusal: asked.refusal.clone(),
                ends_at: is_open.then(|| quiet_since.plus_ms(self.limits.silence_abort_ms)),
            }
        };
        self.asked.iter().map(awaited).collect()
    }

    /// Why the rotation is being ended before its decision, if it is.
    pub fn ends_because(&self) -> Option<&str> {
        match &self.record.verdict {
            Verdict::Aborted { because } => Some(because),
            _ => self.pending_abort.as_ref().map(|pending| pending.because.as_str()),
        }
    }
}
