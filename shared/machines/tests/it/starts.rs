//! Goal: what this version does not do is refused before anything changes, and a rotation that nobody
//! drives is taken up by a coordinator that starts. Method: a conductor, four units, and a reencryptor
//! that the test is, every message delivered at once.

use std::sync::Arc;

use machines::conductor::{Answer, Ask, Conductor, Effects, Input, StartAsk, Times};
use machines::rewrap;
use machines::rotation::precheck::MAX_SKEW_MS;
use machines::rotation::record::{Record, Verdict};
use machines::trust::Trust;
use protocol::audit::Phase;
use protocol::codec;
use protocol::command::{Command, KeystoreCommand};
use protocol::envelope::{Envelope, Kind, Recipient};
use protocol::keystore::{
    GateMode, Generation, GenerationState, KeystoreRotation, KeystoreRow, KeystoreStanding,
};
use protocol::order::{Order, Purpose, SignedOrder};
use protocol::page::{KeyCheck, KeyCheckEnd, UnopenedRow};
use protocol::report::{Answering, KeystoreReport, Refusal, Standing};
use protocol::{CheckId, Digest, Epoch, GenerationId, Pattern, UnixMillis};

use crate::world::{
    ALL, KEYSTORE, NOW, OP_1, OP_2, OTHERS, REC_1, REC_2, Run, World, coordinator, id_of,
    reencryptor, rotation_id, unit_id,
};

/// A conductor and everybody whom it talks to.
pub struct Stage {
    pub world: World,
    pub conductor: Conductor,
    pub row: KeystoreRow,
    /// Each request comes at another time: who was heard before is asked again.
    pub now: UnixMillis,
    /// By how much the first operational unit's clock is ahead.
    ahead_ms: u64,
    saves: usize,
    /// Records of earlier rotations that have ended.
    pub closed: Vec<Record>,
    /// Of the reencryptor's manifest.
    serial: u64,
    pub answers: Vec<Answer>,
    /// What people are told.
    pub told: Vec<String>,
    /// Who hears nothing.
    pub silent: Option<usize>,
    pub is_reencryptor_silent: bool,
    /// Who hears surveys and nothing else.
    pub silent_after_surveys: Option<usize>,
    /// Whom no step to clear reaches.
    pub deaf_to_clear: Option<usize>,
    /// What a check of all keys comes to; none while it does not come to its end.
    pub checks: Option<Vec<UnopenedRow>>,
}

impl Stage {
    /// All is well for a rotation.
    pub fn well() -> Self {
        Self::of(World::initialised())
    }

    pub fn of(world: World) -> Self {
        let current = world.units[REC_1].state().registers().current;
        let mut row = machines::gate::new_row(world.instance, KEYSTORE);
        row.active = current.map(|pattern| generation(1, pattern, GenerationState::Active));
        let trust = Trust::from_saved(world.instance, world.manifests.clone()).unwrap();
        let conductor = Conductor::new(Arc::new(coordinator()), trust, None, Times::default());
        Self {
            world,
            conductor,
            row,
            now: NOW,
            ahead_ms: 0,
            saves: 0,
            closed: Vec::new(),
            serial: 1,
            answers: Vec::new(),
            told: Vec::new(),
            silent: None,
            is_reencryptor_silent: false,
            silent_after_surveys: None,
            deaf_to_clear: None,
            checks: Some(Vec::new()),
        }
    }

    /// Everything that may not change when a start is refused.
    pub fn everything(&self) -> (Vec<Vec<u8>>, KeystoreRow, usize) {
        let states = ALL.map(|unit| self.world.state_bytes(unit)).into();
        (states, self.row.clone(), self.saves)
    }

    pub fn handle(&mut self, input: Input) {
        self.now = self.now.plus_ms(1);
        let effects = self.conductor.handle(self.now, &mut self.world.rng, input);
        self.settle(effects);
    }

    /// Time has passed.
    pub fn tick(&mut self) {
        self.handle(Input::Tick);
    }

    /// So much time passes, and nothing else happens.
    pub fn pass(&mut self, ms: u64) {
        let until = self.now.plus_ms(ms);
        while self.now < until {
            self.now = self.now.plus_ms(499);
            self.tick();
        }
    }

    /// Delivers until nobody says anything more.
    pub fn settle(&mut self, effects: Effects) {
        let mut waiting = vec![effects];
        while let Some(effects) = waiting.pop() {
            self.saves += usize::from(effects.save) + usize::from(effects.save_documents);
            self.answers.extend(effects.answers.into_iter().map(|(_, answer)| answer));
            self.closed.extend(effects.closed);
            self.told.extend(effects.events.into_iter().map(|event| event.text));
            for message in effects.send {
                for bytes in self.answered(message.to, &message.bytes) {
                    let input = Input::Message(bytes);
                    waiting.push(self.conductor.handle(self.now, &mut self.world.rng, input));
                }
            }
        }
    }

