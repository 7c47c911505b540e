//! IBM's register tables: number, status, verification pattern on two lines of 32 digits.

use comfy_table::{Table, presets};
use protocol::Pattern;
use protocol::manifest::Member;
use protocol::report::Registers;

/// A unit and what it last reported.
pub type Row = (Member, Option<Registers>);

/// The tables of `cryptounit-compare` that a rotation changes.
pub fn registers(rows: &[Row]) -> String {
    let new = |found: &Registers| (found.new_status(), found.new.map(|new| new.pattern));
    let current = |found: &Registers| (found.current_status(), found.current);
    [
        section("NEW MASTER KEY REGISTER", rows, new),
        section("CURRENT MASTER KEY REGISTER", rows, current),
    ]
    .join("\n\n")
}

fn section(
    title: &str,
    rows: &[Row],
    of: impl Fn(&Registers) -> (&'static str, Option<Pattern>),
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "CRYPTO UNIT NUM",
        "NAME",
        "TYPE",
        "STATUS",
        "VERIFICATION PATTERN",
    ]);
    for (index, (member, found)) in rows.iter().enumerate() {
        let (status, pattern) = match found {
            Some(registers) => of(registers),
            None => ("does not answer", None),
        };
        let digits = pattern.map_or_else(|| "0".repeat(64), |pattern| pattern.to_string());
        table.add_row([
            (index + 1).to_string(),
            member.name.clone(),
            member.role.unit_type().to_owned(),
            status.to_owned(),
            format!("{}\n{}", &digits[..32], &digits[32..]),
        ]);
    }
    format!("{title}\n{table}")
}
