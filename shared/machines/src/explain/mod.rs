//! What is going on, what is safe, and the single next command: a pure function of what a
//! coordinator has just heard, of the rotation that it drives, and of the last one's record.
//!
//! The first situation that is so is the answer. Its words are those of [`protocol::codes`], and
//! the runbook has a section for each of them.

mod left_behind;
mod mixed_end;
mod quiet;
mod rotating;
mod units;
pub(crate) mod words;

use protocol::api::{Explanation, RotationView};
use protocol::codes;
use protocol::manifest::Manifest;
use protocol::order::{OrderRef, StandingOrder};
use protocol::{ProcessId, UnixMillis};

use crate::conductor::{Conductor, Heard};
use crate::rotation::precheck::Findings;
use crate::rotation::{Awaited, Rotation};

/// Whether coordinators may rotate by themselves, as far as documents say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leave {
    /// No standing order was ever given.
    None,
    /// One was given, under an older manifest: the newest has ended it.
    EndedByManifest,
    /// By this one; it may have run out.
    Given(StandingOrder),
}

/// The rotation that the coordinator drives.
#[derive(Clone, Debug)]
pub struct Running {
    /// As it stands.
    pub view: RotationView,
    /// Its order.
    pub order: OrderRef,
    /// Whether every keystore was heard, and not all have flipped in it.
    pub is_before_flip: bool,
    /// Whose answers are awaited.
    pub awaited: Vec<Awaited>,
    /// Why it is being ended, if it is.
    pub ends_because: Option<String>,
}

/// Everything that an explanation is made of.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// Now, by the coordinator's clock.
    pub now: UnixMillis,
    /// When everybody was asked; who has not been heard since is silent.
    pub since: UnixMillis,
    /// The newest manifest.
    pub manifest: Option<&'a Manifest>,
    /// What everybody last said.
    pub heard: &'a Heard,
    /// What the survey found.
    pub findings: &'a Findings,
    /// Whether coordinators may rotate by themselves.
    pub leave: Leave,
    /// The rotation that runs.
    pub running: Option<Running>,
    /// The last rotation, where none runs.
    pub last: Option<&'a RotationView>,
}

impl<'a> Known<'a> {
    /// What a conductor knows after a survey that began at `since`.
    pub fn of(
        conductor: &'a Conductor,
        now: UnixMillis,
        since: UnixMillis,
        findings: &'a Findings,
        last: Option<&'a RotationView>,
    ) -> Self {
        let leave = match (conductor.standing_order(), conductor.standing()) {
            (Some(given), _) => Leave::Given(given),
            (None, Some(_)) => Leave::EndedByManifest,
            (None, None) => Leave::None,
        };
        let running = |rotation: &Rotation| Running {
            view: rotation.to_view(),
            order: *rotation.reference(),
            is_before_flip: rotation.is_before_flip(),
            awaited: rotation.awaited(),
            ends_because: rotation.ends_because().map(str::to_owned),
        };
        Self {
            now,
            since,
            manifest: conductor.trust().newest(),
            heard: conductor.heard(),
            findings,
            leave,
            running: conductor.rotation().filter(|found| !found.is_ended()).map(running),
            last,
        }
    }

    fn name_of(&self, who: ProcessId) -> String {
        let member = self.manifest.and_then(|manifest| manifest.member(who));
        member.map_or_else(|| who.to_string(), |member| format!("{} {}", member.role, member.name))
    }
}

/// Everything that can be so, in the order in which it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Situation {
    /// No crypto unit has said that it is there.
    NobodyAnnounced,
    /// There is no manifest.
    NotInitialised,
    /// The manifest does not name the coordinator.
    CoordinatorUnknown,
    /// Some units have aborted an order that others have promoted, or that is decided.
    MixedEnd,
    /// A unit has an older state than it had.
    RolledBack,
    /// The running rotation is being ended.
    Aborting,
    /// It holds, as its order says.
    Holding,
    /// It waits for somebody, and will end by itself.
    WaitingBeforeDecision,
    /// It waits for somebody, as long as it takes.
    WaitingAfterDecision,
    /// It goes on.
    Running,
    /// Units are bound to an order that has ended.
    OrderEnded,
    /// Units or keystores are in a rotation that nobody drives.
    Undriven,
    /// There is a manifest and no master key.
    NoMasterKey,
    /// No unit holds the master key of a keystore.
    KeystoreDiffers,
    /// A unit has no master key, others have one.
    CurrentEmpty,
    /// Units hold different master keys.
    CurrentDiffers,
    /// Something else keeps a rotation from starting.
    Unmet,
    /// The last rotation was ended before its decision.
    Aborted,
    /// Each rotation needs signatures.
    NoStandingOrder,
    /// Nothing has to be done.
    AllWell,
}