    fn answered(&mut self, to: protocol::ProcessId, bytes: &[u8]) -> Vec<Vec<u8>> {
        let Some(unit) = ALL.into_iter().find(|unit| unit_id(*unit) == to) else {
            return match self.is_reencryptor_silent {
                true => Vec::new(),
                false => vec![self.reencrypted(bytes)],
            };
        };
        let command = Envelope::parse(bytes).ok().map(|envelope| codec::decode(envelope.body));
        let is_survey = matches!(command, Some(Ok(Command::Survey { .. })));
        let is_clear = matches!(
            command,
            Some(Ok(Command::Step { step: protocol::command::Step::Clear { .. }, .. }))
        );
        let is_lost = self.silent == Some(unit)
            || (self.silent_after_surveys == Some(unit) && !is_survey)
            || (self.deaf_to_clear == Some(unit) && is_clear);
        if is_lost {
            return Vec::new();
        }
        let now = self.now.plus_ms(if unit == OP_1 { self.ahead_ms } else { 0 });
        let outcome = self.world.units[unit].handle(now, &mut self.world.rng, bytes);
        outcome.messages.into_iter().map(|message| message.bytes).collect()
    }

    /// The check of all keys, as its reencryptor tells of it.
    fn checked(&self, check: CheckId) -> Option<KeyCheck> {
        let active = self.row.active.as_ref()?;
        let end = KeyCheckEnd::Done { key_root: Digest([self.row.version_count as u8; 32]) };
        let unopened = self.checks.clone();
        Some(KeyCheck {
            check,
            keystore: KEYSTORE,
            generation: active.id,
            pattern: active.pattern,
            checked_count: 10,
            total_count: 10,
            unopened_count: unopened.as_ref().map_or(0, Vec::len) as u64,
            end: unopened.is_some().then_some(end),
            unopened: unopened.unwrap_or_default(),
            took_ms: 100,
        })
    }

    /// The reencryptor obeys an abort, takes a manifest, and reports.
    fn reencrypted(&mut self, bytes: &[u8]) -> Vec<u8> {
        let envelope = Envelope::parse(bytes).unwrap();
        let (mut said, mut refusal) = (None, None);
        let is_ahead = envelope.header.epoch.manifest_serial > self.serial;
        match codec::decode(envelope.body).unwrap() {
            // As `rewrap` judges: no epoch of a manifest that is not taken, no manifest while it is open.
            KeystoreCommand::Abort { .. } if is_ahead => {}
            KeystoreCommand::TakeManifest { .. } if self.row.open.is_some() => {
                let (code, text) = ("manifest-refused".to_owned(), "it is open".to_owned());
                refusal = Some(Refusal { code, text });
            }
            KeystoreCommand::Abort { order, certificate } => {
                let chain = self.world.manifests.clone();
                let trust = Trust::from_saved(self.world.instance, chain).unwrap();
                let epoch = envelope.header.epoch;
                let request = rewrap::judge_abort(&order, &certificate, epoch, &trust).unwrap();
                if let Err(error) = machines::gate::abort(&mut self.row, &request) {
                    let (code, text) = ("keystore-refused".to_owned(), error.to_string());
                    refusal = Some(Refusal { code, text });
                }
            }
            KeystoreCommand::TakeManifest { chain } => self.serial = chain.len() as u64 + 1,
            KeystoreCommand::CheckKeys { check } => said = self.checked(check),
            _ => {}
        }
        let report = KeystoreReport {
            reencryptor: id_of(&reencryptor()),
            manifest_serial: self.serial,
            row: Some(self.row.clone()),
            receipts_digest: None,
            hold_ends: Vec::new(),
            unopened: Vec::new(),
            answering: Some(Answering { message: envelope.header.id, refusal }),
            clock: self.now,
            check: said,
        };
        let to = Recipient::Process(envelope.header.sender);
        self.world.seal(&reencryptor(), to, Kind::KeystoreReport, Epoch::default(), &report)
    }

    pub fn ask(&mut self, ask: Ask) -> Answer {
        self.handle(Input::Ask(1, ask));
        assert_eq!(self.answers.len(), 1, "{:?}", self.answers);
        self.answers.pop().unwrap()
    }

    pub fn start(&mut self, order: SignedOrder, verify_all: bool) -> Answer {
        self.ask(Ask::Start(Box::new(start_ask(order, verify_all))))
    }

    /// An ordinary order, and how it is changed.
    pub fn order(&self, change: impl FnOnce(&mut Order)) -> SignedOrder {
        let mut order = self.world.order(Purpose::Rotate, 2);
        let valid_ms = order.expires_at.since(NOW);
        order.expires_at = self.now.plus_ms(valid_ms);
        change(&mut order);
        // Another order is another rotation.
        order.rotation = rotation_id(order.number);
        self.world.signed(order).signed
    }

