//! Recovering: a unit without a master key gets the current one from a recovery unit, by an order
//! that names both of them and the pattern. Both are bound to it as to a rotation, so that none goes
//! on meanwhile. It never touches a register that is not Empty; there is nothing to be undone in it.

use crypto::master_key::MasterKey;
use protocol::certificate::Certificate;
use protocol::command::{SignedOffer, SignedTransfer, Step};
use protocol::order::{Order, OrderRef, Recovery};
use protocol::report::Standing;
use protocol::{ProcessId, Role};
use rand::CryptoRng;

use super::refusal::UnitRefusal;
use super::state::UnitState;
use super::{Done, Unit};
use crate::leave::LeaveRefusal;
use crate::trust::Trust;
use crate::{amendment, certificate};

/// Whether this unit would take an order to recover, whose leave has been judged.
pub(super) fn admit(
    unit: ProcessId,
    state: &UnitState,
    (order, reference): (&Order, &OrderRef),
    recovery: Recovery,
) -> Result<(), UnitRefusal> {
    // No manifest amends it: a new one ends it.
    let (named, newest) = (order.number.manifest_serial, state.trust.serial());
    if named != newest {
        return Err(LeaveRefusal::OtherManifest { named, newest }.into());
    }
    is_sound(order, recovery, &state.trust).map_err(UnitRefusal::NotForRecovery)?;
    follows_the_forgotten(state, reference)?;
    let registers = state.registers();
    if registers.new.is_some() {
        return Err(UnitRefusal::NotEmpty("new"));
    }
    if registers.retiring.is_some() {
        return Err(UnitRefusal::NotEmpty("retiring"));
    }
    match registers.current {
        Some(_) if unit == recovery.target => Err(UnitRefusal::NotEmpty("current")),
        None if unit == recovery.target => Ok(()),
        _ if unit != recovery.source => {
            Err(UnitRefusal::NotForRecovery("this unit is neither its source nor its target"))
        }
        _ if state.reminder.is_some() => {
            Err(UnitRefusal::NotForRecovery("the state of its source was set back"))
        }
        current if current == order.from => Ok(()),
        _ => Err(UnitRefusal::OtherCurrent),
    }
}

/// It names a recovery unit, another unit without a master key, a pattern, and nothing of a rotation.
fn is_sound(order: &Order, recovery: Recovery, trust: &Trust) -> Result<(), &'static str> {
    let Recovery { target, source } = recovery;
    let is_unit = |id| trust.member(id).is_some_and(|member| member.role.is_crypto_unit());
    if !trust.names(source, Role::RecoveryUnit) || order.generator != source {
        return Err("its source is no recovery unit");
    }
    if !is_unit(target) || target == source {
        return Err("its target is no other crypto unit of the manifest");
    }
    if order.from.is_none() {
        return Err("it names no master key");
    }
    let is_rotation = !order.joining.is_empty()
        || !order.quarantined.is_empty()
        || order.hold_after_commit_s > 0
        || order.hold_before_clear_s > 0;
    if is_rotation { Err("it asks for what only a rotation does") } else { Ok(()) }
}

/// A unit whose state was set back knows from its own report which order it had taken last: nothing comes
/// after it before its end. That has come at the latest with a manifest which amends none, as whoever is in
/// a rotation takes no such.
fn follows_the_forgotten(state: &UnitState, given: &OrderRef) -> Result<(), UnitRefusal> {
    let had = state.reminder.as_ref().and_then(|held| held.report.rotation.as_ref());
    let Some(had) = had.filter(|had| had.order != *given) else { return Ok(()) };
    let taken = had.order.number;
    let since = state.trust.chain().get(taken.manifest_serial as usize..).unwrap_or_default();
    let has_ended = |standing| matches!(standing, Standing::Aborted | Standing::Cleared);
    let here = state.rotation.as_ref().filter(|here| here.reference == had.order);
    let is_over = has_ended(had.standing)
        || here.is_some_and(|here| has_ended(here.standing))
        || !amendment::are_amendments(since);
    if is_over { Ok(()) } else { Err(UnitRefusal::BoundToAnother { bound: taken }) }
}

