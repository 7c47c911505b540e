//! The coordinator's brain for one rotation: takes reports in, says what to save and what to ask.
//!
//! The caller saves the record, where asked to, before it sends anything, and comes back with
//! [`Input::Tick`] at [`Rotation::next_tick`].

mod aborting;
mod amended;
mod asking;
pub mod desired;
mod ending;
mod hearing;
mod holding;
mod mixed;
pub mod numbers;
pub mod precheck;
mod receipt;
pub mod record;
mod recovering;
pub mod recovery;
mod reports;
pub(crate) mod set_back;
mod steps;
mod view;
mod waits;

pub use self::aborting::Refused;
pub use self::mixed::Sides;
pub use self::receipt::Lacking;
pub use self::view::{phase_text, record_view};
pub use self::waits::Awaited;

use std::collections::{BTreeMap, BTreeSet};

use protocol::audit::Phase;
use protocol::command::{SignedTransfer, Transfers};
use protocol::manifest::{Manifest, SignedManifest};
use protocol::order::{Order, OrderRef, SignedHoldEnd};
use protocol::report::{KeystoreReport, UnitReport};
use protocol::{Epoch, KeystoreId, ProcessId, UnixMillis};

use self::aborting::PendingAbort;
use self::asking::Asked;
use self::desired::{Desired, Held, View, Wanted, desired};
use self::record::{Record, Verdict};
use crate::leave::LeaveRefusal;

/// Times and limits of a rotation.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Before the decision, a unit or keystore silent for so long ends the rotation, once every keystore has
    /// said how it stands; its end does not wait longer than that for a unit.
    pub silence_abort_ms: u64,
    /// What was not answered is asked again after this long, then after twice as long, …
    pub first_retry_ms: u64,
    /// … but never later than this.
    pub max_retry_ms: u64,
    /// How long an abort waits for units to say whether they promoted.
    pub abort_grace_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            silence_abort_ms: 60_000,
            first_retry_ms: 500,
            max_retry_ms: 5_000,
            abort_grace_ms: 3_000,
        }
    }
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// A unit reported; the envelope is kept for certificates.
    Unit(Box<UnitReport>, Vec<u8>),
    /// The same of a unit whose state, as it is now, has been set back to an older one.
    SetBack(Box<UnitReport>, Vec<u8>),
    /// A reencryptor reported.
    Keystore(Box<KeystoreReport>, Vec<u8>),
    /// A recovery unit sealed copies.
    Transfers(Transfers),
    /// Somebody asks to end the rotation.
    Abort {
        /// Why, in a sentence.
        because: String,
    },
    /// The administrators end a hold before its time.
    HoldEnd(SignedHoldEnd),
    /// The administrators have amended the manifest for this rotation: the newest one, and all since
    /// the order's.
    Amended(Box<Manifest>, Vec<SignedManifest>),
    /// Time has passed.
    Tick,
}

/// What shall be done about it, in this order: save, send, tell.
#[derive(Debug, Default)]
pub struct Effects {
    /// The record has changed: save it before anything is sent.
    pub save: bool,
    /// Commands, under the record's epoch.
    pub send: Vec<Wanted>,
    /// What people and the audit log are told.
    pub events: Vec<Event>,
    /// A higher epoch has been seen: stop, take the lease anew, then [`Rotation::resume`].
    pub fenced_by: Option<Epoch>,
    /// The abort that was asked for is refused.
    pub abort_refused: Option<Refused>,
}

/// One thing worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The phase.
    pub phase: Phase,
    /// A sentence.
    pub text: String,
}

