//! Conditions that are not met, all at once, each with its mend.

use protocol::api::Unmet;

use super::table;

/// What keeps a rotation from starting, or is worth knowing.
pub fn table(found: &[Unmet]) -> String {
    let mut table = table::wrapped(["SUBJECT", "WHAT IS SO", "MEND"]);
    for Unmet { subject, text, mend, .. } in found {
        table.add_row([subject.as_str(), text, mend]);
    }
    table::text(&table)
}
