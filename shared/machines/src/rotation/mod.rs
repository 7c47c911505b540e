//! The coordinator's brain for one rotation: takes reports in, says what to save and what to ask.
//!
//! The caller saves the record, where asked to, before it sends anything, and comes back with
//! [`Input::Tick`] at [`Rotation::next_tick`].

mod amended;
pub mod desired;
mod holding;
mod mixed;
pub mod numbers;
pub mod precheck;
mod receipt;
pub mod record;
mod recovering;
pub mod recovery;
mod set_back;
mod view;
mod waits;

pub use self::mixed::Sides;
pub use self::receipt::Lacking;
pub use self::view::{phase_text, record_view};
pub use self::waits::Awaited;

use std::collections::BTreeMap;

use protocol::audit::Phase;
use protocol::codec;
use protocol::command::{SignedTransfer, Transfer, Transfers};
use protocol::manifest::{Manifest, SignedManifest};
use protocol::order::{Order, OrderRef, SignedHoldEnd};
use protocol::report::{KeystoreReport, Refusal, Standing, UnitReport};
use protocol::{Epoch, ProcessId, UnixMillis};

use self::desired::{Desired, Held, View, Wanted, desired};
use self::record::{Record, Verdict};
use crate::leave::LeaveRefusal;

/// Times and limits of a rotation.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Before the decision, a unit or keystore silent for so long ends the rotation; its end does not wait
    /// longer than that for a unit.
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

/// How often a sealed copy that does not open is made anew before the rotation is ended.
const MAX_RESEALS: u32 = 5;

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
    pub abort_refused: Option<String>,
}

/// One thing worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The phase.
    pub phase: Phase,
    /// A sentence.
    pub text: String,
}

#[derive(Clone, Debug)]
struct Asked {
    name: &'static str,
    first_at: UnixMillis,
    last_at: UnixMillis,
    tries: u32,
    refusal: Option<Refusal>,
}

#[derive(Clone, Debug)]
struct PendingAbort {
    because: String,
    since: UnixMillis,
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

    /// A later coordinator has spoken: under a manifest that we have, else nobody believes it.
    fn is_fenced_by(&self, epoch: Epoch) -> bool {
        epoch > self.record.epoch && epoch.manifest_serial <= self.manifest.serial
    }

    fn take_unit(
        &mut self,
        now: UnixMillis,
        report: UnitReport,
        envelope: Vec<u8>,
        effects: &mut Effects,
    ) {
        let unit = report.unit;
        if !self.manifest.crypto_units().any(|member| member.id == unit) {
            return;
        }
        if self.is_fenced_by(report.epoch) {
            effects.fenced_by = effects.fenced_by.max(Some(report.epoch));
            return;
        }
        if self.is_from_before(&report) {
            return;
        }
        self.note_heard(unit, now);
        let refusal = report.answering.as_ref().and_then(|answer| answer.refusal.clone());
        // Latest means highest state counter, never latest arrival.
        let is_older = self
            .units
            .get(&unit)
            .is_some_and(|held| held.report.state_counter > report.state_counter);
        if !is_older {
            self.units.insert(unit, Held { report, envelope, heard_at: now });
        }
        self.note_refusal(now, unit, refusal, effects);

        self.note_ended(now, unit, effects);
    }

    /// What one unit has ended can only be ended in all of them.
    fn note_ended(&mut self, now: UnixMillis, unit: ProcessId, effects: &mut Effects) {
        let found = self.units.get(&unit).and_then(|held| held.report.in_order(&self.reference));
        let has_ended = found.is_some_and(|found| found.standing == Standing::Aborted);
        let goes_on = match self.recovery() {
            Some(recovery) => self.view().has_recovered(recovery),
            None => self.view().sides().is_mixed(),
        };
        if has_ended
            && !goes_on
            && self.record.verdict == Verdict::Open
            && self.pending_abort.is_none()
        {
            let because = format!("{} has ended the rotation", self.name_of(unit));
            self.ask_abort(now, because, effects);
        }
    }

