//! What is still lacking: a pure function of the order, the verdict and the latest reports. There
//! is no resume code besides it; a coordinator that comes back asks this again.

use std::collections::BTreeMap;

use protocol::audit::Phase;
use protocol::command::{Command, KeystoreCommand, SignedTransfer};
use protocol::manifest::{Manifest, SignedManifest};
use protocol::order::{Order, OrderRef, SignedHoldEnd, SignedOrder};
use protocol::report::{KeystoreReport, UnitReport};
use protocol::{Epoch, ProcessId, UnixMillis};

use super::record::Verdict;
use super::{amended, ending, holding, mixed, recovering, steps};

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
    /// Units that do not know yet that their state was set back.
    pub unaware: Vec<ProcessId>,
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
    /// The phase in which these are lacking; none where nothing is.
    pub(super) fn lacking(phase: Phase, wanted: Vec<Wanted>) -> Option<Self> {
        (!wanted.is_empty()).then(|| Self::new(phase, wanted))
    }

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
        return ending::aborting(view);
    }
    let is_decided = *view.verdict == Verdict::Decided;
    let before: [fn(&View<'_>) -> Option<Desired>; 8] = [
        steps::inspecting,
        amended::amending,
        steps::generating,
        steps::installing,
        steps::committing,
        holding::holding_after_commit,
        steps::bringing_up,
        steps::reencrypting,
    ];
    if let Some(lacking) = before.iter().find_map(|step| step(view)) {
        return lacking;
    }
    if !is_decided {
        return Desired { may_decide: true, ..Desired::new(Phase::Reencrypt, Vec::new()) };
    }
    let after: [fn(&View<'_>) -> Option<Desired>; 5] = [
        steps::promoting,
        steps::flipping,
        holding::holding_before_clear,
        steps::clearing,
        steps::dropping,
    ];
    after.iter().find_map(|step| step(view)).unwrap_or(Desired::new(Phase::Done, Vec::new()))
}