/// One rotation, as its coordinator sees it.
#[derive(Debug)]
pub struct Rotation {
    record: Record,
    order: Order,
    reference: OrderRef,
    manifest: Manifest,
    limits: Limits,
    units: BTreeMap<ProcessId, Held<UnitReport>>,
    keystores: BTreeMap<ProcessId, Held<KeystoreReport>>,
    transfers: BTreeMap<ProcessId, SignedTransfer>,
    asked: BTreeMap<ProcessId, Asked>,
    last_heard: BTreeMap<ProcessId, UnixMillis>,
    /// Since when they have been asked and have said nothing.
    unanswered: BTreeMap<ProcessId, UnixMillis>,
    pending_abort: Option<PendingAbort>,
    reseals: u32,
    amendments: Vec<SignedManifest>,
    /// Keystores that have said how they stand since this process took it up, or just before.
    surveyed: BTreeSet<KeystoreId>,
    /// Units whose state was set back, with the highest state counter from before, and the unit's
    /// clock when it showed.
    set_back: BTreeMap<ProcessId, (u64, UnixMillis)>,
    holds_until: Option<UnixMillis>,
    /// Whether every unit counts the hold that is on, which has been told then.
    is_hold_told: bool,
    now: UnixMillis,
}

impl Rotation {
    /// A rotation from its record: new, or come back after a crash. Its epoch must be one higher
    /// than any seen ([`numbers::next_epoch`]); all units are then inspected at it.
    pub fn new(record: Record, manifest: Manifest, limits: Limits) -> Result<Self, LeaveRefusal> {
        let (order, reference) = record.order()?;
        Ok(Self {
            record,
            order,
            reference,
            manifest,
            limits,
            units: BTreeMap::new(),
            keystores: BTreeMap::new(),
            transfers: BTreeMap::new(),
            asked: BTreeMap::new(),
            last_heard: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            pending_abort: None,
            reseals: 0,
            amendments: Vec::new(),
            surveyed: BTreeSet::new(),
            set_back: BTreeMap::new(),
            holds_until: None,
            is_hold_told: false,
            now: UnixMillis(0),
        })
    }

    /// With the manifests since the order's, for certificates.
    pub fn with_amendments(mut self, amendments: Vec<SignedManifest>) -> Self {
        self.amendments = amendments;
        self
    }

    /// With the keystores that have just said how they stand: the record is as far.
    pub fn with_surveyed(mut self, surveyed: BTreeSet<KeystoreId>) -> Self {
        self.surveyed = surveyed;
        self
    }

    /// Goes on under a higher epoch, after the lease was taken anew.
    pub fn resume(&mut self, epoch: Epoch) {
        self.record.epoch = epoch;
        self.asked.clear();
        self.unanswered.clear();
    }

    /// What is saved.
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// The order.
    pub const fn order(&self) -> &Order {
        &self.order
    }

    /// Its name.
    pub const fn reference(&self) -> &OrderRef {
        &self.reference
    }

    /// Whether every keystore was heard, and not all have flipped.
    pub fn is_before_flip(&self) -> bool {
        self.view().is_before_flip()
    }

    /// Whether nothing is left to be done.
    pub fn is_ended(&self) -> bool {
        self.record.phase().is_ended()
    }

    /// Keeps the trace context of the rotation's root.
    pub fn set_traceparent(&mut self, traceparent: String) {
        self.record.traceparent = Some(traceparent);
    }

    /// Takes in what happened and says what shall be done.
    pub fn handle(&mut self, now: UnixMillis, input: Input) -> Effects {
        let mut effects = Effects::default();
        self.now = now;
        match input {
            Input::Unit(report, _)
                if !self.is_fenced_by(report.epoch) && self.is_from_before(&report) => {}
            Input::Unit(report, envelope) => self.take_unit(now, *report, envelope, &mut effects),
            Input::SetBack(report, envelope) => {
                self.note_set_back(&report);
                self.take_unit(now, *report, envelope, &mut effects);
            }
            Input::HoldEnd(statement) => {
                effects.save = !self.record.hold_ends.contains(&statement);
                if effects.save {
                    self.record.hold_ends.push(statement);
                }
            }
            Input::Amended(manifest, since) => self.amend(*manifest, since, &mut effects),
            Input::Keystore(report, envelope) => {
                self.take_keystore(now, *report, envelope, &mut effects);
            }
            Input::Transfers(transfers) => self.take_transfers(transfers),
            Input::Abort { because } => self.ask_abort(now, because, &mut effects),
            Input::Tick => {}
        }
        if effects.fenced_by.is_none() && !self.is_ended() {
            self.advance(now, &mut effects);
        }
        if effects.save {
            self.keep_latest();
        }
        effects
    }