    /// The start is refused with exactly these words, and nothing has changed.
    fn refused(&mut self, order: SignedOrder, verify_all: bool, codes: &[(&str, &str)]) {
        let before = self.everything();
        let answer = self.start(order, verify_all);
        assert_eq!(unmet(&answer), codes, "{answer:?}");
        assert!(self.everything() == before, "something has changed");
        assert!(!self.conductor.is_rotating());
    }
}

pub fn start_ask(order: SignedOrder, verify_all: bool) -> StartAsk {
    StartAsk { verify_all, ..StartAsk::plain(Some(order), GateMode::Strict, "test") }
}

pub fn unmet(answer: &Answer) -> Vec<(&str, &str)> {
    let Answer::Unmet(findings) = answer else { panic!("{answer:?}") };
    findings.unmet.iter().map(|found| (found.code.as_str(), found.mend.as_str())).collect()
}

fn generation(number: u32, pattern: Pattern, state: GenerationState) -> Generation {
    let id = GenerationId::from_bytes([number as u8; 16]);
    Generation { number, id, pattern, state, set_count: 0, done_count: 0, quarantined_count: 0 }
}

const IN_PART: (&str, &str) = ("verified-in-part", "keyhelm auto-mk-rotate");

#[test]
fn who_wants_every_page_verified_joins_no_rotation_without_it() {
    let mut stage = Stage::well();
    let order = stage.order(|_| {});
    let answer = stage.start(order.clone(), false);
    assert!(matches!(answer, Answer::Started { joined: false, .. }), "{answer:?}");
    let answer = stage.start(order.clone(), true);
    assert_eq!(unmet(&answer), [IN_PART]);
    let answer = stage.start(order, false);
    assert!(matches!(answer, Answer::Started { joined: true, .. }), "{answer:?}");
}

#[test]
fn no_manifest_is_taken_while_a_rotation_runs_but_a_known_one_is_handed_out_again() {
    let mut stage = Stage::well();
    let order = stage.order(|_| {});
    let answer = stage.start(order, false);
    assert!(matches!(answer, Answer::Started { .. }), "{answer:?}");
    let known = stage.world.manifests[0].clone();
    stage.world.next_manifest(&ALL);
    let next = stage.world.manifests[1].clone();
    let answer = stage.ask(Ask::Manifest(next.clone(), None));
    let Answer::Refused(refusal) = &answer else { panic!("{answer:?}") };
    assert_eq!(refusal.code, "rotation-running");
    assert_eq!(stage.conductor.trust().serial(), 1);
    let answer = stage.ask(Ask::Manifest(known, None));
    assert!(matches!(answer, Answer::Taken), "{answer:?}");
}

#[test]
fn a_wrong_clock_is_one_condition_whatever_the_unit_says_of_the_order() {
    let mut stage = Stage::well();
    // So far ahead that the order has expired there.
    stage.ahead_ms = 600_000;
    let order = stage.order(|_| {});
    stage.refused(order, false, &[("clock-skew", "set the clock of op-1")]);
    // Not far enough to be a condition of its own, but past the order's end.
    stage.ahead_ms = MAX_SKEW_MS;
    let order = stage.order(|order| order.expires_at = NOW.plus_ms(MAX_SKEW_MS));
    let sign = "keyhelm auto-mk-rotate --sign";
    stage.refused(order, false, &[("order-expired", sign)]);
    stage.ahead_ms = 0;
    let order = stage.order(|order| order.issued_at = NOW.plus_ms(60_000));
    let clocks = "set the clock of op-1, op-2, rec-1, rec-2";
    stage.refused(order, false, &[("order-not-yet-issued", clocks)]);
}

#[test]
fn a_unit_with_another_key_is_named_alone_wherever_it_stands_in_the_manifest() {
    for odd in ALL {
        let mut stage = Stage::well();
        let mut rng = stage.world.rng.clone();
        stage.world.restart_with(odd, |state| {
            state.current = Some(crypto::master_key::MasterKey::generate(&mut rng));
        });
        let from = stage.row.active.as_ref().map(|active| active.pattern);
        let order = stage.order(|order| order.from = from);
        let name = ["op-1", "op-2", "rec-1", "rec-2"][odd];
        let mend = format!("keyhelm cryptounit-retire {name}");
        stage.refused(order, false, &[("current-differs", &mend)]);
    }
}

/// The keystore has opened a generation for this rotation.
pub fn opened(stage: &mut Stage, run: &Run) {
    stage.row.open = Some(generation(2, run.to, GenerationState::Building));
    stage.row.rotation = Some(KeystoreRotation {
        rotation: run.reference.rotation,
        number: run.reference.number,
        order_digest: run.reference.digest,
        standing: KeystoreStanding::Open,
        from: run.order.from,
        to: run.to,
        key_root: None,
    });
}

