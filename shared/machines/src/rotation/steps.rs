//! The steps of the plain path: each says what is lacking in it, or nothing where it is done.

use protocol::ProcessId;
use protocol::audit::Phase;
use protocol::command::{KeystoreCommand, Step};
use protocol::keystore::KeystoreStanding;

use super::desired::{Desired, View, Wanted};
use super::record::Verdict;
use crate::certificate::Reached;

pub(super) fn inspecting(view: &View<'_>) -> Option<Desired> {
    let short = view.units_short_of(Reached::Bound);
    // Whether who has gone on had cleared is for the keystore to say.
    let unheard = view.reencryptors().into_iter().filter(|id| view.row(*id).is_none());
    let survey = |id| Wanted::Keystore(id, KeystoreCommand::Survey);
    let surveys = unheard.filter(|_| view.gone_on().next().is_some()).map(survey);
    let wanted = short.into_iter().map(|unit| view.inspect(unit)).chain(surveys).collect();
    Desired::lacking(Phase::Inspect, wanted)
}

pub(super) fn generating(view: &View<'_>) -> Option<Desired> {
    if view.to_pattern().is_some() {
        return None;
    }
    let generator = view.order.generator;
    if view.manifest.member(generator).is_none() {
        let hopeless = Some("the unit that should have made the master key was removed");
        return Some(Desired { hopeless, ..Desired::new(Phase::Generate, Vec::new()) });
    }
    // It may have drawn one that it has forgotten, and must be reminded first: the next answer brings that.
    if view.unaware.contains(&generator) {
        return Some(Desired::new(Phase::Generate, vec![view.inspect(generator)]));
    }
    let others = view.unit_ids().filter(|unit| *unit != generator);
    let offers = others.filter_map(|unit| view.offer(unit).cloned()).collect();
    let wanted = view.step(generator, Step::Generate { offers });
    Some(Desired::new(Phase::Generate, vec![wanted]))
}

/// A unit without the key gets the sealed copy at hand; without one, a recovery unit that holds the
/// key is asked to seal it anew, to the offer given now.
pub(super) fn installing(view: &View<'_>) -> Option<Desired> {
    let short = view.units_short_of(Reached::Installed);
    if short.is_empty() {
        return None;
    }
    let (at_hand, lacking): (Vec<_>, Vec<_>) =
        short.into_iter().partition(|unit| view.transfers.contains_key(unit));
    let mut wanted: Vec<_> = at_hand
        .into_iter()
        .filter_map(|unit| {
            let transfer = view.transfers.get(&unit)?.clone();
            Some(view.step(unit, Step::Install { transfer }))
        })
        .collect();
    if !lacking.is_empty() {
        let offers = lacking.iter().filter_map(|unit| view.offer(*unit).cloned()).collect();
        let source = sealing_unit(view, &lacking);
        wanted.extend(source.map(|unit| view.step(unit, Step::Generate { offers })));
        if source.is_none() {
            // Once it is decided, only a volume that is brought back helps: whose, the answers show.
            wanted.extend(lacking.iter().map(|unit| view.inspect(*unit)));
            let hopeless = Some("no recovery unit holds the new master key any more");
            return Some(Desired { hopeless, ..Desired::new(Phase::Install, wanted) });
        }
    }
    Some(Desired::new(Phase::Install, wanted))
}

/// The order's generator if it holds the key, else any recovery unit that does; who has cleared seals it
/// to nobody any more.
fn sealing_unit(view: &View<'_>, lacking: &[ProcessId]) -> Option<ProcessId> {
    let has_cleared =
        |unit| view.reached(unit).is_some_and(|(reached, _)| reached == Reached::Cleared);
    let mut holders: Vec<_> = view
        .manifest
        .of_role(protocol::Role::RecoveryUnit)
        .map(|member| member.id)
        .filter(|unit| !lacking.contains(unit) && !has_cleared(*unit))
        .collect();
    holders.sort_by_key(|unit| *unit != view.order.generator);
    holders.first().copied()
}

pub(super) fn committing(view: &View<'_>) -> Option<Desired> {
    let short = view.units_short_of(Reached::Committed);
    let pattern = view.to_pattern()?;
    let commit = |unit| view.step(unit, Step::Commit { pattern });
    Desired::lacking(Phase::Commit, short.into_iter().map(commit).collect())
}