    /// How long a hold lasts, by the coordinator's clock, where one keeps the rotation from going on.
    pub const fn holds_until(&self) -> Option<UnixMillis> {
        self.holds_until
    }

    /// When to come back without any message.
    pub fn next_tick(&self) -> Option<UnixMillis> {
        if self.is_ended() {
            return None;
        }
        let retries = self.asked.values().map(|asked| asked.last_at.plus_ms(self.retry_ms(asked)));
        let grace =
            self.pending_abort.iter().map(|abort| abort.since.plus_ms(self.limits.abort_grace_ms));
        retries.chain(grace).chain(self.holds_until).min()
    }

    fn advance(&mut self, now: UnixMillis, effects: &mut Effects) {
        self.rejudge(effects);
        self.judge_flip(effects);
        self.judge_ended(now, effects);
        self.judge_silence(now, effects);
        self.judge_abort(now, effects);
        // Each turn either changes verdict or phase, or is the last one.
        for _ in 0..Phase::ALL.len() {
            let found = self.desired();
            self.holds_until = found.holds_until;
            if let Some(because) = found.hopeless.filter(|_| self.may_abort()) {
                self.ask_abort(now, because.to_owned(), effects);
                continue;
            }
            let is_new_phase = self.enter(now, found.phase, effects);
            self.tell_hold(&found, effects);
            if found.may_decide {
                self.decide(effects);
                continue;
            }
            if !is_new_phase || found.wanted.is_empty() {
                self.send_due(now, found, effects);
                break;
            }
        }
        if effects.send.is_empty() && !self.is_ended() {
            let found = self.desired();
            self.send_due(now, found, effects);
        }
    }

    fn decide(&mut self, effects: &mut Effects) {
        self.reach(Verdict::Decided, effects);
        let (phase, text) = match self.recovery() {
            Some(_) => (Phase::Install, "the unit holds the master key"),
            None => (Phase::Promote, "decided: from here it only goes forward"),
        };
        effects.events.push(Event { phase, text: text.to_owned() });
    }

    fn desired(&self) -> Desired {
        let found = desired(&self.view());
        match &self.pending_abort {
            Some(pending) if self.record.verdict == Verdict::Open => self.judging(pending, found),
            _ => self.asking_keystores(found),
        }
    }

    fn view(&self) -> View<'_> {
        View {
            manifest: &self.manifest,
            order: &self.order,
            reference: &self.reference,
            signed_order: &self.record.signed_order,
            verdict: &self.record.verdict,
            epoch: self.record.epoch,
            units: &self.units,
            keystores: &self.keystores,
            transfers: &self.transfers,
            verify_all: self.record.verify_all,
            amendments: &self.amendments,
            hold_ends: &self.record.hold_ends,
            given_up: self.given_up(),
            unaware: self.unaware(),
            now: self.now,
        }
    }

    /// Notes a new phase; an earlier one than the last (a unit came back) is not noted again.
    fn enter(&mut self, now: UnixMillis, phase: Phase, effects: &mut Effects) -> bool {
        // One that was set back, and told by another coordinator to draw again, shows another than before.
        let is_open = self.record.verdict == Verdict::Open;
        let shown = self.view().to_pattern().filter(|_| is_open || self.record.to.is_none());
        if shown.is_some() && shown != self.record.to {
            self.record.to = shown;
            effects.save = true;
        }
        if phase <= self.record.phase() {
            return false;
        }
        let text = self.text_of(phase);
        self.begin_phase(now, phase, text, effects);
        true
    }

    fn begin_phase(&mut self, now: UnixMillis, phase: Phase, text: String, effects: &mut Effects) {
        self.record.phases.push((phase, now));
        if phase.is_ended() {
            self.record.finished_at = Some(now);
            self.asked.clear();
        }
        effects.save = true;
        effects.events.push(Event { phase, text });
    }

    fn name_of(&self, id: ProcessId) -> String {
        self.manifest.member(id).map_or_else(|| id.to_string(), |member| member.name.clone())
    }
}