/// What a situation comes to here.
struct Told {
    details: Vec<String>,
    next: Option<String>,
    needs_person: bool,
}

impl Told {
    /// Somebody must do this.
    fn act(details: Vec<String>, next: impl Into<String>) -> Option<Self> {
        Some(Self { details, next: Some(next.into()), needs_person: true })
    }

    /// Somebody may do this; nothing is wrong without it.
    fn may(details: Vec<String>, next: impl Into<String>) -> Option<Self> {
        Some(Self { details, next: Some(next.into()), needs_person: false })
    }

    /// Waiting is right, which the last detail says.
    fn wait(mut details: Vec<String>, wait: &str) -> Option<Self> {
        details.push(wait.to_owned());
        Some(Self { details, next: None, needs_person: false })
    }
}

impl Situation {
    /// All of them; the first that is so is the answer.
    pub const ALL: [Self; 20] = [
        Self::NobodyAnnounced,
        Self::NotInitialised,
        Self::CoordinatorUnknown,
        Self::MixedEnd,
        Self::RolledBack,
        Self::Aborting,
        Self::Holding,
        Self::WaitingBeforeDecision,
        Self::WaitingAfterDecision,
        Self::Running,
        Self::OrderEnded,
        Self::Undriven,
        Self::NoMasterKey,
        Self::KeystoreDiffers,
        Self::CurrentEmpty,
        Self::CurrentDiffers,
        Self::Unmet,
        Self::Aborted,
        Self::NoStandingOrder,
        Self::AllWell,
    ];

    /// Stable word.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NobodyAnnounced => "nobody-announced",
            Self::NotInitialised => "not-initialised",
            Self::CoordinatorUnknown => "coordinator-unknown",
            Self::MixedEnd => "mixed-end",
            Self::RolledBack => "rolled-back",
            Self::Aborting => "rotation-aborting",
            Self::Holding => "rotation-holding",
            Self::WaitingBeforeDecision => "waiting-before-decision",
            Self::WaitingAfterDecision => "waiting-after-decision",
            Self::Running => "rotation-running",
            Self::OrderEnded => "order-ended",
            Self::Undriven => "rotation-undriven",
            Self::NoMasterKey => "no-master-key",
            Self::KeystoreDiffers => "keystore-differs",
            Self::CurrentEmpty => "current-empty",
            Self::CurrentDiffers => "current-differs",
            Self::Unmet => "precheck-unmet",
            Self::Aborted => "aborted",
            Self::NoStandingOrder => "no-standing-order",
            Self::AllWell => "all-well",
        }
    }

    /// What is to be told, if this is so.
    fn judge(self, known: &Known<'_>) -> Option<Told> {
        match self {
            Self::NobodyAnnounced => quiet::nobody_announced(known),
            Self::NotInitialised => quiet::not_initialised(known),
            Self::CoordinatorUnknown => quiet::coordinator_unknown(known),
            Self::MixedEnd => mixed_end::mixed_end(known),
            Self::RolledBack => units::rolled_back(known),
            Self::Aborting => rotating::aborting(known),
            Self::Holding => rotating::holding(known),
            Self::WaitingBeforeDecision => rotating::waiting(known, false),
            Self::WaitingAfterDecision => rotating::waiting(known, true),
            Self::Running => rotating::running(known),
            Self::OrderEnded => left_behind::order_ended(known),
            Self::Undriven => left_behind::undriven(known),
            Self::NoMasterKey => units::no_master_key(known),
            Self::KeystoreDiffers => units::keystore_differs(known),
            Self::CurrentEmpty => units::current_empty(known),
            Self::CurrentDiffers => units::current_differs(known),
            Self::Unmet => units::unmet(known),
            Self::Aborted => quiet::aborted(known),
            Self::NoStandingOrder => quiet::no_standing_order(known),
            Self::AllWell => quiet::all_well(known),
        }
    }
}

/// What is going on, what is safe, and the one next command.
pub fn explain(known: &Known<'_>) -> Explanation {
    let so = |situation: Situation| Some((situation, situation.judge(known)?));
    let nothing = Told { details: Vec::new(), next: None, needs_person: false };
    // The last situation is always so.
    let found = Situation::ALL.into_iter().find_map(so);
    let (situation, told) = found.unwrap_or((Situation::AllWell, nothing));
    let code = situation.code();
    let entry = codes::find(code);
    Explanation {
        code: code.to_owned(),
        headline: entry.map_or(code, |entry| entry.sentence).to_owned(),
        details: told.details,
        safe: entry.map_or("", |entry| entry.safe).to_owned(),
        next_command: told.next,
        needs_person: told.needs_person,
    }
}
