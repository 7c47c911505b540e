//! Whom a rotation waits for, and for how long it does: for whoever explains it to a person.

use protocol::report::{Refusal, Standing};
use protocol::{ProcessId, UnixMillis};

use super::Rotation;
use super::asking::Asked;
use super::record::Verdict;

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
    /// A unit that has promoted, and does not take the newest manifest: one that it lacks does not amend the
    /// rotation. It neither sees who has taken the place of a member that was lost, nor obeys it.
    pub is_shut_out: bool,
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
                is_shut_out: self.is_shut_out(*who),
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

    fn is_shut_out(&self, who: ProcessId) -> bool {
        let Some(report) = self.units.get(&who).map(|held| &held.report) else { return false };
        let has_promoted =
            report.in_order(&self.reference).is_some_and(|it| it.standing == Standing::Promoted);
        has_promoted && !self.is_only_amended() && report.manifest_serial <= self.amended_to()
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
