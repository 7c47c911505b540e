//! The screens of `auto-mk-recover`.

use protocol::api::UnitView;

use super::table;

/// Who gets the master key, and from whom.
pub fn plan(rows: &[(&UnitView, String)]) -> String {
    let mut table =
        table::plain(["CRYPTO UNIT NUM", "NAME", "TYPE", "LOCATION", "STATUS", "MASTER KEY FROM"]);
    for (unit, from) in rows {
        let state = unit.state.as_ref();
        let status = state.map_or("does not answer", |state| state.registers.current_status());
        table.add_row([
            unit.number.to_string(),
            unit.member.name.clone(),
            unit.member.role.unit_type().to_owned(),
            unit.member.location.clone(),
            status.to_owned(),
            from.clone(),
        ]);
    }
    format!("CURRENT MASTER KEY REGISTERS TO BE FILLED\n{}", table::text(&table))
}

/// Whether its current register holds a master key.
pub fn is_valid(unit: &UnitView) -> bool {
    unit.state.as_ref().is_some_and(|state| state.registers.current.is_some())
}
