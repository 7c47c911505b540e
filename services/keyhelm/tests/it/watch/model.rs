//! What comes in and what is known after it.

use keyhelm::watch::connection::{Change, Connection};
use keyhelm::watch::input::{Asked, Input, Key};
use keyhelm::watch::model::{Leave, Model};
use protocol::audit::Phase;

use super::sample::{
    event, half_way, hear_event, hear_rotation, hear_units, later, lost, model, reencrypting,
    rotation, silent_units, units, waiting,
};

const SIZE: (u16, u16) = (80, 24);

fn press(model: &mut Model, key: Key) {
    model.take(Input::Key(key), later(50_000));
}

fn lines(model: &Model) -> Vec<&str> {
    model.board().news.lines().iter().map(|line| line.text.as_str()).collect()
}

fn count(model: &Model, text: &str) -> usize {
    lines(model).into_iter().filter(|line| line.contains(text)).count()
}

#[test]
fn q_and_ctrl_c_end_the_watch_and_nothing_else_does() {
    for key in [Key::Pause, Key::Help, Key::Escape, Key::Up, Key::PageDown, Key::Home, Key::End] {
        let mut model = half_way(SIZE);
        press(&mut model, key);
        assert_eq!(model.leave(), None, "{key:?}");
    }
    for (key, how) in [(Key::Quit, Leave::Quit), (Key::Interrupt, Leave::Interrupted)] {
        let mut model = half_way(SIZE);
        press(&mut model, key);
        assert_eq!(model.leave(), Some(how));
    }
}

#[test]
fn a_held_screen_stands_still_and_then_shows_all_that_came() {
    let mut model = half_way(SIZE);
    let before = model.board().clone();
    press(&mut model, Key::Pause);
    model.take(hear_event(event(5, "done")), later(92_000));
    model.take(lost(Asked::Units, later(99_000)), later(93_000));
    assert!(model.is_paused() && *model.board() == before);
    press(&mut model, Key::Pause);
    assert!(!model.is_paused());
    assert_eq!(model.board().newest().unwrap().phase, Phase::Done);
    assert!(model.board().connection.lost().is_some());
}

#[test]
fn whoever_reads_older_events_keeps_them_before_their_eyes() {
    let mut model = model((80, 24));
    let silence = |model: &mut Model, times: usize| {
        for _ in 0..times {
            model.take(hear_units(silent_units()), later(1_000));
            model.take(hear_units(units(false)), later(2_000));
        }
    };
    silence(&mut model, 20);
    assert_eq!(model.scroll(), 0, "the newest are shown unless somebody scrolls");
    press(&mut model, Key::Up);
    press(&mut model, Key::Up);
    press(&mut model, Key::Down);
    assert_eq!(model.scroll(), 1);
    silence(&mut model, 3);
    assert_eq!(model.scroll(), 7, "six lines are newer than those that were shown");
    press(&mut model, Key::PageUp);
    let page = model.scroll() - 7;
    assert!(page > 2, "{page}");
    press(&mut model, Key::Home);
    assert_eq!(model.scroll(), lines(&model).len() - page, "a page of the oldest");
    press(&mut model, Key::Up);
    assert_eq!(model.scroll(), lines(&model).len() - page, "there is nothing older");
    // A taller terminal shows more of them at once.
    model.take(Input::Resized(80, 30), later(3_000));
    assert_eq!(model.scroll(), lines(&model).len() - page - 6);
    press(&mut model, Key::End);
    assert_eq!(model.scroll(), 0);
}

#[test]
fn an_event_that_is_streamed_twice_is_shown_once() {
    let mut model = model(SIZE);
    for _ in 0..2 {
        for (seq, phase) in (1..).zip(["generate", "install", "commit"]) {
            model.take(hear_event(event(seq, phase)), later(1_000));
        }
    }
    assert_eq!(lines(&model).len(), 4, "three events and the rotation itself: {:?}", lines(&model));
}

#[test]
fn what_crosses_on_the_way_sets_nothing_back() {
    let mut model = model(SIZE);
    let phase = |model: &Model| model.board().newest().unwrap().phase;
    model.take(hear_event(event(5, "promote")), later(91_000));
    model.take(hear_rotation(reencrypting(290_000)), later(91_001));
    assert_eq!(phase(&model), Phase::Promote);
    model.take(hear_rotation(rotation("done")), later(92_000));
    // The stream begins with what was long ago.
    model.take(hear_event(event(6, "generate")), later(92_001));
    assert_eq!(phase(&model), Phase::Done);
    assert_eq!(model.board().newest().unwrap().keys_done, 300_000);
}

