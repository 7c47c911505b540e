//! Goal: units that have taken another order, or another state, than the coordinator reckons with keep no
//! rotation from its end, and no second master key is drawn for one order. Method: a rotation, or a
//! conductor with everybody, over units that rogues have ordered on, or whose volumes were put back.

use machines::conductor::Answer::Looked;
use machines::conductor::{Ask, Input as ConductorInput, StartAsk};
use machines::rotation::desired::Wanted;
use machines::rotation::record::{Record, Verdict};
use machines::rotation::recovery::{Reports, recover};
use machines::rotation::{Input, Limits, Rotation};
use protocol::audit::Phase;
use protocol::command::{Command, Step};
use protocol::envelope::{Kind, Recipient};
use protocol::keystore::KeystoreStanding;
use protocol::order::{Order, Purpose};
use protocol::report::Standing;
use protocol::{Epoch, Pattern};

use crate::starts::{Stage, opened, start_ask, unmet};
use crate::world::{
    ALL, Answer, EPOCH, NOW, OP_1, OP_2, OTHERS, REC_1, REC_2, Run, World, coordinator,
    flipped_row, unit_id,
};

fn survey(world: &mut World, unit: usize) -> Answer {
    world.command(unit, Command::Survey { order: None })
}

/// What a coordinator has saved of it.
fn recorded(run: &Run, verdict: Verdict) -> Record {
    let mut record = Record::new(run.signed.clone(), EPOCH, "test".to_owned(), NOW);
    (record.verdict, record.verdict_under) = (verdict, Some(1));
    record
}

/// A coordinator starts with it.
fn started(stage: &mut Stage, record: Option<Record>) {
    let effects = stage.conductor.recover(stage.now, &mut stage.world.rng, record);
    stage.settle(effects);
}

fn rotation(world: &World, run: &Run, verdict: Verdict) -> Rotation {
    let record = recorded(run, verdict);
    Rotation::new(record, world.manifests[0].unverified().unwrap(), Limits::default()).unwrap()
}

/// The unit takes the order, and later epochs, each a save, until it has come to this state counter.
fn saves_as_often_again(world: &mut World, unit: usize, run: &Run, counter: u64) {
    for number in EPOCH.number.. {
        let (to, order) = (Recipient::Process(unit_id(unit)), run.signed.clone());
        let (inspect, epoch) = (Command::Inspect { order }, Epoch { manifest_serial: 1, number });
        let bytes = world.seal(&coordinator(), to, Kind::Command, epoch, &inspect);
        if world.deliver(unit, &bytes).report.state_counter >= counter {
            break;
        }
    }
    assert_eq!(survey(world, unit).report.state_counter, counter);
}

#[test]
fn a_unit_that_has_saved_as_often_again_takes_its_report_of_another_state_as_a_reminder() {
    let mut world = World::initialised();
    let before = world.state_bytes(REC_1);
    let run = world.generated(Purpose::Rotate, 2);
    let own = survey(&mut world, REC_1);
    world.answers_from_state(REC_1, Command::Remind { report: own.envelope.clone() });
    world.put_back(REC_1, &before);
    saves_as_often_again(&mut world, REC_1, &run, own.report.state_counter);
    let reminded = world.command(REC_1, Command::Remind { report: own.envelope });
    assert_eq!(reminded.report.set_back_from, Some(own.report.state_counter));
}

#[test]
fn a_generator_that_has_saved_as_often_again_since_it_was_set_back_draws_no_second_key() {
    let mut world = World::initialised();
    let before = world.state_bytes(REC_1);
    let run = world.generated(Purpose::Rotate, 2);
    let mut stage = Stage::of(world);
    assert!(matches!(stage.ask(Ask::Look), Looked(_)), "the coordinator has heard of the key");
    let highest = survey(&mut stage.world, REC_1).report.state_counter;
    stage.world.put_back(REC_1, &before);
    saves_as_often_again(&mut stage.world, REC_1, &run, highest);
    assert!(matches!(stage.ask(Ask::Look), Looked(_)));
    assert!(stage.world.units[REC_1].state().reminder.is_some(), "it is noticed, and told");
    started(&mut stage, Some(Record { to: Some(run.to), ..recorded(&run, Verdict::Open) }));
    stage.pass(10_000);
    let state = stage.world.units[REC_1].state();
    assert!(state.new.is_none(), "it has drawn another one");
    assert!(!stage.conductor.is_rotating(), "{:?}", stage.conductor.rotation());
}

