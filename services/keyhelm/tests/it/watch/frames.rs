//! Frames, letter by letter. With `KEYHELM_WRITE_GOLDEN=1` the files are written anew, to be read
//! before they are kept.

use std::path::PathBuf;

use keyhelm::watch::input::{Asked, Input, Key};
use keyhelm::watch::model::Model;
use keyhelm::watch::screen::{self, palette::Palette};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::style::Color;

use super::sample::{
    aborted, event, half_way, hear_event, hear_rotation, hear_units, later, lost, model,
    rotated_units, silent_units, units, waiting,
};

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (120, 40);

fn drawn(model: &Model, palette: Palette, (columns, rows): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    let draw = |frame: &mut ratatui::Frame<'_>| {
        let area = frame.area();
        screen::draw(model, palette, area, frame.buffer_mut());
    };
    terminal.draw(draw).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let rows = buffer.content.chunks(usize::from(buffer.area.width));
    let line = |row: &[Cell]| row.iter().map(Cell::symbol).collect::<String>();
    rows.map(|row| format!("{}\n", line(row).trim_end())).collect()
}

/// Compares with a file, which a person can read.
fn check(name: &str, found: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("KEYHELM_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == found, "{name} differs.\n--- as it was\n{golden}\n--- as it is\n{found}");
}

fn check_frame(name: &str, model: &Model, size: (u16, u16)) {
    check(name, &text(&drawn(model, Palette::plain(), size)));
}

fn done(size: (u16, u16)) -> Model {
    let mut model = half_way(size);
    for (seq, phase) in (5..).zip(["promote", "flip", "clear", "drop", "done"]) {
        model.take(hear_event(event(seq, phase)), later(92_000));
    }
    model.take(hear_units(rotated_units()), later(92_000));
    model
}

#[test]
fn a_rotation_half_way() {
    check_frame("watch-running-80x24.txt", &half_way(SMALL), SMALL);
    check_frame("watch-running-120x40.txt", &half_way(LARGE), LARGE);
}

#[test]
fn a_rotation_that_ended_well() {
    check_frame("watch-done-80x24.txt", &done(SMALL), SMALL);
}

#[test]
fn a_rotation_that_was_aborted_and_a_unit_that_is_silent() {
    let mut model = model(SMALL);
    model.take(hear_units(units(false)), later(0));
    model.take(hear_rotation(aborted("op-2 has not answered rewrap for 60 s")), later(5_000));
    model.take(hear_units(silent_units()), later(5_500));
    check_frame("watch-aborted-80x24.txt", &model, SMALL);
}

#[test]
fn a_unit_that_is_waited_for_and_a_coordinator_that_is_away() {
    let mut model = model(SMALL);
    model.take(hear_units(units(false)), later(500));
    let refusal = Some("its clock is 40 s behind: set it");
    model.take(hear_rotation(waiting("install", later(100), refusal)), later(1_000));
    model.take(Input::Tick, later(4_000));
    model.take(lost(Asked::Rotation, later(9_000)), later(5_000));
    model.take(Input::Tick, later(6_000));
    check_frame("watch-away-80x24.txt", &model, SMALL);
}

#[test]
fn an_instance_that_has_never_rotated_and_the_help() {
    let mut model = model(SMALL);
    check_frame("watch-first-80x24.txt", &model, SMALL);
    model.take(Input::Rotation(None), later(100));
    model.take(hear_units(units(false)), later(200));
    model.take(Input::Key(Key::Help), later(300));
    check_frame("watch-help-80x24.txt", &model, SMALL);
}

#[test]
fn a_frame_as_text_has_every_unit_and_event_and_no_keys() {
    let mut board = half_way(SMALL).board().clone();
    let mut view = units(true);
    let first = view.units[0].clone();
    view.units =
        (1..=40).map(|number| protocol::api::UnitView { number, ..first.clone() }).collect();
    board.take(hear_units(view), later(46_000));
    let text = screen::plain(&board, 80);
    assert_eq!(text.lines().filter(|line| line.contains("Full Committed")).count(), 40, "{text}");
    for word in ["40  op-1", "EVENTS", "transferring the master key", "re-encrypting the key"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("q quit"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80 && line == line.trim_end()));
}

#[test]
fn units_for_which_there_is_no_room_are_counted() {
    let mut model = half_way(SMALL);
    let mut view = units(true);
    let first = view.units[0].clone();
    view.units =
        (1..=40).map(|number| protocol::api::UnitView { number, ..first.clone() }).collect();
    model.take(hear_units(view), later(46_000));
    let shown = text(&drawn(&model, Palette::plain(), SMALL));
    let rows = shown.lines().filter(|line| line.contains("Full Committed")).count();
    assert!(shown.contains(&format!("and {} more", 40 - rows)), "{shown}");
    for word in ["of 300,000 keys", "EVENTS", "q quit"] {
        assert!(shown.contains(word), "{word} had to give way: {shown}");
    }
}

#[test]
fn colours_only_repeat_what_words_say() {
    let mut model = half_way(SMALL);
    model.take(hear_event(event(5, "done")), later(92_000));
    model.take(hear_units(silent_units()), later(92_000));
    let (coloured, plain) =
        (drawn(&model, Palette::coloured(), SMALL), drawn(&model, Palette::plain(), SMALL));
    assert_eq!(text(&coloured), text(&plain));
    let colours = |buffer: &Buffer| {
        let of = |cell: &Cell| [cell.fg, cell.bg, cell.underline_color];
        let mut found: Vec<_> = buffer.content.iter().flat_map(of).collect();
        found.retain(|colour| *colour != Color::Reset);
        found
    };
    assert!(colours(&coloured).contains(&Color::Green) && colours(&coloured).contains(&Color::Red));
    assert_eq!(colours(&plain), []);
}

#[test]
fn every_size_can_be_drawn() {
    let mut models = [half_way(SMALL), done(SMALL), model(SMALL)];
    models[1].take(Input::Key(Key::Help), later(0));
    for model in &mut models {
        for columns in (1..=140).step_by(3) {
            for rows in 1..=50 {
                model.take(Input::Resized(columns, rows), later(95_000));
                let mut out = Buffer::empty(Rect::new(0, 0, columns, rows));
                screen::draw(model, Palette::coloured(), out.area, &mut out);
                assert!(out.content.iter().any(|cell| cell.symbol() != " "), "{columns}x{rows}");
            }
        }
    }
}
