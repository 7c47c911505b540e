//! What the keys and the words mean.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph, Widget};

use super::palette::Palette;

/// The help, as it stands in its frame.
const LINES: [&str; 14] = [
    "q, Ctrl-C        end the watch; a rotation goes on",
    "p                hold the screen still, or let it go on",
    "up, down         one event back or forward",
    "PgUp, PgDn       a page of events back or forward",
    "Home, End        to the oldest or the newest event",
    "?, Esc           show or hide this",
    "",
    "NEW              Empty, Full Uncommitted, Full Committed",
    "CURRENT          Valid: keys are under this master key",
    "RETIRING         the old master key, until it is cleared",
    "PATTERN          first digits of the current pattern",
    "gate closed      key creation is refused meanwhile",
    "only forward     decided: it cannot be aborted any more",
    "elapsed          since it was asked for",
];
/// Columns of the frame.
const WIDTH: u16 = 64;

/// Draws the help over the middle of the screen.
pub fn draw(palette: Palette, area: Rect, out: &mut Buffer) {
    let block = Block::bordered().title(Line::styled(" Help ", palette.heading()));
    let rows = u16::try_from(LINES.len()).unwrap_or(u16::MAX - 2) + 2;
    let frame = area.centered(
        ratatui::layout::Constraint::Length(WIDTH.min(area.width)),
        ratatui::layout::Constraint::Length(rows.min(area.height)),
    );
    Clear.render(frame, out);
    let lines: Vec<_> = LINES.into_iter().map(Line::raw).collect();
    Paragraph::new(lines).block(block).render(frame, out);
}
