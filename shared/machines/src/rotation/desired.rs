//! What is still lacking: a pure function of the order, the verdict and the latest reports. There
//! is no resume code besides it; a coordinator that comes back asks this again.

use std::collections::BTreeMap;

use protocol::audit::Phase;
use protocol::certificate::Certificate;
use protocol::command::{Command, KeystoreCommand, SignedOffer, SignedTransfer, Step};
use protocol::keystore::{KeystoreRotation, KeystoreRow, KeystoreStanding};
use protocol::manifest::{Manifest, SignedManifest};
use protocol::order::{Order, OrderRef, SignedHoldEnd, SignedOrder};
use protocol::report::{KeystoreReport, Standing, UnitReport};
use protocol::{Epoch, Pattern, ProcessId, UnixMillis};

use super::record::Verdict;
use super::{amended, holding, mixed, recovering};
use crate::certificate::{Reached, reached};

/// A report and the envelope that it came in, for certificates.
#[derive(Clone, Debug)]
pub struct Held<T> {
    /// The report.
    pub report: T,
    /// The envelope as received.
    pub envelope: Vec<u8>,
    /// When, by the coordinator's clock.
    pub heard_at: UnixMillis,
}

/// One command that is lacking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// To a crypto unit.
    Unit(ProcessId, Command),
    /// To a reencryptor.
    Keystore(ProcessId, KeystoreCommand),
}

impl Wanted {
    /// Whom to ask.
    pub const fn to(&self) -> ProcessId {
        match self {
            Self::Unit(id, _) | Self::Keystore(id, _) => *id,
        }
    }

    /// Stable word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unit(_, command) => command.name(),
            Self::Keystore(_, command) => command.name(),
        }
    }
}

/// Everything that [`desired`] looks at.
#[derive(Debug)]
pub struct View<'a> {
    /// The newest manifest.
    pub manifest: &'a Manifest,
    /// The order, read.
    pub order: &'a Order,
    /// Its name.
    pub reference: &'a OrderRef,
    /// The order as given.
    pub signed_order: &'a SignedOrder,
    /// The verdict.
    pub verdict: &'a Verdict,
    /// The epoch under which we command.
    pub epoch: Epoch,
    /// Latest report (by state counter) of each unit.
    pub units: &'a BTreeMap<ProcessId, Held<UnitReport>>,
    /// Latest report of each reencryptor.
    pub keystores: &'a BTreeMap<ProcessId, Held<KeystoreReport>>,
    /// Sealed copies at hand, by recipient.
    pub transfers: &'a BTreeMap<ProcessId, SignedTransfer>,
    /// Whether every page is opened by another unit before the decision.
    pub verify_all: bool,
    /// Manifests since the order's, for certificates.
    pub amendments: &'a [SignedManifest],
    /// What the administrators have signed to end holds.
    pub hold_ends: &'a [SignedHoldEnd],
    /// Who has been silent for so long that the end of an order does not wait for it.
    pub given_up: Vec<ProcessId>,
    /// By the coordinator's clock.
    pub now: UnixMillis,
}

/// What [`desired`] answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The phase that the reports show.
    pub phase: Phase,
    /// What is lacking in it.
    pub wanted: Vec<Wanted>,
    /// All units committed and every new generation complete: the verdict may be saved.
    pub may_decide: bool,
    /// A hold lasts until then, by the coordinator's clock.
    pub holds_until: Option<UnixMillis>,
    /// Units have ended it differently: only the administrators get it further.
    pub is_mixed: bool,
    /// Why it can never come to its end any more.
    pub hopeless: Option<&'static str>,
}

impl Desired {
    pub(super) const fn new(phase: Phase, wanted: Vec<Wanted>) -> Self {
        let (may_decide, is_mixed) = (false, false);
        Self { phase, wanted, may_decide, holds_until: None, is_mixed, hopeless: None }
    }

    pub(super) fn holding(phase: Phase, wanted: Vec<Wanted>, until: UnixMillis) -> Self {
        Self { holds_until: Some(until), ..Self::new(phase, wanted) }
    }
}

