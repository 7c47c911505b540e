//! The screen: what is known, drawn. Words alone say everything; colours only repeat it.

mod events;
mod header;
mod help;
mod keystores;
pub mod layout;
pub mod palette;
mod phases;
mod rotation;
mod text;
mod units;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Widget};

use self::palette::Palette;
use super::board::Board;
use super::model::Model;

/// Least columns and rows on which anything is drawn.
pub const LEAST: (u16, u16) = (40, 12);

/// Draws a watch on the whole area.
pub fn draw(model: &Model, palette: Palette, area: Rect, out: &mut Buffer) {
    let (columns, rows) = LEAST;
    if area.width < columns || area.height < rows {
        let (width, height) = (area.width, area.height);
        let line = format!("{width}x{height} is too small: {columns}x{rows}");
        Line::from(line).render(area, out);
        return;
    }
    let board = model.board();
    let areas = layout::areas(board, area);
    sections(board, palette, &areas, model.scroll(), out);
    header::footer(model, palette, areas.footer, out);
    if model.is_help_shown() {
        help::draw(palette, area, out);
    }
}

/// The same as text of this width, with every unit and event, and without what is for keys.
pub fn plain(board: &Board, width: u16) -> String {
    let areas = layout::whole(board, width);
    let mut out = Buffer::empty(areas.all);
    sections(board, Palette::plain(), &areas, 0, &mut out);
    text::of(&out)
}

fn sections(
    board: &Board,
    palette: Palette,
    areas: &layout::Areas,
    scroll: usize,
    out: &mut Buffer,
) {
    header::draw(board, palette, areas.header, out);
    units::draw(board, palette, areas.units, out);
    keystores::draw(board, palette, areas.keystores, out);
    rotation::draw(board, palette, areas.rotation, out);
    events::draw(board, palette, areas.events, scroll, out);
}

/// Draws the heading of a section and gives the area below it.
fn section(
    title: String,
    note: Option<String>,
    palette: Palette,
    area: Rect,
    out: &mut Buffer,
) -> Rect {
    let mut block = Block::new()
        .borders(Borders::TOP)
        .border_style(palette.faint())
        .title_top(Line::styled(format!("{title} "), palette.heading()));
    if let Some(note) = note {
        block = block.title_top(Line::styled(format!(" {note}"), palette.faint()).right_aligned());
    }
    let inner = block.inner(area);
    block.render(area, out);
    inner
}
