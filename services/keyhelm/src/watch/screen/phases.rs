//! The phases of a rotation side by side, each with its time.

use protocol::UnixMillis;
use protocol::api::RotationView;
use protocol::audit::Phase;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::palette::Palette;
use super::text::span;

/// Least columns of a phase: its time has room.
const LEAST: usize = 7;

/// Draws the names, and below them the times. The one that runs is marked `>`.
pub fn draw(view: &RotationView, now: UnixMillis, palette: Palette, area: Rect, out: &mut Buffer) {
    let (mut names, mut times) = (Vec::new(), Vec::new());
    // A survey is over before there is a rotation.
    let columns = Phase::Inspect..=Phase::Drop;
    // Few orders want a hold; a column of nothing would only take room.
    let is_hold = |phase| matches!(phase, Phase::HoldAfterCommit | Phase::HoldBeforeClear);
    let has = |phase| view.phases.iter().any(|(found, _)| *found == phase);
    let shown = |phase: &Phase| columns.contains(phase) && (!is_hold(*phase) || has(*phase));
    for phase in Phase::ALL.into_iter().filter(shown) {
        let width = phase.name().len().max(LEAST);
        let is_running = phase == view.phase;
        let (time, style) = match time(view, phase, now) {
            Some(ms) if is_running => (span(ms), palette.busy().bold()),
            Some(ms) => (span(ms), palette.good()),
            None => ("-".to_owned(), palette.faint()),
        };
        let mark = if is_running { '>' } else { ' ' };
        names.push(cell(format!("{mark}{:<width$}", phase.name()), style));
        times.push(cell(format!(" {time:<width$}"), style));
    }
    for (spans, at) in [names, times].into_iter().zip(area.rows()) {
        Line::from(spans).render(at, out);
    }
}

fn cell(text: String, style: Style) -> Span<'static> {
    Span::styled(text, style)
}

/// Milliseconds that a phase took, or has taken so far; none if it has not begun.
fn time(view: &RotationView, phase: Phase, now: UnixMillis) -> Option<u64> {
    let at = view.phases.iter().position(|(found, _)| *found == phase)?;
    let (_, from) = view.phases[at];
    let until = view.phases.get(at + 1).map(|(_, until)| *until).or(view.finished_at);
    Some(until.unwrap_or(now).since(from))
}
