//! A coordinator's work for one instance: surveys, precheck, the order, and the one rotation that
//! may be running. Messages and requests in; envelopes, saves, answers and events out.

mod amended;
mod ask;
mod asking;
mod documents;
mod draft;
mod heard;
mod holding;
mod key_check;
mod plan;
mod reading;
mod receipt;
mod recovering;
mod sealing;
mod set_back;
mod starting;
mod survey;
mod taking_up;
mod unmet;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crypto::identity::{self, Identity};
use protocol::order::{Purpose, SignedStandingOrder, StandingOrder};
use protocol::report::Refusal;
use protocol::{MessageId, ProcessId, Role, RotationId, UnixMillis};
use rand::CryptoRng;

pub use self::ask::{Answer, Ask, AskId, StartAsk};
pub use self::draft::DraftRequest;
pub use self::heard::{Heard, HeardOf};
use self::key_check::{Check, Checked};
use self::set_back::Sent;
use self::survey::{Answered, Survey};
use crate::leave::{self, LeaveRefusal};
use crate::rotation::desired::Wanted;
use crate::rotation::record::Record;
use crate::rotation::{self, Event, Input as RotationInput, Limits, Rotation};
use crate::trust::Trust;

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// A message from the coordinator's queue.
    Message(Vec<u8>),
    /// A request.
    Ask(AskId, Ask),
    /// Time has passed.
    Tick,
}

/// An envelope to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// For whom.
    pub to: ProcessId,
    /// Its id, which an answer names.
    pub id: MessageId,
    /// The name of what it asks, for spans and logs.
    pub name: &'static str,
    /// The sealed envelope.
    pub bytes: Vec<u8>,
}

/// What shall be done about it, in this order: save, send, answer, tell.
#[derive(Debug, Default)]
pub struct Effects {
    /// Save the record of the running rotation.
    pub save: bool,
    /// Save this record too, and first: of an earlier rotation, which has ended.
    pub closed: Option<Record>,
    /// Save the chain of manifests, or the standing order.
    pub save_documents: bool,
    /// To be published.
    pub send: Vec<Message>,
    /// Requests that are answered.
    pub answers: Vec<(AskId, Answer)>,
    /// What people and the audit log are told.
    pub events: Vec<Event>,
    /// A message could not be taken: the reason for the dead-letter queue.
    pub dead: Option<&'static str>,
    /// Take the lease anew: a higher epoch has been seen.
    pub is_fenced: bool,
}

/// Times of a conductor.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// How long a survey waits for those who are silent.
    pub survey_ms: u64,
    /// For how long units may take an order that the coordinator writes.
    pub order_valid_s: u32,
    /// Times of the rotation.
    pub rotation: Limits,
}

impl Default for Times {
    fn default() -> Self {
        Self { survey_ms: 2_000, order_valid_s: 300, rotation: Limits::default() }
    }
}

/// A coordinator's work for one instance.
#[derive(Debug)]
pub struct Conductor {
    identity: std::sync::Arc<Identity>,
    id: ProcessId,
    trust: Trust,
    standing: Option<SignedStandingOrder>,
    times: Times,
    heard: Heard,
    survey: Option<Survey>,
    waiting: VecDeque<(AskId, Ask)>,
    /// The check of all keys that runs, else the last one.
    check: Option<Check>,
    /// What a check came to, for the starts that asked for it and are gone on with.
    checked: BTreeMap<AskId, Checked>,
    rotation: Option<Rotation>,
    /// The last messages to everybody.
    sent: BTreeMap<ProcessId, Sent>,
    /// The last reminder to each unit whose state was set back.
    reminded: BTreeMap<ProcessId, MessageId>,
    /// Units whose state was set back, and that have not said since that they know it.
    unaware: BTreeSet<ProcessId>,
}

impl Conductor {
    /// A conductor with what its process has saved. An open rotation is gone on with: everybody is
    /// surveyed first, so that the epoch is higher than any seen.
    pub fn new(
        identity: std::sync::Arc<Identity>,
        trust: Trust,
        standing: Option<SignedStandingOrder>,
        times: Times,
    ) -> Self {
        let id = identity::process_id(&identity.public_key());
        Self {
            identity,
            id,
            trust,
            standing,
            times,
            heard: Heard::default(),
            survey: None,
            waiting: VecDeque::new(),
            check: None,
            checked: BTreeMap::new(),
            rotation: None,
            sent: BTreeMap::new(),
            reminded: BTreeMap::new(),
            unaware: BTreeSet::new(),
        }
    }

