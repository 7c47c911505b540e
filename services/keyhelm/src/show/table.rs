//! Tables as IBM's tool prints them: headers in capitals, no lines.

use comfy_table::{ContentArrangement, Table, presets};

use super::visible;

/// A table that is being filled. No cell can leave its row, whatever it holds.
pub struct Rows(Table);

impl Rows {
    /// A row of one line.
    pub fn add_row<T: AsRef<str>, const N: usize>(&mut self, cells: [T; N]) -> &mut Self {
        self.0.add_row(cells.each_ref().map(|cell| visible::line(cell.as_ref())));
        self
    }

    /// A row whose cells may have several lines.
    pub fn add_tall_row<T: AsRef<str>, const N: usize>(&mut self, cells: [T; N]) -> &mut Self {
        self.0.add_row(cells.each_ref().map(|cell| visible::lines(cell.as_ref())));
        self
    }
}

/// A table whose rows stay on one line.
pub fn plain<const N: usize>(header: [&str; N]) -> Rows {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    Rows(table)
}

/// A table whose sentences are broken at the width of the terminal.
pub fn wrapped<const N: usize>(header: [&str; N]) -> Rows {
    let mut rows = plain(header);
    rows.0.set_content_arrangement(ContentArrangement::Dynamic);
    rows
}

/// Its text, without blanks at the ends of lines.
pub fn text(rows: &Rows) -> String {
    let shown = rows.0.to_string();
    let lines: Vec<_> = shown.lines().map(str::trim_end).collect();
    lines.join("\n")
}
