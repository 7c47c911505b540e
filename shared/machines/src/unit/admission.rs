//! Taking an order, or refusing it: the only place where a unit judges leave and time.

use protocol::manifest::Manifest;
use protocol::order::{Order, OrderRef, Purpose, SignedOrder};
use protocol::report::Standing;
use protocol::{ProcessId, Role, UnixMillis};

use super::recover;
use super::refusal::UnitRefusal;
use super::state::UnitState;
use crate::leave;

/// What taking an order comes to.
#[derive(Debug)]
pub enum Admission {
    /// It is the one that the unit has: nothing to take.
    Known,
    /// It may be taken now.
    New {
        /// The order, read.
        order: Box<Order>,
        /// Its name.
        reference: OrderRef,
    },
}

/// Whether this unit would take the order now. Changes nothing, so a survey may ask too.
pub fn admit(
    unit: ProcessId,
    state: &UnitState,
    signed: &SignedOrder,
    now: UnixMillis,
) -> Result<Admission, UnitRefusal> {
    let (_, reference) = leave::read(signed)?;
    if state.rotation.as_ref().is_some_and(|taken| taken.reference == reference) {
        return Ok(Admission::Known);
    }
    not_spent(state, &reference)?;
    // Its amendments would let orders of an ended leave through. To end such a one is right all the same.
    if let Some(known) =
        known(state).find(|it| it.rotation == reference.rotation && *it != reference)
    {
        return Err(UnitRefusal::OrderSpent { given: reference.number, taken: known.number });
    }
    let (order, reference) = leave::verify(signed, &state.trust)?;
    // A unit whose state was set back had taken it in time, or had ended it.
    match state.reminder.as_ref().and_then(|held| held.stood(&reference)) {
        Some(Standing::Aborted) => return Err(UnitRefusal::Aborted),
        Some(_) => {}
        None => leave::judge_time(signed, &order, state.history, now)?,
    }
    if let Some(recovery) = order.purpose.recovery() {
        recover::admit(unit, state, (&order, &reference), recovery)?;
        return Ok(Admission::New { order: Box::new(order), reference });
    }
    let manifest = leave::manifest_of(&order, &state.trust)?;
    let generator = manifest.member(order.generator).map(|member| member.role);
    if generator != Some(Role::RecoveryUnit) {
        return Err(UnitRefusal::GeneratorIsNoRecoveryUnit);
    }
    joining_is_sound(&manifest, &order)?;
    registers_fit(unit, state, &order)?;
    Ok(Admission::New { order: Box::new(order), reference })
}

/// The order that the unit has taken last, and what it had taken before its state was set back, as far as it
/// knows.
fn known(state: &UnitState) -> impl Iterator<Item = OrderRef> {
    let own = state.rotation.as_ref().map(|taken| taken.reference);
    let forgotten = state.reminder.as_ref().and_then(|held| held.report.rotation.as_ref());
    own.into_iter().chain(forgotten.map(|found| found.order))
}

/// Lower numbers, and the same number under another digest, are refused for ever; while bound,
/// everything of any other number is. What the unit had taken before its state was set back counts.
pub fn not_spent(state: &UnitState, given: &OrderRef) -> Result<(), UnitRefusal> {
    let own = state.rotation.as_ref();
    if own.is_some_and(|taken| taken.reference == *given) {
        return Ok(());
    }
    let bound = own.filter(|it| matches!(it.standing, Standing::Bound | Standing::Promoted));
    for order in known(state) {
        let number = order.number;
        if given.number == number && given.digest != order.digest {
            return Err(UnitRefusal::OtherDigest(number));
        }
        if let Some(taken) = bound {
            return Err(UnitRefusal::BoundToAnother { bound: taken.reference.number });
        }
        if given.number < number {
            return Err(UnitRefusal::OrderSpent { given: given.number, taken: number });
        }
    }
    Ok(())
}

/// Who joins is a crypto unit of the manifest, and somebody is left who holds the old master key.
fn joining_is_sound(manifest: &Manifest, order: &Order) -> Result<(), UnitRefusal> {
    if order.joining.is_empty() {
        return Ok(());
    }
    let is_unit = |id: &ProcessId| manifest.crypto_units().any(|member| member.id == *id);
    if let Some(stranger) = order.joining.iter().find(|id| !is_unit(id)) {
        return Err(UnitRefusal::JoinsNoUnit(*stranger));
    }
    let mut holders = manifest.crypto_units().filter(|unit| !order.joining.contains(&unit.id));
    let has_worker = holders.any(|unit| unit.role == Role::OperationalUnit);
    match order.purpose == Purpose::Rotate && has_worker {
        true => Ok(()),
        false => Err(UnitRefusal::NobodyToJoin),
    }
}

/// The current register holds what the order goes from; that of a unit that joins is Empty.
fn registers_fit(unit: ProcessId, state: &UnitState, order: &Order) -> Result<(), UnitRefusal> {
    let registers = state.registers();
    if registers.new.is_some() {
        return Err(UnitRefusal::NotEmpty("new"));
    }
    if registers.retiring.is_some() {
        return Err(UnitRefusal::NotEmpty("retiring"));
    }
    let is_first = order.purpose == Purpose::Initialise;
    let expected = order.from.filter(|_| !order.joining.contains(&unit));
    if is_first != order.from.is_none() || registers.current != expected {
        return Err(UnitRefusal::OtherCurrent);
    }
    Ok(())
}
