//! Tables as IBM's tool prints them: headers in capitals, no lines.

use comfy_table::{ContentArrangement, Table, presets};

/// A table whose rows stay on one line.
pub fn plain<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

/// A table whose sentences are broken at the width of the terminal.
pub fn wrapped<const N: usize>(header: [&str; N]) -> Table {
    let mut table = plain(header);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// Its text, without blanks at the ends of lines.
pub fn text(table: &Table) -> String {
    let lines: Vec<_> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}
