//! What happened, newest last.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::palette::Palette;
use super::section;
use super::text::{clock, cut};
use crate::watch::board::Board;

/// Columns of the time and the gap behind it.
const TIME: usize = 10;

/// Draws those that end `scroll` lines before the newest.
pub fn draw(board: &Board, palette: Palette, area: Rect, scroll: usize, out: &mut Buffer) {
    let lines = board.news.lines();
    let note = match scroll {
        0 => format!("{}", lines.len()),
        _ => format!("{scroll} newer below, {} in all", lines.len()),
    };
    let inner = section("EVENTS".to_owned(), Some(note), palette, area, out);
    let end = lines.len().saturating_sub(scroll);
    let start = end.saturating_sub(usize::from(inner.height));
    let most = usize::from(inner.width).saturating_sub(TIME);
    for (line, at) in lines.range(start..end).zip(inner.rows()) {
        let time = Span::styled(format!("{}  ", clock(line.at)), palette.faint());
        let text = Span::styled(cut(&line.text, most), palette.tone(line.tone));
        Line::from(vec![time, text]).render(at, out);
    }
}