/// A unit that knows itself to be set back counts for nothing, and the keystore takes no report of it. Once the
/// rotation only goes forward it is asked first: nothing but its promote may bring it as far as it had been; one
/// that has promoted may be as far again already, with the answer lost, or lack a manifest, which it is handed
/// when it answers.
pub(super) fn bringing_up(view: &View<'_>) -> Option<Desired> {
    if *view.verdict != Verdict::Decided {
        return None;
    }
    let is_before_flip = !view.keystores_short_of(KeystoreStanding::Flipped).is_empty();
    let bring_up = |unit: ProcessId| match view.reached(unit)?.0 {
        Reached::Committed => Some(promote(view, unit)),
        Reached::Promoted if is_before_flip => Some(view.inspect(unit)),
        _ => None,
    };
    let behind = view.unit_ids().filter(|unit| view.is_set_back(*unit));
    Desired::lacking(Phase::Promote, behind.filter_map(bring_up).collect())
}

pub(super) fn reencrypting(view: &View<'_>) -> Option<Desired> {
    let to = view.to_pattern()?;
    let short = view.keystores_short_of(KeystoreStanding::Complete);
    // What is open for another pattern goes first, and the order opens another generation: also of an
    // earlier rotation, in whose midst the copy was made that was restored.
    let is_for_another = |id: &ProcessId| {
        view.row(*id).and_then(|row| row.rotation.as_ref()).is_some_and(|found| {
            let is_open =
                matches!(found.standing, KeystoreStanding::Open | KeystoreStanding::Complete);
            let is_ours = found.order_digest == view.reference.digest;
            is_open && found.to != to && (is_ours || found.number < view.reference.number)
        })
    };
    let ask = |id| {
        if is_for_another(&id) {
            return view.abort(id);
        }
        let (order, verify_all) = (view.signed_order.clone(), view.verify_all);
        let certificate = view.unit_certificate();
        Wanted::Keystore(id, KeystoreCommand::Reencrypt { order, to, verify_all, certificate })
    };
    let lacking =
        view.reencryptors().into_iter().filter(|id| short.contains(id) || is_for_another(id));
    Desired::lacking(Phase::Reencrypt, lacking.map(ask).collect())
}

pub(super) fn promoting(view: &View<'_>) -> Option<Desired> {
    let short = view.units_short_of(Reached::Promoted);
    Desired::lacking(Phase::Promote, short.into_iter().map(|unit| promote(view, unit)).collect())
}

fn promote(view: &View<'_>, unit: ProcessId) -> Wanted {
    view.step(unit, Step::Promote { certificate: view.unit_certificate() })
}

pub(super) fn flipping(view: &View<'_>) -> Option<Desired> {
    let short = view.keystores_short_of(KeystoreStanding::Flipped);
    let flip = |id| {
        let certificate = view.unit_certificate();
        Wanted::Keystore(id, KeystoreCommand::Flip { order: *view.reference, certificate })
    };
    Desired::lacking(Phase::Flip, short.into_iter().map(flip).collect())
}

pub(super) fn clearing(view: &View<'_>) -> Option<Desired> {
    // Neither to the keystore nor in a receipt does it count what one says that is set back: it is about to
    // have as much again as it had.
    let short = view.units_short_of(Reached::Cleared);
    let clear = |unit| view.step(unit, Step::Clear { certificate: view.keystore_certificate() });
    let lacks = |unit: &ProcessId| short.contains(unit) || view.is_set_back(*unit);
    Desired::lacking(Phase::Clear, view.unit_ids().filter(lacks).map(clear).collect())
}

pub(super) fn dropping(view: &View<'_>) -> Option<Desired> {
    // Nobody can show any more that all had cleared: the next rotation drops this one's old generation too.
    if view.gone_on().next().is_some() {
        return None;
    }
    let short = view.keystores_short_of(KeystoreStanding::Dropped);
    let drop = |id| {
        let certificate = view.unit_certificate();
        Wanted::Keystore(id, KeystoreCommand::Drop { order: *view.reference, certificate })
    };
    Desired::lacking(Phase::Drop, short.into_iter().map(drop).collect())
}
