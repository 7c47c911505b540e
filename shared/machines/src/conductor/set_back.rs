//! Noticing that a unit's state was set back, and reminding it of its own report from before.

use std::collections::VecDeque;

use protocol::command::Command;
use protocol::report::{Answering, UnitReport};
use protocol::{MessageId, ProcessId, UnixMillis};
use rand::CryptoRng;

use super::{Conductor, Effects, Message};
use crate::rotation::record::{LatestReport, Record};

/// How many of the last messages to each process are known: one that is slow may answer an earlier one than
/// the last.
const MAX_SENT: usize = 16;

/// What was sent to somebody.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// The last messages, the newest last.
    messages: VecDeque<MessageId>,
    /// The highest state counter heard of a unit when the last one was sent.
    highest: u64,
}

impl Sent {
    fn is_last(&self, message: Option<MessageId>) -> bool {
        message.is_some() && self.messages.back().copied() == message
    }
}

impl Conductor {
    /// Notes what is sent to somebody, and how far a unit had come as far as it has said until then.
    pub(super) fn note_sent(&mut self, message: &Message) {
        let sent = self.sent.entry(message.to).or_default();
        sent.highest = self.heard.highest_counter(message.to);
        sent.messages.push_back(message.id);
        if sent.messages.len() > MAX_SENT {
            sent.messages.pop_front();
        }
    }

    /// Whether a report answers what this process has asked its sender: one that does not may have lain in
    /// the queue of a coordinator that is no more, and says nothing of how its sender stands now.
    pub(super) fn has_asked(&self, sender: ProcessId, answering: Option<&Answering>) -> bool {
        let sent = self.sent.get(&sender);
        let answered = answering.map(|answering| answering.message);
        answered.is_some_and(|message| sent.is_some_and(|sent| sent.messages.contains(&message)))
    }

    /// Whether a report answers the last message to its unit with a lower state counter than had been
    /// heard when that was sent, or with as high a one and another state: it has saved as often again.
    /// Late answers to earlier ones say nothing.
    pub(super) fn is_set_back(&self, report: &UnitReport) -> bool {
        let answered = report.answering.as_ref().map(|answering| answering.message);
        let known = self.heard.highest(report.unit).map(|(known, _)| known);
        let is_other = known.is_some_and(|known| {
            known.state_counter == report.state_counter && !known.is_of_same_state(report)
        });
        let is_lower = |sent: &Sent| {
            let is_back = report.state_counter < sent.highest
                || (report.state_counter == sent.highest && is_other)
                || report.set_back_from.is_some();
            sent.is_last(answered) && is_back
        };
        self.sent.get(&report.unit).is_some_and(is_lower)
    }

    /// Shows a unit its own report, unless it knows already.
    pub(super) fn remind<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        report: &UnitReport,
        effects: &mut Effects,
    ) {
        let unit: ProcessId = report.unit;
        let answered = report.answering.as_ref().map(|answering| answering.message);
        // One without a manifest serves nothing, and is named for that.
        if report.facts.is_imprint {
            return;
        }
        // One that does not take the reminder is shown it again with the next message that it
        // answers, not at once and for ever.
        let is_reminded = answered.is_some() && self.reminded.get(&unit).copied() == answered;
        if is_reminded || report.set_back_from >= Some(self.heard.highest_counter(unit)) {
            return;
        }
        let Some(before) = self.heard.highest(unit).map(|(_, report)| report.to_vec()) else {
            return;
        };
        let message = self.seal_reminder(now, rng, unit, before);
        self.note_sent(&message);
        effects.send.push(message);
    }

    pub(super) fn seal_reminder<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        unit: ProcessId,
        report: Vec<u8>,
    ) -> Message {
        let message = self.seal_unit(now, rng, unit, &Command::Remind { report });
        self.reminded.insert(unit, message.id);
        message
    }

    /// Notes whether a unit knows as much of itself as it has said before, by its answer.
    pub(super) fn note_awareness(&mut self, report: &UnitReport, is_set_back: bool) {
        let Some(answered) = report.answering.as_ref().map(|answering| answering.message) else {
            return;
        };
        let is_last = self.sent.get(&report.unit).is_some_and(|sent| sent.is_last(Some(answered)));
        let knows = report.set_back_from >= Some(self.heard.highest_counter(report.unit));
        // No other reminder would move who has just answered one.
        let is_reminded = self.reminded.get(&report.unit) == Some(&answered);
        if is_set_back && !knows && !is_reminded && !report.facts.is_imprint {
            self.unaware.insert(report.unit);
        } else if is_last || knows || is_reminded {
            self.unaware.remove(&report.unit);
        }
    }

    /// The reminder that a unit gets instead of this command: it does not know yet that its state was set
    /// back, and what it saves now could count past what it had said. Nobody would notice it any more.
    pub(super) fn reminder_first(&self, unit: ProcessId, command: &Command) -> Option<Vec<u8>> {
        let saves = !matches!(command, Command::Survey { .. });
        let highest = self.heard.highest(unit).filter(|_| saves && self.unaware.contains(&unit));
        highest.map(|(_, report)| report.to_vec())
    }

    /// The record goes on with the highest counters that were ever heard: they outlive the rotation
    /// that they were heard in.
    pub(super) fn note_highest(&self, record: &mut Record) {
        let units = self.trust.newest().into_iter().flat_map(|manifest| manifest.crypto_units());
        let latest = units.filter_map(|unit| {
            let (report, envelope) = self.heard.highest(unit.id)?;
            let state_counter = report.state_counter;
            Some(LatestReport { unit: unit.id, state_counter, envelope: envelope.to_vec() })
        });
        record.latest = latest.collect();
    }

    /// What the record has kept counts as heard.
    pub(super) fn remember(&mut self, record: &Record) {
        for latest in &record.latest {
            self.heard.remember(&latest.envelope);
        }
    }
}