pub fn restarted(stage: &mut Stage) {
    let trust = stage.conductor.trust().clone();
    stage.conductor = Conductor::new(Arc::new(coordinator()), trust, None, Times::default());
    let effects = stage.conductor.recover(stage.now, &mut stage.world.rng, None);
    stage.settle(effects);
}

const TAKE_UP: &str = "keyhelm auto-mk-rotate --yes";

/// A dry run names everything; a start takes up what nobody drives, and says so.
fn taken_up(stage: &mut Stage, named: &[(&str, &str)]) {
    assert!(is_joined(stage, named), "what comes first is another rotation");
}

/// Whether what a start brings to its end first is another rotation than the one that was asked for.
fn is_joined(stage: &mut Stage, named: &[(&str, &str)]) -> bool {
    let before = stage.everything();
    let order = stage.order(|order| order.number.number = 3);
    let plan = StartAsk { dry_run: true, ..start_ask(order.clone(), false) };
    let answer = stage.ask(Ask::Start(Box::new(plan)));
    assert_eq!(unmet(&answer), named);
    assert!(stage.everything() == before, "a dry run changes nothing");
    let answer = stage.start(order, false);
    let Answer::Started { joined, warnings, .. } = &answer else { panic!("{answer:?}") };
    assert_eq!(warnings.warnings.iter().map(|found| &found.code).collect::<Vec<_>>(), ["taken-up"]);
    assert!(warnings.unmet.is_empty());
    *joined
}

#[test]
fn a_rotation_that_nobody_drives_is_named_and_a_start_brings_it_to_its_end_first() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let mut stage = Stage::of(world);
    opened(&mut stage, &run);
    let mut expected = vec![("bound", TAKE_UP); 4];
    expected.push(("keystore-open", TAKE_UP));
    taken_up(&mut stage, &expected);
    assert!(!stage.conductor.is_rotating() && stage.row.open.is_none());
    let last = stage.told.last().unwrap();
    assert_eq!(last, "ended in whoever was still in it", "it is not known what has changed");
    let order = stage.order(|order| order.number.number = 3);
    assert!(matches!(stage.start(order, false), Answer::Started { joined: false, .. }));
}

#[test]
fn a_rotation_that_nobody_drives_waits_for_a_unit_that_is_silent() {
    let mut world = World::initialised();
    world.committed(Purpose::Rotate, 2);
    let mut stage = Stage::of(world);
    stage.silent = Some(OP_2);
    let order = stage.order(|order| order.number.number = 3);
    let before = stage.everything();
    stage.handle(Input::Ask(1, Ask::Start(Box::new(start_ask(order, false)))));
    for _ in 0..2 {
        stage.now = stage.now.plus_ms(Times::default().survey_ms);
        stage.handle(Input::Tick);
    }
    let answer = stage.answers.pop().unwrap();
    let mut expected = vec![("bound", TAKE_UP); 3];
    expected.push(("silent", "start operational-unit op-2"));
    let named = unmet(&answer);
    assert!(expected.iter().all(|one| named.contains(one)), "{named:?}");
    assert!(stage.everything() == before, "it could have promoted: nobody is told anything");
}

/// A coordinator that has lost its record starts in the midst of a rotation, and `OP_2` is away.
fn without_record(has_promoted: bool) -> (Stage, Run) {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    if has_promoted {
        world.promote(OP_2, &run);
    }
    let mut stage = Stage::of(world);
    opened(&mut stage, &run);
    stage.silent = Some(OP_2);
    restarted(&mut stage);
    (stage, run)
}

/// It ends the rotation, as `OP_2` stays away.
fn ended_without(has_promoted: bool) -> (Stage, Run) {
    let (mut stage, run) = without_record(has_promoted);
    let silence_ms = Times::default().rotation.silence_abort_ms;
    stage.pass(silence_ms);
    let phase = |stage: &Stage| stage.conductor.rotation().unwrap().record().phase();
    assert_eq!(phase(&stage), Phase::Aborting, "it may come back");
    stage.pass(10_000);
    assert_eq!(phase(&stage), Phase::Aborted);
    assert!(stage.row.open.is_none(), "{:?}", stage.row);
    (stage, run)
}

#[test]
fn an_abort_goes_on_without_a_unit_that_stays_silent_which_a_start_lets_go_of_later() {
    let (mut stage, _) = ended_without(false);
    stage.silent = None;
    assert!(stage.world.units[OP_2].state().is_in_rotation());
    taken_up(&mut stage, &[("bound", TAKE_UP)]);
    assert!(!stage.conductor.is_rotating() && !stage.world.units[OP_2].state().is_in_rotation());
    let order = stage.order(|order| order.number.number = 3);
    assert!(matches!(stage.start(order, false), Answer::Started { joined: false, .. }));
}