/// Else what it saves could count past what it had said, and nobody would notice it any more.
#[test]
fn one_that_does_not_know_that_it_was_set_back_is_sent_nothing_but_the_reminder() {
    let mut world = World::initialised();
    let before = world.state_bytes(REC_2);
    let run = world.inspected(Purpose::Rotate, 2);
    let mut stage = Stage::of(world);
    assert!(matches!(stage.ask(Ask::Look), Looked(_)));
    stage.silent = Some(REC_2);
    started(&mut stage, Some(recorded(&run, Verdict::Open)));
    stage.pass(3_000);
    stage.world.put_back(REC_2, &before);
    (stage.silent, stage.silent_after_surveys) = (None, Some(REC_2));
    assert!(matches!(stage.ask(Ask::Look), Looked(_)), "noticed, and the reminder is lost");
    for _ in 0..20 {
        stage.now = stage.now.plus_ms(499);
        let effects = stage.conductor.handle(stage.now, &mut stage.world.rng, ConductorInput::Tick);
        let sent: Vec<_> = effects.send.iter().filter(|it| it.to == unit_id(REC_2)).collect();
        assert!(sent.iter().all(|it| it.name == "remind"), "{}", sent[0].name);
    }
    stage.silent_after_surveys = None;
    stage.pass(10_000);
    let taken = stage.world.units[REC_2].state().rotation.as_ref().map(|it| it.reference);
    assert_eq!(taken, Some(run.reference), "it knows, and is brought up again");
}

/// It may have drawn one that it has forgotten.
#[test]
fn a_generator_is_asked_to_draw_only_once_it_knows_that_it_was_set_back() {
    let mut world = World::initialised();
    let run = world.inspected(Purpose::Rotate, 2);
    for set_back_from in [None, Some(99)] {
        let mut rotation = rotation(&world, &run, Verdict::Open);
        let mut asked = Vec::new();
        for unit in ALL {
            let Answer { mut report, envelope, .. } = survey(&mut world, unit);
            let input = match unit {
                REC_1 => {
                    report.set_back_from = set_back_from;
                    Input::SetBack(Box::new(report), envelope)
                }
                _ => Input::Unit(Box::new(report), envelope),
            };
            asked = rotation.handle(NOW, input).send;
        }
        let names: Vec<_> = asked.iter().map(Wanted::name).collect();
        let expected = if set_back_from.is_none() { "inspect" } else { "generate" };
        assert_eq!(names, [expected], "{set_back_from:?}");
    }
}

/// A rogue has made it draw again before anybody held the first one.
#[test]
fn the_record_goes_with_the_pattern_that_units_show_until_it_is_decided() {
    let mut world = World::initialised();
    let before = world.state_bytes(REC_1);
    let mut rotation: Option<Rotation> = None;
    let mut shown: Vec<Pattern> = Vec::new();
    let mut signed = None;
    for _ in 0..2 {
        world.put_back(REC_1, &before);
        let run = signed.get_or_insert_with(|| world.signed(world.order(Purpose::Rotate, 2)));
        let (run, offers) = (&*run, vec![]);
        assert_eq!(world.inspect(REC_1, run).code(), "taken");
        let drawn = world.step(REC_1, run, Step::Generate { offers });
        shown.extend(drawn.report.registers.new.map(|new| new.pattern));
        let rotation = rotation.get_or_insert_with(|| self::rotation(&world, run, Verdict::Open));
        rotation.handle(NOW, Input::SetBack(Box::new(drawn.report), drawn.envelope));
        assert_eq!(rotation.record().to, shown.last().copied());
    }
    assert_ne!(shown[0], shown[1]);
}

