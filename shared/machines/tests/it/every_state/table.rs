//! The table: what comes of every ask in every state. A new state or ask does not compile until it has
//! its stage and its line here.

use super::asks::{About, Ask, What};
use super::places::{At, Place, Which, listed};

listed!(
    /// Which unit is asked.
    Kind {
        Operational,
        /// The recovery unit that the orders name.
        Generator,
        OtherRecovery,
    }
);

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Taken, and the state is saved: this one, in this order.
    To(Which, Place),
    /// Taken before, or nothing to be saved: answered from state.
    Same,
    /// Refused with this code; nothing has changed.
    No(&'static str),
}
use Outcome::{No, Same};

const IMPRINT: Outcome = No("imprint-mode");
const REMOVED: Outcome = No("removed");
const NOT_BOUND: Outcome = No("not-bound");
const ABORTED: Outcome = No("aborted");
const NO_LEAVE: Outcome = No("no-leave");
const NEW_REGISTER: Outcome = No("new-register");
const NOT_EMPTY: Outcome = No("register-not-empty");
const NOT_FOR_RECOVERY: Outcome = No("not-for-recovery");

/// How far a state has come, whatever holds it has and whether the unit joins.
#[derive(Clone, Copy)]
enum Stage {
    Imprint,
    Removed,
    /// In no order of these.
    NotTaken,
    Bound,
    Filled,
    Committed,
    Promoted,
    Cleared,
    Aborted,
}

const fn stage(at: At) -> Stage {
    match at {
        At::Imprint => Stage::Imprint,
        At::Removed => Stage::Removed,
        At::Enrolled | At::Settled => Stage::NotTaken,
        At::Bound | At::JoiningBound | At::RecoverBound | At::GivingBound => Stage::Bound,
        At::Uncommitted | At::JoiningUncommitted => Stage::Filled,
        At::Committed | At::HoldAfterCommit | At::HoldAfterCommitOver | At::JoiningCommitted => {
            Stage::Committed
        }
        At::Promoted
        | At::PromotedWithHold
        | At::HoldBeforeClear
        | At::HoldBeforeClearOver
        | At::HoldEndSaved
        | At::JoiningPromoted => Stage::Promoted,
        At::Cleared | At::Recovered | At::Given => Stage::Cleared,
        At::Aborted | At::JoiningAborted => Stage::Aborted,
    }
}

const fn to(at: At) -> Outcome {
    to_in(Which::This, at)
}

const fn to_in(which: Which, at: At) -> Outcome {
    Outcome::To(which, Place::at(at))
}

/// What comes of an ask.
pub fn expected(kind: Kind, place: Place, ask: Ask) -> Outcome {
    let outcome = up_to_date(kind, place.at, ask);
    if place.is_set_back { set_back(kind, place.at, ask, outcome) } else { outcome }
}

const fn recovers(at: At) -> bool {
    matches!(at, At::RecoverBound | At::Recovered)
}

const fn gives(at: At) -> bool {
    matches!(at, At::GivingBound | At::Given)
}

/// A unit that knows that it had cleared this order draws no key for it, does not abort it (but for one
/// to recover, which takes nothing away), takes and ends nothing that came before it, and stays set back
/// until it has cleared again or has taken an order that goes from what it had promoted.
fn set_back(kind: Kind, at: At, ask: Ask, outcome: Outcome) -> Outcome {
    let is_this = ask.which == Which::This;
    match (ask.what, at, outcome) {
        (What::Generate | What::GenerateForNobody, At::Bound | At::JoiningBound, _)
            if is_this && kind == Kind::Generator =>
        {
            No("had-drawn")
        }
        (What::Abort | What::AbortUnsigned, at, Outcome::To(..))
            if is_this && !recovers(at) && !gives(at) =>
        {
            No("cleared")
        }
        (What::Inspect | What::InspectUnsigned | What::Abort | What::AbortUnsigned, at, _)
            if matches!(stage(at), Stage::NotTaken) && ask.which == Which::Lower =>
        {
            No("order-spent")
        }
        (What::Inspect | What::InspectUnsigned | What::Abort | What::AbortUnsigned, at, _)
            if matches!(stage(at), Stage::NotTaken) && ask.which == Which::OtherDigest =>
        {
            No("other-digest")
        }
        (What::Remind | What::RemindOlder, ..) => Same,
        (_, _, Outcome::To(which, place)) => {
            let is_later = which == Which::Next;
            let is_taken = matches!(place.at, At::Bound | At::JoiningBound);
            let is_at_end =
                matches!(place.at, At::Cleared | At::Recovered | At::Given | At::Removed);
            let is_up = (is_later && is_taken) || is_at_end;
            Outcome::To(which, Place { is_set_back: !is_up, ..place })
        }
        (_, _, same_or_no) => same_or_no,
    }
}