#[test]
fn a_unit_that_stays_silent_is_removed_by_the_next_manifest_once_the_others_have_aborted() {
    let (mut stage, _) = ended_without(false);
    stage.world.next_manifest(&[REC_1, REC_2, OP_1]);
    let manifest = stage.world.manifests.last().unwrap().clone();
    stage.handle(Input::Ask(7, Ask::Manifest(manifest, None)));
    stage.pass(3_000);
    assert!(matches!(stage.answers.pop(), Some(Answer::Taken)));
    let order = stage.order(|order| order.number.number = 3);
    assert!(matches!(stage.start(order, false), Answer::Started { joined: false, .. }));
}

/// It promoted what the others were told to end: the record was lost while it was silent.
#[test]
fn a_silent_unit_that_had_promoted_what_ended_without_it_is_a_mixed_end_when_it_is_back() {
    let (mut stage, run) = ended_without(true);
    stage.silent = None;
    taken_up(&mut stage, &[("bound", TAKE_UP)]);
    let rotation = stage.conductor.rotation().unwrap();
    assert_eq!(rotation.reference(), &run.reference);
    let sides = rotation.sides();
    assert!(sides.is_mixed() && sides.promoted == [unit_id(OP_2)], "{sides:?}");
    assert!(matches!(rotation.record().verdict, Verdict::Aborted { .. }), "as it was saved");
    assert!(stage.row.open.is_none(), "and keys are served");
}

/// Its silence has ended the rotation; it has as long again to hear of that.
#[test]
fn a_unit_whose_silence_ended_a_rotation_is_told_when_it_is_back_soon() {
    let mut stage = Stage::well();
    stage.silent_after_surveys = Some(OP_2);
    let order = stage.order(|_| {});
    assert!(matches!(stage.start(order, false), Answer::Started { joined: false, .. }));
    stage.pass(Times::default().rotation.silence_abort_ms + 8_000);
    let phase = |stage: &Stage| stage.conductor.rotation().unwrap().record().phase();
    assert_eq!(phase(&stage), Phase::Aborting);
    stage.silent_after_surveys = None;
    stage.pass(6_000);
    assert_eq!(phase(&stage), Phase::Aborted);
    let told = stage.world.units[OP_2].state().rotation.as_ref().map(|taken| taken.standing);
    assert_eq!(told, Some(Standing::Aborted));
}

#[test]
fn a_keystore_left_open_by_units_that_have_all_aborted_is_ended_too() {
    for is_restarted in [true, false] {
        let mut world = World::initialised();
        let run = world.committed(Purpose::Rotate, 2);
        for unit in ALL {
            assert_eq!(world.abort(unit, &run).code(), "taken");
        }
        let mut stage = Stage::of(world);
        opened(&mut stage, &run);
        match is_restarted {
            true => restarted(&mut stage),
            false => taken_up(&mut stage, &[("keystore-open", TAKE_UP)]),
        }
        assert!(!stage.conductor.is_rotating() && stage.row.open.is_none(), "{:?}", stage.row);
    }
}

/// Somebody with a coordinator's identity has opened it, and no unit has that order, or has it no more.
#[test]
fn a_keystore_left_open_in_what_no_unit_knows_is_closed_by_the_end_of_the_order_that_is_asked_for()
{
    let world = World::initialised();
    let run = world.signed(world.order(Purpose::Rotate, 2));
    let mut stage = Stage::of(world);
    opened(&mut stage, &run);
    assert!(!is_joined(&mut stage, &[("keystore-open", TAKE_UP)]));
    let ended = stage.conductor.rotation().unwrap();
    assert!(ended.is_ended() && stage.row.open.is_none(), "{:?}", stage.row);
    assert!(matches!(ended.record().verdict, Verdict::Aborted { .. }));
    let order = stage.order(|order| order.number.number = 4);
    let answer = stage.start(order, false);
    let Answer::Started { joined: false, warnings, .. } = &answer else { panic!("{answer:?}") };
    assert_eq!(warnings.warnings, []);
}

/// What else is unmet comes first, and nothing has changed.
#[test]
fn a_keystore_left_open_is_not_closed_while_a_unit_holds_another_master_key() {
    let mut world = World::initialised();
    let run = world.signed(world.order(Purpose::Rotate, 2));
    let before = world.state_bytes(OP_2);
    world.whole_rotation(Purpose::Rotate, 2);
    world.put_back(OP_2, &before);
    let mut stage = Stage::of(world);
    opened(&mut stage, &run);
    stage.row.rotation.as_mut().unwrap().number.number = 1;
    let order = stage.order(|order| order.number.number = 3);
    let before = stage.everything();
    let answer = stage.start(order, false);
    assert!(matches!(answer, Answer::Unmet(_)), "{answer:?}");
    assert!(stage.everything() == before);
}

