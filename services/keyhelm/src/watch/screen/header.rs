//! The first lines and the last one: whom it is about, whether it is heard, and which keys there are.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::palette::Palette;
use super::text::{clock, cut, day_and_clock, span};
use crate::watch::board::Board;
use crate::watch::model::Model;

/// What the keys do.
const KEYS: &str = "q quit   p pause   ↑ ↓ PgUp PgDn scroll events   ? help";

/// Draws the first lines.
pub fn draw(board: &Board, palette: Palette, area: Rect, out: &mut Buffer) {
    let title = Line::from(vec![
        Span::styled("keyhelm watch", palette.heading()),
        Span::raw("   instance "),
        Span::styled(board.subject.instance.as_str(), palette.heading()),
    ]);
    two_ends(title, Line::from(day_and_clock(board.now)), row(area, 0), out);
    let width = usize::from(area.width);
    match board.connection.lost() {
        None => {
            let is_heard = board.units.is_some() || board.rotation.is_some();
            let (state, style) = match is_heard {
                true => ("connected", palette.good()),
                false => ("connecting", palette.warning()),
            };
            let every = u64::try_from(board.subject.every.as_millis()).unwrap_or(u64::MAX);
            let every = Span::raw(format!(", units every {}", span(every)));
            let right = Line::from(vec![Span::styled(state, style), every]);
            let left = format!("coordinator {}", board.subject.server);
            let left = cut(&left, width.saturating_sub(right.width() + 1));
            two_ends(Line::from(left), right, row(area, 1), out);
        }
        Some(lost) => {
            let gone = span(board.now.since(board.connection.since()));
            let again = span(lost.again_at.since(board.now));
            let because = lost.because.trim_start_matches("the coordinator ");
            let text = format!("AWAY for {gone}, again in {again}: {because}");
            Line::styled(cut(&text, width), palette.bad()).render(row(area, 1), out);
        }
    }
}

/// Draws the last line.
pub fn footer(model: &Model, palette: Palette, area: Rect, out: &mut Buffer) {
    let paused = match model.is_paused() {
        true => {
            let text = format!(" PAUSED at {}, p goes on ", clock(model.board().now));
            Line::styled(text, palette.reversed())
        }
        false => Line::default(),
    };
    let keys = cut(KEYS, usize::from(area.width).saturating_sub(paused.width()));
    two_ends(Line::styled(keys, palette.faint()), paused, area, out);
}

/// One line at the left, one at the right of the same row.
fn two_ends(left: Line<'_>, right: Line<'_>, area: Rect, out: &mut Buffer) {
    left.render(area, out);
    right.right_aligned().render(area, out);
}

fn row(area: Rect, index: u16) -> Rect {
    Rect::new(area.x, area.y + index, area.width, 1).intersection(area)
}