/// What is lacking.
pub fn desired(view: &View<'_>) -> Desired {
    if let Some(recovery) = view.order.purpose.recovery() {
        return match view.verdict {
            Verdict::Aborted { .. } => recovering::ending(view),
            _ => recovering::recovering(view, recovery),
        };
    }
    if let Some(found) = mixed::mixed(view) {
        return found;
    }
    if matches!(view.verdict, Verdict::Aborted { .. }) {
        return aborting(view);
    }
    let is_decided = *view.verdict == Verdict::Decided;
    let steps: [fn(&View<'_>) -> Option<Desired>; 7] = [
        inspecting,
        amended::amending,
        generating,
        installing,
        committing,
        holding::holding_after_commit,
        reencrypting,
    ];
    if let Some(lacking) = steps.iter().find_map(|step| step(view)) {
        return lacking;
    }
    if !is_decided {
        return Desired { may_decide: true, ..Desired::new(Phase::Reencrypt, Vec::new()) };
    }
    let steps: [fn(&View<'_>) -> Option<Desired>; 5] =
        [promoting, flipping, holding::holding_before_clear, clearing, dropping];
    steps.iter().find_map(|step| step(view)).unwrap_or(Desired::new(Phase::Done, Vec::new()))
}

impl View<'_> {
    /// Units that take part: all of them, or the two of an order to recover.
    pub(super) fn unit_ids(&self) -> impl Iterator<Item = ProcessId> {
        let takes_part = |id: &ProcessId| self.order.purpose.involves(*id);
        self.manifest.crypto_units().map(|unit| unit.id).filter(takes_part)
    }

    /// The report of a unit, as far as this epoch has heard of it.
    pub(super) fn heard(&self, unit: ProcessId) -> Option<&UnitReport> {
        let report = &self.units.get(&unit)?.report;
        (report.epoch == self.epoch).then_some(report)
    }

    fn reached(&self, unit: ProcessId) -> Option<(Reached, Option<Pattern>)> {
        reached(self.heard(unit)?, self.reference)
    }

    /// Units that have not come as far as `needed`.
    pub(super) fn units_short_of(&self, needed: Reached) -> Vec<ProcessId> {
        let is_short =
            |unit: &ProcessId| self.reached(*unit).is_none_or(|(reached, _)| reached < needed);
        self.unit_ids().filter(is_short).collect()
    }

    /// The pattern that any unit has shown for this order.
    pub fn to_pattern(&self) -> Option<Pattern> {
        let generator = self.order.generator;
        let shown = |unit| self.reached(unit).and_then(|(_, pattern)| pattern);
        shown(generator).or_else(|| self.unit_ids().find_map(shown))
    }

    pub(super) fn step(&self, unit: ProcessId, step: Step) -> Wanted {
        Wanted::Unit(unit, Command::Step { order: *self.reference, step })
    }

    pub(super) fn inspect(&self, unit: ProcessId) -> Wanted {
        Wanted::Unit(unit, Command::Inspect { order: self.signed_order.clone() })
    }

    pub(super) fn offer(&self, unit: ProcessId) -> Option<&SignedOffer> {
        self.heard(unit)?.in_order(self.reference)?.offer.as_ref()
    }

    /// The keystore's rotation, if it is this one.
    pub(super) fn keystore_rotation(&self, reencryptor: ProcessId) -> Option<&KeystoreRotation> {
        self.row(reencryptor)?.rotation.as_ref().filter(|found| {
            found.rotation == self.reference.rotation && found.order_digest == self.reference.digest
        })
    }

    /// Whether the keystore can never open this order: it has gone on to a later one, or to another of
    /// the same number.
    fn has_spent(&self, reencryptor: ProcessId) -> bool {
        let found = self.row(reencryptor).and_then(|row| row.rotation.as_ref());
        found.is_some_and(|found| {
            found.order_digest != self.reference.digest && found.number >= self.reference.number
        })
    }

    fn row(&self, reencryptor: ProcessId) -> Option<&KeystoreRow> {
        self.keystores.get(&reencryptor)?.report.row.as_ref()
    }

    fn is_closed(&self, reencryptor: ProcessId) -> bool {
        self.row(reencryptor).is_some_and(|row| row.open.is_none())
    }

    fn keystore_epoch(&self, reencryptor: ProcessId) -> Option<Epoch> {
        Some(self.row(reencryptor)?.epoch)
    }

    /// One reencryptor for each keystore of the manifest: the one that reported it, else any.
    pub fn reencryptors(&self) -> Vec<ProcessId> {
        let members: Vec<_> =
            self.manifest.of_role(protocol::Role::Reencryptor).map(|member| member.id).collect();
        let serves = |id: &ProcessId, keystore| {
            let row = self.keystores.get(id).and_then(|held| held.report.row.as_ref());
            row.is_some_and(|row| row.keystore == keystore)
        };
        self.manifest
            .keystores
            .iter()
            .flat_map(|keystore| {
                let known = members.iter().find(|id| serves(id, *keystore));
                match known {
                    Some(id) => vec![*id],
                    None => members.clone(),
                }
            })
            .collect()
    }

    fn keystores_short_of(&self, needed: KeystoreStanding) -> Vec<ProcessId> {
        let is_short = |id: &ProcessId| {
            self.keystore_rotation(*id).is_none_or(|found| {
                found.standing < needed || found.standing == KeystoreStanding::Aborted
            })
        };
        self.reencryptors().into_iter().filter(is_short).collect()
    }

    /// The units' envelopes, as a certificate.
    fn unit_certificate(&self) -> Certificate {
        let of_unit = |unit| self.units.get(&unit).map(|held| held.envelope.clone());
        Certificate {
            envelopes: self.unit_ids().filter_map(of_unit).collect(),
            manifests: self.amendments.to_vec(),
        }
    }

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

    pub(super) fn keystore_certificate(&self) -> Certificate {
        let of_one = |id| self.keystores.get(&id).map(|held| held.envelope.clone());
        Certificate {
            envelopes: self.reencryptors().into_iter().filter_map(of_one).collect(),
            manifests: self.amendments.to_vec(),
        }
    }
}

pub(super) fn inspecting(view: &View<'_>) -> Option<Desired> {
    let short = view.units_short_of(Reached::Bound);
    let inspect = |unit| view.inspect(unit);
    (!short.is_empty())
        .then(|| Desired::new(Phase::Inspect, short.into_iter().map(inspect).collect()))
}

fn generating(view: &View<'_>) -> Option<Desired> {
    if view.to_pattern().is_some() {
        return None;
    }
    let generator = view.order.generator;
    if view.manifest.member(generator).is_none() {
        let hopeless = Some("the unit that should have made the master key was removed");
        return Some(Desired { hopeless, ..Desired::new(Phase::Generate, Vec::new()) });
    }
    let others = view.unit_ids().filter(|unit| *unit != generator);
    let offers = others.filter_map(|unit| view.offer(unit).cloned()).collect();
    let wanted = view.step(generator, Step::Generate { offers });
    Some(Desired::new(Phase::Generate, vec![wanted]))
}

/// A unit without the key gets the sealed copy at hand; without one, a recovery unit that holds the
/// key is asked to seal it anew, to the offer given now.
fn installing(view: &View<'_>) -> Option<Desired> {
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

fn committing(view: &View<'_>) -> Option<Desired> {
    let short = view.units_short_of(Reached::Committed);
    let pattern = view.to_pattern()?;
    let commit = |unit| view.step(unit, Step::Commit { pattern });
    (!short.is_empty())
        .then(|| Desired::new(Phase::Commit, short.into_iter().map(commit).collect()))
}

fn reencrypting(view: &View<'_>) -> Option<Desired> {
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
    let wanted: Vec<_> = lacking.map(ask).collect();
    (!wanted.is_empty()).then(|| Desired::new(Phase::Reencrypt, wanted))
}

fn promoting(view: &View<'_>) -> Option<Desired> {
    let short = view.units_short_of(Reached::Promoted);
    let promote = |unit| view.step(unit, Step::Promote { certificate: view.unit_certificate() });
    (!short.is_empty())
        .then(|| Desired::new(Phase::Promote, short.into_iter().map(promote).collect()))
}

fn flipping(view: &View<'_>) -> Option<Desired> {
    let short = view.keystores_short_of(KeystoreStanding::Flipped);
    let flip = |id| {
        let certificate = view.unit_certificate();
        Wanted::Keystore(id, KeystoreCommand::Flip { order: *view.reference, certificate })
    };
    (!short.is_empty()).then(|| Desired::new(Phase::Flip, short.into_iter().map(flip).collect()))
}

fn clearing(view: &View<'_>) -> Option<Desired> {
    // What a unit says that knows itself to be set back proves nothing, neither to the keystore nor in a
    // receipt: it is about to have as much again as it had.
    let is_set_back =
        |unit: &ProcessId| view.heard(*unit).is_some_and(|report| report.set_back_from.is_some());
    let short = view.units_short_of(Reached::Cleared);
    let clear = |unit| view.step(unit, Step::Clear { certificate: view.keystore_certificate() });
    let lacks = |unit: &ProcessId| short.contains(unit) || is_set_back(unit);
    let wanted: Vec<_> = view.unit_ids().filter(lacks).map(clear).collect();
    (!wanted.is_empty()).then(|| Desired::new(Phase::Clear, wanted))
}

fn dropping(view: &View<'_>) -> Option<Desired> {
    let short = view.keystores_short_of(KeystoreStanding::Dropped);
    let drop = |id| {
        let certificate = view.unit_certificate();
        Wanted::Keystore(id, KeystoreCommand::Drop { order: *view.reference, certificate })
    };
    (!short.is_empty()).then(|| Desired::new(Phase::Drop, short.into_iter().map(drop).collect()))
}

/// Every unit and keystore is told, those that never saw the order too, so that a late inspect
/// finds it ended. Nobody waits for a unit that stays silent: one that is gone for good keeps no other from
/// going on, and one that comes back is let go of by the next start.
fn aborting(view: &View<'_>) -> Desired {
    let is_told = |unit: &ProcessId| {
        let Some(report) = view.heard(*unit) else { return false };
        let taken = report.rotation.as_ref();
        report.has_spent(view.reference)
            || taken.is_some_and(|taken| match taken.order == *view.reference {
                true => taken.standing == Standing::Aborted,
                // It was set back, and takes no order before the end of that one, which has ended.
                false => taken.standing == Standing::Promoted,
            })
    };
    let order = || view.signed_order.clone();
    // One that is bound to an earlier order, which has ended long since, is let go of that first.
    let first = |unit: ProcessId| {
        let found = view.heard(unit).and_then(|report| report.rotation.as_ref());
        let earlier = found.filter(|found| {
            found.standing == Standing::Bound && found.order.number < view.reference.number
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
        view.has_spent(*id) || (is_told && is_over)
    };
    let keystores =
        view.reencryptors().into_iter().filter(|id| !is_ended(id)).map(|id| view.abort(id));
    // The keystore first: its gate opens again whoever of the units is away.
    view.ended_but_for(keystores.chain(units).collect())
}