impl Unit {
    /// One step of the order to recover that the unit has taken and not aborted.
    pub(super) fn recover_step<R: CryptoRng>(
        &mut self,
        rng: &mut R,
        recovery: Recovery,
        step: Step,
    ) -> Result<Done, UnitRefusal> {
        match step {
            Step::Generate { offers } => self.seal_current(rng, recovery, &offers),
            Step::Install { transfer } => self.install_current(recovery, &transfer),
            Step::Clear { certificate } => self.end_recovery(recovery, &certificate),
            Step::Commit { .. } | Step::Promote { .. } => {
                Err(UnitRefusal::NotForRecovery("only a rotation has this step"))
            }
        }
    }

    /// Seals the current master key to the target. Nothing is saved.
    fn seal_current<R: CryptoRng>(
        &self,
        rng: &mut R,
        recovery: Recovery,
        offers: &[SignedOffer],
    ) -> Result<Done, UnitRefusal> {
        let role = self.config.role;
        if role != Role::RecoveryUnit {
            return Err(UnitRefusal::NotAllowed { role, verb: "export" });
        }
        if recovery.source != self.id {
            return Err(UnitRefusal::NotForRecovery("this unit is not its source"));
        }
        let taken = self.bound()?;
        if taken.standing != Standing::Bound {
            return Err(UnitRefusal::Cleared);
        }
        let recipients = self.recipients(taken, offers)?;
        let is_named = |key: &&MasterKey| Some(key.pattern()) == taken.order.from;
        let key = self.state.current.as_ref().filter(is_named).ok_or(UnitRefusal::OtherCurrent)?;
        let transfers = Some(self.seal_to_all(rng, taken, key, &recipients)?);
        Ok(Done { is_changed: false, transfers })
    }

    /// Opens the sealed copy; its pattern is computed from the opened key. One save fills the current
    /// register and ends the order here.
    fn install_current(
        &mut self,
        recovery: Recovery,
        signed: &SignedTransfer,
    ) -> Result<Done, UnitRefusal> {
        if recovery.target != self.id {
            return Err(UnitRefusal::NotForRecovery("this unit is not its target"));
        }
        let taken = self.bound()?;
        let sealed = self.read_transfer(taken, signed)?;
        if Some(sealed.to) != taken.order.from {
            return Err(UnitRefusal::Transfer("it holds another master key than the order names"));
        }
        if taken.standing == Standing::Cleared {
            return Ok(Done::BEFORE);
        }
        if self.state.registers().patterns().next().is_some() {
            return Err(UnitRefusal::NotEmpty("current"));
        }
        let key = self.open_transfer(taken, sealed)?;
        self.state.current = Some(key);
        self.end_order(Standing::Cleared);
        Ok(Done::CHANGED)
    }

    /// Lets the source go, once the target's own report shows that it holds the master key.
    fn end_recovery(
        &mut self,
        recovery: Recovery,
        certificate: &Certificate,
    ) -> Result<Done, UnitRefusal> {
        let taken = self.bound()?;
        if taken.standing == Standing::Cleared {
            return Ok(Done::BEFORE);
        }
        if recovery.source != self.id {
            return Err(UnitRefusal::NotForRecovery("its target ends it by installing"));
        }
        let pattern = taken.order.from.ok_or(UnitRefusal::OtherCurrent)?;
        let (reference, trust) = (&taken.reference, &self.state.trust);
        certificate::verify_recovered(certificate, reference, recovery.target, pattern, trust)?;
        self.end_order(Standing::Cleared);
        Ok(Done::CHANGED)
    }

    /// A new manifest ends an order to recover: nothing is lost by it, and it is drafted anew.
    pub(super) fn end_by_manifest(&mut self) {
        let is_bound = self.state.is_in_rotation();
        let recovers = self.state.rotation.as_ref().and_then(|it| it.order.purpose.recovery());
        if is_bound && recovers.is_some() {
            self.end_order(Standing::Aborted);
        }
    }

    fn end_order(&mut self, standing: Standing) {
        if let Some(taken) = &mut self.state.rotation {
            taken.standing = standing;
            taken.transport = None;
        }
    }
}