fn up_to_date(kind: Kind, at: At, ask: Ask) -> Outcome {
    let which = ask.which;
    match ask.what {
        What::Survey => Same,
        What::Inspect => inspect(at, which),
        What::InspectUnsigned => match inspect(at, which) {
            Outcome::To(..) => NO_LEAVE,
            known_or_no => known_or_no,
        },
        What::Abort => abort(at, which),
        // Who is bound to an order has seen its leave.
        What::AbortUnsigned => match stage(at) {
            Stage::NotTaken => NO_LEAVE,
            _ => abort(at, which),
        },
        what if what.about() == About::Step && (recovers(at) || gives(at)) => {
            step(at, which, || recovery_step(kind, at, ask.what))
        }
        What::Generate | What::GenerateForNobody | What::GenerateForOther => {
            step(at, which, || generate(kind, at, ask.what))
        }
        What::Install | What::InstallOther => step(at, which, || install(at, ask.what)),
        What::InstallForOther | What::InstallForged => step(at, which, || No("transfer-refused")),
        What::Commit | What::CommitOther => {
            step(at, which, || commit(at, ask.what == What::Commit))
        }
        What::Promote | What::PromoteLacking => {
            step(at, which, || promote(at, ask.what == What::Promote))
        }
        What::Clear
        | What::ClearLacking
        | What::ClearNamed
        | What::ClearRestored
        | What::ClearRecovered => step(at, which, || clear(at, ask.what)),
        What::EndHoldAfterCommit | What::EndHoldBeforeClear | What::EndHoldUnsigned => {
            end_hold(at, which, ask.what)
        }
        What::Remind => match at {
            At::Cleared | At::Recovered | At::Given => Same,
            At::Removed => to(At::Removed),
            before => Outcome::To(Which::This, Place::set_back(before)),
        },
        What::RemindOlder => match at {
            At::Imprint => Outcome::To(Which::This, Place::set_back(at)),
            _ => Same,
        },
        What::RemindOfOther | What::RemindForged => No("reminder-refused"),
        What::ManifestKnown => {
            if at == At::Imprint {
                to(At::Enrolled)
            } else {
                Same
            }
        }
        What::ManifestNext | What::ManifestAmends | What::ManifestRemoves => manifest(at, ask.what),
        What::ManifestUnsigned => No("manifest-refused"),
        What::ByReencryptor => match at {
            At::Imprint => IMPRINT,
            _ => No("not-a-coordinator"),
        },
        What::OfLowerEpoch => match at {
            At::Imprint => IMPRINT,
            At::Removed => REMOVED,
            _ => No("stale-epoch"),
        },
    }
}

fn inspect(at: At, which: Which) -> Outcome {
    match (stage(at), which) {
        (Stage::Imprint, _) => IMPRINT,
        (Stage::Removed, _) => REMOVED,
        (Stage::NotTaken | Stage::Cleared, Which::Recover) if has_current(at) => NOT_EMPTY,
        (Stage::Aborted, Which::Recover) if has_current(at) => NOT_EMPTY,
        (Stage::NotTaken | Stage::Cleared | Stage::Aborted, Which::Recover) => {
            to_in(Which::Recover, At::RecoverBound)
        }
        (Stage::NotTaken, Which::Next) if at == At::Settled => No("other-current"),
        (Stage::NotTaken, which) => to_in(which, bound(at)),
        (_, Which::This) => Same,
        (_, Which::OtherDigest) => No("other-digest"),
        (Stage::Cleared | Stage::Aborted, Which::Lower) => No("order-spent"),
        // Of a unit that has given its master key, these are to give it once more.
        (Stage::Cleared, Which::Higher | Which::Next) if gives(at) => to_in(which, At::GivingBound),
        (Stage::Cleared, Which::Higher | Which::Next) if recovers(at) => NOT_EMPTY,
        (Stage::Cleared, Which::Next) => to_in(Which::Next, At::Bound),
        (Stage::Cleared, Which::Higher) => No("other-current"),
        (Stage::Aborted, Which::Next) if at == At::Aborted => No("other-current"),
        (Stage::Aborted, which @ (Which::Higher | Which::Next)) => to_in(which, bound(at)),
        (Stage::Bound | Stage::Filled | Stage::Committed | Stage::Promoted, _) => {
            No("bound-to-another")
        }
    }
}