    fn take_keystore(
        &mut self,
        now: UnixMillis,
        report: KeystoreReport,
        envelope: Vec<u8>,
        effects: &mut Effects,
    ) {
        let id = report.reencryptor;
        if !self.manifest.of_role(protocol::Role::Reencryptor).any(|member| member.id == id) {
            return;
        }
        if report.row.as_ref().is_some_and(|row| self.is_fenced_by(row.epoch)) {
            effects.fenced_by = report.row.as_ref().map(|row| row.epoch);
            return;
        }
        self.note_heard(id, now);
        self.note_keys(&report);
        self.note_gate(now, &report);
        self.note_flipped(&report, &envelope);
        let refusal = report.answering.as_ref().and_then(|answer| answer.refusal.clone());
        let is_older = self.keystores.get(&id).is_some_and(|held| held.report.clock > report.clock);
        if !is_older {
            self.keystores.insert(id, Held { report, envelope, heard_at: now });
        }
        self.note_refusal(now, id, refusal, effects);
    }

    fn note_keys(&mut self, report: &KeystoreReport) {
        let Some(row) = &report.row else { return };
        let is_ours = |generation: &&protocol::keystore::Generation| {
            Some(generation.pattern) == self.record.to
        };
        if let Some(generation) = row.open.as_ref().or(row.active.as_ref()).filter(is_ours) {
            self.record.keys = (generation.set_count, generation.done_count);
            self.record.keys_quarantined = generation.quarantined_count;
        }
    }

    /// For how long keys could not be created, as the coordinator saw it.
    fn note_gate(&mut self, now: UnixMillis, report: &KeystoreReport) {
        let Some(row) = &report.row else { return };
        match (&mut self.record.gate_closed, row.is_gate_closed()) {
            (none @ None, true) => *none = Some((now, None)),
            (Some((_, until @ None)), false) => *until = Some(now),
            _ => {}
        }
    }

    fn take_transfers(&mut self, transfers: Transfers) {
        if transfers.order != self.reference {
            return;
        }
        for signed in transfers.transfers {
            if let Ok(transfer) = codec::decode::<Transfer>(&signed.bytes) {
                self.transfers.insert(transfer.recipient, signed);
            }
        }
    }

    /// Before the decision a refusal ends the rotation, with its words; after it, it is shown and
    /// asked again.
    fn note_refusal(
        &mut self,
        now: UnixMillis,
        who: ProcessId,
        refusal: Option<Refusal>,
        effects: &mut Effects,
    ) {
        let Some(asked) = self.asked.get_mut(&who) else { return };
        // It stands until the command is done: an answer to a survey says nothing of it.
        let Some(refusal) = refusal else { return };
        asked.refusal = Some(refusal.clone());
        let is_open = self.record.verdict == Verdict::Open && self.pending_abort.is_none();
        match refusal.code.as_str() {
            "stale-epoch" | "epoch-ahead" | "busy" | "not-bound" | "holding" | "not-flipped" => {}
            "transfer-refused" if self.reseals < MAX_RESEALS => {
                self.transfers.remove(&who);
                self.reseals += 1;
            }
            // It must be reminded first: what it refuses until then says nothing.
            _ if self.is_unaware(who) => {}
            _ if is_open => {
                let name = self.name_of(who);
                let because =
                    format!("{name} refused {}: {}", asked_name(&self.asked, who), refusal.text);
                self.ask_abort(now, because, effects);
            }
            _ => {}
        }
    }

    /// An abort begins with an inspect round at a new epoch: whoever has promoted says so.
    fn ask_abort(&mut self, now: UnixMillis, because: String, effects: &mut Effects) {
        match &self.record.verdict {
            Verdict::Aborted { .. } => {}
            Verdict::Decided => {
                let refused = "the rotation is decided: it only goes forward".to_owned();
                effects.abort_refused = Some(refused);
            }
            Verdict::Open if self.pending_abort.is_some() => {}
            Verdict::Open => {
                self.record.epoch = numbers::after(self.record.epoch, self.manifest.serial);
                self.asked.clear();
                self.pending_abort = Some(PendingAbort { because, since: now });
                effects.save = true;
            }
        }
    }

