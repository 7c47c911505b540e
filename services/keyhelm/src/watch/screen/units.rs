//! The crypto units and their master key registers, in IBM's words.

use protocol::api::UnitView;
use protocol::report::Registers;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Row, Table, Widget};

use super::palette::Palette;
use super::section;
use super::text::{clock, cut, short};
use crate::watch::board::Board;

/// From so many columns on, the pattern of the new register has one of its own.
const WIDE: u16 = 100;

/// Draws the table; what there is no room for is counted.
pub fn draw(board: &Board, palette: Palette, area: Rect, out: &mut Buffer) {
    let note = board.units.as_ref().map(|(_, at)| format!("as of {}", clock(*at)));
    let inner = section("CRYPTO UNITS".to_owned(), note, palette, area, out);
    let Some((view, _)) = &board.units else {
        Line::raw("asking them how they stand").render(inner, out);
        return;
    };
    if view.units.is_empty() {
        Line::raw("None has announced itself yet.").render(inner, out);
        return;
    }
    let is_wide = area.width >= WIDE;
    let room = usize::from(inner.height.saturating_sub(1));
    let shown = match view.units.len() <= room {
        true => view.units.len(),
        false => room.saturating_sub(1),
    };
    let heads = heads(is_wide);
    let rows: Vec<_> = view.units[..shown].iter().map(|unit| row(unit, is_wide, palette)).collect();
    Table::new(rows, widths(is_wide))
        .header(Row::new(heads).style(palette.heading()))
        .render(inner, out);
    if shown < view.units.len() {
        let last = Rect::new(inner.x, inner.bottom().saturating_sub(1), inner.width, 1);
        let text = format!("and {} more: a taller terminal shows them", view.units.len() - shown);
        Line::styled(text, palette.faint()).render(last, out);
    }
}

fn heads(is_wide: bool) -> Vec<&'static str> {
    let mut heads =
        vec!["NUM", "NAME", "TYPE", "LOCATION", "NEW", "CURRENT", "RETIRING", "PATTERN"];
    if is_wide {
        heads.push("NEW PATTERN");
    }
    heads
}

fn widths(is_wide: bool) -> Vec<Constraint> {
    let mut widths = vec![
        Constraint::Length(3),
        Constraint::Min(9),
        Constraint::Length(11),
        Constraint::Max(if is_wide { 24 } else { 11 }),
        Constraint::Length(16),
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Length(8),
    ];
    if is_wide {
        widths.push(Constraint::Length(11));
    }
    widths
}

fn row(unit: &UnitView, is_wide: bool, palette: Palette) -> Row<'static> {
    let most = if is_wide { 24 } else { 11 };
    let mut cells = vec![
        Cell::from(unit.number.to_string()),
        Cell::from(unit.member.name.clone()),
        Cell::from(unit.member.role.unit_type()),
        Cell::from(cut(&place(&unit.member.location), most)),
    ];
    let Some(state) = &unit.state else {
        cells.push(Cell::from(Text::styled("does not answer", palette.bad())));
        return Row::new(cells);
    };
    let Registers { current, new, retiring } = state.registers;
    let status = |word: &'static str, style: Style| Cell::from(Text::styled(word, style));
    let filled = |is_filled: bool, style: Style| if is_filled { style } else { palette.faint() };
    cells.extend([
        status(state.registers.new_status(), filled(new.is_some(), palette.busy())),
        status(state.registers.current_status(), filled(current.is_some(), palette.good())),
        status(state.registers.retiring_status(), filled(retiring.is_some(), palette.warning())),
        Cell::from(short(current)),
    ]);
    if is_wide {
        cells.push(Cell::from(new.map_or_else(|| "-".to_owned(), |new| new.pattern.short())));
    }
    Row::new(cells)
}

/// `[region].[zone]` without what does not tell it from others.
fn place(location: &str) -> String {
    location.replace(['[', ']'], "")
}