const fn has_current(at: At) -> bool {
    !matches!(at, At::Enrolled | At::JoiningAborted)
}

/// Who has no master key joins.
const fn bound(at: At) -> At {
    match at {
        At::Enrolled | At::JoiningAborted => At::JoiningBound,
        _ => At::Bound,
    }
}

fn abort(at: At, which: Which) -> Outcome {
    let has_none = matches!(at, At::Enrolled)
        || matches!(at, At::JoiningBound | At::JoiningUncommitted | At::JoiningCommitted)
        || matches!(at, At::JoiningAborted | At::RecoverBound);
    let aborted = to_in(which, if has_none { At::JoiningAborted } else { At::Aborted });
    match (stage(at), which) {
        (Stage::Imprint, _) => IMPRINT,
        // It is let go of what it was bound to when it was removed.
        (Stage::Removed, Which::This) => to(At::Removed),
        (Stage::Removed, _) => REMOVED,
        (Stage::NotTaken, _) => aborted,
        (_, Which::OtherDigest) => No("other-digest"),
        (Stage::Cleared | Stage::Aborted, Which::Lower) => No("order-spent"),
        (Stage::Cleared | Stage::Aborted, Which::Higher | Which::Next | Which::Recover) => aborted,
        (Stage::Bound | Stage::Filled | Stage::Committed, Which::This) => aborted,
        (Stage::Aborted, Which::This) => Same,
        (Stage::Promoted, Which::This) => No("promoted"),
        (Stage::Cleared, Which::This) => No("cleared"),
        (
            Stage::Bound | Stage::Filled | Stage::Committed | Stage::Promoted,
            Which::Lower | Which::Higher | Which::Next | Which::Recover,
        ) => No("bound-to-another"),
    }
}

/// A step is judged only by who is in its order and has not aborted it.
fn step(at: At, which: Which, judged: impl FnOnce() -> Outcome) -> Outcome {
    match stage(at) {
        Stage::Imprint => IMPRINT,
        Stage::Removed => REMOVED,
        _ if which != Which::This => NOT_BOUND,
        Stage::NotTaken => NOT_BOUND,
        Stage::Aborted => ABORTED,
        Stage::Bound | Stage::Filled | Stage::Committed | Stage::Promoted | Stage::Cleared => {
            judged()
        }
    }
}

/// A step of an order to recover: the one seals, the other installs, and nothing else is done in it.
fn recovery_step(kind: Kind, at: At, what: What) -> Outcome {
    match (what, at) {
        (What::Generate | What::GenerateForNobody | What::GenerateForOther, _)
            if kind == Kind::Operational =>
        {
            No("not-allowed")
        }
        (What::GenerateForOther, At::GivingBound) => No("offer-refused"),
        (What::Generate | What::GenerateForNobody, At::GivingBound) => Same,
        (What::Generate | What::GenerateForNobody | What::GenerateForOther, At::Given) => {
            No("cleared")
        }
        (What::Install, At::RecoverBound) => to(At::Recovered),
        (What::Install, At::Recovered) => Same,
        (What::InstallOther | What::InstallForOther | What::InstallForged, at) if recovers(at) => {
            No("transfer-refused")
        }
        (What::ClearRecovered, At::GivingBound) => to(At::Given),
        (
            What::Clear | What::ClearLacking | What::ClearNamed | What::ClearRestored,
            At::GivingBound,
        ) => No("certificate-refused"),
        (
            What::Clear
            | What::ClearLacking
            | What::ClearNamed
            | What::ClearRestored
            | What::ClearRecovered,
            At::Given | At::Recovered,
        ) => Same,
        _ => NOT_FOR_RECOVERY,
    }
}

