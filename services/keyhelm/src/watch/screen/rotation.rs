//! The rotation that runs, or the last one.

use protocol::api::RotationView;
use protocol::audit::Phase;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{LineGauge, Widget};

use super::palette::Palette;
use super::text::{cut, short, span};
use super::{phases, section};
use crate::show::rotations::purpose;
use crate::show::time::{count, moment};
use crate::watch::board::{Board, waiting_line};

/// Heading, what it does, two rows of phases, the gauge, figures, patterns and trace.
const ROWS: u16 = 7;

/// Rows that the section needs.
pub fn rows(board: &Board) -> u16 {
    match board.newest() {
        None => 2,
        Some(_) if board.late().next().is_some() => ROWS + 1,
        Some(_) => ROWS,
    }
}

/// Draws the section.
pub fn draw(board: &Board, palette: Palette, area: Rect, out: &mut Buffer) {
    let Some(view) = board.newest() else {
        let inner = section("ROTATION".to_owned(), None, palette, area, out);
        let text = match board.rotation.is_some() {
            true => "None yet: keyhelm auto-init makes the first master key.",
            false => "asking which was the last one",
        };
        Line::raw(text).render(inner, out);
        return;
    };
    let state = match view.phase {
        Phase::Done => "done",
        Phase::Aborted => "aborted",
        Phase::Aborting => "being aborted",
        _ if view.is_decided => "running, only forward",
        _ => "running",
    };
    let title = format!("ROTATION {} ({})", view.rotation, purpose(&view.purpose));
    let inner = section(title, Some(state.to_owned()), palette, area, out);
    let mut rows = inner.rows();
    let mut next = || rows.next().unwrap_or_default();
    let width = usize::from(inner.width);
    let (text, style) = doing(view, palette);
    Line::styled(cut(&text, width), style).render(next(), out);
    let two = next().union(next());
    phases::draw(view, board.now, palette, two, out);
    gauge(view, palette).render(next(), out);
    Line::raw(cut(&figures(board, view), width)).render(next(), out);
    let mut last = format!("pattern {} -> {}", short(view.from), short(view.to));
    if let Some(trace) = &view.trace_id {
        last.push_str(&format!("   trace {trace}"));
    }
    Line::raw(cut(&last, width)).render(next(), out);
    waiting(board, palette, width).render(next(), out);
}

fn doing(view: &RotationView, palette: Palette) -> (String, Style) {
    let text = machines::rotation::phase_text(view.phase, view.purpose);
    match (view.phase, &view.aborted_because) {
        (Phase::Aborting | Phase::Aborted, Some(because)) => {
            (format!("{text} ({because})"), palette.bad())
        }
        (Phase::Aborting | Phase::Aborted, None) => (text.to_owned(), palette.bad()),
        (Phase::Done, _) => (text.to_owned(), palette.good()),
        _ => {
            let until = view.hold_until.map(|until| format!(" (until {})", moment(until)));
            (format!("{text}{}", until.unwrap_or_default()), palette.busy())
        }
    }
}

fn gauge(view: &RotationView, palette: Palette) -> LineGauge<'static> {
    let RotationView { keys_done, keys_total, .. } = *view;
    let ratio = match keys_total {
        // The count of keys is known when the key storage has been opened.
        0 if view.phase > Phase::Reencrypt && view.phase <= Phase::Done => 1.0,
        0 => 0.0,
        _ => (keys_done as f64 / keys_total as f64).clamp(0.0, 1.0),
    };
    let percent = (ratio * 100.0).floor();
    let label = match keys_total {
        0 if view.phase < Phase::Reencrypt => "keys are not counted yet".to_owned(),
        0 => "no keys".to_owned(),
        _ => format!("{} of {} keys {percent:>3}%", count(keys_done), count(keys_total)),
    };
    let style = if view.phase == Phase::Reencrypt { palette.busy() } else { palette.good() };
    LineGauge::default()
        .ratio(ratio)
        .label(label)
        .filled_symbol("█")
        .unfilled_symbol("░")
        .filled_style(style)
        .unfilled_style(palette.faint())
}

fn figures(board: &Board, view: &RotationView) -> String {
    let dash = || "-".to_owned();
    let rate = board.pace.rate(view).map_or_else(dash, |rate| format!("{}/s", count(rate)));
    let left = board.pace.left_ms(view).map_or_else(dash, span);
    let elapsed = span(view.finished_at.unwrap_or(board.now).since(view.started_at));
    let (units_done, units_total) = (view.units_done, view.units_total);
    let refused = view.gate_closed_ms.map(|ms| format!("   gate was closed {}", span(ms)));
    format!(
        "rate {rate:<9} left {left:<6} elapsed {elapsed:<6} units {units_done} of {units_total}{}",
        refused.unwrap_or_default()
    )
}

fn waiting(board: &Board, palette: Palette, width: usize) -> Line<'static> {
    let late: Vec<_> = board.late().collect();
    let Some(first) = late.first() else { return Line::default() };
    let since = span(board.now.since(first.since));
    let others = match late.len() {
        1 => String::new(),
        many => format!(" and {} more", many - 1),
    };
    let text = format!("{since} {}{others}", waiting_line(first));
    Line::from(Span::styled(cut(&text, width), palette.warning()))
}