/// A coordinator has commanded a unit under the second manifest.
fn commanded_under_the_next(world: &mut World, run: &Run) {
    let command = Command::Abort { order: run.signed.clone() };
    let (to, later) = (Recipient::Process(unit_id(OP_1)), Epoch { manifest_serial: 2, number: 1 });
    let bytes = world.seal(&coordinator(), to, Kind::Command, later, &command);
    assert_eq!(world.deliver(OP_1, &bytes).report.epoch, later);
}

/// It takes no manifest while it is open, and no epoch of a manifest that it has not taken.
#[test]
fn a_keystore_left_open_while_the_others_took_a_manifest_is_ended_under_the_epoch_that_it_knows() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    for unit in ALL {
        assert_eq!(world.abort(unit, &run).code(), "taken");
    }
    world.next_manifest(&ALL);
    for unit in ALL {
        world.take_manifests(unit);
    }
    commanded_under_the_next(&mut world, &run);
    let mut stage = Stage::of(world);
    opened(&mut stage, &run);
    restarted(&mut stage);
    stage.pass(10_000);
    assert!(!stage.conductor.is_rotating() && stage.row.open.is_none(), "{:?}", stage.row);
    assert_eq!(stage.serial, 2, "and then it takes the manifest");
}

/// A bound unit may have to refuse the manifest that the others have taken, and refuses its epochs then.
#[test]
fn a_unit_left_bound_while_the_others_took_a_manifest_is_let_go_of_under_the_epoch_that_it_knows() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let others = [REC_2, OP_1, OP_2];
    for unit in others {
        assert_eq!(world.abort(unit, &run).code(), "taken");
    }
    world.next_manifest(&ALL);
    for unit in others {
        world.take_manifests(unit);
    }
    commanded_under_the_next(&mut world, &run);
    let mut stage = Stage::of(world);
    restarted(&mut stage);
    stage.pass(10_000);
    assert!(!stage.conductor.is_rotating() && !stage.world.units[REC_1].state().is_in_rotation());
    let serial = stage.world.units[REC_1].state().trust.serial();
    assert_eq!(serial, 2, "and then it takes the manifest");
}

#[test]
fn a_rotation_that_a_unit_has_promoted_is_gone_on_with() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    assert_eq!(world.promote(OP_1, &run).code(), "taken");
    let mut stage = Stage::of(world);
    opened(&mut stage, &run);
    restarted(&mut stage);
    assert!(stage.conductor.is_rotating());
    for unit in OTHERS {
        let taken = stage.world.units[unit].state().rotation.as_ref().unwrap();
        assert_ne!(taken.standing, Standing::Aborted, "promoted elsewhere: never aborted");
    }
    assert_eq!(stage.conductor.rotation().unwrap().reference(), &run.reference);
}

/// An old record of a rotation that is long over, and who knows it better was silent at the start.
#[test]
fn a_rotation_that_a_unit_has_left_behind_is_closed_when_it_speaks() {
    let mut world = World::initialised();
    let run = world.whole_rotation(Purpose::Rotate, 2);
    let later = world.signed(world.order(Purpose::Rotate, 3));
    world.abort(OP_1, &later);
    let mut stage = Stage::of(world);
    stage.silent = Some(OP_1);
    let mut record =
        Record::new(run.signed.clone(), Epoch::default(), "test".to_owned(), stage.now);
    (record.verdict, record.verdict_under) = (Verdict::Decided, Some(1));
    record.to = Some(run.to);
    let effects = stage.conductor.recover(stage.now, &mut stage.world.rng, Some(record));
    stage.settle(effects);
    stage.now = stage.conductor.next_tick().unwrap();
    stage.tick();
    assert!(stage.conductor.is_rotating(), "nobody who was heard has gone on");
    stage.silent = None;
    stage.now = stage.now.plus_ms(60_000);
    stage.tick();
    assert!(!stage.conductor.is_rotating(), "{:?}", stage.conductor.rotation());
}

/// The record is lost, and the unit that has promoted is silent at the start: nobody may say aborted
/// before it has been asked.
#[test]
fn a_rotation_without_a_record_is_aborted_only_once_every_unit_was_asked_whether_it_has_promoted() {
    for (has_promoted, verdict) in [(true, "decided"), (false, "aborted")] {
        let (mut stage, _) = without_record(has_promoted);
        stage.now = stage.conductor.next_tick().unwrap();
        stage.tick();
        let record = |stage: &Stage| stage.conductor.rotation().unwrap().record().verdict.clone();
        assert_eq!(record(&stage), Verdict::Open, "it has not been heard");
        stage.silent = None;
        stage.now = stage.now.plus_ms(1_000);
        stage.tick();
        stage.now = stage.now.plus_ms(5_000);
        stage.tick();
        let found = match record(&stage) {
            Verdict::Decided => "decided",
            Verdict::Aborted { .. } => "aborted",
            Verdict::Open => "open",
        };
        let standing = stage.world.units[OP_1].report(NOW, None).rotation.unwrap().standing;
        assert_eq!(found == "aborted", standing == Standing::Aborted, "{found}: {standing:?}");
        assert_eq!(found == "aborted", verdict == "aborted", "{found}, not {verdict}");
    }
}