#[test]
fn another_rotation_takes_the_place_of_the_last_one() {
    let mut model = model(SIZE);
    model.take(hear_rotation(rotation("done")), later(92_000));
    let mut next = rotation("inspect");
    next.rotation = protocol::RotationId::from_bytes([9; 16]);
    next.number.number += 1;
    model.take(hear_rotation(next.clone()), later(93_000));
    assert_eq!(model.board().newest(), Some(&next));
    let mut told = event(1, "generate");
    told.rotation.rotation = next.rotation;
    model.take(hear_event(event(9, "done")), later(93_001));
    model.take(hear_event(told), later(93_002));
    assert_eq!(count(&model, "rotation 01a2108e"), 1);
    assert_eq!(count(&model, "rotation 09090909"), 1);
}

#[test]
fn a_coordinator_is_back_when_everything_is_answered_again() {
    let mut connection = Connection::default();
    let mut take = |input: Input, at: u64| connection.take(&input, later(at));
    assert!(matches!(take(lost(Asked::Units, later(3_000)), 1_000), Some(Change::Lost(_))));
    assert_eq!(take(lost(Asked::Rotation, later(2_500)), 1_500), None, "it is known already");
    assert_eq!(take(lost(Asked::Units, later(5_000)), 3_000), None);
    assert_eq!(take(hear_units(units(false)), 5_000), None, "the rotation is still asked for");
    assert_eq!(take(Input::Rotation(None), 5_100), Some(Change::Back));
    assert_eq!(take(Input::Rotation(None), 5_200), None);
    assert_eq!((connection.lost(), connection.since()), (None, later(1_000)));
}

#[test]
fn an_absence_is_one_line_and_so_is_its_end() {
    let mut model = half_way(SIZE);
    for second in 50..60 {
        model.take(lost(Asked::Rotation, later(70_000)), later(second * 1_000));
    }
    model.take(hear_rotation(reencrypting(200_000)), later(70_000));
    assert_eq!(count(&model, "does not answer"), 1);
    assert_eq!(count(&model, "connected again"), 1);
    assert_eq!(model.board().connection.lost(), None);
}

#[test]
fn units_that_fall_silent_and_come_back_are_named() {
    let mut model = model(SIZE);
    model.take(hear_units(silent_units()), later(0));
    assert_eq!(lines(&model), [""; 0], "nobody knows whether it was there before");
    model.take(hear_units(units(false)), later(2_000));
    model.take(hear_units(silent_units()), later(4_000));
    model.take(hear_units(silent_units()), later(6_000));
    assert_eq!(lines(&model), ["op-2 answers again", "op-2 does not answer"]);
}

#[test]
fn who_keeps_a_rotation_waiting_is_named_once_and_not_at_once() {
    let mut model = model(SIZE);
    let hear = |model: &mut Model, refusal, at: u64| {
        model.take(hear_rotation(waiting("install", later(1_000), refusal)), later(at));
    };
    hear(&mut model, None, 2_000);
    assert_eq!(count(&model, "waiting"), 0);
    for at in [5_000, 6_000, 7_000] {
        hear(&mut model, None, at);
    }
    assert_eq!(count(&model, "waiting for op-2 (install)"), 1);
    hear(&mut model, Some("its clock is behind"), 8_000);
    assert_eq!(count(&model, "waiting for op-2 (install): its clock is behind"), 1);
    model.take(hear_rotation(rotation("commit")), later(9_000));
    assert_eq!(model.board().late().count(), 0);
}

#[test]
fn a_reencryptor_is_not_waited_for_while_its_count_rises() {
    let mut model = model(SIZE);
    let hear = |model: &mut Model, keys_done, at: u64| {
        let mut view = waiting("reencrypt", later(160), None);
        view.keys_done = keys_done;
        model.take(hear_rotation(view), later(at));
    };
    for second in 1..=20 {
        hear(&mut model, second * 3_000, second * 1_000);
    }
    assert_eq!(count(&model, "waiting"), 0);
    for second in 21..=31 {
        hear(&mut model, 60_000, second * 1_000);
    }
    assert_eq!(count(&model, "waiting for op-2"), 1, "nothing has come for ten seconds");
}
