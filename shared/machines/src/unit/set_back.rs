//! A unit whose saved state is an older one than it has signed reports of: its volume was restored,
//! or a snapshot brought back. It cannot know by itself, so it is shown its own report, and from then
//! on serves nothing until it has come as far again.

use crypto::identity;
use protocol::codec;
use protocol::envelope::Kind;
use protocol::order::{Order, OrderRef};
use protocol::report::{Registers, Standing, UnitReport};

use super::refusal::UnitRefusal;
use super::state::TakenRotation;
use super::{Done, Unit};
use crate::certificate::reached;
use crate::{envelope, leave};

/// A report of the unit's own that its state lags behind.
#[derive(Clone, Debug)]
pub struct Reminder {
    /// The envelope, as the unit signed it.
    pub envelope: Vec<u8>,
    /// The report in it.
    pub report: UnitReport,
}

impl Reminder {
    /// Reads what was saved, where it was verified before.
    pub fn from_saved(envelope: Vec<u8>) -> Option<Self> {
        let report = envelope::unverified(&envelope)?;
        Some(Self { envelope, report })
    }

    /// How the unit stood in this order, if it had taken it.
    pub fn stood(&self, order: &OrderRef) -> Option<Standing> {
        self.report.in_order(order).map(|found| found.standing)
    }

    /// Whether a new master key had been drawn or installed in this order.
    pub fn had_key(&self, order: &OrderRef) -> bool {
        reached(&self.report, order).is_some_and(|(_, pattern)| pattern.is_some())
    }
}

impl Unit {
    /// Takes a report of its own, signed by itself, with a higher state counter than it has, or with as high
    /// a one and another state: it has saved as often again since it was set back.
    pub(super) fn remind(&mut self, bytes: &[u8]) -> Result<Done, UnitRefusal> {
        let refuse = |reason| Err(UnitRefusal::Reminder(reason));
        let Ok(opened) = envelope::open_own(bytes, &self.identity.public_key()) else {
            return refuse("it is not signed by this unit");
        };
        let is_own = opened.header.kind == Kind::UnitReport
            && opened.header.instance == self.state.trust.instance()
            && opened.header.sender == identity::process_id(&self.identity.public_key());
        let report: UnitReport = match codec::decode(opened.body) {
            Ok(report) if is_own => report,
            _ => return refuse("it is no report of this unit"),
        };
        let known = self.state.reminder.as_ref().map_or(0, |held| held.report.state_counter);
        let counter = self.state.counter;
        let is_other = report.state_counter == counter
            && report.set_back_from.is_none()
            && !report.is_of_same_state(&self.report(report.facts.clock, None));
        if report.state_counter <= known || (report.state_counter <= counter && !is_other) {
            return Ok(Done::BEFORE);
        }
        let reminder = Reminder { envelope: bytes.to_vec(), report };
        if let Some(taken) = &mut self.state.rotation
            && taken.standing == Standing::Bound
            && reminder.stood(&taken.reference) == Some(Standing::Aborted)
        {
            taken.standing = Standing::Aborted;
            taken.transport = None;
            self.state.new = None;
        }
        self.state.reminder = Some(reminder);
        Ok(Done::CHANGED)
    }

    /// How the unit stood in this order before its state was set back, as far as it knows: a unit does
    /// at most one of promote and abort in a rotation, whatever it has forgotten of it.
    pub(super) fn had_stood(&self, order: &OrderRef) -> Option<Standing> {
        self.state.reminder.as_ref().and_then(|reminder| reminder.stood(order))
    }

    /// Lets go of the reminder once the unit is as far as the report in it shows. Its counter goes on
    /// above that of the report, so that nobody takes it for set back any more.
    pub(super) fn catch_up(&mut self) {
        self.remember_aborted();
        let Some(reminder) = self.state.reminder.as_ref().filter(|_| self.is_as_far_again()) else {
            return;
        };
        self.state.counter = self.state.counter.max(reminder.report.state_counter + 1);
        self.state.reminder = None;
    }

    /// An order that the unit had ended before it was set back is ended in it again, once it is not bound to
    /// another one.
    fn remember_aborted(&mut self) {
        let had = self.state.reminder.as_ref().and_then(|held| held.report.rotation.as_ref());
        let Some(had) = had.filter(|had| had.standing == Standing::Aborted) else { return };
        let number = self.state.rotation.as_ref().map(|taken| taken.reference.number);
        let Ok((order, reference)) = leave::read(&had.signed_order) else { return };
        if self.state.is_in_rotation() || number >= Some(reference.number) {
            return;
        }
        let signed_order = had.signed_order.clone();
        self.state.rotation = Some(TakenRotation::aborted(signed_order, order, reference));
    }

    fn is_as_far_again(&self) -> bool {
        let state = &self.state;
        let Some(then) = state.reminder.as_ref().map(|reminder| &reminder.report) else {
            return true;
        };
        if state.trust.serial() < then.manifest_serial {
            return false;
        }
        let registers = state.registers();
        let Some(had_taken) = &then.rotation else {
            return registers.current == then.registers.current;
        };
        let Some(taken) = &state.rotation else { return false };
        if taken.reference != had_taken.order {
            // A later order is taken only by whoever holds the master key that it goes from, but
            // remembered as ended by anybody; who is to get it back by an order has it at its end.
            let recovers = taken.order.purpose.recovery();
            let is_target = recovers.is_some_and(|recovery| recovery.target == self.id);
            let is_taken = match taken.standing {
                Standing::Aborted => has_current(&registers, then),
                Standing::Bound => !is_target && follows(&then.registers, &taken.order),
                Standing::Promoted | Standing::Cleared => true,
            };
            return taken.reference.number > had_taken.order.number && is_taken;
        }
        let now = self.report(then.facts.clock, None);
        match (had_taken.standing, taken.standing) {
            // An abort may have come since; where it had been promoted, it came too late.
            (Standing::Bound | Standing::Aborted, Standing::Aborted) => {
                has_current(&registers, then)
            }
            // It had been set back to before its promote when it was told to abort; this is the newer volume.
            (Standing::Aborted, Standing::Promoted | Standing::Cleared) => true,
            _ => {
                let (far, was) = (reached(&now, &taken.reference), reached(then, &taken.reference));
                far.zip(was).is_some_and(|((far, pattern), (was, before))| {
                    far >= was && (before.is_none() || pattern == before)
                })
            }
        }
    }
}

/// Whether the current register is as it was then. Who had ended an order that goes from another master key was
/// itself an older volume that had not got that one yet: a newer volume, which has it, is as far.
fn has_current(now: &Registers, then: &UnitReport) -> bool {
    let ended = then.rotation.as_ref().filter(|had| had.standing == Standing::Aborted);
    let order = ended.and_then(|had| leave::read(&had.signed_order).ok());
    let from = order.and_then(|(order, _)| order.from);
    now.current == then.registers.current || (from.is_some() && now.current == from)
}

/// Whether a later order goes from what a unit had, or was about to have. One that goes from something else was
/// taken before the unit knew itself to be set back, with a master key that it had left.
fn follows(had: &Registers, later: &Order) -> bool {
    let new = had.new.map(|new| new.pattern);
    had.current.is_none() || later.from == had.current || later.from == new
}