/// Only one has promoted; a rogue has ordered the others on.
#[test]
fn an_abort_does_not_wait_for_who_has_promoted_once_the_others_have_gone_on() {
    for have_gone_on in [true, false] {
        let mut world = World::initialised();
        let run = world.committed(Purpose::Rotate, 2);
        assert_eq!(world.promote(OP_2, &run).code(), "taken");
        let of_rogue = world.signed(world.order(Purpose::Rotate, 3));
        for unit in [REC_1, REC_2, OP_1] {
            assert_eq!(world.abort(unit, &run).code(), "taken");
            if have_gone_on {
                assert_eq!(world.abort(unit, &of_rogue).code(), "taken");
            }
        }
        let aborted = Verdict::Aborted { because: "asked".to_owned() };
        let mut running = rotation(&world, &run, aborted.clone());
        let mut let_go = world.flipped(&run);
        let row = let_go.row.as_mut().unwrap();
        row.rotation.as_mut().unwrap().standing = KeystoreStanding::Aborted;
        row.epoch = EPOCH;
        running.handle(NOW, Input::Keystore(Box::new(let_go), Vec::new()));
        for unit in ALL {
            let answer = survey(&mut world, unit);
            running.handle(NOW, Input::Unit(Box::new(answer.report), answer.envelope));
        }
        assert_eq!(running.is_ended(), have_gone_on, "{:?}", running.awaited());

        let mut stage = Stage::of(world);
        started(&mut stage, Some(recorded(&run, aborted)));
        stage.pass(10_000);
        assert_ne!(stage.conductor.is_rotating(), have_gone_on, "else it is a mixed end");
        if have_gone_on {
            let order = stage.order(|order| order.number.number = 4);
            let answer = stage.start(order, false);
            assert_eq!(unmet(&answer), [("bound", "keyhelm cryptounit-retire op-2")]);
        }
    }
}

/// It refuses the manifest of the others until then, and with it our epoch.
#[test]
fn who_is_bound_to_an_earlier_order_is_let_go_of_it_whatever_epoch_it_has_spoken_under() {
    let mut world = World::initialised();
    let earlier = world.inspected(Purpose::Rotate, 2);
    let later = world.signed(world.order(Purpose::Rotate, 3));
    is_let_go_of(&mut world, &earlier, &later);
}

/// A rogue has given two orders of one number.
#[test]
fn who_is_bound_to_another_order_of_the_number_is_let_go_of_it() {
    let mut world = World::initialised();
    let one = world.inspected(Purpose::Rotate, 2);
    let other = world.signed(Order { expires_at: NOW.plus_ms(1), ..one.order.clone() });
    is_let_go_of(&mut world, &one, &other);
}

/// A unit that is bound to the one order is told the end of that, while the other one is being ended.
fn is_let_go_of(world: &mut World, bound: &Run, ended: &Run) {
    let mut running = rotation(world, ended, Verdict::Aborted { because: "asked".to_owned() });
    let mut answer = survey(world, REC_1);
    answer.report.epoch = Epoch::default();
    let effects = running.handle(NOW, Input::Unit(Box::new(answer.report), answer.envelope));
    let asked = effects.send.into_iter().filter(|wanted| wanted.to() == unit_id(REC_1));
    let order = bound.signed.clone();
    assert_eq!(asked.collect::<Vec<_>>(), [Wanted::Unit(unit_id(REC_1), Command::Abort { order })]);
}

