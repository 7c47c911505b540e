//! Who is still to be told that an order has ended without its promote.

use protocol::ProcessId;
use protocol::audit::Phase;
use protocol::command::{Command, KeystoreCommand};
use protocol::keystore::KeystoreStanding;
use protocol::report::Standing;

use super::desired::{Desired, View, Wanted};

impl View<'_> {
    /// The end of an order, where this is still asked: it is over when none of them is waited for.
    pub(super) fn ended_but_for(&self, wanted: Vec<Wanted>) -> Desired {
        match wanted.iter().all(|asked| self.given_up.contains(&asked.to())) {
            true => Desired::new(Phase::Aborted, Vec::new()),
            false => Desired::new(Phase::Aborting, wanted),
        }
    }

    /// Ends the rotation in a keystore.
    pub(super) fn abort(&self, reencryptor: ProcessId) -> Wanted {
        let (order, certificate) = (self.signed_order.clone(), self.unit_certificate());
        Wanted::Keystore(reencryptor, KeystoreCommand::Abort { order, certificate })
    }
}

/// Every unit and keystore is told, those that never saw the order too, so that a late inspect
/// finds it ended. Nobody waits for a unit that stays silent: one that is gone for good keeps no other from
/// going on, and one that comes back is let go of by the next start.
pub(super) fn aborting(view: &View<'_>) -> Desired {
    let are_gone_on = view.gone_on().next().is_some();
    let is_told = |unit: &ProcessId| {
        let Some(report) = view.heard(*unit) else { return false };
        let taken = report.rotation.as_ref();
        report.has_spent(view.reference)
            || taken.is_some_and(|taken| match taken.order == *view.reference {
                true => match taken.standing {
                    Standing::Bound => false,
                    // It refuses, and once others have gone on it stays behind alone: a mend of its own.
                    Standing::Promoted => are_gone_on,
                    Standing::Aborted | Standing::Cleared => true,
                },
                // It was set back, and takes no order before the end of that one, which has ended.
                false => taken.standing == Standing::Promoted,
            })
    };
    let order = || view.signed_order.clone();
    // One that is bound to an earlier order, which has ended long since, or to another of that number, is let
    // go of that first: whenever it has said so, as it may take neither our epoch nor our manifest until then.
    let first = |unit: ProcessId| {
        let found = view.units.get(&unit).and_then(|held| held.report.rotation.as_ref());
        let earlier = found.filter(|found| {
            found.standing == Standing::Bound && found.order.number <= view.reference.number
        });
        earlier.map_or_else(order, |found| found.signed_order.clone())
    };
    let units = view
        .unit_ids()
        .filter(|unit| !is_told(unit))
        .map(|unit| Wanted::Unit(unit, Command::Abort { order: first(unit) }));
    let is_taken = view.unit_ids().any(|unit| {
        let report = view.units.get(&unit).map(|held| &held.report);
        report.is_some_and(|report| report.in_order(view.reference).is_some())
    });
    // Only at this epoch: an abort of before may have been followed by another generation. What no unit
    // has taken is not remembered, nor is anything before the end of what the keystore has flipped.
    let is_ended = |id: &ProcessId| {
        let standing = view.keystore_rotation(*id).map(|found| found.standing);
        let is_told = view.keystore_epoch(*id) == Some(view.epoch);
        let is_over = match standing {
            Some(standing) => standing == KeystoreStanding::Aborted,
            None => !is_taken || view.is_closed(*id),
        };
        // It has flipped: all had promoted, whatever one says that was set back and does not know it.
        let is_done = standing.is_some_and(|it| it.has_reached(KeystoreStanding::Switched));
        is_done || view.has_spent(*id) || (is_told && is_over)
    };
    let keystores =
        view.reencryptors().into_iter().filter(|id| !is_ended(id)).map(|id| view.abort(id));
    // The keystore first: its gate opens again whoever of the units is away.
    view.ended_but_for(keystores.chain(units).collect())
}
