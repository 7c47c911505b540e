//! Keys, and how often is often enough.

use std::time::Duration;

use keyhelm::parse;
use keyhelm::watch::input::Key;
use keyhelm::watch::terminal::meaning;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

#[test]
fn keys_mean_what_the_last_line_says() {
    let plain = |code| meaning(&KeyEvent::new(code, KeyModifiers::NONE));
    for (code, key) in [
        (KeyCode::Char('q'), Some(Key::Quit)),
        (KeyCode::Char('p'), Some(Key::Pause)),
        (KeyCode::Char('?'), Some(Key::Help)),
        (KeyCode::Esc, Some(Key::Escape)),
        (KeyCode::Up, Some(Key::Up)),
        (KeyCode::PageDown, Some(Key::PageDown)),
        (KeyCode::Char('c'), None),
        (KeyCode::Enter, None),
    ] {
        assert_eq!(plain(code), key, "{code:?}");
    }
    let with = |letter| meaning(&KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL));
    assert_eq!((with('c'), with('q')), (Some(Key::Interrupt), None));
    let shifted = KeyEvent::new(KeyCode::Char('?'), KeyModifiers::SHIFT);
    assert_eq!(meaning(&shifted), Some(Key::Help));
    let let_go =
        KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
    assert_eq!(meaning(&let_go), None);
}

#[test]
fn a_watch_does_not_ask_more_often_than_twice_a_second() {
    assert_eq!(parse::interval("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(parse::interval("1m30s"), Ok(Duration::from_secs(90)));
    for (text, word) in
        [("499ms", "500ms"), ("0", "500ms"), ("ms", "no duration"), ("2", "no duration")]
    {
        let refused = parse::interval(text).unwrap_err();
        assert!(refused.contains(word), "{text}: {refused}");
    }
}
