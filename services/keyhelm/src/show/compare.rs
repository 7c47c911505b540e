//! IBM's register tables: number, status, verification pattern on two lines of 32 digits.

use protocol::Pattern;
use protocol::api::UnitView;
use protocol::manifest::Member;
use protocol::report::Registers;

use super::{table, visible};

/// A unit and what it last reported.
pub type Row = (Member, Option<Registers>);

/// A line of a register table.
struct Line<'a> {
    number: u32,
    member: &'a Member,
    registers: Option<&'a Registers>,
}

/// The tables of `cryptounit-compare` that a rotation changes; units are numbered from 1.
pub fn registers(rows: &[Row]) -> String {
    let lines: Vec<_> = rows
        .iter()
        .zip(1..)
        .map(|((member, found), number)| Line { number, member, registers: found.as_ref() })
        .collect();
    sections(&lines)
}

/// The same of a coordinator's answer, with its numbers.
pub fn unit_registers(units: &[UnitView]) -> String {
    let lines: Vec<_> = units
        .iter()
        .map(|unit| Line {
            number: unit.number,
            member: &unit.member,
            registers: unit.state.as_ref().map(|state| &state.registers),
        })
        .collect();
    sections(&lines)
}

fn sections(lines: &[Line<'_>]) -> String {
    let new = |found: &Registers| (found.new_status(), found.new.map(|new| new.pattern));
    let current = |found: &Registers| (found.current_status(), found.current);
    let retiring = |found: &Registers| (found.retiring_status(), found.retiring);
    let mut sections = vec![
        section("NEW MASTER KEY REGISTER", lines, new),
        section("CURRENT MASTER KEY REGISTER", lines, current),
    ];
    let is_retiring =
        |line: &Line<'_>| line.registers.is_some_and(|found| found.retiring.is_some());
    if lines.iter().any(is_retiring) {
        sections.push(section("RETIRING MASTER KEY REGISTER", lines, retiring));
    }
    sections.join("\n\n")
}

fn section(
    title: &str,
    lines: &[Line<'_>],
    of: impl Fn(&Registers) -> (&'static str, Option<Pattern>),
) -> String {
    let mut table =
        table::plain(["CRYPTO UNIT NUM", "NAME", "TYPE", "STATUS", "VERIFICATION PATTERN"]);
    for Line { number, member, registers } in lines {
        let (status, pattern) = match registers {
            Some(registers) => of(registers),
            None => ("does not answer", None),
        };
        let digits = pattern.map_or_else(|| "0".repeat(64), |pattern| pattern.to_string());
        table.add_tall_row([
            number.to_string(),
            visible::line(&member.name).into_owned(),
            member.role.unit_type().to_owned(),
            status.to_owned(),
            format!("{}\n{}", &digits[..32], &digits[32..]),
        ]);
    }
    format!("{title}\n{}", table::text(&table))
}