fn generate(kind: Kind, at: At, what: What) -> Outcome {
    match (kind, stage(at)) {
        (Kind::Operational, _) => No("not-allowed"),
        (_, Stage::Cleared) => No("cleared"),
        _ if what == What::GenerateForOther => No("offer-refused"),
        (Kind::Generator, Stage::Bound) => to(filled(at)),
        (Kind::OtherRecovery, Stage::Bound) => No("not-the-generator"),
        // The same key once more, to the offers given now.
        _ => Same,
    }
}

const fn filled(at: At) -> At {
    match at {
        At::JoiningBound => At::JoiningUncommitted,
        _ => At::Uncommitted,
    }
}

fn install(at: At, what: What) -> Outcome {
    match (stage(at), what) {
        (Stage::Bound, _) => to(filled(at)),
        (Stage::Cleared, _) => No("cleared"),
        (_, What::InstallOther) => No("other-copy"),
        _ => Same,
    }
}

fn commit(at: At, is_right: bool) -> Outcome {
    match (stage(at), at) {
        (Stage::Bound, _) => NEW_REGISTER,
        _ if !is_right => No("other-pattern"),
        (_, At::Uncommitted) => to(At::Committed),
        (_, At::JoiningUncommitted) => to(At::JoiningCommitted),
        _ => Same,
    }
}

fn promote(at: At, is_sound: bool) -> Outcome {
    match (stage(at), at) {
        (Stage::Bound | Stage::Filled, _) => NEW_REGISTER,
        (Stage::Promoted | Stage::Cleared, _) => Same,
        _ if !is_sound => No("certificate-refused"),
        (_, At::HoldAfterCommit) => No("holding"),
        (_, At::HoldAfterCommitOver) => to(At::PromotedWithHold),
        (_, At::JoiningCommitted) => to(At::JoiningPromoted),
        _ => to(At::Promoted),
    }
}

fn clear(at: At, what: What) -> Outcome {
    match (stage(at), at, what) {
        (Stage::Cleared, ..) => Same,
        (Stage::Bound | Stage::Filled | Stage::Committed, ..) => NEW_REGISTER,
        (_, _, What::ClearLacking | What::ClearRecovered) => No("certificate-refused"),
        (_, At::Promoted | At::JoiningPromoted, _) => to(At::Cleared),
        (_, At::PromotedWithHold, _) => to(At::HoldBeforeClear),
        // What was flipped since begins the hold anew.
        (_, _, What::ClearRestored) => to(At::HoldBeforeClear),
        (_, At::HoldBeforeClear, _) => No("holding"),
        (_, At::HoldBeforeClearOver, _) => to(At::HoldEndSaved),
        (_, _, What::ClearNamed) => to(At::Cleared),
        _ => Same,
    }
}

fn end_hold(at: At, which: Which, what: What) -> Outcome {
    // The statement names rotation and number.
    let is_this = matches!(which, Which::This | Which::OtherDigest);
    match (stage(at), at, what) {
        (Stage::Imprint, ..) => IMPRINT,
        (Stage::Removed, ..) => REMOVED,
        (Stage::NotTaken, ..) => NOT_BOUND,
        _ if !is_this => NOT_BOUND,
        (_, _, What::EndHoldUnsigned) => NO_LEAVE,
        (_, At::HoldAfterCommit, What::EndHoldAfterCommit) => to(At::HoldAfterCommitOver),
        (_, At::HoldBeforeClear, What::EndHoldBeforeClear) => to(At::HoldBeforeClearOver),
        _ => Same,
    }
}

fn manifest(at: At, what: What) -> Outcome {
    match (stage(at), what) {
        (Stage::Imprint, What::ManifestRemoves) => No("manifest-refused"),
        (Stage::Imprint, _) => to(At::Enrolled),
        (Stage::Removed, What::ManifestRemoves) => Same,
        (Stage::Removed, _) => No("manifest-refused"),
        (_, What::ManifestRemoves) => to(At::Removed),
        // A new manifest ends an order to recover.
        (Stage::Bound, _) if recovers(at) => to(At::JoiningAborted),
        (Stage::Bound, _) if gives(at) => to(At::Aborted),
        (Stage::NotTaken | Stage::Cleared | Stage::Aborted, _) => to(at),
        (Stage::Bound | Stage::Filled | Stage::Committed | Stage::Promoted, What::ManifestNext) => {
            No("manifest-refused")
        }
        (Stage::Bound | Stage::Filled | Stage::Committed | Stage::Promoted, _) => to(at),
    }
}
