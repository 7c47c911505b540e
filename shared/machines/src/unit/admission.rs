//! Taking an order, or refusing it: the only place where a unit judges leave and time.

use protocol::order::{Order, OrderRef, Purpose, SignedOrder, StandingOrder};
use protocol::report::Standing;
use protocol::{Role, UnixMillis};

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

/// Whether the unit would take the order now. Changes nothing, so a survey may ask too.
pub fn admit(
    state: &UnitState,
    signed: &SignedOrder,
    now: UnixMillis,
) -> Result<Admission, UnitRefusal> {
    let (_, reference) = leave::read(signed)?;
    if let Some(taken) = &state.rotation {
        if taken.reference == reference {
            return Ok(Admission::Known);
        }
        not_spent(state, &reference)?;
    }
    let (order, reference) = leave::verify(signed, &state.trust)?;
    supported(&order)?;
    leave::judge_time(signed, &order, state.history, now)?;
    if !state.trust.names(order.generator, Role::RecoveryUnit) {
        return Err(UnitRefusal::GeneratorIsNoRecoveryUnit);
    }
    registers_fit(state, &order)?;
    Ok(Admission::New { order: Box::new(order), reference })
}

/// Lower numbers, and the same number under another digest, are refused for ever; while bound,
/// everything of any other number is.
pub fn not_spent(state: &UnitState, given: &OrderRef) -> Result<(), UnitRefusal> {
    let Some(taken) = &state.rotation else { return Ok(()) };
    let number = taken.reference.number;
    if given.number == number {
        return match given.digest == taken.reference.digest {
            true => Ok(()),
            false => Err(UnitRefusal::OtherDigest(number)),
        };
    }
    if matches!(taken.standing, Standing::Bound | Standing::Promoted) {
        return Err(UnitRefusal::BoundToAnother { bound: number });
    }
    match given.number < number {
        true => Err(UnitRefusal::OrderSpent { given: given.number, taken: number }),
        false => Ok(()),
    }
}

fn registers_fit(state: &UnitState, order: &Order) -> Result<(), UnitRefusal> {
    let registers = state.registers();
    if registers.new.is_some() {
        return Err(UnitRefusal::NotEmpty("new"));
    }
    if registers.retiring.is_some() {
        return Err(UnitRefusal::NotEmpty("retiring"));
    }
    let is_first = order.purpose == Purpose::Initialise;
    if is_first != order.from.is_none() || registers.current != order.from {
        return Err(UnitRefusal::OtherCurrent);
    }
    Ok(())
}

fn supported(order: &Order) -> Result<(), UnitRefusal> {
    unsupported(order).map_or(Ok(()), |lacking| Err(UnitRefusal::NotSupported(lacking)))
}

/// What an order asks for that this version does not do; none if it does all of it.
pub fn unsupported(order: &Order) -> Option<&'static str> {
    if !order.joining.is_empty() {
        Some("an order with units that join")
    } else if order.hold_after_commit_s != 0 || order.hold_before_clear_s != 0 {
        Some("an order with a hold")
    } else if matches!(order.purpose, Purpose::Recover { .. }) {
        Some("an order to recover")
    } else {
        None
    }
}

/// What every order under a standing order would ask for that this version does not do.
pub const fn unsupported_standing(standing: &StandingOrder) -> Option<&'static str> {
    match standing.hold_after_commit_s != 0 || standing.hold_before_clear_s != 0 {
        true => Some("a standing order with a hold"),
        false => None,
    }
}