/// One has promoted, so it only goes forward, and another one is away: nobody asks for an end again and again.
#[test]
fn an_abort_that_is_refused_is_not_asked_for_at_once_again() {
    let (mut stage, _) = without_record(true);
    stage.silent = Some(REC_2);
    let silence_ms = Times::default().rotation.silence_abort_ms;
    stage.pass(silence_ms + 10_000);
    let epoch = |stage: &Stage| stage.conductor.rotation().unwrap().record().epoch.number;
    let before = epoch(&stage);
    stage.pass(silence_ms - 15_000);
    assert!(stage.conductor.is_rotating() && epoch(&stage) <= before + 1, "{}", epoch(&stage));
}

#[test]
fn a_unit_whose_state_is_gone_is_not_silent_and_is_handed_the_manifest_once_a_survey() {
    let mut stage = Stage::well();
    assert!(matches!(stage.ask(Ask::Look), Answer::Looked(_)));
    let state = machines::unit::state::UnitState::imprint(stage.world.instance);
    let mut config = crate::world::config(OP_1);
    config.pinned_administrators = vec![crate::world::stranger().public_key()];
    let identity = crate::world::identity(OP_1 as u8);
    stage.world.units[OP_1] = machines::unit::Unit::new(config, identity, state);
    let order = stage.order(|_| {});
    stage.refused(order, false, &[("imprint-mode", "keyhelm cryptounit-retire op-1")]);
    assert_eq!(stage.world.units[OP_1].state().counter, 0, "it has refused the manifest");
}

#[test]
fn a_unit_that_is_removed_learns_of_it_at_once_or_when_it_speaks_again() {
    let mut stage = Stage::well();
    stage.world.next_manifest(&[OP_1, REC_1, REC_2]);
    let second = stage.world.manifests[1].clone();
    let serial = |stage: &Stage| stage.world.units[OP_2].state().trust.serial();
    let before = machines::unit::state::UnitState::from_bytes(&stage.world.state_bytes(OP_2));
    assert!(matches!(stage.ask(Ask::Manifest(second, None)), Answer::Taken));
    assert_eq!(serial(&stage), 2);
    assert!(stage.world.units[OP_2].state().trust.member(unit_id(OP_2)).is_none());
    // It was away then: its announcement is answered with the manifest.
    stage.world.units[OP_2] = machines::unit::Unit::new(
        crate::world::config(OP_2),
        crate::world::identity(OP_2 as u8),
        before.unwrap(),
    );
    assert_eq!(serial(&stage), 1);
    let unit = &stage.world.units[OP_2];
    let body = codec::encode(&unit.announcement());
    let sealed = unit.broadcast(NOW, &mut stage.world.rng, Kind::Announcement, &body);
    stage.handle(Input::Message(sealed));
    assert_eq!(serial(&stage), 2);
}

/// Goal: no manifest is taken that a unit which stays would be shut out by for ever.
#[test]
fn a_manifest_waits_for_units_that_are_in_a_rotation_of_which_there_is_no_record() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let mut stage = Stage::of(world);
    opened(&mut stage, &run);
    stage.world.next_manifest(&[OP_1, REC_1, REC_2]);
    let second = stage.world.manifests[1].clone();
    let answer = stage.ask(Ask::Manifest(second.clone(), None));
    assert!(matches!(&answer, Answer::Refused(it) if it.code == "rotation-running"), "{answer:?}");
    assert_eq!(stage.conductor.trust().serial(), 1);
    // The rotation was ended with it.
    assert!(!stage.conductor.is_rotating() && stage.row.open.is_none());
    assert!(matches!(stage.ask(Ask::Manifest(second, None)), Answer::Taken));
}

/// What it had said before the order came lay in the queue of a coordinator that is no more.
#[test]
fn a_manifest_waits_for_a_unit_of_which_only_an_old_report_was_heard() {
    let mut world = World::initialised();
    let old = world.command(OP_2, Command::Survey { order: None }).envelope;
    let run = world.inspected(Purpose::Rotate, 2);
    let mut stage = Stage::of(world);
    for unit in ALL.into_iter().filter(|unit| *unit != OP_2) {
        assert_eq!(stage.world.abort(unit, &run).code(), "taken");
    }
    stage.silent = Some(OP_2);
    stage.handle(Input::Message(old));
    stage.world.next_manifest(&ALL);
    let signed = stage.world.manifests[1].clone();
    stage.handle(Input::Ask(1, Ask::Manifest(signed.clone(), None)));
    stage.pass(2 * Times::default().survey_ms);
    let answer = stage.answers.pop().unwrap();
    let Answer::Refused(refusal) = &answer else { panic!("{answer:?}") };
    assert_eq!(refusal.text, "op-2 may be in a rotation: start it, or remove it too");
    assert_eq!(stage.conductor.trust().serial(), 1);
    stage.silent = None;
    let answer = stage.ask(Ask::Manifest(signed.clone(), None));
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?} {:?}", stage.told);
    assert!(matches!(stage.ask(Ask::Manifest(signed, None)), Answer::Taken), "it was let go of");
}