/// It had cleared, as it could take no other order before, and its report of that is gone.
#[test]
fn the_others_clear_what_was_flipped_though_one_has_gone_on() {
    for has_record in [true, false] {
        let mut world = World::initialised();
        let run = world.promoted(Purpose::Rotate, 2);
        assert_eq!(world.clear(OP_1, &run).code(), "taken");
        let of_rogue = world.signed(world.order(Purpose::Rotate, 3));
        assert_eq!(world.abort(OP_1, &of_rogue).code(), "taken");
        let row = flipped_row(world.instance, &run);
        let mut stage = Stage::of(world);
        stage.row = row;
        let order = stage.order(|order| order.number.number = 4);
        let plan = StartAsk { dry_run: true, ..start_ask(order, false) };
        let answer = stage.ask(Ask::Start(Box::new(plan)));
        let mends: Vec<_> =
            unmet(&answer).into_iter().filter(|(code, _)| *code == "bound").collect();
        assert_eq!(mends, [("bound", "keyhelm auto-mk-rotate --yes"); 3]);
        let record = Record { to: Some(run.to), ..recorded(&run, Verdict::Decided) };
        started(&mut stage, has_record.then_some(record));
        stage.pass(10_000);
        for unit in ALL.into_iter().filter(|unit| *unit != OP_1) {
            let taken = stage.world.units[unit].state().rotation.as_ref().unwrap();
            assert_eq!(taken.standing, Standing::Cleared, "{has_record}");
        }
        let rotation = stage.conductor.rotation().unwrap();
        assert_eq!(rotation.record().phase(), Phase::Done, "{has_record}");
    }
}

/// It had not promoted, and never will: the keystore shows no flip.
#[test]
fn what_one_has_left_before_the_flip_goes_no_further() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let of_rogue = world.signed(world.order(Purpose::Rotate, 3));
    assert_eq!(world.abort(OP_2, &run).code(), "taken");
    assert_eq!(world.abort(OP_2, &of_rogue).code(), "taken");
    let mut rotation = rotation(&world, &run, Verdict::Decided);
    for unit in OTHERS.into_iter().chain([REC_1]) {
        let answer = survey(&mut world, unit);
        rotation.handle(NOW, Input::Unit(Box::new(answer.report), answer.envelope));
    }
    assert!(!rotation.is_before_flip(), "the keystore has not been heard");
    assert_eq!(rotation.sides().aborted, []);
    for (at, (standing, aborted)) in (1..).zip([
        (KeystoreStanding::Complete, vec![unit_id(OP_2)]),
        (KeystoreStanding::Aborted, vec![unit_id(OP_2)]),
        (KeystoreStanding::Flipped, Vec::new()),
    ]) {
        let mut report = world.flipped(&run);
        report.clock = NOW.plus_ms(at);
        let row = report.row.as_mut().unwrap();
        row.rotation.as_mut().unwrap().standing = standing;
        row.epoch = EPOCH;
        rotation.handle(NOW, Input::Keystore(Box::new(report), Vec::new()));
        assert_eq!(rotation.sides().aborted, aborted, "{standing:?}");
    }
}

/// It had taken a later one: what it remembers of an earlier one as ended, it may have promoted.
#[test]
fn one_that_knows_itself_to_be_set_back_remembers_no_order_from_before_as_aborted() {
    let mut world = World::initialised();
    let before = world.state_bytes(OP_1);
    let run = world.whole_rotation(Purpose::Rotate, 2);
    let later = world.signed(world.order(Purpose::Rotate, 4));
    assert_eq!(world.abort(OP_1, &later).code(), "taken");
    let own = survey(&mut world, OP_1).envelope;
    world.put_back(OP_1, &before);
    world.command(OP_1, Command::Remind { report: own });
    world.refuses(OP_1, Command::Abort { order: run.signed.clone() }, "order-spent");
    world.refuses(OP_1, Command::Inspect { order: run.signed.clone() }, "order-spent");
    let other = world.signed(Order { expires_at: NOW.plus_ms(1), ..later.order.clone() });
    world.refuses(OP_1, Command::Abort { order: other.signed }, "other-digest");
    assert_eq!(world.abort(OP_1, &later).code(), "taken");
}

