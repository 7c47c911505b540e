//! The terminal: taken, drawn on, and given back whatever happens.

use std::io::IsTerminal;

use ratatui::DefaultTerminal;
use ratatui::crossterm::cursor::MoveTo;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{Clear, ClearType};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::input::{Input, Key};
use super::model::Model;
use super::screen::{self, palette::Palette};

/// Whether there is a terminal that can be drawn on, with a person at it.
pub fn is_usable() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !is_dumb
}

/// Columns of the terminal, if standard output is one.
pub fn columns() -> Option<u16> {
    let is_terminal = std::io::stdout().is_terminal();
    let size = is_terminal.then(ratatui::crossterm::terminal::size)?;
    size.ok().map(|(columns, _)| columns).filter(|columns| *columns > 0)
}

/// With colours, unless `NO_COLOR` says otherwise.
pub fn palette() -> Palette {
    match std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        true => Palette::plain(),
        false => Palette::coloured(),
    }
}

/// The terminal while it is ours. It is given back when this is dropped, and before a panic is told.
pub struct Screen {
    terminal: DefaultTerminal,
    palette: Palette,
}

impl Screen {
    /// Takes the terminal.
    pub fn take(palette: Palette) -> std::io::Result<Self> {
        // What was taken before a failure is given back.
        let taken = ratatui::try_init().inspect_err(|_| ratatui::restore());
        taken.map(|terminal| Self { terminal, palette })
    }

    /// Columns and rows.
    pub fn size(&self) -> std::io::Result<(u16, u16)> {
        self.terminal.size().map(|size| (size.width, size.height))
    }

    /// Shows how a watch stands.
    pub fn show(&mut self, model: &Model) -> std::io::Result<()> {
        let palette = self.palette;
        self.terminal.draw(|frame| {
            let area = frame.area();
            screen::draw(model, palette, area, frame.buffer_mut());
        })?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing given back.
        let _ = self.terminal.show_cursor();
        // A multiplexer whose window has grown meanwhile would show some of the last frame again.
        let _ = execute!(std::io::stdout(), MoveTo(0, 0), Clear(ClearType::FromCursorDown));
        let _ = ratatui::try_restore();
    }
}

/// What a person does at the terminal. It ends when the terminal is gone.
pub fn inputs() -> mpsc::UnboundedReceiver<Input> {
    let (sender, receiver) = mpsc::unbounded_channel();
    // Reading blocks and cannot be taken back, so this thread ends with the process.
    std::thread::spawn(move || {
        while let Ok(found) = event::read() {
            let input = match found {
                Event::Key(pressed) => meaning(&pressed).map(Input::Key),
                Event::Resize(columns, rows) => Some(Input::Resized(columns, rows)),
                _ => None,
            };
            if let Some(input) = input
                && sender.send(input).is_err()
            {
                return;
            }
        }
    });
    receiver
}

/// What a key means here.
pub fn meaning(pressed: &KeyEvent) -> Option<Key> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    if pressed.modifiers.contains(KeyModifiers::CONTROL) {
        return (pressed.code == KeyCode::Char('c')).then_some(Key::Interrupt);
    }
    Some(match pressed.code {
        KeyCode::Char('q' | 'Q') => Key::Quit,
        KeyCode::Char('p' | 'P' | ' ') => Key::Pause,
        KeyCode::Char('?' | 'h') => Key::Help,
        KeyCode::Esc => Key::Escape,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}

/// The signals that end a watch.
pub struct Signals {
    terminate: Signal,
    hang_up: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they end nothing by themselves.
    pub fn take() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one of them.
    pub async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