    fn advance(&mut self, now: UnixMillis, effects: &mut Effects) {
        self.rejudge(effects);
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
                self.reach(Verdict::Decided, effects);
                let (phase, text) = match self.recovery() {
                    Some(_) => (Phase::Install, "the unit holds the master key"),
                    None => (Phase::Promote, "decided: from here it only goes forward"),
                };
                effects.events.push(Event { phase, text: text.to_owned() });
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

    fn desired(&self) -> Desired {
        let found = desired(&self.view());
        match &self.pending_abort {
            Some(_) if self.record.verdict == Verdict::Open => {
                // Only the inspect round of the abort is asked.
                let wanted = match found.phase {
                    Phase::Inspect => found.wanted,
                    _ => Vec::new(),
                };
                Desired::new(self.record.phase(), wanted)
            }
            _ => found,
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
            now: self.now,
        }
    }

    /// Notes a new phase; an earlier one than the last (a unit came back) is not noted again.
    fn enter(&mut self, now: UnixMillis, phase: Phase, effects: &mut Effects) -> bool {
        let shown = self.view().to_pattern();
        if self.record.to.is_none() && shown.is_some() {
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

    fn note_heard(&mut self, who: ProcessId, now: UnixMillis) {
        self.last_heard.insert(who, now);
        self.unanswered.remove(&who);
    }

    /// Whether nothing was heard of somebody for too long since it was asked.
    fn is_silent(&self, who: ProcessId) -> bool {
        let since = self.unanswered.get(&who);
        since.is_some_and(|since| self.now.since(*since) >= self.limits.silence_abort_ms)
    }

    fn judge_silence(&mut self, now: UnixMillis, effects: &mut Effects) {
        if self.record.verdict != Verdict::Open || self.pending_abort.is_some() {
            return;
        }
        let silent = self.asked.iter().find(|(who, _)| self.is_silent(**who));
        if let Some((who, asked)) = silent {
            let (name, command) = (self.name_of(*who), asked.name);
            let seconds = self.limits.silence_abort_ms / 1000;
            let because = format!("{name} has not answered {command} for {seconds} s");
            self.ask_abort(now, because, effects);
        }
    }

    fn judge_abort(&mut self, now: UnixMillis, effects: &mut Effects) {
        let Some(pending) = &self.pending_abort else { return };
        if self.record.verdict != Verdict::Open {
            return;
        }
        let epoch = self.record.epoch;
        let is_heard = |unit| self.units.get(&unit).is_some_and(|it| it.report.epoch == epoch);
        let all_heard = self.view().unit_ids().all(is_heard);
        if !all_heard && now.since(pending.since) < self.limits.abort_grace_ms {
            return;
        }
        let refused = match self.recovery() {
            Some(recovery) if self.view().has_recovered(recovery) => {
                Some("the unit holds the master key already")
            }
            None if !self.view().sides().promoted.is_empty() => {
                Some("a unit has promoted: the rotation only goes forward")
            }
            _ => None,
        };
        if let Some(refused) = refused {
            effects.abort_refused = Some(refused.to_owned());
            self.pending_abort = None;
            // Whoever is silent is waited for once more, before it is asked about again.
            self.unanswered.clear();
            return;
        }
        let because = pending.because.clone();
        effects.events.push(Event { phase: Phase::Aborting, text: because.clone() });
        self.reach(Verdict::Aborted { because }, effects);
        self.asked.clear();
    }

    /// Sends what was never asked, was asked as something else, or has waited long enough.
    fn send_due(&mut self, now: UnixMillis, found: Desired, effects: &mut Effects) {
        let mut still = BTreeMap::new();
        for wanted in found.wanted {
            let (who, name) = (wanted.to(), wanted.name());
            let before = self.asked.remove(&who).filter(|asked| asked.name == name);
            let is_due = before
                .as_ref()
                .is_none_or(|asked| now.since(asked.last_at) >= self.retry_ms(asked));
            let mut asked = before.unwrap_or(Asked {
                name,
                first_at: now,
                last_at: now,
                tries: 0,
                refusal: None,
            });
            if is_due {
                asked.last_at = now;
                asked.tries += 1;
                self.unanswered.entry(who).or_insert(now);
                effects.send.push(wanted);
            }
            still.insert(who, asked);
        }
        self.asked = still;
    }

    fn retry_ms(&self, asked: &Asked) -> u64 {
        let doublings = asked.tries.saturating_sub(1).min(16);
        (self.limits.first_retry_ms << doublings).min(self.limits.max_retry_ms)
    }

    fn may_abort(&self) -> bool {
        self.record.verdict == Verdict::Open && self.pending_abort.is_none()
    }

    fn name_of(&self, id: ProcessId) -> String {
        self.manifest.member(id).map_or_else(|| id.to_string(), |member| member.name.clone())
    }
}

fn asked_name(asked: &BTreeMap<ProcessId, Asked>, who: ProcessId) -> &'static str {
    asked.get(&who).map_or("it", |asked| asked.name)
}
