//! How the screen is divided: what a rotation needs comes first, then units, then events.

use ratatui::layout::Rect;

use super::rotation;
use crate::watch::board::Board;

/// Rows of the header.
const HEADER: u16 = 2;
/// Rows of the footer.
const FOOTER: u16 = 1;
/// Least rows of the events: the heading and two of them.
const LEAST_EVENTS: u16 = 3;
/// Least rows of the units: heading, column heads and two of them.
const LEAST_UNITS: u16 = 4;
/// Most keystores that are shown.
const MOST_KEYSTORES: u16 = 3;

/// Where the sections are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Areas {
    /// All of them.
    pub all: Rect,
    /// Instance, coordinator, time, connection.
    pub header: Rect,
    /// The crypto units.
    pub units: Rect,
    /// The key storage.
    pub keystores: Rect,
    /// The newest rotation.
    pub rotation: Rect,
    /// What happened.
    pub events: Rect,
    /// The keys.
    pub footer: Rect,
}

/// Divides a screen.
pub fn areas(board: &Board, all: Rect) -> Areas {
    let (keystores, rotation) = (keystore_rows(board), rotation::rows(board));
    let others = HEADER + keystores + rotation + LEAST_EVENTS + FOOTER;
    let room = all.height.saturating_sub(others).max(LEAST_UNITS);
    let units = unit_rows(board).min(room);
    let used = HEADER + units + keystores + rotation + FOOTER;
    let events = all.height.saturating_sub(used);
    stacked(all, [HEADER, units, keystores, rotation, events, FOOTER])
}

/// As many rows as everything needs, without a footer.
pub fn whole(board: &Board, width: u16) -> Areas {
    let events = small(board.news.lines().len()).saturating_add(1);
    let heights =
        [HEADER, unit_rows(board), keystore_rows(board), rotation::rows(board), events, 0];
    let height = heights.iter().fold(0_u16, |sum, rows| sum.saturating_add(*rows));
    stacked(Rect::new(0, 0, width, height), heights)
}

/// Events for which a screen of this size has room.
pub fn event_rows(board: &Board, all: Rect) -> usize {
    usize::from(areas(board, all).events.height.saturating_sub(1))
}

/// Areas of these heights, one below the other, as far as there is room.
fn stacked(all: Rect, heights: [u16; 6]) -> Areas {
    let mut top = all.y;
    let [header, units, keystores, rotation, events, footer] = heights.map(|height| {
        let height = height.min(all.bottom().saturating_sub(top));
        let area = Rect::new(all.x, top, all.width, height);
        top += height;
        area
    });
    Areas { all, header, units, keystores, rotation, events, footer }
}

fn unit_rows(board: &Board) -> u16 {
    let units = board.units.as_ref().map_or(0, |(view, _)| view.units.len());
    small(units).max(1).saturating_add(2)
}

fn keystore_rows(board: &Board) -> u16 {
    let keystores = board.units.as_ref().map_or(0, |(view, _)| view.keystores.len());
    small(keystores).clamp(1, MOST_KEYSTORES) + 1
}

fn small(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}