    /// Goes on after a start: with the record that has no end, which need not be the newest, else with
    /// what units say. Those that have ended still say how far units had come.
    pub fn recover<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        records: impl IntoIterator<Item = Record>,
    ) -> Effects {
        let mut effects = Effects::default();
        // What a survey that is under way was for comes after this one.
        let (ask, mut open) = self.survey.take().map(Survey::left).unwrap_or_default();
        if let Some(ask) = ask {
            self.waiting.push_front(ask);
        }
        for record in records {
            self.remember(&record);
            open = open.or(Some(record).filter(|record| record.finished_at.is_none()));
        }
        if self.trust.newest().is_some() {
            self.survey = Some(Survey::to_recover(open));
            self.send_survey(now, rng, &mut effects);
        }
        effects
    }

    /// The rotation that has no end yet: it runs, or is gone on with as soon as this coordinator, which has just
    /// started, has heard how everybody stands.
    pub fn open_rotation(&self) -> Option<RotationId> {
        if self.is_rotating() {
            return self.rotation.as_ref().map(|rotation| rotation.reference().rotation);
        }
        let record = self.survey.as_ref()?.record()?;
        record.order().ok().map(|(_, reference)| reference.rotation)
    }

    /// What it believes about the instance.
    pub const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// What a process is, as a manifest says, or as it has announced itself.
    pub fn role_of(&self, who: ProcessId) -> Option<Role> {
        let announced = || self.heard.announced.get(&who).map(|heard| heard.said.member.role);
        self.role_by_manifest(who).or_else(announced)
    }

    /// The standing order as signed, if there is one.
    pub const fn standing(&self) -> Option<&SignedStandingOrder> {
        self.standing.as_ref()
    }

    /// The standing order, if the newest manifest has not ended it.
    pub fn standing_order(&self) -> Option<StandingOrder> {
        leave::verify_standing(self.standing.as_ref()?, &self.trust).ok()
    }

    /// What everybody last said.
    pub const fn heard(&self) -> &Heard {
        &self.heard
    }

    /// The rotation, running or just ended.
    pub const fn rotation(&self) -> Option<&Rotation> {
        self.rotation.as_ref()
    }

    /// Whether a rotation is running.
    pub fn is_rotating(&self) -> bool {
        self.rotation.as_ref().is_some_and(|rotation| !rotation.is_ended())
    }

    /// Whether a rotation runs of which only a sample is opened by a second unit.
    fn is_verified_in_part(&self) -> bool {
        self.rotation.as_ref().is_some_and(|found| !found.is_ended() && !found.record().verify_all)
    }

    /// When to come back without any message.
    pub fn next_tick(&self) -> Option<UnixMillis> {
        let of_survey = self.survey.as_ref().map(|survey| survey.deadline());
        let of_rotation = self.rotation.as_ref().and_then(Rotation::next_tick);
        of_survey.into_iter().chain(of_rotation).chain(self.check_deadline()).min()
    }

    /// Takes in what happened and says what shall be done.
    pub fn handle<R: CryptoRng>(&mut self, now: UnixMillis, rng: &mut R, input: Input) -> Effects {
        let mut effects = Effects::default();
        match input {
            Input::Message(bytes) => self.take_message(now, rng, &bytes, &mut effects),
            Input::Ask(id, ask) => self.waiting.push_back((id, ask)),
            Input::Tick => self.turn(now, rng, RotationInput::Tick, &mut effects),
        }
        self.judge_survey(now, rng, &mut effects);
        self.go_on_checking(now, rng, &mut effects);
        self.next_asks(now, rng, &mut effects);
        effects
    }

    /// Hands something to the running rotation.
    fn turn<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        input: RotationInput,
        effects: &mut Effects,
    ) {
        // While everybody is surveyed after a start, the rotation waits for its new epoch.
        let Some(rotation) = self.rotation.as_mut().filter(|found| !found.is_ended()) else {
            return;
        };
        let found = rotation.handle(now, input);
        self.merge(now, rng, found, effects);
    }

    fn merge<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        found: rotation::Effects,
        effects: &mut Effects,
    ) {
        effects.save |= found.save;
        effects.events.extend(found.events);
        effects.is_fenced |= found.fenced_by.is_some();
        for wanted in &found.send {
            let message = match wanted {
                Wanted::Unit(who, command) => match self.reminder_first(*who, command) {
                    Some(reminder) => self.seal_reminder(now, rng, *who, reminder),
                    None => self.seal_unit(now, rng, *who, command),
                },
                Wanted::Keystore(who, command) => self.seal_keystore(now, rng, *who, command),
            };
            self.note_sent(&message);
            effects.send.push(message);
        }
    }

    /// After the lease was taken anew, or where the rotation is an old one: surveys everybody and goes on
    /// with what is found, under a higher epoch.
    pub fn survey_anew<R: CryptoRng>(&mut self, now: UnixMillis, rng: &mut R) -> Effects {
        let record = self.rotation.as_ref().map(|rotation| rotation.record().clone());
        self.rotation = self.rotation.take().filter(Rotation::is_ended);
        self.recover(now, rng, record)
    }

    fn start_rotation<R: CryptoRng>(
        &mut self,
        now: UnixMillis,
        rng: &mut R,
        mut record: Record,
        answered: &Answered,
        effects: &mut Effects,
    ) -> Result<(), LeaveRefusal> {
        self.note_highest(&mut record);
        let Some(manifest) = self.trust.newest().cloned() else { return Ok(()) };
        let since = self.since_order(&record);
        let rotation = Rotation::new(record, manifest, self.times.rotation)?;
        let surveyed = self.surveyed_keystores(answered);
        let mut rotation = rotation.with_amendments(since).with_surveyed(surveyed);
        let found = rotation.handle(now, RotationInput::Tick);
        self.rotation = Some(rotation);
        effects.save = true;
        self.merge(now, rng, found, effects);
        Ok(())
    }
}

fn refused(code: &str, text: String) -> Answer {
    Answer::Refused(Refusal { code: code.to_owned(), text })
}

/// Purpose of a start, and who joins: as the order given says, else a rotation.
fn purpose_of(start: &StartAsk) -> (Purpose, Vec<ProcessId>) {
    let order = start.order.as_ref().and_then(|order| order.unverified().ok());
    order.map_or((Purpose::Rotate, Vec::new()), |order| (order.purpose, order.joining))
}