/// Nothing brings it to the end of that rotation.
#[test]
fn a_unit_that_was_set_back_into_what_others_have_left_is_named_with_what_mends_it() {
    let mut world = World::initialised();
    let run = world.inspected(Purpose::Rotate, 2);
    let before = world.state_bytes(OP_2);
    for unit in ALL {
        assert_eq!(world.abort(unit, &run).code(), "taken");
    }
    let later = world.signed(world.order(Purpose::Rotate, 3));
    for unit in ALL {
        assert_eq!(world.abort(unit, &later).code(), "taken");
    }
    let own = world.command(OP_2, Command::Survey { order: None }).envelope;
    world.put_back(OP_2, &before);
    let mut stage = Stage::of(world);
    stage.world.command(OP_2, Command::Remind { report: own });
    stage.world.next_manifest(&ALL);
    let signed = stage.world.manifests[1].clone();
    let answer = stage.ask(Ask::Manifest(signed, None));
    let Answer::Refused(refusal) = &answer else { panic!("{answer:?}") };
    assert!(refusal.text.ends_with("put its newest volume back, or remove it too"), "{refusal:?}");
}

/// An amendment that units must refuse would be followed by every later one.
#[test]
fn an_amendment_without_a_holders_report_is_refused_before_anybody_takes_it() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    assert_eq!(world.promote(OP_1, &run).code(), "taken");
    let mut stage = Stage::of(world);
    restarted(&mut stage);
    assert!(stage.conductor.is_rotating());
    stage.world.sign_manifest(&[OP_1, REC_1, REC_2], |manifest| {
        let (rotation, holder_report) = (run.reference.rotation, Vec::new());
        manifest.amendment = Some(protocol::manifest::Amendment { rotation, holder_report });
    });
    let signed = stage.world.manifests.pop().unwrap();
    let answer = stage.ask(Ask::Manifest(signed, None));
    assert!(matches!(&answer, Answer::Refused(it) if it.code == "not-taken"), "{answer:?}");
    stage.world.amend(&[OP_1, REC_1, REC_2], &run, REC_1);
    let signed = stage.world.manifests[1].clone();
    assert!(matches!(stage.ask(Ask::Manifest(signed, None)), Answer::Taken));
}

/// It was taken up again after newer ones had come.
#[test]
fn a_record_without_an_end_is_found_beside_a_newer_one_that_has_one() {
    for is_first in [true, false] {
        let mut world = World::initialised();
        let first = world.whole_rotation(Purpose::Rotate, 2);
        let second = world.whole_rotation(Purpose::Rotate, 3);
        let record = |run: &Run| Record {
            verdict: Verdict::Decided,
            to: Some(run.to),
            ..Record::new(run.signed.clone(), Epoch::default(), "test".to_owned(), NOW)
        };
        let newer = Record { finished_at: Some(NOW), ..record(&second) };
        let mut saved = vec![newer, record(&first)];
        if is_first {
            saved.reverse();
        }
        let mut stage = Stage::of(world);
        let effects = stage.conductor.recover(stage.now, &mut stage.world.rng, saved);
        stage.settle(effects);
        let closed: Vec<_> = stage.closed.iter().map(|it| it.signed_order.clone()).collect();
        assert_eq!(closed, [first.signed], "{is_first}");
        assert!(stage.closed[0].finished_at.is_some() && !stage.conductor.is_rotating());
    }
}

/// The lease was taken anew, and everybody is asked again.
#[test]
fn whoever_waits_for_a_survey_is_answered_though_another_one_comes_between() {
    let mut stage = Stage::well();
    let order = stage.order(|_| {});
    let start = StartAsk { dry_run: true, ..start_ask(order, false) };
    for ask in [Ask::Look, Ask::Start(Box::new(start))] {
        let asked = stage.conductor.handle(stage.now, &mut stage.world.rng, Input::Ask(7, ask));
        assert!(!asked.send.is_empty() && asked.answers.is_empty());
        let effects = stage.conductor.survey_anew(stage.now, &mut stage.world.rng);
        stage.settle(effects);
        let answer = stage.answers.pop().expect("it was forgotten");
        assert!(matches!(answer, Answer::Looked(_) | Answer::Planned(..)), "{answer:?}");
    }
}
