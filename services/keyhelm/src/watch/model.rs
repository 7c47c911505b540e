//! The state of a watch: what is known, what of it is shown, and what the person has asked for.

use protocol::UnixMillis;
use ratatui::layout::Rect;

use super::board::{Board, Subject};
use super::input::{Input, Key};
use super::screen::layout;

/// How a watch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The person has seen enough.
    Quit,
    /// By Ctrl-C.
    Interrupted,
}

/// The state of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    live: Board,
    held: Option<Box<Board>>,
    scroll: usize,
    is_help_shown: bool,
    leave: Option<Leave>,
    size: Rect,
}

impl Model {
    /// A watch that begins, on a screen of this size.
    pub fn new(subject: Subject, now: UnixMillis, (columns, rows): (u16, u16)) -> Self {
        Self {
            live: Board::new(subject, now),
            held: None,
            scroll: 0,
            is_help_shown: false,
            leave: None,
            size: Rect::new(0, 0, columns, rows),
        }
    }

    /// Takes what happened.
    pub fn take(&mut self, input: Input, now: UnixMillis) {
        match input {
            Input::Key(key) => self.press(key),
            Input::Resized(columns, rows) => self.size = Rect::new(0, 0, columns, rows),
            _ => {
                let before = self.shown_count();
                self.live.take(input, now);
                // Whoever reads older lines keeps them before their eyes.
                if self.scroll > 0 {
                    self.scroll += self.shown_count().saturating_sub(before);
                }
            }
        }
        self.scroll = self.scroll.min(self.most_scroll());
    }

    /// What is shown: what is known now, or what was when the screen was held.
    pub fn board(&self) -> &Board {
        self.held.as_deref().unwrap_or(&self.live)
    }

    /// Whether the screen is held still.
    pub const fn is_paused(&self) -> bool {
        self.held.is_some()
    }

    /// Whether the help is shown.
    pub const fn is_help_shown(&self) -> bool {
        self.is_help_shown
    }

    /// Events that are newer than the last one shown.
    pub const fn scroll(&self) -> usize {
        self.scroll
    }

    /// Whether and how the watch ends.
    pub const fn leave(&self) -> Option<Leave> {
        self.leave
    }

    fn press(&mut self, key: Key) {
        let page = self.page().max(1);
        match key {
            Key::Quit => self.leave = Some(Leave::Quit),
            Key::Interrupt => self.leave = Some(Leave::Interrupted),
            Key::Pause => {
                self.held = match self.held.take() {
                    Some(_) => None,
                    None => Some(Box::new(self.live.clone())),
                };
            }
            Key::Help => self.is_help_shown = !self.is_help_shown,
            Key::Escape => self.is_help_shown = false,
            Key::Up => self.scroll += 1,
            Key::Down => self.scroll = self.scroll.saturating_sub(1),
            Key::PageUp => self.scroll += page,
            Key::PageDown => self.scroll = self.scroll.saturating_sub(page),
            Key::Home => self.scroll = usize::MAX,
            Key::End => self.scroll = 0,
        }
    }

    fn shown_count(&self) -> usize {
        self.board().news.lines().len()
    }

    /// Events that the screen has room for.
    fn page(&self) -> usize {
        layout::event_rows(self.board(), self.size)
    }

    fn most_scroll(&self) -> usize {
        self.shown_count().saturating_sub(self.page())
    }
}
