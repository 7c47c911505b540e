//! Words, numbers and times where there is little room.

use protocol::{Pattern, UnixMillis};
use ratatui::buffer::Buffer;

use crate::show::time::moment;

/// What a buffer shows, without blanks at the ends of lines.
pub fn of(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let line = |cells: &[ratatui::buffer::Cell]| {
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", text.trim_end())
    };
    buffer.content.chunks(width).map(line).collect()
}

/// Text of at most so many characters; one that is longer ends in `…`.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// The time of a day in UTC, to the second.
pub fn clock(at: UnixMillis) -> String {
    let text = moment(at);
    text.get(11..19).unwrap_or(&text).to_owned()
}

/// A day and a time in UTC, to the second.
pub fn day_and_clock(at: UnixMillis) -> String {
    moment(at).replace('T', " ").replace('Z', " UTC")
}

/// A length of time in at most six letters: `12ms`, `1.2s`, `3m04s`, `2h05m`, `4d03h`.
pub fn span(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1000, ms / 60_000, ms / 3_600_000);
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{seconds}.{}s", ms % 1000 / 100),
        60_000..3_600_000 => format!("{minutes}m{:02}s", seconds % 60),
        3_600_000..360_000_000 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{}d{:02}h", hours / 24, hours % 24),
    }
}

/// The beginning of a pattern.
pub fn short(pattern: Option<Pattern>) -> String {
    pattern.map_or_else(|| "none".to_owned(), |found| found.short())
}
