//! The key storage: how many keys, under which pattern, and what is being written.

use protocol::keystore::KeystoreRow;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::palette::Palette;
use super::section;
use crate::show::time::{count, counted};
use crate::watch::board::Board;

/// Draws a line for each keystore.
pub fn draw(board: &Board, palette: Palette, area: Rect, out: &mut Buffer) {
    let keystores = board.units.as_ref().map(|(view, _)| view.keystores.as_slice());
    let keystores = keystores.unwrap_or_default();
    let inner = section("KEY STORAGE".to_owned(), None, palette, area, out);
    if keystores.is_empty() && board.units.is_some() {
        Line::raw("No keystore has been heard of yet.").render(inner, out);
    }
    for (row, at) in keystores.iter().zip(inner.rows()) {
        let mut line = line(row, palette);
        // Half a count is worse than none.
        if line.width() > usize::from(at.width) && row.open.is_some() {
            line.spans.pop();
        }
        line.render(at, out);
    }
}

/// What may be cut off by a narrow terminal stands last.
fn line(row: &KeystoreRow, palette: Palette) -> Line<'static> {
    let id = row.keystore.to_string();
    let keys = counted(row.version_count, "key");
    let mut spans = vec![Span::raw(format!("{}  {keys}", id.get(..8).unwrap_or(&id)))];
    spans.push(match row.is_gate_closed() {
        true => Span::styled("  gate closed", palette.warning()),
        false => Span::styled("  gate open", palette.good()),
    });
    spans.push(Span::raw(match &row.active {
        Some(active) => format!("  generation {} {}", active.number, active.pattern.short()),
        None => "  no generation".to_owned(),
    }));
    if let Some(open) = &row.open {
        let text = format!("  writing {} {}", open.number, open.pattern.short());
        spans.push(Span::styled(text, palette.busy()));
        let done = format!("  {} of {}", count(open.done_count), count(open.set_count));
        spans.push(Span::raw(done));
    }
    Line::from(spans)
}
