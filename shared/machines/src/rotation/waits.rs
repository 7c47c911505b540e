//! Whom a rotation waits for, and for how long it does: for whoever explains it to a person.

use protocol::{ProcessId, UnixMillis};

use super::Rotation;
use super::asking::Asked;
use super::record::Verdict;
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
    /// When the rotation ends by itself, or its end without this unit, if it stays silent; none if it
    /// never does.
    pub ends_at: Option<UnixMillis>,
}

impl Rotation {
    /// Everybody whose answer is awaited.
    pub fn awaited(&self) -> Vec<Awaited> {
        let ends_by_itself = self.may_abort();
        let is_aborting = matches!(self.record.verdict, Verdict::Aborted { .. });
        let awaited = |(who, asked): (&ProcessId, &Asked)| {
            let heard_at = self.last_heard.get(who).copied().filter(|at| *at >= asked.first_at);
            let quiet_since = self.unanswered.get(who).copied();
            let ends = ends_by_itself || (is_aborting && self.is_unit(*who));
            Awaited {
                process: *who,
                command: asked.name,
                since: asked.first_at,
                tries: asked.tries,
                heard_at,
                refusal: asked.refusal.clone(),
                ends_at: quiet_since
                    .filter(|_| ends)
                    .map(|since| since.plus_ms(self.limits.silence_abort_ms)),
            }
        };
        self.asked.iter().map(awaited).collect()
    }

    /// Units that have been silent for so long that the end of the order does not wait for them.
    pub(super) fn given_up(&self) -> Vec<ProcessId> {
        self.manifest
            .crypto_units()
            .map(|member| member.id)
            .filter(|unit| self.is_silent(*unit))
            .collect()
    }

    fn is_unit(&self, who: ProcessId) -> bool {
        self.manifest.crypto_units().any(|member| member.id == who)
    }

    /// Why the rotation is being ended before its decision, if it is.
    pub fn ends_because(&self) -> Option<&str> {
        match &self.record.verdict {
            Verdict::Aborted { because } => Some(because),
            _ => self.pending_abort.as_ref().map(|pending| pending.because.as_str()),
        }
    }
}