/// It is the newer volume: what it was told while an older one was in its place does not stand against it.
#[test]
fn one_that_has_promoted_is_no_further_behind_than_one_that_was_told_to_abort() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let committed = world.state_bytes(OP_1);
    assert_eq!(world.promote(OP_1, &run).code(), "taken");
    let promoted = world.state_bytes(OP_1);
    world.put_back(OP_1, &committed);
    let aborted = world.abort(OP_1, &run);
    world.put_back(OP_1, &promoted);
    let reminded = world.command(OP_1, Command::Remind { report: aborted.envelope });
    assert!(reminded.report.state_counter > aborted.report.state_counter);
    assert!(reminded.report.set_back_from.is_none() && world.units[OP_1].takes_pages());
}

/// Whatever its state is now, nobody gives it that order, or one before it, again.
#[test]
fn an_order_that_a_unit_had_aborted_is_aborted_in_it_again_once_it_is_reminded() {
    let mut world = World::initialised();
    let before = world.state_bytes(OP_1);
    let of_rogue = world.signed(world.order(Purpose::Rotate, 7));
    let own = world.abort(OP_1, &of_rogue).envelope;
    world.put_back(OP_1, &before);
    let reminded = world.command(OP_1, Command::Remind { report: own });
    let taken = reminded.report.rotation.unwrap();
    assert_eq!((taken.order, taken.standing), (of_rogue.reference, Standing::Aborted));
    assert!(reminded.report.set_back_from.is_none());
}

/// Record N is decided, a rogue has ordered one unit on to N + 1, and the keystore has not flipped: it is gone
/// on with as it stands, in one way, without asking everybody again and again.
#[test]
fn a_decided_rotation_that_one_has_left_before_the_flip_is_neither_closed_nor_begun_again() {
    for promoted in [vec![], vec![OP_1], vec![OP_1, REC_1, REC_2]] {
        let mut world = World::initialised();
        let run = world.committed(Purpose::Rotate, 2);
        for unit in &promoted {
            assert_eq!(world.promote(*unit, &run).code(), "taken");
        }
        let of_rogue = world.signed(world.order(Purpose::Rotate, 3));
        assert_eq!(world.abort(OP_2, &run).code(), "taken");
        assert_eq!(world.abort(OP_2, &of_rogue).code(), "taken");
        let mut stage = Stage::of(world);
        opened(&mut stage, &run);
        stage.row.rotation.as_mut().unwrap().standing = KeystoreStanding::Complete;
        started(&mut stage, Some(Record { to: Some(run.to), ..recorded(&run, Verdict::Decided) }));
        stage.pass(10_000);
        let epoch = stage.conductor.rotation().unwrap().record().epoch;
        stage.pass(10_000);
        let rotation = stage.conductor.rotation().unwrap();
        assert_eq!(rotation.record().epoch, epoch, "{promoted:?}: everybody was asked once");
        assert!(!rotation.is_ended() && rotation.record().verdict == Verdict::Decided);
        assert_eq!(rotation.sides().aborted, [unit_id(OP_2)], "{promoted:?}");
        assert!(stage.row.open.is_none(), "keys are served");
    }
}

/// All volumes were put back at once: the keystore knows better.
#[test]
fn what_the_keystore_has_flipped_is_not_rebuilt_as_aborted() {
    let mut world = World::initialised();
    let run = world.committed(Purpose::Rotate, 2);
    let units: Vec<_> = ALL.map(|unit| world.units[unit].report(NOW, None)).into();
    for (standing, verdict) in
        [(KeystoreStanding::Flipped, true), (KeystoreStanding::Complete, false)]
    {
        let mut keystore = world.flipped(&run);
        keystore.row.as_mut().unwrap().rotation.as_mut().unwrap().standing = standing;
        let reports = Reports { units: units.iter().collect(), keystores: vec![&keystore] };
        let record = recover(None, &reports, NOW).go_on.unwrap();
        assert_eq!(record.verdict == Verdict::Decided, verdict, "{standing:?}");
    }
}
